"""CameraRateEstimator: orientations for every image of a camera, while the keypoints of some of them come late."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

_MOST_STEPS = 32  # images whose keypoints may still come; older ones are forgotten
_MOST_BYTES = 128 * 2**20  # of them


@dataclass(eq=False)
class _Step:
    """An image that was followed, and the estimator as it was before it."""

    stamp_s: float
    image: np.ndarray
    before: OrientationEstimator


class CameraRateEstimator:
    """
    Follows each image by the outline at once; keypoints, when they come, count in the image they were found in.

    For that the estimator goes back to before that image, and follows the later ones again.

    Attributes:
        estimator: as it is after the newest image.
    """

    def __init__(self, estimator: OrientationEstimator):
        self.estimator = estimator
        self._steps: deque[_Step] = deque()
        self._forgotten_s = -math.inf  # no step before this time is left

    @property
    def smoothing(self) -> bool:
        """As of the estimator."""
        return self.estimator.smoothing

    @smoothing.setter
    def smoothing(self, smoothing: bool) -> None:
        self.estimator.smoothing = smoothing

    @property
    def withheld(self) -> int:
        """As of the estimator."""
        return self.estimator.withheld

    @property
    def refusals(self) -> list[tuple[int | None, str]]:
        """As of the estimator."""
        return self.estimator.refusals

    def follow(self, stamp_s: float, image: np.ndarray) -> list[OrientationEstimate]:
        """Return the estimates in the newest image, see `OrientationEstimator.follow`."""
        if self._steps and stamp_s <= self._steps[-1].stamp_s:  # time was set back
            self._steps.clear()
            self._forgotten_s = -math.inf
        most = min(_MOST_STEPS, max(1, _MOST_BYTES // image.nbytes))
        while len(self._steps) >= most:
            self._forgotten_s = self._steps.popleft().stamp_s
        self._steps.append(_Step(stamp_s, image, self.estimator.branch()))
        return self.estimator.follow(stamp_s, image)

    def update(
        self, poses: Sequence[KeypointPose], stamp_s: float, image: np.ndarray | None = None
    ) -> list[OrientationEstimate]:
        """
        Take in what was found in an image, also in an earlier one.

        Args:
            poses: as for `OrientationEstimator.update`.
            stamp_s: time of their image [s].
            image: that image; None: the one that was followed with this stamp, if any.

        Returns:
            The estimates in the image of the poses; none where so many images came since that it is forgotten.
        """
        if stamp_s <= self._forgotten_s:
            self.estimator.refusals = [(pose.track_id, 'its keypoints came too late') for pose in poses]
            return []
        while self._steps and self._steps[0].stamp_s < stamp_s:
            self._steps.popleft()
        later, self._steps = self._steps, deque()
        if later:
            withheld, self.estimator = self.estimator.withheld, later[0].before
            self.estimator.withheld = withheld
        if later and later[0].stamp_s == stamp_s:
            step = later.popleft()
            image = step.image if image is None else image
        estimates = self.estimator.update(poses, stamp_s, image)
        refusals = self.estimator.refusals
        for step in later:
            self.follow(step.stamp_s, step.image)
        self.estimator.refusals = refusals
        return estimates
