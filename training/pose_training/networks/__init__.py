"""Network files: weights to start from, rewrites of exported graphs."""
