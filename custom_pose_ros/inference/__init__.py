"""From images to keypoints: the network, the backends that run it, and the estimator around them."""
