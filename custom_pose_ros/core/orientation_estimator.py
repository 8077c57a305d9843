"""OrientationEstimator: keypoint poses in, orientations out, one filter for each track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation import OrientationEstimate, PoseSolver, Refusal
from custom_pose_ros.core.poses import KeypointPose
from custom_pose_ros.core.rotations import R_BODY_OPTICAL

REFERENCE_ROTATIONS = {'camera_optical': np.eye(3), 'camera_body': R_BODY_OPTICAL}


class OrientationEstimator:
    """
    Turns the keypoint poses of successive images of one camera into orientations.

    model : the object; needs at least four model_points that are not on one line.
    camera : intrinsics of the images the keypoints are from.
    smoothing : False gives what each image says on its own.
    reference_frame : camera_optical or camera_body (REP 103), or a (3, 3) R_reference_camera; roll_pitch_yaw of the estimates
        is about its axes. Everything else stays in the camera optical frame.

    Raises ConfigError when the object has no usable model_points or the frame is unknown.
    """

    def __init__(
        self,
        model: ObjectModel,
        camera: CameraIntrinsics,
        *,
        smoothing: bool = True,
        reference_frame: str | np.ndarray = 'camera_optical',
    ):
        self._solver = PoseSolver(model, camera)
        self._smoothing = smoothing
        self._reference = {'R_reference_camera': _rotation_of(reference_frame), 'zero_rotation': model.zero_rotation}
        self.refusals: list[tuple[int | None, str]] = []

    def update(self, poses: Sequence[KeypointPose], stamp_s: float | None = None) -> list[OrientationEstimate]:
        """
        Return one estimate for each pose that can be solved, in their order.

        `refusals` then holds (track_id, reason) for each pose that could not.
        """
        self.refusals = []
        estimates = []
        for pose in poses:
            solution = self._solver.solve(pose)
            if isinstance(solution, Refusal):
                self.refusals.append((pose.track_id, solution.reason))
            else:
                estimates.append(solution.to_estimate(pose.track_id, **self._reference))
        return estimates


def _rotation_of(reference_frame: str | np.ndarray) -> np.ndarray:
    """Return R_reference_camera (3, 3) of a named frame or of a given rotation."""
    if isinstance(reference_frame, str):
        if reference_frame not in REFERENCE_ROTATIONS:
            raise ConfigError(f'reference_frame: wanted one of {", ".join(REFERENCE_ROTATIONS)}, got {reference_frame!r}')
        return REFERENCE_ROTATIONS[reference_frame]
    R = np.asarray(reference_frame, float)
    if R.shape != (3, 3) or not np.allclose(R @ R.T, np.eye(3), atol=1e-6) or np.linalg.det(R) < 0.0:
        raise ConfigError(f'reference_frame: wanted a name or a (3, 3) rotation matrix, got {reference_frame!r:.120}')
    return R
