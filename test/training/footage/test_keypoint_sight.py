"""Which keypoints are in sight between clicked frames, and where nobody can tell."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from training.pose_training.footage.keypoint_sight import sight_states

NUMBERS, CLICKED = list(range(9)), [0, 4, 8]


def states(clicked_states: list[int], cosines: np.ndarray, degrees: np.ndarray) -> list[int]:
    """Return the states of one keypoint in nine frames."""
    angles = np.radians(degrees)
    views = np.column_stack([np.cos(angles), np.sin(angles), np.zeros(9)])
    return sight_states(NUMBERS, CLICKED, np.array(clicked_states)[:, None], cosines[:, None], views)[:, 0].tolist()


def test_what_clicks_agree_on_holds_between_them() -> None:
    for state in (ABSENT, HIDDEN, SEEN):
        assert states([state] * 3, np.full(9, 0.6), np.arange(9.0)) == [state] * 9


def test_out_of_sight_is_in_doubt_where_the_object_has_turned() -> None:
    degrees = np.array([0, 4, 15, 4, 0, 0, 0, 0, 0])
    assert states([ABSENT] * 3, np.full(9, -1.0), degrees)[2] == UNKNOWN
    assert states([HIDDEN] * 3, np.full(9, -1.0), degrees)[2] == HIDDEN  # its place is known all the same


def test_what_comes_into_sight_counts_from_the_middle_between_the_clicks() -> None:
    cosines = np.array([0.0, 0.05, 0.14, 0.25, 0.3, 0.3, 0.3, 0.3, 0.3])
    found = states([ABSENT, SEEN, SEEN], cosines, np.zeros(9))
    assert found == [ABSENT, ABSENT, UNKNOWN, SEEN, SEEN, SEEN, SEEN, SEEN, SEEN]


def test_a_hull_that_contradicts_a_click_tells_nothing() -> None:
    cosines = np.array([0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3])
    found = states([ABSENT, SEEN, SEEN], cosines, np.zeros(9))
    assert found == [ABSENT, UNKNOWN, UNKNOWN, UNKNOWN, SEEN, SEEN, SEEN, SEEN, SEEN]


def test_a_facet_that_turns_away_between_two_clicks_is_in_doubt() -> None:
    cosines = np.array([0.5, 0.5, 0.02, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert states([SEEN] * 3, cosines, np.zeros(9))[2] == UNKNOWN
