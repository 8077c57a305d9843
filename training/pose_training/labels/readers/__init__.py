"""Readers of the label formats of other tools; each returns `raw_labels.RawLabels`."""
