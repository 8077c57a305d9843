"""The training run: initial weights, loss, optimisation, checkpoints, logs."""
