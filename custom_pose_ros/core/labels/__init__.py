"""Keypoint labels as people make them: read, and settled which keypoints are seen, hidden or not labelled."""
