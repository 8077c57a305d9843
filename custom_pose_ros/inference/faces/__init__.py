"""Faces without training: MediaPipe's detector and mesh, run by OpenVINO, behind the interface of PoseEstimator."""
