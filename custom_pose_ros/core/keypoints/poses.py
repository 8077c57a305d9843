"""KeypointPose: the 2-D keypoints of one object instance, as they travel from decoding to orientation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class KeypointPose:
    """
    One instance of the object in one image. K is the number of keypoints of the object file.

    Arrays are always full length and in object-file order. A keypoint that was not found has
    ``visible[k] == False``, NaN position and covariance, and score 0.

    Attributes:
        keypoints: (K, 2) float64, pixels of the given image; (0, 0) is the centre of the top-left pixel.
        covariances: (K, 2, 2) float64, px^2, uncertainty of each position.
        scores: (K,) float64 in [0, 1], peak height of each keypoint.
        visible: (K,) bool, True where the keypoint was found.
        score: mean of the visible keypoint scores and of the limb scores that join them, in [0, 1].
        track_id: the same number for the same instance over time, or None when nobody tracks.
        alternative: the same object with other keypoints on the same places (a board turned by 180 degrees), where the
            image leaves open which of the two it is; else None. It has no alternative of its own.
        ambiguity: how likely the alternative is compared with this pose, in [0, 1]: the ratio of their scores over the
            keypoints in which they differ; 0 without one.
    """

    keypoints: np.ndarray
    covariances: np.ndarray
    scores: np.ndarray
    visible: np.ndarray
    score: float
    track_id: int | None = None
    alternative: KeypointPose | None = None
    ambiguity: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.visible)
        for name, dtype, shape in (
            ('keypoints', float, (count, 2)),
            ('covariances', float, (count, 2, 2)),
            ('scores', float, (count,)),
            ('visible', bool, (count,)),
        ):
            array = np.asarray(getattr(self, name), dtype)
            if array.shape != shape:
                raise ValueError(f'{name} must have shape {shape}, got {array.shape}')
            object.__setattr__(self, name, array)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the visible keypoints [px]; NaN when none is visible."""
        points = self.keypoints[self.visible]
        if not len(points):
            return (np.nan, np.nan, np.nan, np.nan)
        return (*points.min(0).tolist(), *points.max(0).tolist())

    def with_track_id(self, track_id: int | None) -> KeypointPose:
        """Return the same pose with another track id."""
        return replace(self, track_id=track_id)

    def exchanged(self) -> KeypointPose:
        """Return the alternative as the pose, and the pose as its alternative; the same pose without one."""
        if self.alternative is None:
            return self
        ambiguity = min(1.0, 1.0 / self.ambiguity) if self.ambiguity else 1.0
        other = replace(self, alternative=None, ambiguity=0.0)
        return replace(self.alternative, alternative=other, ambiguity=ambiguity, track_id=self.track_id)
