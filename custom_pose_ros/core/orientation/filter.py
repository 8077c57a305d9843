"""
PoseFilter: follows the pose of one instance over time and decides which of two mirrored solutions is the true one.

The numbers of the steps in the comments are those of docs/filter.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_rotation_vector,
    rotation_vectors_from_matrices,
    skew_matrix,
)
from custom_pose_ros.core.orientation.filter_models import FilterParameters, KeypointNoise, SingerMotion, repeated
from custom_pose_ros.core.orientation.hypotheses import POSE, STATE_SIZE, TURN, Correction, Hypotheses, reweighted
from custom_pose_ros.core.orientation.innovation import Innovation, innovation_of, keypoints_beyond
from custom_pose_ros.core.orientation.outlines.outline_fit import OutlineFit
from custom_pose_ros.core.orientation.pnp import PointSet, linearise
from custom_pose_ros.core.orientation.solver import MISFIT_TOLERANCE, Observation, PoseSolution, chi2_quantile

_SIGMAS_TO_MAXIMUM = 3.0  # the maxima of FilterParameters are three standard deviations
_LEAST_WEIGHT = 1e-6
_SAME_DISTANCE = 0.3  # squared Mahalanobis distance below which hypotheses are merged
_SPLIT_WEIGHT = 0.05  # lighter hypotheses are not worth splitting
_SPLIT_RAD = np.deg2rad(3.0)  # standard deviation of the tilt below which a hypothesis is never split
_SPLIT_TILT_RATIO = 0.5  # standard deviation of the tilt / tilt above which one Gaussian cannot follow foreshortening
_OUTLIER_CHI2 = MISFIT_TOLERANCE * chi2_quantile(2)  # squared whitened distance from where a keypoint is expected
_STRAIGHT = 0.02  # bend of the projection up to which its second order will do
_VAGUE_RAD = 0.2  # standard deviation of the rotation above which a single image tells it better
_VAGUE_DEPTH = 0.15  # the same of the distance, relative to it
_UNKNOWN_RAD = 2.0  # the same above which nothing is known
_VAGUE_GROWTH = 4.0  # the variance must also have grown by this factor since the last image
_FAR_RAD = np.deg2rad(5.0)  # a correction of the rotation above which the linearisation is checked
_TOLD = 1e-6  # of the largest eigenvalue of the information: below it a direction counts as not seen
_FORGOTTEN_S = 0.5  # how long the first image counts
_LEAST_WORTH = 1.05  # of the newest image, over what was taken in of it; less makes no difference
_NO_STEP = np.zeros(6)
_UNIT = np.eye(6)
_NEIGHBOUR_RAD = np.deg2rad(20.0)  # hypotheses about this near support each other in the choice of the best one


@dataclass(frozen=True, eq=False)
class FilteredPose:
    """
    The pose that a filter has at one instant.

    Attributes:
        pose: `camera_object`.
        covariance: (6, 6) as in OrientationEstimate, over all hypotheses.
        ambiguity: probability of the second solution over that of this one, >= 0.
        alternative: pose of the second solution, or None.
    """

    pose: Rigid
    covariance: np.ndarray
    ambiguity: float
    alternative: Rigid | None


class PoseFilter:
    """
    A Gaussian-sum filter for the pose of one instance.

    Each hypothesis is a Gaussian over pose, rates and accelerations (Singer's motion model). The keypoints correct it
    directly, with second-order terms for the rotation (Bar-Shalom, Li, Kirubarajan 2001, 10.3), and its weight is its
    evidence, so that reprojection and motion decide together. A hypothesis whose tilt is too uncertain for one Gaussian
    is split in three, and the mirror image of the likeliest one always stays a candidate. How far keypoints are to be
    trusted is learnt (`KeypointNoise`).

    Call `start` once, then for each image `predict`, `correct` and `result`.

    Args:
        shape: all points of the object whose position is known. The state is the pose of their middle, and they are
            mirrored in their main plane.
        keypoint_count: number of keypoints of the object, K.
        parameters: how the object moves.
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
        self._age_s = 0.0  # time since the start
        self._since_s = 0.0  # time since the last correction by keypoints
        self._known = (0.0, 0.0)  # largest variances after any: of the rotation, of the distance relative to it
        self.hypotheses: Hypotheses  # from `start` on
        self._published: Hypotheses | None = None  # what `result` is about where it is not `hypotheses`

    def start(self, solution: PoseSolution) -> None:
        """Begin with all solutions of one image; nothing is known about the motion."""
        # Step 6: all solutions become hypotheses, with the covariance of the middle instead of the origin.
        count = len(solution.chi2)
        poses, spread = self._about_middle(solution, solution.misfit)
        covariance = np.zeros((count, STATE_SIZE, STATE_SIZE))
        covariance[:, POSE, POSE] = spread
        covariance[:, 6:, 6:] = self._first_rates
        weights = reweighted(1.0, -0.5 * solution.chi2 / solution.misfit)
        self._keep(Hypotheses(poses.rotation, poses.translation, np.zeros((count, 2, 6)), covariance, weights))
        self._age_s = self._since_s = 0.0

    def predict(self, step_s: float) -> None:
        """Let a time of `step_s` >= 0 [s] pass."""
        now, p = self.hypotheses, self._parameters
        self._age_s += step_s
        self._since_s += step_s
        self._published = None
        share = min(0.5, p.switch_rate_hz * step_s)
        if share > 0.0:  # Step 7: the mirror image of the likeliest hypothesis stays a candidate.
            now = now.with_mirror(self._shape.normal, share)
        # Step 8: motion.
        axis, transition, noise = self._motion.over(step_s)
        step = axis[0, 1] * now.rates[:, 0] + axis[0, 2] * now.rates[:, 1]
        now.R = matrix_from_rotation_vector(step[:, TURN]) @ now.R
        now.centre = now.centre + step[:, :3]
        now.rates = axis[1:, 1:] @ now.rates
        now.covariance = transition @ now.covariance @ transition.T + noise
        self.hypotheses = now

    def loosen(self, step_s: float) -> None:
        """Allow for a jerk in the step just predicted, of `step_s` [s]: any speed within the limits may have begun."""
        rates = np.diag(self._first_rates)[:6]
        extra = np.zeros((3, 6, 3, 6))
        axes = np.arange(6)
        response = np.outer([step_s, 1.0, 0.0], [step_s, 1.0, 0.0])
        extra[:, axes, :, axes] = rates[:, None, None] * response
        extra[2, axes, 2, axes] = np.diag(self._first_rates)[6:]
        self.hypotheses.covariance = self.hypotheses.covariance + extra.reshape(STATE_SIZE, STATE_SIZE)

    def correct(self, observation: Observation) -> np.ndarray:
        """
        Correct the hypotheses by the keypoints of one image, unless some of the keypoints cannot be right.

        Returns:
            (U,) bool, True for keypoints that are far from where every hypothesis expects them, and for all of them
            when the corrected pose does not explain them. When any is True nothing was changed: call again without
            those.
        """
        # Steps 9 and 10: split what is too uncertain, and compare with what is expected.
        prior = self._split_uncertain_tilts(self.hypotheses)
        self.noise.begin(self._since_s)
        unit, middle = math.sqrt(self.noise.variance), self._shape.centroid
        innovation = innovation_of(prior, observation, middle, unit)
        correction = prior.correction(*innovation)
        # Step 11: wrong keypoints. Here the errors count in full: the variance without persistence.
        repeats = self.noise.persistence
        wrong = keypoints_beyond(_OUTLIER_CHI2, correction, repeats)
        if wrong.any():
            return wrong
        # Step 12: correction of states, covariances and weights; where that led far, once more along the line there.
        now = prior.corrected(correction)
        if _bend(prior, now, correction) > _STRAIGHT:
            innovation = innovation_of(prior, observation, middle, unit, now, correction.step)
            correction = prior.correction(*innovation)
            now = prior.corrected(correction)
        # Step 14: after a far correction, the pose must explain the keypoints as they are really projected.
        best = int(now.weights.argmax())
        turn = correction.step[best, TURN]
        far = turn @ turn > _FAR_RAD**2 or repeats * correction.chi2[best] > chi2_quantile(2 * len(wrong))
        if far and not self.allows(self._pose(now, best), observation):
            return np.ones_like(wrong)
        published = self._with_all_of(prior, innovation, now)
        self._keep(now)
        self._published = published
        # Step 15: learn the noise of the keypoints, in claimed standard deviations.
        residual, jacobian = unit * correction.residual[best], unit * correction.jacobian[best]
        self.noise.learn(residual, jacobian, observation.used, self._since_s)
        self._since_s = 0.0
        return wrong

    def _with_all_of(self, prior: Hypotheses, innovation: Innovation, now: Hypotheses) -> Hypotheses | None:
        """
        Return hypotheses corrected by all that the newest image tells, or None where that is hardly more (step 17).

        Args:
            prior: the hypotheses before the image.
            innovation: by which they were corrected, see `innovation_of`.
            now: the hypotheses after it, with the weights to use: an error that lasts is no further evidence.
        """
        forgotten = 1.0 - math.exp(-self._age_s / _FORGOTTEN_S)
        worth = 1.0 + 0.5 * forgotten * (self.noise.persistence - 1.0)  # of the image, over what was taken in
        if worth < _LEAST_WORTH:
            return None
        residual, jacobian, noise, curvature = innovation
        noise = noise - (1.0 - 1.0 / worth) * np.eye(noise.shape[1])
        result = prior.corrected(prior.correction(residual, jacobian, noise, curvature))
        result.weights = now.weights.copy()
        return self._few(result)

    def correct_by_fit(self, fit: OutlineFit, step_s: float) -> None:
        """Correct the hypotheses by what the outline tells about the pose (step 27)."""
        now = self.hypotheses
        values, axes = np.linalg.eigh(fit.information[:6, :6])
        told = values > _TOLD * values[-1]
        root = np.sqrt(values[told])
        rows = root[:, None] * axes[:, told].T  # whitened: information = rows.T @ rows
        arms = now.R @ self._shape.centroid
        # From each hypothesis to the fit, of the object's origin.
        steps = _steps(fit.pose.translation - (now.centre - arms), fit.pose.rotation @ now.R.transpose(0, 2, 1))
        residual = steps @ rows.T + (axes[:, told].T @ fit.pull[:6]) / root
        noise = np.tile(repeated(step_s) * np.eye(len(root)), (len(now), 1, 1))
        self._keep(now.corrected(now.correction(residual, rows @ _along_arms(arms), noise)))

    def told_by(self, observation: Observation, camera_object: Rigid) -> tuple[np.ndarray, np.ndarray]:
        """Return information (6, 6) and pull (6,) of the keypoints about steps from a pose (see `Rigid.moved`)."""
        R, t = camera_object
        pose = Rigid(R[None], t[None])
        (residual,), (jacobian,), _ = linearise(
            pose, observation.points.points, observation.directions, observation.whiten
        )
        return jacobian.T @ jacobian / self.noise.variance, jacobian.T @ residual / self.noise.variance

    def allows(self, camera_object: Rigid, observation: Observation) -> bool:
        """Tell whether the keypoints are credible in a pose, as they are really projected."""
        position = camera_object.apply(observation.points.points)
        if position[:, 2].min() <= 0.0:
            return False
        residual = observation.whiten @ (observation.directions - position[:, :2] / position[:, 2:])[..., None]
        limit = MISFIT_TOLERANCE * chi2_quantile(residual.size) * max(1.0, self.noise.scale)
        return bool((residual * residual).sum() <= limit)

    @property
    def vague(self) -> bool:
        """Whether one image on its own tells the pose better than what is expected (step 13)."""
        for now, before, limit in zip(_largest_variances(self.hypotheses), self._known, (_VAGUE_RAD, _VAGUE_DEPTH)):
            if now > limit**2 and now > _VAGUE_GROWTH * before:
                return True
        return False

    def fuse(self, solution: PoseSolution, observation: Observation) -> None:
        """
        Correct vague hypotheses by the solutions of one image, or start anew with these (step 13).

        Args:
            solution: of the image.
            observation: the keypoints that it uses.
        """
        self.noise.begin(self._since_s)
        poses, spread = self._about_middle(solution, max(solution.misfit, self.noise.variance))
        count, most = len(poses.rotation), len(self.hypotheses)
        # As in step 6 a solution weighs by its likelihood alone, whatever its covariance.
        log_evidence = -0.5 * (solution.chi2 / solution.misfit + np.linalg.slogdet(spread)[1])
        prior = self.hypotheses.select(np.repeat(np.arange(most), count))
        prior.weights = reweighted(prior.weights, np.tile(log_evidence, most))
        turns = np.tile(poses.rotation, (most, 1, 1)) @ prior.R.transpose(0, 2, 1)
        residual = _steps(np.tile(poses.translation, (most, 1)) - prior.centre, turns)
        pose = np.broadcast_to(_UNIT, (most * count, 6, 6))
        correction = prior.correction(residual, pose, np.tile(spread, (most, 1, 1)))
        unknown = self.hypotheses.largest_turn_variance > _UNKNOWN_RAD**2
        if unknown or correction.chi2.min() > MISFIT_TOLERANCE * chi2_quantile(6):
            self.start(solution)
            return
        unexplained, jacobian, _ = linearise(
            solution.poses, observation.points.points, observation.directions, observation.whiten
        )
        self.noise.learn(unexplained[0], jacobian[0], observation.used, self._since_s)
        self._keep(prior.corrected(correction).combined(count))
        self._since_s = 0.0

    def _keep(self, now: Hypotheses) -> None:
        """Take over corrected hypotheses, but only a few (step 16)."""
        self._published = None
        self.hypotheses = self._few(now)
        self._known = _largest_variances(self.hypotheses)

    def _few(self, now: Hypotheses) -> Hypotheses:
        return now.pruned(self._parameters.max_hypotheses, _LEAST_WEIGHT, _SAME_DISTANCE)

    def result(self) -> FilteredPose:
        """
        Return the pose to publish, with a covariance that covers all hypotheses (step 17).

        The hypotheses form two groups: those nearer to the best supported one, and those nearer to its mirror image.
        The pose is the mean of the heavier group, the alternative that of the other.
        """
        now = self.hypotheses if self._published is None else self._published
        if len(now) == 1:
            pose = self._pose(now, 0)
            return FilteredPose(pose, self._covariance_about(now, pose), 0.0, None)
        flat = now.R.reshape(-1, 9)
        traces = flat @ flat.T
        support = np.exp((traces - 3.0) / (2.0 * _NEIGHBOUR_RAD**2)) @ now.weights  # 3 - trace = angle^2 for small ones
        best = int(support.argmax())
        second = flat @ now.mirrored_rotation(best, self._shape.normal).ravel() > traces[best]
        second[best] = False
        steps = _steps(now.centre - now.centre[best], now.R @ now.R[best].T)
        alternative, other_share = None, float(now.weights @ second)
        if other_share > 0.5:  # the best supported one lies between both groups
            second, other_share = ~second, 1.0 - other_share
        if other_share > 0.0:
            alternative = self._pose(now, best, (now.weights * second) @ steps / other_share)
        pose = self._pose(now, best, (now.weights * ~second) @ steps / (1.0 - other_share))
        return FilteredPose(pose, self._covariance_about(now, pose), other_share / (1.0 - other_share), alternative)

    def _covariance_about(self, now: Hypotheses, pose: Rigid) -> np.ndarray:
        """Return the (6, 6) second moment of the object's origin and rotation about a pose, over all hypotheses."""
        arms = now.R @ self._shape.centroid
        to_origin = _along_arms(arms)
        steps = _steps(now.centre - arms - pose.translation, now.R @ pose.rotation.T)
        moments = to_origin @ now.covariance[:, POSE, POSE] @ to_origin.transpose(0, 2, 1)
        covariance = (now.weights @ moments.reshape(-1, 36)).reshape(6, 6) + (now.weights * steps.T) @ steps
        return 0.5 * (covariance + covariance.T)

    def _about_middle(self, solution: PoseSolution, scale: float) -> tuple[Rigid, np.ndarray]:
        """Return poses of the object's middle and their covariances (B, 6, 6), `scale` times the claimed ones."""
        R = solution.poses.rotation
        arms = R @ self._shape.centroid
        to_middle = _along_arms(-arms)
        spread = to_middle @ np.linalg.inv(solution.information) @ to_middle.transpose(0, 2, 1)
        return Rigid(R, solution.poses.translation + arms), scale * spread

    def _pose(self, now: Hypotheses, index: int, step: np.ndarray = _NO_STEP) -> Rigid:
        """Return the pose `camera_object` of a hypothesis moved by a (6,) step."""
        R = matrix_from_rotation_vector(step[3:]) @ now.R[index]
        return Rigid(R, now.centre[index] + step[:3] - R @ self._shape.centroid)

    def _split_uncertain_tilts(self, now: Hypotheses) -> Hypotheses:
        """Return the hypotheses, those split whose tilt is too uncertain for one Gaussian (step 9)."""
        if now.largest_turn_variance < _SPLIT_RAD**2 or len(now) + 2 > self._parameters.max_hypotheses:
            return now
        sight = now.centre / np.sqrt((now.centre * now.centre).sum(1))[:, None]
        facing = np.abs((now.R @ self._shape.normal * sight).sum(1))
        least = np.maximum(_SPLIT_TILT_RATIO * np.arccos(np.minimum(facing, 1.0)), _SPLIT_RAD)
        wide = (now.pose_variances[:, TURN].sum(1) > least * least) & (now.weights > _SPLIT_WEIGHT)
        if not wide.any():
            return now
        variances, directions = np.linalg.eigh(now.covariance[:, TURN, TURN])
        sigma, axis = np.sqrt(variances[:, 2]), directions[:, :, 2]
        wide &= (sigma > least) & (np.abs((axis * sight).sum(1)) < 0.5)
        result = now
        for i in np.flatnonzero(wide)[::-1].tolist():  # last first: a split leaves the indices before it as they are
            if len(result) + 2 <= self._parameters.max_hypotheses:
                result = result.split(i, now.covariance[i, :, TURN] @ axis[i] / sigma[i])
        return result


def _steps(shifts: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return the steps (M, 6) of shifts (M, 3) and rotations (M, 3, 3), see `Rigid.moved`."""
    return np.concatenate([shifts, rotation_vectors_from_matrices(turns)], axis=1)


def _along_arms(arms: np.ndarray) -> np.ndarray:
    """Return (M, 6, 6) that take errors of poses from one point of the object to another; `arms` (M, 3) lead back."""
    result = np.empty((len(arms), 6, 6))
    result[:] = _UNIT
    result[:, :3, 3:] = skew_matrix(arms)
    return result


def _largest_variances(now: Hypotheses) -> tuple[float, float]:
    """Return those of the rotation and of the distance, relative to it."""
    return now.largest_turn_variance, float((now.pose_variances[:, 2] / now.centre[:, 2] ** 2).max())


def _bend(prior: Hypotheses, now: Hypotheses, correction: Correction) -> float:
    """
    Return how far the projection bends between the hypotheses before and after a correction, relative to its size.

    It bends by the square of the turn and of the relative change of the distance, and by what their variances lost.
    """
    bend = correction.step[:, POSE] ** 2 + prior.pose_variances - now.pose_variances
    bend = bend[:, TURN].sum(1) + bend[:, 2] / now.centre[:, 2] ** 2
    return float((bend * (now.weights > _SPLIT_WEIGHT)).max())
