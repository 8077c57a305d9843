"""Keypoint errors of an estimator on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import mean_distances, nearest_pairs, seen_points
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.estimator import PoseEstimator
from training.pose_training.labels.coco import LabelledImage

MISSED_ERROR = 0.10  # a keypoint that is missing, farther off or invented counts as this share of the object's size
_KEYPOINT_SCORES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.6)  # thresholds that are tried
_HIDDEN_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # upper limits of the groups of `Accuracy.by_hidden_share`


@dataclass(frozen=True, eq=False)
class Accuracy:
    """
    Errors of A labelled instances with K keypoints.

    Attributes:
        errors_px: (A, K) distance between found and labelled keypoint in px of the original image; NaN where it is not
            to be found (absent or unknown), inf where it is but was not found.
        sizes_px: (A,) largest distance between two labelled keypoints of the instance.
        image_of: (A,) position of the instance's image in the list that was measured.
        swapped: (A,) bool, a left/right pair of the object was found in each other's place.
        false_instances: Instances found where nothing is labelled.
        states: (A, K) UNKNOWN, ABSENT, HIDDEN or SEEN.
        scores: (A, K) of keypoints that were found in the instance, wherever they are; else NaN.
    """

    errors_px: np.ndarray
    sizes_px: np.ndarray
    image_of: np.ndarray
    swapped: np.ndarray
    false_instances: int
    states: np.ndarray
    scores: np.ndarray

    @property
    def reported(self) -> np.ndarray:
        """(A, K) bool: keypoints that were found in the instance, wherever they are."""
        return np.isfinite(self.scores)

    @property
    def labelled(self) -> np.ndarray:
        """(A, K) bool: labelled keypoints."""
        return ~np.isnan(self.errors_px)

    @property
    def relative_errors(self) -> np.ndarray:
        """(A, K) errors as a share of the instance's size."""
        return self.errors_px / self.sizes_px[:, None]

    @property
    def invented(self) -> np.ndarray:
        """(A, K) bool: keypoints that are absent, but were found."""
        return self.reported & (self.states == ABSENT)

    @property
    def score(self) -> float:
        """Mean relative error; missed and invented keypoints and outliers count as MISSED_ERROR; 0 is perfect."""
        errors = np.minimum(self.relative_errors, MISSED_ERROR)[self.labelled]
        total = errors.size + int(self.invented.sum())
        return float((errors.sum() + MISSED_ERROR * (total - errors.size)) / total) if total else float('nan')

    @property
    def instance_scores(self) -> np.ndarray:
        """(A,) `score` of each instance; NaN for one without labels."""
        limited = np.minimum(self.relative_errors, MISSED_ERROR)
        limited[self.invented] = MISSED_ERROR
        known = ~np.isnan(limited)
        return np.where(known.any(1), np.nansum(limited, 1) / np.maximum(known.sum(1), 1), np.nan)

    @property
    def hidden_share(self) -> np.ndarray:
        """(A,) share of the keypoints of an instance that are hidden or absent, of those whose state is known."""
        return ((self.states == HIDDEN) | (self.states == ABSENT)).sum(1) / (self.states != UNKNOWN).sum(1)

    def by_hidden_share(self) -> list[dict[str, float]]:
        """Return the figures of the instances by the share of their keypoints that is not seen, 0 first."""
        group = np.searchsorted(_HIDDEN_SHARES, self.hidden_share)
        rows = []
        for number in np.unique(group).tolist():
            which = group == number
            part = Accuracy(
                self.errors_px[which], self.sizes_px[which], self.image_of[which], self.swapped[which], 0,
                self.states[which], self.scores[which],
            )  # fmt: skip
            figures = part.summary()
            names = ('instances', 'found', 'mean_px', 'mean_percent', 'p90_percent', 'absent', 'invented')
            share = float(self.hidden_share[which].mean())
            rows.append({'hidden_share': share, **{name: figures[name] for name in names}})
        return rows

    def by_keypoint_score(self, least: float) -> list[dict[str, float]]:
        """Return how many keypoints would be invented, and how many found ones lost, at thresholds above `least`."""
        found = np.isfinite(self.errors_px)
        return [
            {
                'keypoint_score': score,
                'invented': int((self.invented & (self.scores >= score)).sum()),
                'lost': int((found & (self.scores < score)).sum()),
                'found': int(found.sum()),
            }
            for score in _KEYPOINT_SCORES
            if score > least
        ]

    def pck_px(self, limit: float) -> float:
        """Share of the labelled keypoints found within a distance [px]."""
        return float((self.errors_px[self.labelled] <= limit).mean()) if self.labelled.any() else float('nan')

    def pck(self, limit: float) -> float:
        """Share of the labelled keypoints found within a share of the object's size."""
        return float((self.relative_errors[self.labelled] <= limit).mean()) if self.labelled.any() else float('nan')

    def summary(self) -> dict[str, float]:
        """Return the figures for logs and metrics.json; means are over the keypoints that were found."""
        found = np.isfinite(self.errors_px)
        errors, relative = self.errors_px[found], self.relative_errors[found]
        none = float('nan')
        return {
            'instances': len(self.errors_px),
            'found': float(found.sum() / max(self.labelled.sum(), 1)),
            'mean_px': float(errors.mean()) if errors.size else none,
            'median_px': float(np.median(errors)) if errors.size else none,
            'rmse_px': float(np.sqrt((errors**2).mean())) if errors.size else none,
            'mean_percent': float(relative.mean() * 100) if errors.size else none,
            'p90_percent': float(np.percentile(relative, 90) * 100) if errors.size else none,
            'pck_5px': self.pck_px(5.0),
            'pck_5percent': self.pck(0.05),
            'swapped': int(self.swapped.sum()),
            'false_instances': self.false_instances,
            'absent': int((self.states == ABSENT).sum()),
            'invented': int(self.invented.sum()),
            'score': self.score,
        }


def measure(
    estimator: PoseEstimator,
    images: Sequence[LabelledImage],
    on_image: Callable[[LabelledImage, list[KeypointPose]], None] | None = None,
) -> Accuracy:
    """
    Run the estimator on labelled images and compare.

    Args:
        estimator: What finds the instances.
        images: Labels of the images, which are read one after another.
        on_image: Called with the labels and what was found in each image.

    Raises:
        DatasetError: An image cannot be read.
    """
    model = estimator.model
    errors, sizes, image_of, swapped, scores, false_instances = [], [], [], [], [], 0
    for i, labels in enumerate(images):
        poses = estimator(labels.read())
        if on_image is not None:
            on_image(labels, poses)
        assigned = match(labels, poses)
        used = {j for j in assigned if j is not None}
        false_instances += 0 if len(labels.crowds) else len(poses) - len(used)
        for keypoints, labelled, j in zip(labels.keypoints, labels.labelled, assigned):
            pose = None if j is None else poses[j]
            errors.append(keypoint_errors(keypoints, labelled, pose))
            sizes.append(instance_size(keypoints[labelled], labels))
            image_of.append(i)
            swapped.append(pose is not None and is_swapped(keypoints, labelled, pose, model))
            missed = np.full(len(labelled), np.nan)
            scores.append(missed if pose is None else np.where(pose.visible, pose.scores, np.nan))
    return Accuracy(
        np.array(errors, float).reshape(-1, model.keypoint_count),
        np.array(sizes, float),
        np.array(image_of, int),
        np.array(swapped, bool),
        false_instances,
        np.concatenate([image.states for image in images]),
        np.array(scores, float).reshape(-1, model.keypoint_count),
    )


def match(labels: LabelledImage, poses: Sequence[KeypointPose]) -> list[int | None]:
    """Return for each labelled instance the pose that is nearest to it, each pose once, nearest pairs first."""
    labelled = list(zip(labels.keypoints, labels.labelled))
    sizes = [instance_size(points[known], labels) for points, known in labelled]
    points = [np.where(known[:, None], points, np.nan) for points, known in labelled]
    pose_of = dict(nearest_pairs(mean_distances(points, [seen_points(pose) for pose in poses], sizes)))
    return [pose_of.get(i) for i in range(len(points))]


def keypoint_errors(keypoints: np.ndarray, labelled: np.ndarray, pose: KeypointPose | None) -> np.ndarray:
    """Return (K,) distances [px]; NaN where not labelled, inf where not found."""
    errors = np.full(len(labelled), np.inf)
    if pose is not None:
        errors[pose.visible] = np.linalg.norm(pose.keypoints[pose.visible] - keypoints[pose.visible], axis=1)
    errors[~labelled] = np.nan
    return errors


def instance_size(points: np.ndarray, labels: LabelledImage) -> float:
    """Return the largest distance between two points [px]; for a single point 10 % of the image's height."""
    if len(points) < 2:
        return 0.1 * labels.height
    return max(float(np.linalg.norm(points[:, None] - points[None], axis=-1).max()), 1.0)


def is_swapped(
    keypoints: np.ndarray,
    labelled: np.ndarray,
    pose: KeypointPose,
    model: ObjectModel,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> bool:
    """
    Return whether the points of a left/right pair together lie nearer to each other's labels than to their own.

    Args:
        keypoints: (K, 2) labels [px].
        labelled: (K,) bool.
        pose: What was found.
        model: The object.
        pairs: Pairs of keypoints to look at; default: all left/right pairs of the object.
    """
    for a, b in model.swaps if pairs is None else pairs:
        if labelled[[a, b]].all() and pose.visible[[a, b]].all():
            crossed = np.linalg.norm(pose.keypoints[[a, b]] - keypoints[[b, a]], axis=1).sum()
            straight = np.linalg.norm(pose.keypoints[[a, b]] - keypoints[[a, b]], axis=1).sum()
            if crossed < straight:
                return True
    return False
