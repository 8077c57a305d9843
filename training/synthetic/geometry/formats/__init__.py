"""Formats of mesh files: what is wrong in them, and the colours that trimesh leaves out."""
