"""States of keypoints as a network learns them and is measured by: what has no label is absent, or nobody knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.errors import listed
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from custom_pose_ros.core.object_checks import unconnected
from custom_pose_ros.core.object_model import ObjectModel

_NAMED = 4  # keypoints in a line
_FEW = 0.05  # of the objects, too few to speak of


class StateRule(NamedTuple):
    """
    How the labels of one file are taken.

    Attributes:
        absent: (K,) bool: without a label, the keypoint is absent; False: nobody knows.
        hidden: State of what is labelled as hidden: HIDDEN, or ABSENT where it is not to be found.
    """

    absent: np.ndarray
    hidden: int

    @classmethod
    def of(cls, flags: np.ndarray, model: ObjectModel) -> StateRule:
        """
        Return the rule of an object file for the labels of one file.

        Args:
            flags: (A, K) settled visibilities of all its objects.
            model: The object.
        """
        # Who has labelled a keypoint somewhere knows it: without a label, it was not to be seen.
        by_file = (flags.reshape(-1, model.keypoint_count) >= HIDDEN).any(0)
        absent = by_file if model.unlabelled == 'auto' else np.full(len(by_file), model.unlabelled == 'absent')
        return cls(absent, ABSENT if model.hidden == 'absent' else HIDDEN)

    def states(self, flags: np.ndarray) -> np.ndarray:
        """
        Return the states (A, K) of settled visibilities (A, K).

        An object none of whose keypoints is seen is not to be found, whatever is known about their places.
        """
        states = np.select([flags == SEEN, flags == HIDDEN, self.absent], [SEEN, self.hidden, ABSENT], UNKNOWN)
        nothing_seen = ~(states == SEEN).any(1, keepdims=True)
        return np.where(nothing_seen & (states == HIDDEN), ABSENT, states)


def state_notes(states: np.ndarray, model: ObjectModel) -> list[str]:
    """Say which keypoints are not seen in which share of A objects, and how they are taken; states: (A, K)."""
    known = ', or hidden: known for those labelled as hidden,' * (model.hidden == 'absent')
    ways = {
        ABSENT: f'learned as absent: {{}}; if they were there and only not labelled, write unlabelled: unknown{known}',
        HIDDEN: 'hidden, learned at their place: {}; if they are not to be found, write hidden: absent',
        UNKNOWN: 'without a label and not learned there: {}; if they were not to be seen, write unlabelled: absent',
    }
    notes = []
    for state, text in ways.items():
        counts = (states == state).sum(0)
        named = [f'{model.keypoint_names[k]} ({counts[k]} of {len(states)})' for k in np.flatnonzero(counts)]
        if named:
            notes.append(f'{text.format(listed(named, _NAMED))} in the object file')
    never = [name for name, found in zip(model.keypoint_names, (states >= HIDDEN).any(0)) if not found]
    if never and len(states):
        notes.append(f'never to be found in these labels, so that no network learns them: {listed(never, _NAMED)}')
    if torn := _torn(states, model):
        notes.append(torn)
    return notes


def _torn(states: np.ndarray, model: ObjectModel) -> str:
    """Say that the skeleton does not hold objects together without their absent keypoints; '' where few fall apart."""
    present = states >= HIDDEN
    apart = unconnected(present, model.skeleton)
    torn = np.flatnonzero(apart.any(1))
    if len(torn) <= _FEW * len(states):
        return ''
    names, i = np.array(model.keypoint_names), torn[0]
    one, other = (listed(names[which].tolist(), _NAMED) for which in (present[i] & ~apart[i], apart[i]))
    return (
        f'{len(torn)} of {len(states)} objects fall apart without what is absent, such as {one} from {other}, which no '
        f'limb of the skeleton joins; add one, or they are found as two objects or not at all'
    )
