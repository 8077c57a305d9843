"""SingerMotion: accelerations that last for a while, the motion model of position and rotation alike."""

from __future__ import annotations

import numpy as np

ORDERS = 3  # pose, rate, acceleration
# Gauss-Legendre rule of four points (Abramowitz and Stegun, 25.4.30); numpy.polynomial would be imported for it alone.
_NODES = np.array([-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526])
_NODE_WEIGHTS = np.array([0.34785484513745385, 0.6521451548625461, 0.6521451548625461, 0.34785484513745385])
_TIMES = np.append(0.5 * (_NODES + 1.0), 1.0)  # shares of the step; the end has no part in the integral
_WEIGHTS = np.append(_NODE_WEIGHTS, 0.0)


class SingerMotion:
    """
    Transition and noise of the state over any time step (Singer 1970; step 8 of docs/filter.md).

    The acceleration of each axis is a random walk back to zero with a standard deviation and a correlation time. The
    state is (pose, rate, acceleration), each of 6 axes in the order x, y, z [m], rotation about X, Y, Z [rad].

    Args:
        acceleration_sigma: (6,) standard deviations of the accelerations [m/s^2, rad/s^2].
        duration_s: their correlation time [s].
    """

    def __init__(self, acceleration_sigma: np.ndarray, duration_s: float):
        self._variance = np.diag(np.square(acceleration_sigma))
        self._duration_s = duration_s

    def over(self, step_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Return the transition of one axis (3, 3), that of the state (18, 18), and the noise of the state (18, 18).

        All over a time step of `step_s` >= 0 [s].
        """
        # By quadrature, which stays positive where closed forms cancel. The last of _TIMES is the end of the step.
        response = self._response(step_s * _TIMES)
        axis = np.eye(ORDERS)
        axis[0, 1] = step_s
        axis[:, 2] = response[:, -1]
        noise = (response * (_WEIGHTS * (step_s / self._duration_s))) @ response.T
        return axis, _kronecker(axis, np.eye(6)), _kronecker(noise, self._variance)

    def _response(self, time_s: np.ndarray) -> np.ndarray:
        """Return the (3, N) pose, rate and acceleration that a unit acceleration leads to after (N,) times [s]."""
        ratio = time_s / self._duration_s
        lost = -np.expm1(-ratio)
        return np.array([(ratio - lost) * self._duration_s**2, lost * self._duration_s, 1.0 - lost])


def _kronecker(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Kronecker product of (n, n) and (m, m); numpy.kron is several times slower for small ones."""
    return (a[:, None, :, None] * b[None, :, None, :]).reshape(len(a) * len(b), -1)
