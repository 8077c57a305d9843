"""Library of the training scripts: labels, data, initial weights, optimisation, checkpoints, export and evaluation."""
