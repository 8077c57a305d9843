"""OrientationEstimator: keypoint poses in, orientations out, one filter for each track."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import R_BODY_OPTICAL
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import CAMERA_OPTICAL, OrientationEstimate
from custom_pose_ros.core.orientation.filter import FilterParameters
from custom_pose_ros.core.orientation.solver import PoseSolver, Refusal
from custom_pose_ros.core.orientation.track import InstanceTrack

REFERENCE_ROTATIONS = {CAMERA_OPTICAL: np.eye(3), 'camera_body': R_BODY_OPTICAL}


class OrientationEstimator:
    """
    Computes orientations from the keypoint poses of successive images of one camera.

    Args:
        model: the object; needs at least four model_points that are not on one line.
        camera: intrinsics of the images the keypoints are from.
        smoothing: False gives the estimate of each image on its own; may be changed between updates.
        parameters: how the object moves, for the filter.
        reference_frame: camera_optical or camera_body (REP 103), or a (3, 3) R_reference_camera; roll_pitch_yaw of the
            estimates is about its axes. Everything else stays in the camera optical frame.

    Raises:
        ConfigError: the object has no usable model_points or the frame is unknown.
    """

    def __init__(
        self,
        model: ObjectModel,
        camera: CameraIntrinsics,
        *,
        smoothing: bool = True,
        parameters: FilterParameters | None = None,
        reference_frame: str | np.ndarray = 'camera_optical',
    ):
        self.model = model
        self._solver = PoseSolver(model, camera)
        self._symmetries = SymmetryGroup(model.symmetries)
        self.smoothing = smoothing
        self._parameters = parameters or FilterParameters()
        self._R_reference_camera = _rotation_of(reference_frame)
        self.refusals: list[tuple[int | None, str]] = []
        self.reset()

    def reset(self) -> None:
        """Forget all tracks."""
        self._tracks: dict[int, InstanceTrack] = {}
        self._tracker = PoseTracker(self.model, max_gap_s=self._parameters.max_gap_s)
        self._stamp_s = -math.inf

    def update(self, poses: Sequence[KeypointPose], stamp_s: float | None = None) -> list[OrientationEstimate]:
        """
        Return one estimate for each pose that can be solved, in their order, then one for each track that coasts.

        A track coasts (keypoints_used 0) while it is not seen, or its keypoints are too few or contradict it, until
        max_gap_s has passed. When no pose has a track id they are tracked here, and the estimates have ids.
        Afterwards `refusals` holds (track_id, reason) for each pose that could not be solved.

        Args:
            poses: the instances in the image. Among poses with a track id, those without one are solved on their own.
            stamp_s: time of the image [s]. A stamp that is not later than the last one means that time was set back (a
                bag played again): all tracks start anew. None: no filter, every image on its own.

        Raises:
            ValueError: the stamp is not finite.
        """
        self.refusals = []
        if stamp_s is None or not self.smoothing:
            return self._finished([self._solve(pose) for pose in poses], poses)
        if not math.isfinite(stamp_s):
            raise ValueError(f'stamp_s must be finite, got {stamp_s}')
        if stamp_s <= self._stamp_s:
            self.reset()
        self._stamp_s = stamp_s
        if all(pose.track_id is None for pose in poses):
            poses = self._tracker.update(poses, stamp_s)
        results = [self._solve(pose) if pose.track_id is None else self._follow(pose, stamp_s) for pose in poses]
        solved = {pose.track_id for pose, result in zip(poses, results) if not isinstance(result, Refusal)}
        return self._finished(results, poses) + self._coasting(solved, stamp_s)

    def _solve(self, pose: KeypointPose) -> OrientationEstimate | Refusal:
        solution = self._solver.solve(pose)
        if isinstance(solution, Refusal):
            return solution
        return solution.to_estimate(self.model, pose.track_id, self._R_reference_camera)

    def _follow(self, pose: KeypointPose, stamp_s: float) -> OrientationEstimate | Refusal:
        assert pose.track_id is not None
        if pose.track_id not in self._tracks:
            self._tracks[pose.track_id] = InstanceTrack(
                self._solver, self._symmetries, self._parameters, self._R_reference_camera
            )
        return self._tracks[pose.track_id].update(pose, stamp_s)

    def _coasting(self, solved: set[int | None], stamp_s: float) -> list[OrientationEstimate]:
        """
        Return the predictions of the tracks that were not solved, and drop the tracks that are over.

        A track whose prediction has come behind the camera is over, too.
        """
        self._tracks = {track_id: track for track_id, track in self._tracks.items() if track.alive(stamp_s)}
        missing = [track_id for track_id in self._tracks if track_id not in solved]
        coasting = {track_id: self._tracks[track_id].coast(stamp_s, track_id) for track_id in missing}
        for track_id, estimate in coasting.items():
            if estimate.pose.translation[2] <= 0:
                del self._tracks[track_id]
        return [estimate for track_id, estimate in coasting.items() if track_id in self._tracks]

    def _finished(
        self, results: Sequence[OrientationEstimate | Refusal], poses: Sequence[KeypointPose]
    ) -> list[OrientationEstimate]:
        """Return the estimates among the results, and keep the refusals."""
        estimates = []
        for pose, result in zip(poses, results):
            if isinstance(result, Refusal):
                self.refusals.append((pose.track_id, result.reason))
            else:
                estimates.append(result)
        return estimates


def _rotation_of(reference_frame: str | np.ndarray) -> np.ndarray:
    """Return R_reference_camera (3, 3) of a named frame or of a given rotation."""
    if isinstance(reference_frame, str):
        if reference_frame not in REFERENCE_ROTATIONS:
            raise ConfigError(
                f'reference_frame: wanted one of {", ".join(REFERENCE_ROTATIONS)}, got {reference_frame!r}'
            )
        return REFERENCE_ROTATIONS[reference_frame]
    R = np.asarray(reference_frame, float)
    if R.shape != (3, 3) or not np.allclose(R @ R.T, np.eye(3), atol=1e-6) or np.linalg.det(R) < 0.0:
        raise ConfigError(f'reference_frame: wanted a name or a (3, 3) rotation matrix, got {reference_frame!s:.120}')
    return R
