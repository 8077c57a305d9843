"""Singer's model against its own composition and known limits; keypoint errors learnt; parameters refused by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.orientation.filter_models import FilterParameters, KeypointNoise, SingerMotion

SIGMA = np.array([0.3, 0.4, 0.5, 1.0, 1.1, 1.2])


@pytest.mark.parametrize('step_s', [0.001, 1 / 30, 0.5])
def test_two_steps_are_one_of_twice_the_length(step_s):
    motion = SingerMotion(SIGMA, 1.0)
    axis, F, Q = motion.over(step_s)
    axis_long, F_long, Q_long = motion.over(2 * step_s)
    np.testing.assert_allclose(axis @ axis, axis_long, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(F @ F, F_long, rtol=1e-9, atol=1e-15)
    scale = np.sqrt(np.outer(Q_long.diagonal(), Q_long.diagonal()))  # the pose's noise is many orders below the rate's
    np.testing.assert_allclose((F @ Q @ F.T + Q) / scale, Q_long / scale, atol=1e-5)  # error of the quadrature


def test_no_time_changes_nothing():
    axis, F, Q = SingerMotion(SIGMA, 1.0).over(0.0)
    np.testing.assert_array_equal(axis, np.eye(3))
    np.testing.assert_array_equal(F, np.eye(18))
    np.testing.assert_array_equal(Q, np.zeros((18, 18)))


def test_the_acceleration_keeps_its_variance_and_forgets_its_value():
    axis, _, Q = SingerMotion(SIGMA, 2.0).over(0.4)
    assert axis[2, 2] == pytest.approx(np.exp(-0.2))
    np.testing.assert_allclose(axis[2, 2] ** 2 * SIGMA**2 + Q[12:, 12:].diagonal(), SIGMA**2, rtol=1e-6)


def test_a_short_step_is_constant_acceleration():
    axis, F, _ = SingerMotion(SIGMA, 100.0).over(0.01)
    np.testing.assert_allclose(axis, [[1, 0.01, 0.5e-4], [0, 1, 0.01], [0, 0, 1]], rtol=2e-4)  # step / duration
    state = np.zeros(18)
    state[[2, 8, 14]] = 1.0, 3.0, 5.0  # z, its speed and its acceleration
    np.testing.assert_allclose((F @ state)[[2, 8, 14]], [1.03025, 3.05, 5.0], rtol=2e-4)


def test_the_noise_is_a_covariance():
    Q = SingerMotion(SIGMA, 1.0).over(1 / 30)[2]
    np.testing.assert_allclose(Q, Q.T, atol=0)
    scale = np.sqrt(Q.diagonal())
    assert np.linalg.eigvalsh(Q / np.outer(scale, scale)).min() > 0.0


STEP_S = 1.0 / 30.0
USED = np.ones(6, bool)


def learnt(sigma: float = 1.0, repeated: float = 0.0, frames: int = 600, seed: int = 0) -> KeypointNoise:
    """Return what is learnt from noise of a standard deviation whose lag-one autocorrelation is `repeated`."""
    rng = np.random.default_rng(seed)
    noise = KeypointNoise(6)
    jacobian = rng.normal(size=(12, 6))
    error = rng.normal(size=12)
    for _ in range(frames):
        noise.learn(sigma * error + jacobian @ rng.normal(size=6), jacobian, USED, STEP_S)  # the pose takes up the rest
        error = repeated * error + np.sqrt(1.0 - repeated**2) * rng.normal(size=12)
    return noise


@pytest.mark.parametrize('sigma', [0.5, 1.0, 3.0])
def test_errors_that_are_new_in_each_image(sigma):
    noise = learnt(sigma)
    # 200 degrees of freedom are remembered: a standard deviation of 10 % of the variance
    assert noise.scale == pytest.approx(sigma**2, rel=0.3)
    assert 1.0 <= noise.persistence < 1.4
    assert noise.variance == noise.scale * noise.persistence


def test_white_errors_hardly_ever_seem_to_persist():
    assert np.mean([learnt(frames=200, seed=seed).persistence for seed in range(10)]) < 1.15


def test_errors_that_are_repeated():
    fading = np.exp(-STEP_S / 0.5)
    expected = (1.0 + 0.85 * fading) / (1.0 - 0.85 * fading)  # the autocorrelation 0.85^n summed over n < 0, 0, n > 0
    got = np.mean([learnt(repeated=0.85, seed=seed).persistence for seed in range(10)])
    assert got == pytest.approx(expected, rel=0.2)


def test_errors_that_never_change_count_for_the_horizon():
    noise = learnt(repeated=1.0, frames=300)
    assert 15.0 < noise.persistence < 31.0  # twice 0.5 s of 30 images/s when they have lasted for much longer


def test_after_a_gap_older_errors_do_not_count():
    rng = np.random.default_rng(1)
    noise, jacobian, error = KeypointNoise(6), rng.normal(size=(12, 6)), rng.normal(size=12)
    for _ in range(100):
        noise.learn(error, jacobian, USED, 10.0)
    assert noise.persistence < 1.4


def test_one_absurd_image_does_not_spoil_it():
    noise = learnt(frames=100)
    noise.learn(1e4 * np.ones(12), np.eye(12, 6), USED, STEP_S)
    assert noise.scale < 3.0
    assert np.isfinite(noise.persistence)


def test_keypoints_come_and_go():
    noise, rng = KeypointNoise(6), np.random.default_rng(2)
    for i in range(60):
        used = np.arange(6) != i % 6
        noise.learn(rng.normal(size=10), rng.normal(size=(10, 6)), used, STEP_S)
    assert noise.scale == pytest.approx(1.0, rel=0.4)
    assert noise.persistence < 1.5


def test_repeated_errors_of_keypoints_that_flicker_are_known_to_be_repeated():
    """Each of 16 is seen in 5 of 8 images; three others, which are always seen, tell the pose and take up its part."""
    fading = np.exp(-STEP_S / 0.5)
    expected = (1.0 + 0.85 * fading) / (1.0 - 0.85 * fading)
    got = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        noise, error, jacobian = KeypointNoise(19), rng.normal(size=(19, 2)), np.zeros((26, 6))
        jacobian[:6] = rng.normal(size=(6, 6))
        for _ in range(600):
            used = np.append([True] * 3, rng.permutation(16) < 10)
            noise.learn(error[used].ravel(), jacobian, used, STEP_S)
            error = 0.85 * error + np.sqrt(1.0 - 0.85**2) * rng.normal(size=(19, 2))
        got.append(noise.persistence)
    assert np.mean(got) == pytest.approx(expected, rel=0.2)  # the seeds give 8.4


@pytest.mark.parametrize('name', [field.name for field in dataclasses.fields(FilterParameters)])
@pytest.mark.parametrize('value', [0.0, -1.0, np.nan, np.inf, '1', None, True])
def test_parameters_that_make_no_sense_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f'filter parameter {name}: wanted a number above 0, got'):
        FilterParameters(**{name: value})


@pytest.mark.parametrize('value', [1, 2.5])
def test_at_least_two_hypotheses(value):
    with pytest.raises(ConfigError, match='max_hypotheses: wanted a whole number from 2, got'):
        FilterParameters(max_hypotheses=value)
