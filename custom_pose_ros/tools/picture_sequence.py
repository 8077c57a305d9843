"""Keypoints, track ids and orientation of one object in a sequence of pictures, without ROS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.pnp import known_points
from custom_pose_ros.inference.estimator import Estimator
from custom_pose_ros.tools.prediction_formats import PictureResult


@dataclass(frozen=True)
class CameraChoice:
    """
    The camera that pictures were taken with.

    Attributes:
        calibration: The calibrated camera, or None when there is none.
        fov_rad: Horizontal field of view [rad] assumed without a calibration.
    """

    calibration: CameraIntrinsics | None
    fov_rad: float = math.radians(60.0)

    def for_size(self, width: int, height: int) -> CameraIntrinsics:
        """Return the camera for pictures of this size [px]; ConfigError when the calibration is for another shape."""
        if self.calibration is not None:
            return self.calibration.scaled_to(width, height)
        return CameraIntrinsics.from_fov(width, height, self.fov_rad)


def orientation_problem(model: ObjectModel) -> str | None:
    """Say why no orientation can ever be solved for an object, or return None when it can."""
    try:
        known_points(model)
    except ConfigError as error:
        return str(error)
    return None


class PictureSequence:
    """
    Pictures of one scene in the order of time: a video, or a single image.

    Attributes:
        camera: Camera of the pictures, or None when no orientation is wanted or possible.
    """

    def __init__(self, estimator: Estimator, camera: CameraIntrinsics | None, reference_frame: str = 'camera_optical'):
        self._estimator = estimator
        self._tracker = PoseTracker(estimator.model)
        self.camera = camera
        self._orienter = (
            None if camera is None else OrientationEstimator(estimator.model, camera, reference_frame=reference_frame)
        )

    def analyse(self, image: np.ndarray, source: str, frame: int | None = None, stamp_s: float = 0.0) -> PictureResult:
        """Find the object in the next (H, W, 3) uint8 BGR picture, taken at `stamp_s` [s]."""
        poses = self._tracker.update(self._estimator(image, None if frame is None else source), stamp_s)
        estimates = [] if self._orienter is None else self._orienter.update(poses, stamp_s)
        return PictureResult(
            source=source,
            frame=frame,
            stamp_s=stamp_s,
            width=image.shape[1],
            height=image.shape[0],
            poses=poses,
            orientations={estimate.track_id: estimate for estimate in estimates if not estimate.coasting},
            refusals={} if self._orienter is None else dict(self._orienter.refusals),
        )
