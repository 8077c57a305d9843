"""What the filter assumes: how the object moves, by FilterParameters and SingerMotion, and KeypointNoise."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from custom_pose_ros.core.errors import ConfigError

# Gauss-Legendre rule of four points (Abramowitz and Stegun, 25.4.30); numpy.polynomial would be imported for it alone.
_NODES = np.array([-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526])
_NODE_WEIGHTS = np.array([0.34785484513745385, 0.6521451548625461, 0.6521451548625461, 0.34785484513745385])
_TIMES = np.append(0.5 * (_NODES + 1.0), 1.0)  # shares of the step; the end has no part in the integral
_WEIGHTS = np.append(_NODE_WEIGHTS, 0.0)
_UNIT = np.eye(6)
_SCALE_PRIOR = 8.0  # weight of the keypoint covariances as given, in degrees of freedom
_MEMORY = 200.0  # degrees of freedom after which older misfit is forgotten
_MISFIT_LIMIT = 20.0  # a single image counts for at most this many times its expected misfit
_REPEATED_S = 0.1  # how long the errors of a detector are taken to last before anything is learnt
_REPEATED_PRIOR = 10.0  # weight of that, in degrees of freedom
_HORIZON_S = 0.5  # errors that last longer count as if they lasted about as long
_EXCESS_PRIOR = 6.0  # weight of errors that fade exponentially, in degrees of freedom of separate horizons
_EXCESS_MEMORY = 40.0  # the same after which older ones are forgotten
_CHANCE = 0.25  # excess above 1 that shows by chance


@dataclass(frozen=True, kw_only=True)
class FilterParameters:
    """
    How the object moves relative to the camera. The defaults suit a slow underwater vehicle seen by another.

    The four limits are soft: they are three standard deviations of what the filter expects.

    Attributes:
        max_speed: speed that is rarely exceeded [m/s].
        max_angular_speed: angular speed that is rarely exceeded [rad/s].
        max_acceleration: acceleration that is rarely exceeded [m/s^2].
        max_angular_acceleration: angular acceleration that is rarely exceeded [rad/s^2].
        manoeuvre_time_s: how long an acceleration typically lasts [s].
        max_gap_s: how long a track without usable keypoints is predicted before it ends [s]; also see GAP_FRAMES.
        switch_rate_hz: how often per second the filter may have chosen the wrong one of two mirrored solutions for
            reasons outside its motion model; the less likely solution always keeps this chance.
        max_hypotheses: most Gaussians that are kept for one instance (>= 2).

    Raises:
        ConfigError: a parameter is not a positive number; the text names it.
    """

    max_speed: float = 1.0
    max_angular_speed: float = 2.0
    max_acceleration: float = 1.0
    max_angular_acceleration: float = 3.0
    manoeuvre_time_s: float = 1.0
    max_gap_s: float = 0.5
    switch_rate_hz: float = 0.03
    max_hypotheses: int = 6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value <= 0:
                raise ConfigError(f'filter parameter {field.name}: wanted a number above 0, got {value!r}')
        if self.max_hypotheses < 2 or self.max_hypotheses != int(self.max_hypotheses):
            raise ConfigError(
                f'filter parameter max_hypotheses: wanted a whole number from 2, got {self.max_hypotheses!r}'
            )


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
        axis = _UNIT[:3, :3].copy()
        axis[0, 1] = step_s
        axis[:, 2] = response[:, -1]
        noise = (response * (_WEIGHTS * (step_s / self._duration_s))) @ response.T
        return axis, _kronecker(axis, _UNIT), _kronecker(noise, self._variance)

    def _response(self, time_s: np.ndarray) -> np.ndarray:
        """Return the (3, N) pose, rate and acceleration that a unit acceleration leads to after (N,) times [s]."""
        ratio = time_s / self._duration_s
        lost = -np.expm1(-ratio)
        return np.array([(ratio - lost) * self._duration_s**2, lost * self._duration_s, 1.0 - lost])


def _kronecker(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Kronecker product of (n, n) and (m, m); numpy.kron is several times slower for small ones."""
    return (a[:, None, :, None] * b[None, :, None, :]).reshape(len(a) * len(b), -1)


def repeated(step_s: float) -> float:
    """Return how many images, `step_s` [s] apart, tell as much as one while nothing is learnt (`KeypointNoise`)."""
    return _persistence(math.exp(-step_s / _REPEATED_S), step_s)


class KeypointNoise:
    """
    The errors of the keypoints of one instance (step 15 of docs/filter.md).

    They are estimated from the part of the residuals that no pose explains, 2U - 6 numbers for U keypoints, so that a
    motion the filter does not expect is not taken for noise.

    Attributes:
        scale: variance of the keypoints over the claimed one.
        persistence: how many successive images hold as much information as one, >= 1. A detector repeats its errors
            while the view hardly changes, and averaging repeated errors gains nothing. It is the sum of the errors'
            autocorrelation over all lags, faded with _HORIZON_S: the factor by which the variance of the mean of F
            images exceeds the F-th part of the variance of one.
    """

    def __init__(self, keypoint_count: int):
        self.scale = 1.0
        self.persistence = 1.0
        self._begun = False
        self._scale_weight = _SCALE_PRIOR
        self._last = np.zeros((keypoint_count, 2))  # unexplained residuals of the last image
        self._last_used = np.zeros(keypoint_count, bool)
        self._product, self._squares = 0.0, _REPEATED_PRIOR  # of successive residuals, and of each by itself
        self._sum = np.zeros((keypoint_count, 2))  # of the unexplained residuals, older ones faded
        self._sum_weight = 0.0  # sum of their squared weights
        self._misfit, self._freedom = _EXCESS_PRIOR * (1.0 + _CHANCE), _EXCESS_PRIOR

    @property
    def variance(self) -> float:
        """Variance over the claimed one with which images may be used as if their errors were independent."""
        return self.scale * self.persistence

    def begin(self, step_s: float) -> None:
        """
        Expect errors that are repeated as a detector's are, before the first image is learnt from.

        Args:
            step_s: time between images [s]; the more often they come, the less each of them tells.
        """
        if self._begun:
            return
        self._begun = True
        repeated = math.exp(-step_s / _REPEATED_S)
        self._product = _REPEATED_PRIOR * repeated
        self.persistence = _persistence(repeated, step_s)

    def learn(self, residual: np.ndarray, jacobian: np.ndarray, used: np.ndarray, step_s: float) -> None:
        """
        Learn from one image.

        Args:
            residual: (2U,) in claimed standard deviations.
            jacobian: (2U, 6) of the residual over the pose, in claimed standard deviations.
            used: (K,) bool, which keypoints the U are.
            step_s: time since the last image that was learnt from [s].
        """
        freedom = float(len(residual) - 6)
        information = jacobian.T @ jacobian
        information += (1e-12 * information.trace()) * _UNIT  # defined for every view
        unexplained = residual - jacobian @ np.linalg.solve(information, jacobian.T @ residual)
        misfit = float(unexplained @ unexplained) / self.scale
        excess = misfit / (_MISFIT_LIMIT * freedom)
        if excess > 1.0:
            unexplained, misfit = unexplained / math.sqrt(excess), misfit / excess
        weight = min(self._scale_weight, _MEMORY)
        self.scale *= (weight + misfit) / (weight + freedom)
        self._scale_weight = weight + freedom
        # How much of an error is repeated in the next image: known soon.
        errors = np.zeros_like(self._sum)
        errors[used] = unexplained.reshape(-1, 2)
        keep = _MEMORY / (_MEMORY + freedom)
        now, last = errors[used & self._last_used], self._last[used & self._last_used]  # others have nothing to repeat
        self._product = keep * self._product + float(np.vdot(now, last)) / self.scale
        self._squares = keep * self._squares + 0.5 * float(np.vdot(now, now) + np.vdot(last, last)) / self.scale
        self._last, self._last_used = errors, used
        persistence = _persistence(self._product / self._squares, step_s)
        # How much longer than that says errors last: sums of images within one horizon count as one.
        fading = math.exp(-step_s / _HORIZON_S)
        self._sum *= fading
        self._sum += errors
        self._sum_weight = self._sum_weight * fading**2 + 1.0
        square = float(np.vdot(self._sum, self._sum)) / (self._sum_weight * self.scale * persistence)
        keep = _EXCESS_MEMORY / (_EXCESS_MEMORY + (1.0 - fading) * freedom)
        self._misfit = keep * self._misfit + (1.0 - fading) * square
        self._freedom = keep * self._freedom + (1.0 - fading) * freedom
        self.persistence = persistence * max(1.0, self._misfit / self._freedom - _CHANCE)


def _persistence(repeated: float, step_s: float) -> float:
    """Return the persistence of errors of which a share is repeated in the next image, `step_s` [s] later."""
    faded = min(max(repeated, 0.0), 1.0) * math.exp(-step_s / _HORIZON_S)
    return (1.0 + faded) / max(1.0 - faded, 1e-6)
