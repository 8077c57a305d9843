"""The training run: network start, loss, optimisation, checkpoints, logs."""
