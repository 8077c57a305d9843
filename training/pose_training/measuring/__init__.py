"""Geometry from labels: the shape of a rigid object and the lens, from keypoints labelled in several pictures."""
