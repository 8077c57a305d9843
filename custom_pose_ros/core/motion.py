"""How a tracked object moves: Singer's model, acceleration that lasts for a while, for position and rotation alike."""

from __future__ import annotations

import numpy as np

ORDERS = 3  # pose, rate, acceleration
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


class SingerMotion:
    """
    Transition and noise of one axis and of the whole state over any time step (Singer 1970).

    The acceleration of each axis is a random walk back to zero: standard deviation `sigma`, correlation `duration_s`. The
    state is (pose, rate, acceleration), each of 6 axes in the order x, y, z [m], rotation about X, Y, Z [rad].

    acceleration_sigma : (6,) standard deviations [m/s^2, rad/s^2]. duration_s : how long a manoeuvre lasts [s].
    """

    def __init__(self, acceleration_sigma: np.ndarray, duration_s: float):
        self._variance = np.square(acceleration_sigma)
        self._duration_s = duration_s
        self._step_s = -1.0
        self._matrices = (np.eye(ORDERS), np.eye(6 * ORDERS), np.zeros((6 * ORDERS, 6 * ORDERS)))

    def over(self, step_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Return what happens in a time step >= 0 [s].

        The transition of one axis (3, 3), that of the state (18, 18), and the noise of the state (18, 18).
        """
        if step_s != self._step_s:
            transition = self._axis_transition(step_s)
            noise = np.kron(self._axis_noise(step_s), np.diag(self._variance))
            self._step_s, self._matrices = step_s, (transition, np.kron(transition, np.eye(6)), noise)
        return self._matrices

    def _response(self, time_s: np.ndarray) -> np.ndarray:
        """Return the (3, N) pose, rate and acceleration that a unit acceleration leads to after (N,) times."""
        ratio = time_s / self._duration_s
        lost = -np.expm1(-ratio)
        return np.array([(ratio - lost) * self._duration_s**2, lost * self._duration_s, 1.0 - lost])

    def _axis_transition(self, step_s: float) -> np.ndarray:
        transition = np.eye(ORDERS)
        transition[0, 1] = step_s
        transition[:, 2] = self._response(np.array([step_s]))[:, 0]
        return transition

    def _axis_noise(self, step_s: float) -> np.ndarray:
        """Return the (3, 3) noise for unit variance; by quadrature, which stays positive where closed forms cancel."""
        response = self._response(0.5 * step_s * (_NODES + 1.0))
        return (response * (_WEIGHTS * step_s / self._duration_s)) @ response.T
