"""orientation_node: keypoint poses in, orientations out."""
