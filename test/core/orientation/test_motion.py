"""Motion over time: Singer's model against its own composition and its known limits."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.orientation.motion import SingerMotion

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
