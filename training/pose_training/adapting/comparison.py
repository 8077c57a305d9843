"""Whether a network got better on footage that it has not learned from: figures before and after, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.inference.copies import CopiesEstimator
from custom_pose_ros.inference.estimator import PoseEstimator
from training.pose_training.adapting.film_sights import COPIES, Sight
from training.pose_training.judging.accuracy import measure
from training.pose_training.labels.coco import LabelledImage

_BETTER = 0.95  # of the error before: at most that much after
_STEADIER = 0.8  # of the spread of the copies before: the same, where the error from a followed body is no larger
_LABELS_WORSE = 1.02  # of the error on labels before: at most that much after
_LESS_FOUND = 0.01  # share of the keypoints
_LESS_AGREED = 0.02  # share of the frames
_WIDER = 1.1  # spread of the copies
_LESS_SURE = 0.02  # ambiguity


@dataclass(frozen=True, eq=False)
class Figures:
    """
    What a network does on held-out frames and on labels.

    Attributes:
        score: Mean error as a share of the object's size, what is missing or invented counted; 0 is perfect.
        error_px: Mean distance of found keypoints from where motion and rigid body have them.
        found: Share of the keypoints that are there, that are found.
        invented: Keypoints found that the object itself hides.
        surplus: Instances beside the object.
        agreed: Share of the frames in which turned and enlarged copies agree on one object, one way round.
        spread_percent: Median spread of the copies' keypoints as a share of the object's size.
        ambiguity: Mean likelihood of the other way round; the margin against it is 1 less this.
        label_score: As `score`, on labelled pictures; NaN without any.
        poses: What is found in each held-out frame.
    """

    score: float
    error_px: float
    found: float
    invented: int
    surplus: int
    agreed: float
    spread_percent: float
    ambiguity: float
    label_score: float
    poses: list[list[KeypointPose]]

    def rows(self) -> dict[str, float]:
        """Return the figures by the text that names them."""
        return {
            'mean error from the followed object, missing and invented counted [% of its size]': 100 * self.score,
            'mean error of what is found [px]': self.error_px,
            'keypoints found [%]': 100 * self.found,
            'keypoints invented': self.invented,
            'surplus objects': self.surplus,
            'frames in which copies agree [%]': 100 * self.agreed,
            'spread of the copies [% of its size]': self.spread_percent,
            'margin against the turned object': 1 - self.ambiguity,
            'mean error on labels, missing and invented counted [% of its size]': 100 * self.label_score,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for a JSON file; None for what is not known."""
        return {name: value if np.isfinite(value) else None for name, value in self.rows().items()}


class _Watched(CopiesEstimator):
    """Finds what the picture itself shows, and keeps what the copies show of it."""

    def __init__(self, estimator: PoseEstimator):
        super().__init__(estimator, COPIES)
        self.sights: list[list[Sight]] = []
        self.poses: list[list[KeypointPose]] = []

    def batch(self, images: Sequence[np.ndarray], streams: Sequence[str] | None = None) -> list[list[KeypointPose]]:
        found = []
        for image in images:
            instances = self.in_copies(image)
            self.sights.append([Sight.of_copies(copies) for copies in instances])
            found.append([copies[0] for copies in instances if copies[0] is not None])
        self.poses += found
        return found


def figures_of(
    estimator: PoseEstimator, held_out: Sequence[LabelledImage], labelled: Sequence[LabelledImage]
) -> Figures:
    """
    Measure a network.

    Args:
        estimator: The network.
        held_out: Frames with the places that motion and rigid body have confirmed.
        labelled: Pictures that a person labelled.
    """
    watched = _Watched(estimator)
    accuracy = measure(watched, held_out)
    own = [sights[0] for sights in watched.sights if sights]
    summary = accuracy.summary()
    agreed = [len(sights) == 1 and sights[0].agreed for sights in watched.sights]
    spreads = np.concatenate([sight.spread_px / sight.size_px for sight in own] or [np.array([np.nan])])
    return Figures(
        score=accuracy.score,
        error_px=summary['mean_px'],
        found=summary['found'],
        invented=int(summary['invented']),
        surplus=int(summary['false_instances']),
        agreed=float(np.mean(agreed)),
        spread_percent=float(100 * np.nanmedian(spreads)) if np.isfinite(spreads).any() else float('nan'),
        ambiguity=float(np.mean([sight.pose.ambiguity for sight in own])) if own else float('nan'),
        label_score=measure(estimator, labelled).score if labelled else float('nan'),
        poses=watched.poses,
    )


def reasons_against(before: Figures, after: Figures, rigid: bool) -> list[str]:
    """
    Return why the network that was trained on is not to be used; empty when it is better.

    Args:
        before: Figures of the network that was given.
        after: Figures of the one that was trained on.
        rigid: One rigid body gave the places. Their error is in both figures then, so that less scatter counts, too.
    """
    reasons = []
    steadier = rigid and after.score <= before.score and after.spread_percent <= _STEADIER * before.spread_percent
    if not (steadier or after.score <= _BETTER * before.score):
        reasons.append(
            f'its error on held-out footage is {after.score:.2%} of the size of the object, and was {before.score:.2%}'
        )
    if after.label_score > _LABELS_WORSE * before.label_score:
        reasons.append(f'its error on labels is {after.label_score:.2%}, and was {before.label_score:.2%}')
    if after.found < before.found - _LESS_FOUND:
        reasons.append(f'it finds {after.found:.1%} of the keypoints, and found {before.found:.1%}')
    for name, now, was in (
        ('surplus objects', after.surplus, before.surplus),
        ('invented keypoints', after.invented, before.invented),
    ):
        if now > was:
            reasons.append(f'it finds {now} {name}, and found {was}')
    if after.agreed < before.agreed - _LESS_AGREED:
        reasons.append(f'copies agree in {after.agreed:.0%} of the frames, and did in {before.agreed:.0%}')
    if not after.spread_percent <= _WIDER * before.spread_percent:
        reasons.append(f'its copies spread by {after.spread_percent:.2f} %, and did by {before.spread_percent:.2f} %')
    if not after.ambiguity <= before.ambiguity + _LESS_SURE:
        reasons.append(
            f'its margin against the turned object is {1 - after.ambiguity:.2f}, and was {1 - before.ambiguity:.2f}'
        )
    return reasons
