"""Keypoints that are chosen on a mesh: what is seen of it from all sides, its symmetries, and the best points."""
