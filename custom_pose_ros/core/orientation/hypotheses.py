"""Hypotheses: weighted Gaussians over the pose, rates and accelerations of one instance; mirrored, split, merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix

POSE = slice(0, 6)
TURN = slice(3, 6)
STATE_SIZE = 18
_UNIT = np.eye(3)
_POSE_UNIT = np.eye(6)
# A standard normal as three narrower ones: weight of the outer two, their distance, their standard deviation.
_OUTER_WEIGHT, _OUTER_DISTANCE, _NARROWER = 0.2252, 1.0575, 0.6715


@dataclass(eq=False)
class Hypotheses:
    """
    M weighted Gaussians, the most likely one first after `pruned`.

    Attributes:
        R: (M, 3, 3) R_camera_object.
        centre: (M, 3) middle of the object in the camera frame [m].
        rates: (M, 2, 6) rate and acceleration of the middle [m/s, m/s^2] and about the camera's axes [rad/s, rad/s^2].
        covariance: (M, 18, 18) over errors of the middle, the rotation about the camera's fixed axes, and the rates.
        weights: (M,), with sum 1.
    """

    R: np.ndarray
    centre: np.ndarray
    rates: np.ndarray
    covariance: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def pose_variances(self) -> np.ndarray:
        """(M, 6) variances of the middle and the rotation."""
        return self.covariance.reshape(len(self), -1)[:, : 6 * STATE_SIZE : STATE_SIZE + 1]

    @property
    def largest_turn_variance(self) -> float:
        """Largest sum [rad^2] of the variances of a rotation, a bound on the variance about any axis."""
        return max(map(sum, self.pose_variances[:, TURN].tolist()))

    def select(self, keep: np.ndarray | list[int]) -> Hypotheses:
        """Return some of the hypotheses, in the given order."""
        return Hypotheses(*(part[keep] for part in vars(self).values()))

    def joined(self, other: Hypotheses) -> Hypotheses:
        """Return these hypotheses and others; the weights do not sum to 1 then."""
        return Hypotheses(*map(np.concatenate, zip(vars(self).values(), vars(other).values())))

    def move(self, step: np.ndarray) -> None:
        """Move each hypothesis, in place, by its row of `step` (M, 18), an error as in `covariance`."""
        self.R = matrix_from_rotation_vector(step[:, TURN]) @ self.R
        self.centre = self.centre + step[:, :3]
        self.rates = self.rates + step[:, 6:].reshape(-1, 2, 6)

    def correction(
        self, residual: np.ndarray, jacobian: np.ndarray, noise: np.ndarray, curvature: np.ndarray | None = None
    ) -> Correction:
        """
        Return how n measurements correct each hypothesis; nothing is changed yet (see `corrected`).

        Args:
            residual: (M, n) measured minus expected.
            jacobian: (M, n, 6) of what is expected, over the pose.
            noise: (M, n, n) covariance of the measurements, positive definite.
            curvature: (M, n, 9) halved second derivatives over the nine products of two turns, whose mean before the
                measurement is part of the residual; the step is then that by their mean after it.
        """
        to_state = self.covariance[:, :, POSE] @ jacobian.transpose(0, 2, 1)
        spread = jacobian @ to_state[:, POSE] + noise
        inverse = np.linalg.inv(spread)
        gain = to_state @ inverse
        step = (gain @ residual[..., None])[..., 0]
        if curvature is not None:
            turn = step[:, TURN]
            lost = to_state[:, TURN] @ gain[:, TURN].transpose(0, 2, 1) - turn[:, :, None] * turn[:, None]
            step = step + (gain @ (curvature @ lost.reshape(-1, 9, 1)))[..., 0]
        return Correction(
            residual=residual,
            step=step,
            chi2=(residual * (inverse @ residual[..., None])[..., 0]).sum(1),
            spread=spread,
            gain=gain,
            jacobian=jacobian,
            noise=noise,
        )

    def corrected(self, correction: Correction) -> Hypotheses:
        """
        Return the hypotheses moved by a correction, their weights times its evidence.

        The covariance is taken in Joseph's form, which rounding leaves positive (Bucy and Joseph 1968).
        Evidence is the density of the measurement over the highest that its noise allows (step 12 of docs/filter.md).
        """
        c = correction
        lost = c.gain @ c.jacobian  # only the pose is seen: no product with the columns of the rates is needed
        covariance = self.covariance - lost @ self.covariance[:, POSE]
        covariance -= covariance[:, :, POSE] @ lost.transpose(0, 2, 1)
        covariance += c.gain @ c.noise @ c.gain.transpose(0, 2, 1)
        log_evidence = 0.5 * (np.linalg.slogdet(_POSE_UNIT - lost[:, POSE])[1] - c.chi2)  # |1 - G J| = |N| / |S|
        result = Hypotheses(
            self.R,
            self.centre,
            self.rates,
            0.5 * (covariance + covariance.transpose(0, 2, 1)),
            reweighted(self.weights, log_evidence),
        )
        result.move(c.step)
        return result

    def difference(self, i: int, j: int) -> np.ndarray:
        """Return the (18,) error that leads from hypothesis i to hypothesis j."""
        return np.concatenate([
            self.centre[j] - self.centre[i],
            rotation_vector_from_matrix(self.R[j] @ self.R[i].T),
            (self.rates[j] - self.rates[i]).ravel(),
        ])

    def reflection(self, index: int) -> np.ndarray:
        """Return the (3, 3) reflection about the plane across the line of sight to one hypothesis."""
        sight = self.centre[index]
        return _UNIT - sight[:, None] * (sight * (2.0 / (sight @ sight)))

    def mirrored_rotation(self, index: int, normal: np.ndarray) -> np.ndarray:
        """Return the (3, 3) rotation of one hypothesis after its `reflection`, see `mirrored`."""
        R = self.reflection(index) @ self.R[index]
        return R - (R @ normal)[:, None] * (2.0 * normal)

    def mirrored(self, index: int, normal: np.ndarray) -> Hypotheses:
        """
        Return one hypothesis reflected about its line of sight: the motion that looks the same from far away.

        Turning about the line of sight stays, turning about other axes changes sign.

        Args:
            index: of the hypothesis.
            normal: (3,) normal of the object's main plane, in the object frame.
        """
        turning = -self.reflection(index)
        state = np.eye(STATE_SIZE)
        for first in range(3, STATE_SIZE, 6):
            state[first : first + 3, first : first + 3] = turning
        rates = self.rates[[index]]
        rates[:, :, 3:] = rates[:, :, 3:] @ turning.T
        return Hypotheses(
            self.mirrored_rotation(index, normal)[None],
            self.centre[[index]],
            rates,
            (state @ self.covariance[index] @ state.T)[None],
            self.weights[[index]],
        )

    def with_mirror(self, normal: np.ndarray, share: float) -> Hypotheses:
        """
        Return the hypotheses with the mirror image of the first one among them (step 7 of docs/filter.md).

        It gets a share of the first one's weight, so that a wrong choice between the two is never final. Nothing is
        added where both are the same within their uncertainty.
        """
        R_mirror = self.mirrored_rotation(0, normal)
        to_mirror, to_first = (self.R.reshape(-1, 9) @ np.stack([R_mirror, self.R[0]]).reshape(2, 9).T).T.tolist()
        existing = next((i for i in range(1, len(self)) if to_mirror[i] > max(to_mirror[0], to_first[i])), None)
        if existing is not None:
            self.weights[existing] += share * self.weights[0]
            self.weights[0] *= 1.0 - share
            return self
        both = self.joined(self.mirrored(0, normal))
        if both._same(len(self), 0, 1.0):
            return self
        both.weights[:-1] *= 1.0 - share
        both.weights[-1] = share
        return both

    def split(self, index: int, direction: np.ndarray) -> Hypotheses:
        """Return the hypotheses, one replaced by three that are narrower along `direction` (18,), a step of 1 sigma."""
        three = self.select([index, index, index])
        three.covariance = three.covariance - (1.0 - _NARROWER**2) * np.outer(direction, direction)
        three.move(np.outer([0.0, _OUTER_DISTANCE, -_OUTER_DISTANCE], direction))
        three.weights = three.weights * [1.0 - 2.0 * _OUTER_WEIGHT, _OUTER_WEIGHT, _OUTER_WEIGHT]
        return self.select(np.delete(np.arange(len(self)), index)).joined(three)

    def combined(self, groups: int) -> Hypotheses:
        """Return one hypothesis for each of the groups; hypothesis i belongs to the group `i % groups`."""
        for i in range(groups, len(self)):
            if self.weights[i] > 0.0:
                self._merge(i % groups, i)
        return self.select(list(range(groups)))

    def pruned(self, most: int, least_weight: float, same: float) -> Hypotheses:
        """
        Return at most `most` hypotheses, most likely first, without those below `least_weight` (step 16).

        A hypothesis within the squared Mahalanobis distance `same` of a likelier one is merged into that.
        """
        weights = self.weights.tolist()
        kept: list[int] = []
        for i in sorted(range(len(weights)), key=lambda i: -weights[i]):
            if weights[i] < least_weight:
                break
            twin = next((j for j in kept if self._same(i, j, same)), None)
            if twin is not None:
                self._merge(twin, i)
            elif len(kept) < most:
                kept.append(i)
        result = self if kept == list(range(len(weights))) else self.select(kept)
        result.weights = result.weights / result.weights.sum()
        return result

    def _same(self, i: int, j: int, limit: float) -> bool:
        angle_squared = 3.0 - float(np.vdot(self.R[i], self.R[j]))  # not more than that
        if angle_squared > limit * float(self.covariance[j, TURN, TURN].trace()):  # too far by the rotation alone
            return False
        difference = self.difference(j, i)
        return bool(difference @ np.linalg.solve(self.covariance[j], difference) < limit)

    def _merge(self, into: int, other: int) -> None:
        """Give hypothesis `into` the mean and covariance of both together."""
        total = self.weights[into] + self.weights[other]
        share = self.weights[other] / total
        difference = self.difference(into, other)
        self.covariance[into] = (
            (1.0 - share) * self.covariance[into]
            + share * self.covariance[other]
            + share * (1.0 - share) * np.outer(difference, difference)
        )
        self.R[into] = matrix_from_rotation_vector(share * difference[TURN]) @ self.R[into]
        self.centre[into] += share * difference[:3]
        self.rates[into] += share * difference[6:].reshape(2, 6)
        self.weights[into] = total


class Correction(NamedTuple):
    """
    What n measurements tell about M hypotheses; a tuple, because that is quickly made.

    Attributes:
        residual: (M, n) measured minus expected.
        step: (M, 18) by which each hypothesis moves.
        chi2: (M,) squared Mahalanobis distance of the measurements from what is expected.
        spread: (M, n, n) covariance of measured minus expected.
        gain: (M, 18, n).
        jacobian: (M, n, 6) of what is expected, over the pose.
        noise: (M, n, n) covariance of the measurements.
    """

    residual: np.ndarray
    step: np.ndarray
    chi2: np.ndarray
    spread: np.ndarray
    gain: np.ndarray
    jacobian: np.ndarray
    noise: np.ndarray


def reweighted(weights: np.ndarray | float, log_evidence: np.ndarray) -> np.ndarray:
    """Return weights times exp(log_evidence), sum 1."""
    updated = np.asarray(weights * np.exp(log_evidence - log_evidence.max()))
    return updated / updated.sum()
