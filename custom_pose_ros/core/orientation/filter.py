"""Following one instance over time, in one Gaussian-sum filter: which mirrored solution is true, and smoothing."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, fields

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vectors_from_matrices,
    skew_matrix,
)
from custom_pose_ros.core.orientation.hypotheses import POSE, STATE_SIZE, TURN, Hypotheses
from custom_pose_ros.core.orientation.keypoint_noise import KeypointNoise
from custom_pose_ros.core.orientation.motion import SingerMotion
from custom_pose_ros.core.orientation.pnp import PointSet
from custom_pose_ros.core.orientation.solver import MISFIT_TOLERANCE, Observation, PoseSolution, chi2_quantile

_SIGMAS_TO_MAXIMUM = 3.0  # the maxima of FilterParameters are three standard deviations
_LEAST_WEIGHT = 1e-6
_SAME_DISTANCE = 0.3  # squared Mahalanobis distance of hypotheses that are merged
_SPLIT_WEIGHT = 0.05  # lighter hypotheses are not worth splitting
_SPLIT_RAD = np.deg2rad(3.0)  # uncertainty of the tilt below which a hypothesis is one anyway
_SPLIT_TILT_RATIO = 0.5  # uncertainty of the tilt / tilt above which foreshortening is too curved for one Gaussian
_CURVED_RAD = np.deg2rad(1.0)  # uncertainty of the rotation below which its second order does not show in the image
_OUTLIER_CHI2 = MISFIT_TOLERANCE * chi2_quantile(2)  # squared whitened distance from where a keypoint is expected
_FAR_RAD = np.deg2rad(5.0)  # a correction of the rotation from which its linearisation is not trusted
_NO_STEP = np.zeros(6)
_NEIGHBOUR_RAD = np.deg2rad(20.0)  # hypotheses about this near support each other when the published one is chosen


@dataclass(frozen=True, kw_only=True)
class FilterParameters:
    """
    What the object can do, relative to the camera. The defaults suit a slow underwater vehicle seen by another.

    max_speed : m/s. max_angular_speed : rad/s. max_acceleration : m/s^2. max_angular_acceleration : rad/s^2.
        Limits that are rarely passed (three standard deviations), not walls.
    manoeuvre_time_s : how long an acceleration lasts before it is another [s].
    max_gap_s : a track without usable keypoints is predicted this long, then given up [s].
    switch_rate_hz : how often per second the belief in one of two mirrored solutions may be wrong for reasons that the
        motion model does not know; the less likely solution always keeps this chance.
    max_hypotheses : most Gaussians that are kept for one instance (>= 2).

    Raises ConfigError naming the parameter, what was wanted and got.
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


@dataclass(frozen=True, eq=False)
class FilteredPose:
    """
    What a filter knows at one instant.

    Attributes:
        pose: `camera_object`.
        covariance: (6, 6) as in OrientationEstimate, over every hypothesis.
        ambiguity: probability of the second solution over that of this one, >= 0.
        alternative: pose of the second solution, or None.
    """

    pose: Rigid
    covariance: np.ndarray
    ambiguity: float
    alternative: Rigid | None


class PoseFilter:
    """
    The pose of one instance over time.

    Each hypothesis is a Gaussian over pose, rates and accelerations (Singer's motion model), corrected by the keypoints
    themselves with second-order terms for the rotation (Bar-Shalom, Li, Kirubarajan 2001, 10.3). Its weight is its
    evidence: reprojection and motion speak together. Where the tilt is too uncertain for one Gaussian it is split in
    three; the mirror image of the likeliest one always stays a candidate. What an image counts for is learnt
    (`KeypointNoise`).

    shape : all points of the object whose position is known; its middle and plane are the filter's.
    keypoint_count : of the object, K.
    """

    def __init__(self, shape: PointSet, keypoint_count: int, parameters: FilterParameters):
        p = parameters
        self._parameters = p
        self._shape = shape
        acceleration = np.repeat([p.max_acceleration, p.max_angular_acceleration], 3) / _SIGMAS_TO_MAXIMUM
        speed = np.repeat([p.max_speed, p.max_angular_speed], 3) / _SIGMAS_TO_MAXIMUM
        self._first_rates = np.diag(np.concatenate([speed, acceleration]) ** 2)
        self._motion = SingerMotion(acceleration, p.manoeuvre_time_s)
        self.noise = KeypointNoise(keypoint_count)
        self._since_s = 0.0  # since keypoints were taken in
        self.hypotheses: Hypotheses | None = None

    def start(self, solution: PoseSolution) -> None:
        """Begin with what one image says: all its solutions, nothing known about the motion."""
        count = len(solution.chi2)
        arms = solution.poses.rotation @ self._shape.centroid
        to_centre = np.tile(np.eye(6), (count, 1, 1))
        to_centre[:, :3, 3:] = -skew_matrix(arms)
        covariance = np.zeros((count, STATE_SIZE, STATE_SIZE))
        spread = np.linalg.inv(solution.information) * solution.misfit
        covariance[:, POSE, POSE] = to_centre @ spread @ to_centre.transpose(0, 2, 1)
        covariance[:, 6:, 6:] = self._first_rates
        evidence = -0.5 * solution.chi2 / solution.misfit + 0.5 * np.linalg.slogdet(spread)[1]
        self.hypotheses = Hypotheses(
            solution.poses.rotation,
            solution.poses.translation + arms,
            np.zeros((count, 2, 6)),
            covariance,
            _reweighted(1.0, evidence),
        )

    def predict(self, step_s: float) -> None:
        """Let a time >= 0 [s] pass."""
        assert self.hypotheses is not None, 'start first'
        now, p = self.hypotheses, self._parameters
        self._since_s += step_s
        share = min(0.5, p.switch_rate_hz * step_s)
        if share > 0.0:
            now = now.with_mirror(self._shape.normal, share)
        axis, transition, noise = self._motion.over(step_s)
        step = axis[0, 1] * now.rates[:, 0] + axis[0, 2] * now.rates[:, 1]
        now.R = matrix_from_rotation_vector(step[:, TURN]) @ now.R
        now.centre = now.centre + step[:, :3]
        now.rates = axis[1:, 1:] @ now.rates
        now.covariance = transition @ now.covariance @ transition.T + noise
        self.hypotheses = now

    def loosen(self, step_s: float) -> None:
        """Allow for a jerk in the time step just predicted [s]: any speed within the limits may have begun in it."""
        assert self.hypotheses is not None, 'start first'
        rates = np.diag(self._first_rates)[:6]
        extra = np.zeros((3, 6, 3, 6))
        axes = np.arange(6)
        response = np.outer([step_s, 1.0, 0.0], [step_s, 1.0, 0.0])
        extra[:, axes, :, axes] = rates[:, None, None] * response
        extra[2, axes, 2, axes] = np.diag(self._first_rates)[6:]
        self.hypotheses.covariance = self.hypotheses.covariance + extra.reshape(STATE_SIZE, STATE_SIZE)

    def correct(self, observation: Observation) -> np.ndarray:
        """
        Take in the keypoints of one image, unless some of them cannot be right.

        Returns (U,) bool, True for keypoints that are far from where every hypothesis expects them; for all when the
        corrected pose does not explain them. When there is one, nothing is taken in: call again without them.
        """
        assert self.hypotheses is not None, 'start first'
        now = copy.copy(self._split_uncertain_tilts(self.hypotheses))
        residual, jacobian, spread = self._innovation(now, observation)
        inverse = np.linalg.inv(spread)
        explained = (inverse @ residual[..., None])[..., 0]
        chi2 = (residual * explained).sum(1)
        repeats = self.noise.persistence  # an error counts in full when it is new
        wrong = _keypoints_beyond(_OUTLIER_CHI2, residual, spread, chi2, repeats)
        if wrong.any():
            return wrong
        to_state = now.covariance[:, :, POSE] @ jacobian.transpose(0, 2, 1)
        step = (to_state @ explained[..., None])[..., 0]
        now.moved(step)
        covariance = now.covariance - to_state @ inverse @ to_state.transpose(0, 2, 1)
        now.covariance = 0.5 * (covariance + covariance.transpose(0, 2, 1))
        now.weights = _reweighted(now.weights, -0.5 * (chi2 + np.linalg.slogdet(spread)[1]))
        best = int(now.weights.argmax())
        far = step[best, TURN] @ step[best, TURN] > _FAR_RAD**2 or repeats * chi2[best] > chi2_quantile(2 * len(wrong))
        if far and not self._explains(now, best, observation):
            return np.ones_like(wrong)
        unit = math.sqrt(self.noise.variance)  # as it was when the keypoints were whitened
        self.noise.learn(unit * residual[best], unit * jacobian[best], observation.used, self._since_s)
        self._since_s = 0.0
        self.hypotheses = now.pruned(self._parameters.max_hypotheses, _LEAST_WEIGHT, _SAME_DISTANCE)
        return wrong

    def result(self) -> FilteredPose:
        """
        Return the pose to publish, with a covariance that covers every hypothesis.

        The hypotheses form two groups, those nearer to the best supported one and those nearer to its mirror image. The
        pose is the mean of the first group, the alternative that of the second.
        """
        assert self.hypotheses is not None, 'start first'
        now = self.hypotheses
        if len(now) == 1:
            pose = self._pose(0, _NO_STEP)
            return FilteredPose(pose, self._about_origin(pose.rotation, now.covariance[0, POSE, POSE]), 0.0, None)
        flat = now.R.reshape(-1, 9)
        traces = flat @ flat.T
        support = np.exp((traces - 3.0) / (2.0 * _NEIGHBOUR_RAD**2)) @ now.weights  # 3 - trace = angle^2 for small ones
        best = int(support.argmax())
        second = flat @ now.mirrored_rotation(best, self._shape.normal).ravel() > traces[best]
        second[best] = False
        steps = np.empty((len(now), 6))
        steps[:, :3] = now.centre - now.centre[best]
        steps[:, 3:] = rotation_vectors_from_matrices(now.R @ now.R[best].T)
        alternative, other_share = None, float(now.weights @ second)
        if other_share > 0.0:
            alternative = self._pose(best, (now.weights * second) @ steps / other_share)
        mean = (now.weights * ~second) @ steps / (1.0 - other_share)
        pose = self._pose(best, mean)
        steps -= mean
        covariance = (now.weights @ now.covariance[:, POSE, POSE].reshape(-1, 36)).reshape(6, 6)
        covariance = covariance + (now.weights * steps.T) @ steps
        ambiguity = other_share / (1.0 - other_share)
        return FilteredPose(pose, self._about_origin(pose.rotation, covariance), ambiguity, alternative)

    def _about_origin(self, R: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return the (6, 6) covariance of the object's origin and rotation from that of its middle and rotation."""
        to_origin = np.eye(6)
        to_origin[:3, 3:] = skew_matrix(R @ self._shape.centroid)
        return to_origin @ covariance @ to_origin.T

    def _pose(self, index: int, step: np.ndarray) -> Rigid:
        """Return the pose `camera_object` of a hypothesis moved by a (6,) step."""
        assert self.hypotheses is not None, 'start first'
        R = matrix_from_rotation_vector(step[3:]) @ self.hypotheses.R[index]
        return Rigid(R, self.hypotheses.centre[index] + step[:3] - R @ self._shape.centroid)

    def _explains(self, now: Hypotheses, index: int, observation: Observation) -> bool:
        """Whether one hypothesis is credible for the keypoints as they are projected, not as they were linearised."""
        position = (observation.points.points - self._shape.centroid) @ now.R[index].T + now.centre[index]
        if position[:, 2].min() <= 0.0:
            return False
        residual = observation.whiten @ (observation.directions - position[:, :2] / position[:, 2:])[..., None]
        limit = MISFIT_TOLERANCE * chi2_quantile(residual.size) * max(1.0, self.noise.scale)
        return bool((residual * residual).sum() <= limit)

    def _innovation(self, now: Hypotheses, observation: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Return whitened residuals (M, 2K), Jacobians (M, 2K, 6) and the residuals' covariance (M, 2K, 2K).

        The residual is observed minus expected; expectation and covariance contain the second order of rotation.
        """
        count, keypoints = len(now), len(observation.directions)
        whiten = observation.whiten / math.sqrt(self.noise.variance)
        rotated = (observation.points.points - self._shape.centroid) @ now.R.transpose(0, 2, 1)
        position = rotated + now.centre[:, None]
        inverse_depth = 1.0 / position[..., 2:]
        projected = position[..., :2] * inverse_depth
        in_plane = np.zeros((count, keypoints, 2, 3))
        in_plane[..., 0, 0] = in_plane[..., 1, 1] = inverse_depth[..., 0]
        in_plane[..., 2] = -projected * inverse_depth
        to_image = whiten @ in_plane
        first = (rotated @ _FIRST_ORDER + _SHIFT).reshape(count, keypoints, 3, 6)
        jacobian = (to_image @ first).reshape(count, 2 * keypoints, 6)
        residual = (whiten @ (observation.directions - projected)[..., None]).reshape(count, 2 * keypoints)
        spread = jacobian @ now.covariance[:, POSE, POSE] @ jacobian.transpose(0, 2, 1)
        spread = spread + np.eye(2 * keypoints)
        turn = now.covariance[:, TURN, TURN]
        if _widest(turn) > _CURVED_RAD**2:
            second = (rotated @ _SECOND_ORDER).reshape(count, keypoints, 3, 9)
            curvature = (to_image @ second).reshape(count, 2 * keypoints, 9)
            products = 2.0 * (turn[:, :, None, :, None] * turn[:, None, :, None, :]).reshape(count, 9, 9)
            residual = residual - (curvature @ turn.reshape(count, 9, 1))[..., 0]
            spread = spread + curvature @ products @ curvature.transpose(0, 2, 1)
        return residual, jacobian, spread

    def _split_uncertain_tilts(self, now: Hypotheses) -> Hypotheses:
        """Return the hypotheses with those split whose tilt is too uncertain for the curvature of foreshortening."""
        turn = now.covariance[:, TURN, TURN]
        if _widest(turn) < _SPLIT_RAD**2 or len(now) + 2 > self._parameters.max_hypotheses:
            return now
        variances, directions = np.linalg.eigh(turn)
        sigma, axis = np.sqrt(variances[:, 2]), directions[:, :, 2]
        sight = now.centre / np.linalg.norm(now.centre, axis=1, keepdims=True)
        facing = np.abs((now.R @ self._shape.normal * sight).sum(1))
        tilt = np.arccos(np.minimum(facing, 1.0))
        wide = (sigma > _SPLIT_RAD) & (sigma > _SPLIT_TILT_RATIO * tilt) & (now.weights > _SPLIT_WEIGHT)
        wide &= np.abs((axis * sight).sum(1)) < 0.5
        result = now
        for i in np.flatnonzero(wide)[::-1].tolist():  # from behind: what is before i keeps its index
            if len(result) + 2 <= self._parameters.max_hypotheses:
                result = result.split(i, now.covariance[i, :, TURN] @ axis[i] / sigma[i])
        return result


def _widest(turn: np.ndarray) -> float:
    """Return the largest trace [rad^2] of (M, 3, 3) covariances, a bound on the variance about any axis."""
    return float(turn.trace(0, 1, 2).max())


def _keypoints_beyond(
    limit: float, residual: np.ndarray, spread: np.ndarray, chi2: np.ndarray, repeats: float
) -> np.ndarray:
    """
    Return (U,) bool, True for keypoints whose squared Mahalanobis distance exceeds a limit under every hypothesis.

    Residuals (M, 2U) with covariance (M, 2U, 2U), in which the variance of a keypoint is 1; here it is 1 / repeats.
    chi2 (M,) is the distance of all keypoints together.
    """
    if repeats * chi2.min() <= limit:  # then none of them exceeds it
        return np.zeros(residual.shape[1] // 2, bool)
    surplus = 1.0 - 1.0 / repeats
    xx, yy = (spread[:, k::2, k::2].diagonal(0, 1, 2) - surplus for k in (0, 1))
    xy = spread[:, 0::2, 1::2].diagonal(0, 1, 2)
    x, y = residual[:, 0::2], residual[:, 1::2]
    return ((yy * x * x - 2.0 * xy * x * y + xx * y * y) / (xx * yy - xy * xy)).min(0) > limit


def _reweighted(weights: np.ndarray | float, log_evidence: np.ndarray) -> np.ndarray:
    """Return weights times exp(log_evidence), sum 1."""
    updated = np.asarray(weights * np.exp(log_evidence - log_evidence.max()))
    return updated / updated.sum()


def _rotation_orders() -> tuple[np.ndarray, np.ndarray]:
    """
    Return (3, 18) and (3, 27): for a lever r, `r @ first` and `r @ second` are its first and second order.

    A rotation vector w moves r by w x r + (w (w . r) - r (w . w)) / 2; the second is over the nine products w_a w_b.
    """
    first = np.zeros((3, 3, 6))
    first[:, :, 3:] = np.stack([-skew_matrix(unit) for unit in np.eye(3)])
    products = np.zeros((3, 3, 3, 3))
    for i in range(3):
        for k in range(3):
            products[k, i, i, k] += 0.5
            products[i, i, k, k] -= 0.5
    second = 0.5 * (products + products.swapaxes(-1, -2))
    return first.reshape(3, 18), second.reshape(3, 27)


_FIRST_ORDER, _SECOND_ORDER = _rotation_orders()
_SHIFT = np.hstack([np.eye(3), np.zeros((3, 3))]).ravel()
