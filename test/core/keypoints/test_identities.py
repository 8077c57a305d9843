"""One object, one pose: identities on one place become an alternative, real objects that overlap stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.keypoints import identities
from custom_pose_ros.core.keypoints.grouping import group_poses
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.identities import compare
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.core.object_model import ObjectModel

STRIDE, SIGMA, SHAPE = 8, 7.0, (40, 52)
# A printed board: corners, middles, and two marks that tell its ends apart.
NAMES = ('top_left', 'top_right', 'bottom_right', 'bottom_left', 'top', 'bottom', 'mark_top', 'mark_bottom')
BOARD = np.array(
    [[-100, 60], [100, 60], [100, -60], [-100, -60], [0, 60], [0, -60], [-50, 36], [-50, -36]], float
)  # fmt: skip
LIMBS = ((0, 4), (4, 1), (1, 2), (2, 5), (5, 3), (3, 0), (0, 6), (3, 7), (6, 7), (4, 5))
ALL = np.ones(8, bool)


def board_model(limbs=LIMBS, **thresholds) -> ObjectModel:
    return ObjectModel(
        name='board',
        keypoint_names=NAMES,
        skeleton=tuple(limbs),
        sigmas=np.full(8, 0.03),
        thresholds=Thresholds(**thresholds),
    )


MODEL = board_model()


def at(points, centre=(210, 160), angle_deg=20.0, size=1.0) -> np.ndarray:
    a = np.deg2rad(angle_deg)
    return size * points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + centre


RIGHT, TURNED = at(BOARD), at(-BOARD)


def maps_of(instances, model=MODEL) -> tuple[np.ndarray, np.ndarray]:
    """Maps of (points, height of peaks and limbs, visible) as a network that divides its belief would give them."""
    heatmaps = np.zeros((len(model.keypoint_names) + 1, *SHAPE), np.float32)
    pafs = np.zeros((2 * len(model.skeleton), *SHAPE), np.float32)
    for points, height, visible in instances:
        heatmaps = np.maximum(heatmaps, height * encode_heatmaps(points[None], visible[None], SHAPE, STRIDE, SIGMA))
        pafs += np.float32(height) * encode_pafs(points[None], visible[None], model.skeleton, SHAPE, STRIDE)
    return heatmaps, pafs


def one_object(points, heights) -> set[tuple[int, int]]:
    """The pairs of instances that are one object."""
    pairs = compare(np.asarray(points), np.asarray(heights), STRIDE)
    return set() if pairs is None else set(zip(pairs.first[pairs.one_object], pairs.second[pairs.one_object]))


def grouped(*instances, model=MODEL):
    return group_poses(*maps_of(instances, model), model)


def test_two_identities_on_one_board_are_one_pose_with_an_alternative():
    (pose,) = grouped((RIGHT, 0.49, ALL), (TURNED, 0.47, ALL))
    np.testing.assert_allclose(pose.keypoints, RIGHT, atol=0.5)
    np.testing.assert_allclose(pose.alternative.keypoints, TURNED, atol=0.5)
    # The limb across the middle is there for both, in opposite directions: both scores lack a tenth of its part.
    assert pose.score == pytest.approx(0.49, abs=0.03)
    assert pose.ambiguity == pytest.approx(0.47 / 0.49, abs=0.01)
    assert pose.ambiguity == pytest.approx(pose.alternative.score / pose.score, abs=0.01)
    assert pose.alternative.alternative is None


def test_identities_stay_one_pose_where_peaks_are_off_by_a_few_pixels():
    rng = np.random.default_rng(0)
    for _ in range(20):
        turned = TURNED + rng.normal(0, 2.4, (8, 2))  # the error of a network at this size
        (pose,) = grouped((RIGHT, 0.49, ALL), (turned, 0.47, ALL))
        assert pose.ambiguity == pytest.approx(0.96, abs=0.04)


@pytest.mark.parametrize('seen', [[0, 3, 4], [1, 2, 4], [0, 1, 3, 4], [2, 3, 5], [0, 1, 2, 4, 5]])
def test_a_fragment_of_the_other_identity_inside_a_whole_one_is_no_second_object(seen):
    visible = np.isin(np.arange(8), seen)
    (pose,) = grouped((RIGHT, 0.6, ALL), (TURNED, 0.4, visible))
    assert pose.visible.all()
    np.testing.assert_allclose(pose.alternative.keypoints[seen], TURNED[seen], atol=0.5)
    assert 0.2 < pose.ambiguity < 0.7  # 0.4 / 0.6 of the part that is there


def test_a_weaker_identity_below_the_thresholds_is_told_as_well():
    (pose,) = grouped((TURNED, 0.78, ALL), (RIGHT, 0.2, ALL))
    np.testing.assert_allclose(pose.alternative.keypoints, RIGHT, atol=0.5)
    assert pose.ambiguity == pytest.approx(0.2 / 0.78, abs=0.03)


def test_thresholds_below_those_of_rivals_change_nothing():
    model = board_model(keypoint_score=0.04, pose_score=0.03)
    low = np.array([True] * 7 + [False])
    (pose,) = grouped((RIGHT, 0.5, low), (RIGHT, 0.06, ~low), (TURNED, 0.4, ALL), model=model)
    np.testing.assert_allclose(pose.alternative.keypoints, TURNED, atol=0.5)


@pytest.mark.parametrize('height', [0.0, 0.05])
def test_a_sure_identity_has_no_alternative(height):
    (pose,) = grouped((RIGHT, 0.95, ALL), (TURNED, height, ALL))
    assert pose.alternative is None
    assert pose.ambiguity == 0.0


def test_low_peaks_beside_full_ones_take_no_belief_from_them():
    """A network's answer of 0.2 for the other engine is no second identity while the right one's peak is full."""
    (pose,) = grouped((RIGHT, 1.0, ALL), (TURNED, 0.2, ALL))
    assert pose.alternative is None


def test_left_and_right_exchanged_keep_what_both_have_in_common():
    names, body = ('head', 'left', 'right', 'stern'), np.array([[100, 0], [-30, 60], [-30, -60], [-100, 0]], float)
    model = ObjectModel(
        name='boat', keypoint_names=names, skeleton=((0, 1), (0, 2), (1, 3), (2, 3)), sigmas=np.full(4, 0.05)
    )
    points = at(body)
    swapped = points[[0, 2, 1, 3]]
    common = np.array([True, False, False, True])
    seen = np.ones(4, bool)
    # Only the engines are in doubt: head and stern have full peaks.
    (pose,) = grouped((points, 0.6, seen), (swapped, 0.4, seen), (points, 1.0, common), model=model)
    np.testing.assert_allclose(pose.keypoints, points, atol=0.5)
    np.testing.assert_allclose(pose.alternative.keypoints, swapped, atol=0.5)
    assert pose.ambiguity == pytest.approx(0.4 / 0.6, abs=0.02)


def test_objects_without_limbs_have_alternatives_too():
    model = board_model(limbs=())
    (pose,) = grouped((RIGHT, 0.6, ALL), (TURNED, 0.38, ALL), model=model)
    np.testing.assert_allclose(pose.keypoints, RIGHT, atol=0.5)
    np.testing.assert_allclose(pose.alternative.keypoints, TURNED, atol=0.5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shift=st.tuples(st.floats(-120, 120), st.floats(-90, 90)),
    angle=st.floats(0, 360),
    size=st.floats(0.5, 1.0),
    heights=st.tuples(st.floats(0.8, 1.0), st.floats(0.8, 1.0)),
)
def test_two_boards_that_cross_are_never_one(shift, angle, size, heights):
    """Whatever the second one's place, size and turn, unless it lies on the first within a tenth of its size."""
    other = at(BOARD, np.array([210, 160]) + shift, angle, 0.7 * size)
    near = np.hypot(*np.moveaxis(other[:, None] - at(BOARD, size=0.7)[None], -1, 0)).min(1)
    together = one_object([at(BOARD, size=0.7), other], np.repeat(np.array(heights)[:, None], 8, 1))
    if np.sort(near)[4] > 23:  # 10 % of the diagonal of 233 px
        assert not together


@pytest.mark.parametrize('count', [2, 3])
def test_few_places_in_common_make_one_object_only_of_shared_belief(count):
    """Two of two or three of three keypoints on another's places: real ones have two full peaks there."""
    fragment = np.full((8, 2), np.nan)
    fragment[:count] = RIGHT[[2, 3, 5][:count]] + 2.0
    points = np.stack([RIGHT, fragment])
    assert one_object(points, np.full((2, 8), 0.5)) == {(0, 1)}
    assert not one_object(points, np.full((2, 8), 0.97))


def test_half_of_the_places_suffice_for_weaker_names_within_the_box():
    """As a network gave them that was sure of a board and not yet rid of its twin: four corners, the rest elsewhere."""
    points = [at(BOARD), at(np.r_[-BOARD[:4], 0.6 * BOARD[4:] + 9])]
    high, low = np.full(8, 0.98), np.array([0.6, 0.8, 0.7, 0.85, 0.5, 0.4, 0.6, 0.7])
    assert one_object(points, [high, low]) == {(0, 1)}
    assert not one_object(points, [high, high])  # full peaks, also where no other name is: a board of its own


def test_boards_edge_to_edge_are_two():
    """Three corners and middles of one lie on those of the other under other names, all peaks are full."""
    below = at(BOARD + [0, -120])
    assert not one_object([RIGHT, below], np.full((2, 8), 0.9))


def test_two_names_of_a_better_board_on_one_place_inside_it_are_no_object():
    fragment = np.full((8, 2), np.nan)
    fragment[6:] = at(np.array([[50.0, 10.0], [52.0, 12.0]]))
    assert one_object([RIGHT, fragment], [np.full(8, 1.0), np.full(8, 0.8)]) == {(0, 1)}
    fragment[7] += [40, 0]
    assert not one_object([RIGHT, fragment], [np.full(8, 1.0), np.full(8, 0.8)])


def test_one_place_leads_to_the_best_of_three():
    points = [RIGHT, at(BOARD, (500, 160)), TURNED, RIGHT + 3.0]
    assert {(0, 2), (0, 3)} <= one_object(points, np.full((4, 8), 0.3)) <= {(0, 2), (0, 3), (2, 3)}


def test_pairs_that_are_left_out_decide_nothing(monkeypatch):
    """Compared or not, pairs that are neither near nor inside each other nor unclear change no instance."""
    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(40):
        boards = [
            at(BOARD, rng.uniform([60, 60], [360, 260]), rng.uniform(0, 360), rng.uniform(0.3, 0.6)) for _ in range(3)
        ]
        turned = [2 * board[4:6].mean(0) - board + rng.normal(0, 4, (8, 2)) for board in boards]
        scenes.append(maps_of([(b, rng.uniform(0.2, 1.0), rng.random(8) < 0.8) for b in boards + turned]))
    chosen = [group_poses(*maps, MODEL) for maps in scenes]
    monkeypatch.setattr(identities, '_near_or_unclear', lambda both, *_: np.ones(len(both.first), bool))
    for some, maps in zip(chosen, scenes):
        every = group_poses(*maps, MODEL)
        assert [pose.ambiguity for pose in some] == [pose.ambiguity for pose in every]
        for one, other in zip(some, every):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_what_is_said_of_two_instances_does_not_depend_on_others():
    rng = np.random.default_rng(1)
    boards = np.array([
        at(BOARD, rng.uniform(0, 250, 2), rng.uniform(0, 360), rng.uniform(0.2, 0.6)) for _ in range(14)
    ])
    boards[rng.random((14, 8)) < 0.3] = np.nan
    heights = rng.uniform(0.1, 1.0, (14, 8))
    every = compare(boards, heights, STRIDE)
    assert len(every.first) > 15
    for p, (i, j) in enumerate(zip(every.first, every.second)):
        alone = compare(boards[[i, j]], heights[[i, j]], STRIDE)
        assert alone.log_odds[0] == pytest.approx(every.log_odds[p], abs=1e-9)
        assert (alone.one_object[0], alone.doubled[0]) == (every.one_object[p], every.doubled[p])
        assert (alone.lower[0], alone.mixed[0]) == (every.lower[p], every.mixed[p])


def test_instances_too_small_for_places_to_be_told_apart_are_not_mixed():
    """18 keypoints in 40 px: eleven of them are less than a cell from a higher one of the same instance."""
    rng = np.random.default_rng(1)
    body = 0.2 * rng.uniform(-100, 100, (18, 2))
    points = np.stack([body, body @ [[0, 1], [-1, 0]] + [12, 0]])
    pairs = compare(points, rng.uniform(0.8, 1, (2, 18)), STRIDE)
    assert (pairs.one_object.tolist(), pairs.mixed.tolist()) == ([False], [False])
