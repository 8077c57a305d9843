"""States of keypoints as a network learns them and is measured by: what has no label is absent, or nobody knows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.errors import listed
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel

_NAMED = 4  # keypoints in a line


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
    ways = {
        ABSENT: 'learned as absent: {}; if they were there and only not labelled, write unlabelled: unknown',
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
    return notes
