"""Part affinity fields: encoding and line-integral scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.keypoints.pafs import SAMPLES, encode_pafs, score_limbs

SHAPE = (32, 40)
LIMB = ((0, 1),)


def encode(*limbs, thickness=1.0) -> np.ndarray:
    """The field of one kind of limb, one instance for each ((x, y), (x, y))."""
    points = np.array(limbs, float)
    return encode_pafs(points, np.ones(points.shape[:2], bool), LIMB, SHAPE, 8, thickness)


def score(pafs, start, end, limb=0) -> tuple[float, float]:
    ends = np.array([start, end], float)
    scores, supports = score_limbs(pafs, np.array([limb]), ends, np.array([0]), np.array([1]))
    return scores[0], supports[0]


def test_encode_a_horizontal_limb_by_value():
    # From the centre of cell (row 5, column 4) to that of (5, 10): cells one wider on every side.
    pafs = encode(((35.5, 43.5), (83.5, 43.5)))
    assert pafs.shape == (2, *SHAPE)
    assert pafs.dtype == np.float32
    wanted = np.zeros(SHAPE)
    wanted[4:7, 3:12] = 1
    np.testing.assert_array_equal(pafs[0], wanted)
    assert not pafs[1].any()


def test_encode_points_from_first_to_second():
    pafs = encode(((100, 50), (40, 130)))  # direction (-0.6, 0.8)
    drawn = pafs[0] != 0
    np.testing.assert_allclose(pafs[0][drawn], -0.6, rtol=1e-6)
    np.testing.assert_allclose(pafs[1][drawn], 0.8, rtol=1e-6)
    # 100 px long and two cells wide, one cell longer at each end: (100 / 8 + 2) * 2 cells, less the jagged edge
    assert drawn.sum() == pytest.approx(29, abs=4)


def test_overlapping_instances_are_averaged():
    pafs = encode(((43.5, 99.5), (203.5, 99.5)), ((123.5, 19.5), (123.5, 179.5)))
    np.testing.assert_allclose(pafs[:, 12, 15], [0.5, 0.5])  # the crossing
    np.testing.assert_allclose(pafs[:, 12, 20], [1, 0])
    np.testing.assert_allclose(pafs[:, 20, 15], [0, 1])


def test_hidden_unknown_and_zero_length_limbs_are_not_drawn():
    points = np.array([[[50, 50], [90, 90]], [[np.nan, np.nan], [90, 90]], [[70, 70], [70, 70]]], float)
    pafs = encode_pafs(points, [[True, False], [False, True], [True, True]], LIMB, SHAPE, 8)
    assert not pafs.any()


def test_no_limbs_and_nobody():
    assert encode_pafs(np.zeros((2, 3, 2)), np.ones((2, 3)), (), SHAPE, 8).shape == (0, *SHAPE)
    assert not encode_pafs(np.zeros((0, 2, 2)), np.ones((0, 2)), LIMB, SHAPE, 8).any()


def test_each_limb_has_its_own_maps():
    points = np.array([[[20, 20], [100, 20], [100, 120]]], float)
    both = encode_pafs(points, np.ones((1, 3)), ((0, 1), (1, 2)), SHAPE, 8)
    np.testing.assert_array_equal(both[:2], encode_pafs(points, np.ones((1, 3)), ((0, 1),), SHAPE, 8))
    np.testing.assert_array_equal(both[2:], encode_pafs(points, np.ones((1, 3)), ((1, 2),), SHAPE, 8))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 250), min_size=4, max_size=4))
def test_a_drawn_limb_scores_one(values):
    start, end = np.array(values[:2]), np.array(values[2:])
    if np.hypot(*(end - start)) < 1e-3:
        return
    pafs = encode((start, end))
    # Every sample lies within half a diagonal (0.71 cells) of the line: inside the drawn width of one cell.
    assert score(pafs, start, end) == (pytest.approx(1, abs=1e-5), 1)
    if np.hypot(*(end - start)) > 8.1:
        assert score(pafs, end, start) == (pytest.approx(-1, abs=1e-5), 0)


def test_half_a_limb_scores_half():
    pafs = encode(((20, 100), (120, 100)), thickness=0.51)
    value, support = score(pafs, (20, 100), (220, 100))
    # Samples at 0, 1/9, ..., 1: five of ten are on the drawn half.
    assert (value, support) == (pytest.approx(0.5), 0.5)
    assert SAMPLES == 10


def test_across_the_field_scores_nothing():
    pafs = encode(((20, 100), (220, 100)), thickness=6)
    value, support = score(pafs, (100, 80), (100, 120))
    assert (value, support) == (pytest.approx(0, abs=1e-6), 0)


def test_shorter_than_a_cell_counts_the_strength_of_the_field():
    pafs = encode(((100, 100), (104, 100)))
    assert score(pafs, (100, 100), (104, 100)) == (pytest.approx(1), 1)
    assert score(pafs, (102, 102), (102, 99)) == (pytest.approx(1), 1)  # its direction is only noise
    assert score(pafs, (102, 102), (102, 102)) == (pytest.approx(1), 1)
    assert score(pafs, (200, 200), (200, 200)) == (0, 0)


def test_points_outside_are_read_at_the_border():
    pafs = np.zeros((2, *SHAPE), np.float32)
    pafs[0] = 1
    assert score(pafs, (-50, -50), (1e5, -50)) == (pytest.approx(1), 1)


def test_many_candidates_in_chunks_equal_single_ones():
    rng = np.random.default_rng(0)
    pafs = rng.uniform(-1, 1, (6, *SHAPE)).astype(np.float32)
    limbs = rng.integers(0, 3, 9000)
    starts, ends = rng.uniform(0, 250, (2, 9000, 2))
    indices = np.arange(9000)
    scores, supports = score_limbs(pafs, limbs, np.concatenate([starts, ends]), indices, 9000 + indices)
    for i in (0, 4095, 4096, 8999):
        value, support = score(pafs, starts[i], ends[i], limbs[i])
        assert (scores[i], supports[i]) == (pytest.approx(value, abs=1e-6), support)  # sums of float32 in another order
    assert scores.shape == supports.shape == (9000,)


def test_no_candidates():
    none = np.zeros(0, int)
    scores, supports = score_limbs(np.zeros((2, 4, 4), np.float32), none, np.zeros((0, 2)), none, none)
    assert len(scores) == len(supports) == 0


def test_the_callers_array_is_not_changed():
    pafs = encode(((20, 20), (100, 100)))
    pafs.flags.writeable = False  # a change raises ValueError
    assert score(pafs, (20, 20), (100, 100)) == (pytest.approx(1), 1)


@pytest.mark.parametrize(
    ('call', 'facts'),
    [
        (lambda: score(np.zeros((3, 4, 4)), (0, 0), (1, 1)), ('pafs', '(3, 4, 4)')),
        (lambda: score(np.zeros((4, 4)), (0, 0), (1, 1)), ('pafs', '(4, 4)')),
        (lambda: encode_pafs(np.zeros((2, 2)), np.ones(2), LIMB, SHAPE, 8),
         ('keypoints', '(2, 2)')),
    ],
)  # fmt: skip
def test_refusals(call, facts):
    with pytest.raises(ValueError) as error:
        call()
    assert all(fact in str(error.value) for fact in facts)
