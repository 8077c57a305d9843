"""Turned, mirrored and enlarged copies of each picture: sharper keypoints, for as many times the time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.errors import ChoiceError, ConfigError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import MAX_INPUT_HEIGHT, SIZE_MULTIPLE
from custom_pose_ros.core.keypoints.tracking import mean_distances, nearest_pairs, seen_points
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.estimator import Estimator, PoseEstimator

COPY_COUNTS = (1, 2, 4, 8)
_TURN_BACK = np.array([[0.0, -1.0], [1.0, 0.0]])  # by 90 degrees, with the clock
_ENLARGED = 1.25  # of the input height, for every second copy
_FARTHEST = 4.0  # standard deviations; a keypoint of a copy that is farther from where it is expected is another place


@dataclass(frozen=True)
class Copy:
    """
    How a copy is made of a picture.

    Attributes:
        turns: By 90 degrees, against the clock.
        mirrored: Left and right change places, before the turn.
        height: Of the network's input [px].
    """

    turns: int
    mirrored: bool
    height: int

    def made_of(self, image: np.ndarray) -> np.ndarray:
        """Return the copy of an (H, W, 3) image."""
        return np.ascontiguousarray(np.rot90(image[:, ::-1] if self.mirrored else image, self.turns))

    def pose_back(self, pose: KeypointPose, shape: tuple[int, ...], flip_order: np.ndarray) -> KeypointPose:
        """Return a pose found in the copy of (H', W', ...) pixels as it lies in the picture."""
        points, covariances = pose.keypoints, pose.covariances
        height, width = shape[:2]
        for _ in range(self.turns % 4):
            points = np.stack([height - 1 - points[:, 1], points[:, 0]], 1)
            covariances = _TURN_BACK @ covariances @ _TURN_BACK.T
            height, width = width, height
        scores, visible = pose.scores, pose.visible
        if self.mirrored:
            points = (points * [-1, 1] + [width - 1, 0])[flip_order]
            covariances = (covariances * [[1, -1], [-1, 1]])[flip_order]
            scores, visible = scores[flip_order], visible[flip_order]
        other = None if pose.alternative is None else self.pose_back(pose.alternative, shape, flip_order)
        return replace(
            pose, keypoints=points, covariances=covariances, scores=scores, visible=visible, alternative=other
        )


class CopiesEstimator(PoseEstimator):
    """
    Finds the instances in several copies of each picture and averages their keypoints.

    What the picture itself shows decides which instances there are; the copies move their keypoints, and a keypoint
    that is found in fewer than half of the copies is not reported, nor an instance that then has too few. Covariances
    are those of one copy: the errors of copies of one picture are not independent.
    """

    def __init__(self, estimator: Estimator, count: int):
        """
        Take over an estimator.

        Args:
            estimator: What finds the instances in one copy.
            count: Number of copies, see `planned_copies`.

        Raises:
            ConfigError: The estimator has no network, or there is no such number of copies.
        """
        if not isinstance(estimator, PoseEstimator):
            raise ChoiceError(f'copies: object {estimator.model.name!r} is not found by a network; leave copies out')
        super().__init__(estimator.model, estimator.network, estimator.input_height, estimator.thresholds)
        self._copies = planned_copies(count, self.input_height, self.model)
        self._estimators = {
            height: PoseEstimator(self.model, self.network, height, self.thresholds)
            for height in {copy.height for copy in self._copies}
        }

    def batch(self, images: Sequence[np.ndarray], streams: Sequence[str] | None = None) -> list[list[KeypointPose]]:
        """Return the instances in each of several BGR images; `streams` changes nothing."""
        return [self._averaged(image) for image in images]

    def warm_up(self) -> None:
        """Run each size once on an empty image."""
        for estimator in self._estimators.values():
            estimator.warm_up()

    def in_copies(self, image: np.ndarray) -> list[list[KeypointPose | None]]:
        """
        Return each instance of an (H, W, 3) BGR image as each of the copies shows it, the picture itself first.

        None where a copy does not show it; the identity that is nearer to that in the picture, where there are two.
        """
        found = []
        for copy in self._copies:
            picture = copy.made_of(image)
            poses = self._estimators[copy.height](picture)
            found.append([copy.pose_back(pose, picture.shape, self.model.flip_order) for pose in poses])
        plain, others = found[0], found[1:]
        instances: list[list[KeypointPose | None]] = [[pose] + [None] * len(others) for pose in plain]
        for n, poses in enumerate(others, 1):
            exchanged = [pose.exchanged() for pose in poses]
            as_found, as_other = _distances(plain, poses), _distances(plain, exchanged)
            for i, j in nearest_pairs(np.minimum(as_found, as_other)):
                instances[i][n] = poses[j] if as_found[i, j] <= as_other[i, j] else exchanged[j]
        return instances

    def _averaged(self, image: np.ndarray) -> list[KeypointPose]:
        instances = self.in_copies(image)
        poses = [averaged([pose for pose in copies if pose is not None], len(copies)) for copies in instances]
        return [pose for pose in poses if pose.visible.sum() >= self.thresholds.min_keypoints]


def add_copies_option(parser: argparse._ActionsContainer) -> None:
    """Add --copies."""
    parser.add_argument(
        '--copies', type=int, choices=COPY_COUNTS, default=1,
        help='average over so many turned and enlarged copies of each picture: sharper, for as many times the time',
    )  # fmt: skip


def planned_copies(count: int, input_height: int, model: ObjectModel) -> list[Copy]:
    """
    Return the copies, the first of which is the picture itself.

    2 adds a larger input, 4 both sizes turned by 180 degrees, 8 those turned by 90 and 270 degrees; where training
    mirrors, turned copies are mirrored too.

    Raises:
        ConfigError: The count is none of these.
    """
    if count not in COPY_COUNTS:
        raise ConfigError(f'copies: wanted one of {", ".join(map(str, COPY_COUNTS))}, got {count}')
    enlarged = round(_ENLARGED * input_height / SIZE_MULTIPLE) * SIZE_MULTIPLE
    larger = min(max(enlarged, input_height + SIZE_MULTIPLE), MAX_INPUT_HEIGHT)
    mirrors = model.mirroring[0]
    copies = [Copy(t, mirrors and t > 0, h) for t in (0, 2, 1, 3) for h in (input_height, larger)]
    return list(dict.fromkeys(copies[:count]))  # there is nothing larger than the largest input


def averaged(poses: Sequence[KeypointPose], count: int) -> KeypointPose:
    """
    Return the first of several poses of one instance with keypoints averaged by their certainty.

    A keypoint far from where the picture has it, or where the picture has none from the median of the copies, does not
    count. The alternative is averaged over the copies that have one, the ambiguity over all.

    Args:
        poses: Of the picture, then of those copies in which the instance was found.
        count: Number of copies.
    """
    first = poses[0]
    points = np.stack([pose.keypoints for pose in poses])
    visible = np.stack([pose.visible for pose in poses])
    covariances = np.stack([pose.covariances for pose in poses])
    covariances[~visible] = np.eye(2)
    spread = np.trace(covariances, axis1=2, axis2=3)
    expected, expected_spread = points[0].copy(), spread[0].copy()
    lacking = ~visible[0] & visible.any(0)
    expected[lacking] = np.nanmedian(points[:, lacking], axis=0)
    expected_spread[lacking] = np.nanmedian(np.where(visible, spread, np.nan)[:, lacking], axis=0)
    used = visible & (((points - expected) ** 2).sum(2) <= _FARTHEST**2 * (spread + expected_spread))
    known = used.sum(0) >= count / 2
    information = np.linalg.inv(covariances) * used[..., None, None]
    total = information.sum(0)
    total[~known] = np.eye(2)
    weighted = np.einsum('nkij,nkj->ki', information, np.where(used[..., None], points, 0.0))
    mean = np.linalg.solve(total, weighted[..., None])[..., 0]
    one = np.linalg.inv(total) * np.maximum(used.sum(0), 1)[:, None, None]
    scores = np.stack([pose.scores for pose in poses])
    others = [pose.alternative for pose in poses if pose.alternative is not None]
    other = averaged(others, len(others)) if others else None
    if other is not None and not other.visible.any():  # the copies have different ones
        other = None
    return replace(
        first,
        alternative=other,
        ambiguity=0.0 if other is None else float(np.mean([pose.ambiguity for pose in poses])),
        keypoints=np.where(known[:, None], mean, np.nan),
        covariances=np.where(known[:, None, None], one, np.nan),
        scores=np.where(known, (scores * used).sum(0) / np.maximum(used.sum(0), 1), 0.0),
        visible=known,
        score=float(np.mean([pose.score for pose in poses])),
    )


def _distances(plain: Sequence[KeypointPose], poses: Sequence[KeypointPose]) -> np.ndarray:
    """Return (A, B) mean distances of common keypoints [px]; inf where two poses cannot be the same instance."""
    boxes = [pose.box for pose in plain]
    largest = [max(1.0, 0.5 * np.hypot(right - left, bottom - top)) for left, top, right, bottom in boxes]
    return mean_distances([seen_points(pose) for pose in plain], [seen_points(pose) for pose in poses], largest)
