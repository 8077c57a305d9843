"""Frames compared with the truth: errors, the numbers of metrics.json, limits, comparisons of two runs."""
