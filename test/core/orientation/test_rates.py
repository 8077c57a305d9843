"""Slow and irregular cameras: at no rate is the filter worse than the single image, and its covariance stays honest."""

from __future__ import annotations

import numpy as np
import pytest
import simulated_tracks as simulation

from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

FLAT, MAST = simulation.planar_submarine(), simulation.submarine_with_mast()


@pytest.mark.parametrize('rate_hz', [0.3, 1.0, 2.0, 3.0, 5.0, 15.0, 120.0])
def test_smoothing_is_never_worse_than_none(rate_hz):
    """In median and 90 % of rotation and position; before, the worst ratio was 1.6 to 48 between 0.3 and 3 Hz."""
    assert_no_worse(simulation.compare_at_rate(FLAT, rate_hz, range(4), 60))


@pytest.mark.parametrize('rate_hz', [0.3, 2.0, 5.0, 30.0])
def test_smoothing_is_never_worse_than_none_where_errors_are_repeated(rate_hz):
    """At 30 Hz all truths were in the 95 % region when the newest image counted as little as those before it."""
    compared = simulation.compare_at_rate(MAST, rate_hz, range(4), 60, lasts_s=0.1)
    assert_no_worse(compared)
    assert compared.covered[1] <= 0.995


@pytest.mark.parametrize('rate_hz', [30.0, 120.0])
def test_the_covariance_is_honest_from_the_first_second_where_errors_are_repeated(rate_hz):
    """Before, 81 to 85 % were inside of the 95 % region: the errors were taken to last for 0.03 s at first."""
    compared = simulation.compare_at_rate(FLAT, rate_hz, range(4), int(rate_hz), lasts_s=0.1)
    assert 0.88 <= compared.covered[1]  # 90 to 99 % are wanted; errors of 4 s that last for 0.1 s are good for 3 %


def test_after_a_long_time_the_estimate_is_that_of_the_image():
    stamps = np.arange(8) * 8.0
    track = simulation.simulate_track(0, 2.0, stamps=stamps)
    filtered, single = OrientationEstimator(MAST, simulation.CAMERA), OrientationEstimator(MAST, simulation.CAMERA)
    for pose, stamp in zip(simulation.observe_track(MAST, track, 1.0, 0), stamps.tolist()):
        (estimate,), (alone,) = filtered.update([pose], stamp), single.update([pose])
        np.testing.assert_allclose(estimate.pose.step_to(alone.pose), 0.0, atol=1e-9)
        np.testing.assert_allclose(estimate.covariance, alone.covariance, rtol=1e-6, atol=1e-12)


def assert_no_worse(compared: simulation.Comparison) -> None:
    # 5 % are wanted. Of these 220 images a median is good for some 3 % more where most of the errors are the same.
    assert compared.worst_ratio <= 1.08
    assert 0.88 <= compared.covered[1]  # 90 to 99 % are wanted of the 95 % region; 220 images are good for 2 %


def test_the_distance_does_not_come_out_short_after_a_long_time():
    """Half a second apart it was 50 mm short of 2 m: the second order of a wide prediction made the object small."""
    model, short = MAST, []
    for seed in range(4):
        track = simulation.simulate_track(seed, 2.0, stamps=np.arange(40) / 2.0)
        estimator = OrientationEstimator(model, simulation.CAMERA)
        poses = simulation.observe_track(model, track, 1.0, seed)
        for pose, stamp, t in zip(poses, track.stamps.tolist(), track.t):
            (estimate,) = estimator.update([pose], stamp)
            short.append(t[2] - estimate.t_camera_object[2])
    assert abs(np.mean(short)) < 0.005  # 160 errors of 20 mm: their mean is good for 2 mm


@pytest.mark.parametrize('rate_hz', [0.3, 2.0])
def test_a_track_keeps_its_id_and_goes_on_through_missing_images(rate_hz):
    model = simulation.six_point_submarine()
    stamps = simulation.irregular_stamps(0, rate_hz, 60)
    still = simulation.Track(stamps, *(np.repeat(part[:1], len(stamps), 0) for part in _pose()))
    estimator = OrientationEstimator(model, simulation.CAMERA)
    coasted = 0
    for i, (pose, stamp) in enumerate(zip(simulation.observe_track(model, still, 1.0, 0), stamps.tolist())):
        seen = [] if i in (20, 21, 40) else [pose.with_track_id(None)]
        for estimate in estimator.update(seen, stamp):
            assert estimate.track_id == 0
            coasted += estimate.coasting
    assert coasted == 3 if rate_hz == 2.0 else coasted <= 3  # after ten seconds it may be anywhere, also behind


def _pose() -> tuple[np.ndarray, np.ndarray]:
    track = simulation.simulate_track(2, 2.0, 1)
    return track.R, track.t
