"""FrameResult: what is kept of one image until the whole bag has been read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate


@dataclass(eq=False)
class FrameResult:
    """
    The result for one image, without the image. A instances, K keypoints.

    Attributes:
        stamp_ns: Stamp of the image.
        time_ns: When the image (or, for recorded results, the result) was recorded.
        width, height: Image size [px], 0 when unknown.
        keypoints: (A, K, 3) float32, x, y [px] and score; NaN for keypoints that were not found.
        scores: (A,) float32.
        track_ids: (A,) int, -1 for none.
        estimates: Orientations, measured or coasting.
        without_outline: What they would be by keypoints alone, where an outline is used.
        refusals: Why instances have no orientation, one reason each.
        truth: Measured true pose of the object in the camera, where it comes with the image.
        latency_ms: From the stamp to the recording, of recorded results.
    """

    stamp_ns: int
    time_ns: int
    width: int = 0
    height: int = 0
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.float32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    track_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    estimates: list[OrientationEstimate] = field(default_factory=list)
    without_outline: list[OrientationEstimate] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    truth: Rigid | None = None
    latency_ms: float | None = None

    def set_poses(self, poses: Sequence[KeypointPose], keypoint_count: int) -> None:
        """Remember the poses that were found."""
        self.keypoints = np.full((len(poses), keypoint_count, 3), np.nan, np.float32)
        for row, pose in zip(self.keypoints, poses):
            row[pose.visible, :2] = pose.keypoints[pose.visible]
            row[pose.visible, 2] = pose.scores[pose.visible]
        self.scores = np.array([pose.score for pose in poses], np.float32)
        self.track_ids = np.array([-1 if pose.track_id is None else pose.track_id for pose in poses], np.int64)

    def poses(self) -> list[KeypointPose]:
        """Return the poses that were found, without the covariances, which are not kept."""
        poses = []
        for keypoints, score, track_id in zip(self.keypoints.astype(float), self.scores, self.track_ids):
            poses.append(
                KeypointPose(
                    keypoints=keypoints[:, :2],
                    covariances=np.full((len(keypoints), 2, 2), np.nan),
                    scores=np.nan_to_num(keypoints[:, 2]),
                    visible=np.isfinite(keypoints[:, 0]),
                    score=float(score),
                    track_id=int(track_id) if track_id >= 0 else None,
                )
            )
        return poses

    def estimate_of(self, instance: int) -> OrientationEstimate | None:
        """Return the measured orientation of an instance, or None."""
        wanted = int(self.track_ids[instance])
        if wanted < 0:  # nobody tracks: only a single instance is unmistakable
            return self.estimates[0] if len(self.scores) == len(self.estimates) == 1 else None
        return next((e for e in self.estimates if e.track_id == wanted and not e.coasting), None)
