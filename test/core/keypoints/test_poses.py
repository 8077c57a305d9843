"""KeypointPose: shapes, box, track id."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.keypoints.poses import KeypointPose


def pose_of(**changes) -> KeypointPose:
    values = {
        'keypoints': [[10, 40], [30, 20], [np.nan, np.nan]],
        'covariances': np.tile(np.eye(2), (3, 1, 1)),
        'scores': [0.5, 1.0, 0.0],
        'visible': [True, True, False],
        'score': 0.75,
    }
    return KeypointPose(**{**values, **changes})


def test_arrays_become_float_and_bool():
    pose = pose_of()
    assert [a.dtype for a in (pose.keypoints, pose.covariances, pose.scores)] == [np.float64] * 3
    assert pose.visible.dtype == bool
    assert pose.track_id is None


def test_box_covers_visible_keypoints_only():
    assert pose_of().box == (10.0, 20.0, 30.0, 40.0)


def test_box_of_nothing_is_nan():
    assert np.isnan(pose_of(visible=[False] * 3).box).all()


def test_with_track_id_keeps_everything_else():
    pose = pose_of()
    tracked = pose.with_track_id(7)
    assert (tracked.track_id, pose.track_id) == (7, None)
    assert tracked.keypoints is pose.keypoints
    assert tracked.score == pose.score


@pytest.mark.parametrize(
    ('changes', 'facts'),
    [
        ({'keypoints': np.zeros((4, 2))}, ('keypoints', '(4, 2)')),
        ({'covariances': np.zeros((3, 2))}, ('covariances', '(3, 2)')),
        ({'scores': np.zeros((3, 1))}, ('scores', '(3, 1)')),
        ({'visible': np.zeros((3, 1), bool)}, ('visible', '(3, 1)')),
    ],
)
def test_wrong_shapes_are_refused(changes, facts):
    with pytest.raises(ValueError) as error:
        pose_of(**changes)
    assert all(fact in str(error.value) for fact in facts)


def test_is_frozen_and_takes_keywords_only():
    with pytest.raises(AttributeError):
        pose_of().score = 1.0
    with pytest.raises(TypeError):
        KeypointPose(np.zeros((1, 2)))
