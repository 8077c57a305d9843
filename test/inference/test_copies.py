"""Copies of a picture: each leads exactly back to it, and their keypoints are averaged by what they are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.copies import CopiesEstimator, Copy, averaged, planned_copies

MODEL = {
    'name': 'dots',
    'keypoints': ['nose', 'left', 'right'],
    'skeleton': [['nose', 'left'], ['nose', 'right']],
    'swaps': [['left', 'right']],
}


def pose(points, deviation=1.0, visible=(True, True, True), score=0.9):
    visible = np.array(visible)
    return KeypointPose(
        keypoints=np.where(visible[:, None], points, np.nan),
        covariances=np.where(visible[:, None, None], np.diag([1.0, 4.0]) * deviation**2, np.nan),
        scores=visible * 0.8,
        visible=visible,
        score=score,
    )


POINTS = np.array([[7.0, 3.0], [20.0, 11.0], [2.0, 9.0]])


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('turns', range(4))
def test_a_place_in_a_copy_is_that_place_in_the_picture(turns, mirrored):
    """Pixels are painted where the keypoints are, found in the copy, and led back."""
    flip = np.array([0, 2, 1])
    image = np.zeros((15, 24, 3), np.uint8)
    for k, (x, y) in enumerate(POINTS.astype(int)):
        image[y, x, k] = 255
    copy = Copy(turns, mirrored, 64)
    turned = copy.made_of(image)
    found = np.array([np.argwhere(turned[..., k])[0][::-1] for k in range(3)], float)
    if mirrored:
        found = found[flip]  # a network sees the left of a mirrored object where its right is
    along = pose(found)
    back = copy.pose_back(along, turned.shape, flip)
    np.testing.assert_array_equal(back.keypoints, POINTS)
    wide = np.diag([1.0, 4.0] if turns % 2 == 0 else [4.0, 1.0])
    np.testing.assert_allclose(back.covariances, [wide] * 3)


def test_keypoints_are_averaged_by_their_certainty():
    mean = averaged([pose(POINTS), pose(POINTS + [3.0, 0.0], deviation=0.5)], 2)
    np.testing.assert_allclose(mean.keypoints, POINTS + [2.4, 0.0])  # weights 1 and 4
    np.testing.assert_allclose(mean.covariances[0], np.diag([1.0, 4.0]) * 2 / 5)  # those of one copy
    assert mean.score == pytest.approx(0.9)


def test_a_copy_that_found_another_place_does_not_count():
    mean = averaged([pose(POINTS), pose(POINTS + [0.5, 0.0]), pose(POINTS + [[40.0, 0.0], [0.5, 0.0], [0.5, 0.0]])], 4)
    np.testing.assert_allclose(mean.keypoints[:, 0] - POINTS[:, 0], [0.25, 1 / 3, 1 / 3])


def test_where_the_picture_lacks_a_keypoint_the_copies_must_agree():
    lacking = pose(POINTS, visible=(True, True, False))
    away = pose(POINTS + [[0.0, 0.0], [0.0, 0.0], [40.0, 0.0]])
    near = [pose(POINTS - [0.5, 0.0]), pose(POINTS + [0.5, 0.0])]
    mean = averaged([lacking, near[0], away, near[1]], 4)
    np.testing.assert_allclose(mean.keypoints[2], POINTS[2])  # of the two that agree
    apart = averaged([lacking, near[0], away], 4)
    assert apart.visible.tolist() == [True, True, False] and np.isnan(apart.keypoints[2]).all()


def test_a_keypoint_of_fewer_than_half_of_the_copies_is_not_reported():
    alone = averaged([pose(POINTS), pose(POINTS, visible=(True, True, False))], 4)
    assert alone.visible.tolist() == [True, True, False]
    assert np.isnan(alone.keypoints[2]).all() and alone.scores[2] == 0
    added = averaged([pose(POINTS, visible=(True, True, False)), pose(POINTS)], 2)
    np.testing.assert_allclose(added.keypoints, POINTS)


def test_the_other_identity_is_led_back_and_averaged_too():
    ambiguous = replace(pose(POINTS), alternative=pose(POINTS[::-1]), ambiguity=0.8)
    turned = Copy(2, False, 64)
    back = turned.pose_back(ambiguous, (15, 24, 3), np.arange(3))
    np.testing.assert_array_equal(back.alternative.keypoints, [23, 14] - POINTS[::-1])
    mean = averaged([ambiguous, replace(pose(POINTS), alternative=pose(POINTS[::-1] + 1.0), ambiguity=0.4)], 2)
    np.testing.assert_allclose(mean.alternative.keypoints, POINTS[::-1] + 0.5)
    assert mean.ambiguity == pytest.approx(0.6)
    assert averaged([pose(POINTS), pose(POINTS)], 2).alternative is None


def test_the_first_copy_is_the_picture_itself():
    model = ObjectModel.from_dict(MODEL, 'dots')
    plans = {count: planned_copies(count, 256, model) for count in (1, 2, 4, 8)}
    assert all(plan[0] == Copy(0, False, 256) and len(set(plan)) == count for count, plan in plans.items())
    assert plans[2][1].height == 320
    assert planned_copies(2, 64, model)[1].height == 96  # the next size, though that is more than a quarter larger
    assert [copy.mirrored for copy in plans[4]] == [False, False, True, True]
    upright = planned_copies(4, 1024, ObjectModel.from_dict({**MODEL, 'mirror': 'no'}, 'dots'))
    assert not any(copy.mirrored for copy in upright) and {copy.height for copy in upright} == {1024}
    with pytest.raises(ConfigError, match='1, 2, 4, 8, got 3'):
        planned_copies(3, 256, model)


def test_an_alternative_of_which_no_two_copies_find_the_same_is_none():
    poses = [replace(pose(POINTS), alternative=pose(POINTS + 90.0 * k), ambiguity=0.8) for k in range(3)]
    mean = averaged(poses, 3)
    assert mean.alternative is None and mean.ambiguity == 0.0


def test_an_instance_that_the_copies_do_not_show_is_not_reported():
    """Its keypoints are all found in fewer than half of the copies: nothing of it is left."""
    model = ObjectModel.from_dict(MODEL, 'dots')
    estimator = object.__new__(CopiesEstimator)
    estimator.model, estimator.thresholds = model, model.thresholds
    estimator._copies = planned_copies(4, 64, model)
    picture = np.zeros((15, 24, 3), np.uint8)
    found = iter([[pose(POINTS)], [], [], []])
    estimator._estimators = dict.fromkeys({copy.height for copy in estimator._copies}, lambda _: next(found))
    assert estimator.batch([picture]) == [[]]
