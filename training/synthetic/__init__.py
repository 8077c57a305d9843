"""Synthetic training images with exact labels: off-screen rendering of a mesh over randomised scenes."""
