"""Bags of every kind, whole or damaged, as one stream of decoded messages."""
