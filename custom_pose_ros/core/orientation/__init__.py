"""Keypoints to poses with covariance: single-image solutions, the filter over time, fusion of cameras."""
