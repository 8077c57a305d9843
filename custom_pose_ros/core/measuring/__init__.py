"""Measuring with the object itself: its shape and the lens from keypoints in many images."""
