"""From BGR images to keypoint poses: network, backends, estimator."""
