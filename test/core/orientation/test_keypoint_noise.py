"""Size and persistence of keypoint errors, learnt from residuals of known noise."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.orientation.keypoint_noise import KeypointNoise

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
