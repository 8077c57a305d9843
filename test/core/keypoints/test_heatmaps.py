"""Heatmaps: encoding, sub-pixel decoding, covariances, plateaus, borders, noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.keypoints.heatmaps import Peaks, encode_heatmaps, find_peaks

STRIDE, SIGMA = 8, 7.0


def peaks_of_each(maps: np.ndarray, threshold: float, *args, **kwargs) -> list[Peaks]:
    """Return the peaks of each map."""
    channels, peaks = find_peaks(maps, threshold, *args, **kwargs)
    assert (np.diff(channels) >= 0).all()
    of = [channels == channel for channel in range(len(maps))]
    return [Peaks(peaks.positions[i], peaks.covariances[i], peaks.scores[i]) for i in of]


def encode(points, shape=(32, 40), sigma_px=SIGMA, stride=STRIDE) -> np.ndarray:
    """One map for each point."""
    points = np.asarray(points, float).reshape(1, -1, 2)
    return encode_heatmaps(points, np.ones(points.shape[:2], bool), shape, stride, sigma_px)[:-1]


def gaussian(centre, covariance, height=1.0, shape=(32, 40)) -> np.ndarray:
    """One map with a Gaussian of any covariance [px^2]."""
    x, y = np.meshgrid(np.arange(shape[1]) * STRIDE + 3.5 - centre[0], np.arange(shape[0]) * STRIDE + 3.5 - centre[1])
    away = np.stack([x, y], -1)
    return height * np.exp(-0.5 * np.einsum('hwi,ij,hwj->hw', away, np.linalg.inv(covariance), away))


def test_encode_by_value():
    # Cell (row 2, column 5) is centred on (43.5, 19.5); one cell away a Gaussian of 8 px has exp(-1/2).
    maps = encode_heatmaps([[[43.5, 19.5]]], [[True]], (6, 9), STRIDE, 8.0)
    assert maps.shape == (2, 6, 9)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[0, 2, 4:7], np.exp([-0.5, 0, -0.5]), rtol=1e-6)
    np.testing.assert_allclose(maps[0, 1:4, 5], np.exp([-0.5, 0, -0.5]), rtol=1e-6)
    np.testing.assert_allclose(maps[0, 3, 6], np.exp(-1), rtol=1e-6)
    np.testing.assert_allclose(maps[1], 1 - maps[0], atol=1e-7)


def test_encode_keeps_the_higher_of_overlapping_instances():
    points = np.array([[[60.0, 60]], [[75.0, 60]]])
    both = encode_heatmaps(points, np.ones((2, 1), bool), (16, 16), STRIDE, SIGMA)
    one, two = (encode_heatmaps(p[None], np.ones((1, 1), bool), (16, 16), STRIDE, SIGMA) for p in points)
    np.testing.assert_array_equal(both[0], np.maximum(one[0], two[0]))


def test_encode_leaves_out_what_is_not_visible():
    points = np.array([[[60.0, 60], [np.nan, np.nan]], [[20.0, 20], [30.0, 30]]])
    maps = encode_heatmaps(points, [[True, False], [False, False]], (16, 16), STRIDE, SIGMA)
    assert np.isfinite(maps).all()
    assert not maps[1].any()
    assert maps[0, 2, 2] < 1e-6  # the hidden instance at (20, 20)


def test_encode_nobody():
    maps = encode_heatmaps(np.zeros((0, 3, 2)), np.zeros((0, 3), bool), (4, 5), STRIDE, SIGMA)
    assert not maps[:3].any()
    assert (maps[3] == 1).all()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    x=st.floats(0, 319), y=st.floats(0, 255), sigma_px=st.floats(5, 16), stride=st.sampled_from([4, 8, 16]),
    height=st.floats(0.45, 1),
)  # fmt: skip
def test_round_trip_is_exact_to_the_edge_of_the_image(x, y, sigma_px, stride, height):
    # sigma from 5/8 (where the best of four cells holds 0.53 of the height) to 2 cells; float32 leaves < 1e-3 px
    sigma_px = sigma_px * stride / 8
    maps = np.float32(height) * encode([[x, y]], (256 // stride, 320 // stride), sigma_px, stride)
    corner = min(x, 319 - x) < stride and min(y, 255 - y) < stride
    (peaks,) = peaks_of_each(maps, 0.25, stride)
    assert len(peaks) == 1
    if corner:  # in the four corner cells the width of the peak is not known but assumed: off by up to 3.45 sigma
        away = peaks.positions[0] - [x, y]
        assert away @ np.linalg.inv(peaks.covariances[0]) @ away < 3.5**2
    else:
        assert abs(peaks.positions[0] - [x, y]).max() < 1e-3
        assert peaks.scores[0] == pytest.approx(height, abs=1e-4)


def test_decode_a_rotated_ellipse():
    # Separate parabolas along x and y would be 1.5 px off here; the quadratic form is exact.
    turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
    covariance = turn @ np.diag([14.0**2, 7.0**2]) @ turn.T
    (peaks,) = peaks_of_each(gaussian((130.2, 99.7), covariance, 0.5)[None], 0.25)
    np.testing.assert_allclose(peaks.positions, [[130.2, 99.7]], atol=1e-4)
    assert peaks.scores[0] == pytest.approx(0.5, abs=1e-5)
    # (1 - 0.5) of the squared width; besides, fit noise and floor: 3 px^2 at most along the long axis.
    assert abs(peaks.covariances[0] - 0.5 * covariance).max() < 3
    assert np.linalg.eigvalsh(peaks.covariances[0] - 0.5 * covariance)[0] > 0.9  # (0.125 cells)^2 = 1 px^2 at least


def test_many_peaks_come_highest_first_and_by_channel():
    first = np.maximum(encode([[50, 50]])[0] * 0.4, encode([[200, 100]])[0] * 0.9)
    maps = np.stack([first, np.zeros_like(first), encode([[120, 80]])[0]])
    found = peaks_of_each(maps, 0.25)
    assert [len(peaks) for peaks in found] == [2, 0, 1]
    np.testing.assert_allclose(found[0].positions, [[200, 100], [50, 50]], atol=1e-3)
    np.testing.assert_allclose(found[0].scores, [0.9, 0.4], atol=1e-4)


def test_threshold_holds_for_the_height_of_the_peak_not_of_its_best_cell():
    # Between four cells the best cell of a peak of 0.3 has only 0.216.
    maps = 0.3 * encode([[127.5, 87.5]])
    assert maps.max() < 0.25
    assert len(peaks_of_each(maps, 0.29)[0]) == 1
    assert len(peaks_of_each(maps, 0.31)[0]) == 0


def test_position_between_two_equal_cells():
    # (127.5, 90.0) lies halfway between two cells: a plateau of two.
    maps = encode([[127.5, 90.0]])
    assert np.count_nonzero(maps == maps.max()) == 2
    (peaks,) = peaks_of_each(maps, 0.25)
    np.testing.assert_allclose(peaks.positions, [[127.5, 90.0]], atol=1e-3)


@pytest.mark.parametrize(('rows', 'columns'), [(1, 3), (3, 3), (2, 2), (4, 1), (5, 6), (1, 2)])
def test_a_plateau_is_one_peak_in_its_middle(rows, columns):
    maps = np.zeros((1, 20, 20), np.float32)
    maps[0, 6 : 6 + rows, 9 : 9 + columns] = 0.8
    (peaks,) = peaks_of_each(maps, 0.25)
    assert len(peaks) == 1
    middle = (np.array([9 + (columns - 1) / 2, 6 + (rows - 1) / 2]) + 0.5) * STRIDE - 0.5
    np.testing.assert_allclose(peaks.positions[0], middle, atol=1e-6)


def test_a_saturated_map_is_one_uncertain_peak():
    (peaks,) = peaks_of_each(np.ones((1, 12, 16), np.float32), 0.25)
    assert len(peaks) == 1
    assert np.sqrt(np.linalg.eigvalsh(peaks.covariances[0])[0]) > 5  # px


def test_maps_of_one_row_column_or_cell():
    for shape in ((1, 9), (9, 1), (1, 1)):
        maps = np.zeros((1, *shape), np.float32)
        maps[0, shape[0] // 2, shape[1] // 2] = 1
        (peaks,) = peaks_of_each(maps, 0.25)
        np.testing.assert_allclose(peaks.positions, [[shape[1] // 2 * 8 + 3.5, shape[0] // 2 * 8 + 3.5]], atol=1e-6)
        assert np.isfinite(peaks.covariances).all()


def test_neighbouring_channels_do_not_touch():
    # A peak in the last row of one map must not hide one in the first row of the next.
    maps = np.zeros((2, 6, 6), np.float32)
    maps[0, 5, 3], maps[1, 0, 3] = 0.9, 0.5
    assert [len(peaks) for peaks in peaks_of_each(maps, 0.25)] == [1, 1]


def test_nothing_above_the_threshold():
    assert [len(p) for p in peaks_of_each(np.zeros((3, 8, 8), np.float32), 0.0)] == [0, 0, 0]
    assert len(peaks_of_each(0.2 * encode([[100, 100]]), 0.25)[0]) == 0
    assert peaks_of_each(np.zeros((0, 8, 8), np.float32), 0.25) == []
    assert [len(p) for p in peaks_of_each(np.zeros((2, 0, 8), np.float32), 0.25)] == [0, 0]


def test_the_callers_array_is_not_changed():
    maps = encode([[100, 100], [30, 200]]) - 0.1
    before = maps.copy()
    maps.flags.writeable = False
    peaks_of_each(maps, 0.25)
    np.testing.assert_array_equal(maps, before)


def test_other_float_types_give_the_same():
    maps = encode([[100.3, 99.1]])
    (wanted,) = peaks_of_each(maps, 0.25)
    # float16 has 11 bits: 0.05 px
    for dtype, tolerance in ((np.float64, 1e-6), (np.float16, 0.05)):
        (peaks,) = peaks_of_each(maps.astype(dtype), 0.25)
        np.testing.assert_allclose(peaks.positions, wanted.positions, atol=tolerance)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_cells_that_are_no_numbers_do_no_harm(bad):
    maps = encode([[100, 100], [100, 100]])
    maps[0, 3, 30] = bad
    maps[1, 11, 12] = bad  # beside the best cell
    for peaks in peaks_of_each(maps, 0.25):
        assert np.isfinite(peaks.positions).all()
        assert np.isfinite(peaks.covariances).all()
        assert ((peaks.scores >= 0) & (peaks.scores <= 1)).all()
    if bad != np.inf:
        np.testing.assert_allclose(peaks_of_each(maps, 0.25)[0].positions, [[100, 100]], atol=1e-3)


def test_peaks_of_noise_are_capped_at_the_highest():
    noise = np.random.default_rng(0).random((3, 46, 82), np.float32)
    found = peaks_of_each(noise, 0.1, max_peaks=7)
    assert [len(peaks) for peaks in found] == [7, 7, 7]
    for peaks, one in zip(found, noise):
        columns, rows = ((peaks.positions + 0.5) // STRIDE).astype(int).T
        # A fitted position may lie on the border to the next cell: look at the cell and its neighbours.
        best = [one[max(r - 1, 0) : r + 2, max(c - 1, 0) : c + 2].max() for r, c in zip(rows, columns)]
        assert min(best) >= np.sort(one.ravel())[-60]


def test_scores_never_exceed_one():
    (peaks,) = peaks_of_each(1.3 * encode([[100, 100]]), 0.25)
    assert peaks.scores.tolist() == [1.0]
    np.testing.assert_allclose(peaks.positions, [[100, 100]], atol=1e-3)


def test_covariance_is_small_for_clean_and_grows_for_low_and_wide_peaks():
    def sigma(height, width_px):
        (peaks,) = peaks_of_each(gaussian((130, 100), width_px**2 * np.eye(2), height)[None], 0.2)
        values = np.linalg.eigvalsh(peaks.covariances[0])
        np.testing.assert_allclose(values[0], values[1], rtol=1e-3)  # a round peak: a round uncertainty
        return np.sqrt(values[0])

    assert sigma(1.0, 7) == pytest.approx(1.0, abs=0.05)  # px: the floor of an eighth of a cell
    assert sigma(1.0, 7) < sigma(0.8, 7) < sigma(0.5, 7) < sigma(0.3, 7)
    assert sigma(0.5, 7) < sigma(0.5, 10) < sigma(0.5, 14)
    # A target of 7 px blurred by an uncertainty of 7 px: twice the squared width, half the height.
    assert sigma(0.5, 7 * np.sqrt(2)) == pytest.approx(7, rel=0.05)


@pytest.mark.parametrize('spread_px', [3, 6, 10])
def test_covariance_is_calibrated_for_a_network_that_predicts_the_mean_target(spread_px):
    """Where truth scatters around what the network sees, it learns a blurred target; the scatter must come back."""
    rng = np.random.default_rng(1)
    squared = []
    for _ in range(300):
        width = spread_px**2 + SIGMA**2
        centre = rng.uniform(80, 180, 2)
        maps = gaussian(centre, width * np.eye(2), SIGMA**2 / width) + rng.normal(0, 0.01, (32, 40))
        (peaks,) = peaks_of_each(maps[None], 0.2, max_peaks=1)
        error = peaks.positions[0] - (centre + rng.normal(0, spread_px, 2))
        squared.append(error @ np.linalg.inv(peaks.covariances[0]) @ error)
    # Chi-square with 2 degrees of freedom has the mean 2, here +- 0.12; noise and floor widen the covariance a little.
    assert 1.6 < np.mean(squared) < 2.4


@pytest.mark.parametrize(
    ('call', 'facts'),
    [
        (lambda: find_peaks(np.zeros((4, 4)), 0.2), ('heatmaps', '(4, 4)')),
        (lambda: encode_heatmaps(np.zeros((3, 2)), np.ones(3), (4, 4), 8, 7),
         ('keypoints', '(3, 2)')),
        (lambda: encode_heatmaps(np.zeros((1, 3, 2)), np.ones((3, 1)), (4, 4), 8, 7),
         ('visible', '(3, 1)')),
        (lambda: encode_heatmaps(np.zeros((1, 3, 2)), np.ones((1, 3)), (4, 4), 8, 0),
         ('sigma_px', '0')),
    ],
)  # fmt: skip
def test_refusals(call, facts):
    with pytest.raises(ValueError) as error:
        call()
    assert all(fact in str(error.value) for fact in facts)
