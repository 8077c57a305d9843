"""How far another precision moves the keypoints of a network, and whether it finds the same instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import mean_distances, nearest_pairs, seen_points
from custom_pose_ros.inference.estimator import PoseEstimator

Instances = Sequence[KeypointPose]

REFERENCE_HEIGHT_PX = 480  # distances are those in an image scaled to this height, so that cameras compare


@dataclass(frozen=True, eq=False)
class Drift:
    """
    What changed from one estimator to another.

    Attributes:
        moved_px: (M,) distance that each keypoint found by both has moved, in px of an image 480 px high.
        keypoints: Keypoints found by the first.
        changed: Keypoints found by one of them only, those of instances found by one only included.
    """

    moved_px: np.ndarray
    keypoints: int
    changed: int

    @property
    def mean_px(self) -> float:
        return float(self.moved_px.mean()) if len(self.moved_px) else 0.0

    @property
    def p99_px(self) -> float:
        return float(np.percentile(self.moved_px, 99)) if len(self.moved_px) else 0.0

    @property
    def max_px(self) -> float:
        return float(self.moved_px.max()) if len(self.moved_px) else 0.0

    def __str__(self) -> str:
        return (
            f'mean {self.mean_px:.2f} px, p99 {self.p99_px:.2f} px, max {self.max_px:.2f} px; '
            f'{self.changed} of {self.keypoints} keypoints found by one only'
        )


@dataclass(frozen=True)
class DriftLimits:
    """
    The largest drift that is accepted.

    Attributes:
        mean_px: Mean movement of the keypoints [px of an image 480 px high].
        p99_px: Movement of one in a hundred keypoints [px of an image 480 px high].
        changed: Share of the keypoints that only one of both finds.
    """

    mean_px: float = 0.3
    p99_px: float = 1.0
    changed: float = 0.01

    def complaint(self, drift: Drift) -> str:
        """Say which limits a drift passes; '' when none."""
        passed = []
        if drift.mean_px > self.mean_px:
            passed.append(f'keypoints move by {drift.mean_px:.2f} px on average (limit {self.mean_px:g})')
        if drift.p99_px > self.p99_px:
            passed.append(f'one in a hundred by {drift.p99_px:.2f} px or more (limit {self.p99_px:g})')
        if drift.changed > self.changed * drift.keypoints:
            passed.append(
                f'{drift.changed} of {drift.keypoints} keypoints are found by one only (limit {self.changed:.0%})'
            )
        return ', '.join(passed)


def measure_drift(images: Sequence[np.ndarray], before: Sequence[Instances], estimator: PoseEstimator) -> Drift:
    """
    Compare an estimator with what another one found.

    Args:
        images: (H, W, 3) uint8 BGR.
        before: What the reference found in each image.
        estimator: The other one.
    """
    moved: list[np.ndarray] = []
    keypoints = changed = 0
    for image, first in zip(images, before):
        second = estimator(image)
        scale = REFERENCE_HEIGHT_PX / image.shape[0]
        keypoints += sum(int(pose.visible.sum()) for pose in first)
        pairs = _pairs(first, second)
        for a, b in pairs:
            both = a.visible & b.visible
            moved.append(scale * np.linalg.norm(a.keypoints[both] - b.keypoints[both], axis=1))
            changed += int((a.visible != b.visible).sum())
        paired = {id(pose) for pair in pairs for pose in pair}
        changed += sum(int(pose.visible.sum()) for pose in [*first, *second] if id(pose) not in paired)
    return Drift(np.concatenate(moved) if moved else np.empty(0), keypoints, changed)


def _pairs(first: Instances, second: Instances) -> list[tuple[KeypointPose, KeypointPose]]:
    """Return the instances that are the same in both: nearest pairs first, at most a quarter of their size apart."""
    largest = [max(float(np.ptp(pose.keypoints[pose.visible], axis=0).max()), 1.0) / 4 for pose in first]
    distances = mean_distances([seen_points(a) for a in first], [seen_points(b) for b in second], largest)
    return [(first[i], second[j]) for i, j in nearest_pairs(distances)]
