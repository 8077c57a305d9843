"""pose_node: camera images in, keypoint poses out."""
