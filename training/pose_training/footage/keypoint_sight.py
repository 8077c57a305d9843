"""Which keypoints of a rigid object are in sight in frames that nobody clicked: as in the clicked ones, or in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.raw_labels import ABSENT, SEEN, UNKNOWN

_BAND = 0.04  # cosine, on both sides of where a keypoint comes into sight, within which nobody can tell
_WELL_SEEN = 0.25  # cosine at which a facet of the hull is surely in front
_SLACK = 0.1  # cosine by which a facet may turn away beyond what was clicked as seen
_TURNED = np.cos(np.radians(7))  # from both clicked frames beside it: what had no label may have come into sight
_FAR_TURNED = np.cos(np.radians(30))  # the same of what has one: it may have gone out of sight, or come into it


def view_direction(pose: Rigid) -> np.ndarray:
    """Return the (3,) unit direction from which the camera sees the object, in the object's frame."""
    direction = -pose.rotation.T @ pose.translation
    return direction / np.linalg.norm(direction)


def sight_states(
    numbers: Sequence[int], clicked: Sequence[int], states: np.ndarray, facing: np.ndarray, views: np.ndarray
) -> np.ndarray:
    """
    Return the state (F, K) of every keypoint in every frame; UNKNOWN where the clicks do not tell.

    Between two clicked frames that agree it is theirs, unless the object has turned far from both or the hull of the
    keypoints hides what they saw. Where they do not agree the hull tells, if it tells every click as it is: a keypoint
    is seen from a cosine on in the middle between those of the clicks that see it and of those that do not, and in
    doubt close to that; edge-on, people label it or do not.

    Args:
        numbers: (F,) of the frames, the clicked ones among them.
        clicked: (C,) of the clicked frames, sorted.
        states: (C, K) in these.
        facing: (F, K) the largest cosine at which a facet of the hull at the keypoint faces the camera.
        views: (F, 3) unit directions to the camera in the object's frame.
    """
    own = np.searchsorted(numbers, clicked)
    at = np.searchsorted(clicked, numbers)
    first, last = np.clip(at - 1, 0, None), np.clip(at, None, len(clicked) - 1)
    near = np.maximum((views * views[own][first]).sum(1), (views * views[own][last]).sum(1))
    found = np.empty(facing.shape, int)
    for k, own_facing in enumerate(facing[own].T):
        before, after, now = states[first, k], states[last, k], facing[:, k]
        seen = states[:, k] == SEEN
        lowest = own_facing[seen].min(initial=1.0)
        highest = own_facing[~seen].max(initial=-1.0)
        sure = near > np.where(before == ABSENT, _TURNED, _FAR_TURNED)
        if seen.all():
            sure &= now > min(_WELL_SEEN, lowest - _SLACK)
        found[:, k] = np.where((before == after) & sure, before, UNKNOWN)
        others = set(states[~seen, k].tolist())
        if seen.any() and len(others) == 1 and highest < lowest:
            middle = (max(highest, 0.0) + lowest) / 2
            told = np.where(now > middle, SEEN, others.pop())
            told[np.abs(now - middle) < min(_BAND, (lowest - highest) / 2)] = UNKNOWN
            found[:, k] = told
    found[own] = states
    return found
