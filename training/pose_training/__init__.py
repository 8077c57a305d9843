"""Library of the training scripts: data, network start, optimisation, checkpoints, export and evaluation."""
