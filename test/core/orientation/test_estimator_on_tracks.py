"""
What orientations must reach on simulated tracks, as test/benchmarks/orientation.py measures it, with fewer seeds.

The limits are those that were set for 20 seeds; these tracks are among them.
"""

from __future__ import annotations

import numpy as np
import pytest
import simulated_tracks as simulation

SEEDS = range(4)  # one of each kind of motion
FRAMES = 150
# Of 1200 frames; of twice as many 0.13 %, 1.9 %, 0.4 %, 1.0 % are far wrong.
WRONG_LIMIT = {(1.0, 2.0): 0.004, (1.0, 4.0): 0.02, (0.5, 4.0): 0.01, (2.0, 2.0): 0.015}
MEDIAN_LIMIT = 0.75  # of cv2.SOLVEPNP_ITERATIVE's


@pytest.fixture(scope='module', params=simulation.CONDITIONS, ids=lambda c: f'{c[0]:g}px-{c[1]:g}m')
def planar(request) -> tuple[tuple[float, float], simulation.Scores]:
    """Return a condition and how the planar submarine does in it."""
    noise_px, distance_m = request.param
    model = simulation.planar_submarine()
    return request.param, simulation.score_tracks(model, noise_px, distance_m, SEEDS, frames=FRAMES, iterative=True)


def test_hardly_a_frame_is_far_wrong(planar):
    condition, scores = planar
    assert scores.wrong_share <= WRONG_LIMIT[condition]
    assert (scores.iterative_deg > simulation.WRONG_DEG).mean() > 3 * WRONG_LIMIT[condition]  # it is hard


def test_the_median_is_better_than_the_usual_recipe(planar):
    _, scores = planar
    assert np.median(scores.error_deg) <= MEDIAN_LIMIT * np.nanmedian(scores.iterative_deg)


def test_the_covariance_is_honest(planar):
    _, scores = planar
    # Below 1: in the first seconds errors are taken to be repeated, which these are not.
    assert 0.6 <= scores.nees_ratio <= 1.5
    assert scores.covered >= 0.95


def test_what_is_wrong_was_not_claimed_to_be_sure(planar):
    _, scores = planar
    wrong = scores.error_deg > simulation.WRONG_DEG
    assert (scores.nees[wrong] < 16.3).all()  # 99.9 % of chi-square with 3 degrees of freedom


@pytest.mark.parametrize(('noise_px', 'distance_m'), simulation.CONDITIONS)
def test_a_solid_object_never_flips(noise_px, distance_m):
    scores = simulation.score_tracks(simulation.submarine_with_mast(), noise_px, distance_m, SEEDS, frames=FRAMES)
    assert scores.wrong_share == 0.0
    assert 0.7 <= scores.nees_ratio <= 1.5
    assert scores.covered >= 0.95


def test_one_wrong_keypoint_in_ten_frames_changes_nothing_and_is_flagged():
    model = simulation.six_point_submarine()
    clean = simulation.score_tracks(model, 1.0, 2.0, SEEDS, frames=FRAMES)
    scores = simulation.score_tracks(
        model, 1.0, 2.0, SEEDS, frames=FRAMES, disturb=simulation.outliers(share=0.1, size_px=60.0)
    )
    hit = simulation.outlier_hits(SEEDS, FRAMES, model.keypoint_count, 0.1)
    assert 30 < hit.sum() < 90
    assert np.median(scores.error_deg) == pytest.approx(np.median(clean.error_deg), rel=0.1)
    assert scores.suspected[hit].mean() >= 0.95
    assert scores.suspected[~hit].mean() <= 0.01
    assert scores.wrong_share == 0.0


def test_a_turn_is_followed_without_lag():
    lag = simulation.turn_lag_frames(simulation.planar_submarine(), 1.0, 2.0, range(4))
    assert lag[31:].max() <= 1.1  # a turn that begins at once; the mean of four tracks is good for 0.1 frame
    assert np.abs(lag[45:].mean()) <= 0.2


def test_an_update_is_fast():
    """Limit four times the aim of 0.5 ms: it holds on a machine that is busy with other work."""
    scores = simulation.score_tracks(simulation.planar_submarine(), 1.0, 2.0, range(1))
    assert np.median(scores.seconds) < 2e-3


@pytest.mark.parametrize(
    'model', [simulation.planar_submarine(), simulation.submarine_with_mast()], ids=['flat', 'mast']
)
def test_repeated_errors_do_not_make_it_sure(model):
    """Detectors repeat their errors from frame to frame: averaging gains little, and the covariance says so."""
    scores = simulation.score_tracks(model, 1.0, 2.0, SEEDS, lasts_s=0.2)
    assert 0.5 <= scores.nees_ratio <= 1.5  # 6 when every image counts as a new measurement
    assert scores.covered >= 0.9  # 51 % then
    assert scores.wrong_share <= 0.02
