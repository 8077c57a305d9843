"""
PoseSolver: the pose of one instance from one image, as every solution that explains its keypoints, with covariance.

The numbers of the steps in the comments are those of docs/filter.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.pnp import (
    MIN_POINTS,
    PointSet,
    initial_poses,
    known_points,
    linearise,
    refine_poses,
    whitening,
)

DEFAULT_KEYPOINT_VARIANCE_PX2 = 1.0  # for keypoints that come without a usable covariance
SMALLEST_KEYPOINT_VARIANCE_PX2 = 0.05**2  # no detector is better than this, whatever it claims
MISFIT_TOLERANCE = 4.0  # chi-square may exceed its 99.9 % quantile by this factor: detectors are up to 2x too sure
SAME_POSE_RAD = np.deg2rad(0.05)  # two solutions nearer than this are one
NEGLIGIBLE_AMBIGUITY = 1e-4  # below it the second solution is not reported
_SMALLEST_COVARIANCE = SMALLEST_KEYPOINT_VARIANCE_PX2 * np.eye(2)
_SUSPECTS = 6  # so many keypoints are left out, one at a time, where the keypoints contradict each other
_NORMAL_QUANTILE = 3.09  # 99.9 % of a standard normal
_MISFIT_PRIOR = 4.0  # weight of the claimed covariances against the misfit that is seen, in degrees of freedom


@dataclass(frozen=True)
class Refusal:
    """No pose can be computed; `reason` says why, for a log or diagnostics."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSolution:
    """
    All poses that explain the keypoints of one instance in one image, best first.

    Attributes:
        poses: a stack of B >= 1 poses `camera_object`.
        chi2: (B,) squared whitened reprojection errors.
        information: (B, 6, 6) inverse covariances, as claimed by the keypoints.
        errors_px: (B,) root mean square reprojection errors in the image.
        used: (K,) bool, the keypoints that were used; a rejected outlier is not among them.
        outlier_suspected: True when a keypoint was rejected or the keypoints contradict each other.
    """

    poses: Rigid
    chi2: np.ndarray
    information: np.ndarray
    errors_px: np.ndarray
    used: np.ndarray
    outlier_suspected: bool

    @property
    def misfit(self) -> float:
        """Variance of the keypoints over the claimed one, >= 1, from the residual of the best solution (step 5)."""
        freedom = 2 * int(self.used.sum()) - 6
        return max(1.0, (_MISFIT_PRIOR + float(self.chi2[0])) / (_MISFIT_PRIOR + freedom))

    @property
    def ambiguity(self) -> float:
        """Likelihood of the second solution over that of the best, in [0, 1]; 0 when there is none."""
        if len(self.chi2) < 2:
            return 0.0
        ratio = float(np.exp(-0.5 * (self.chi2[1] - self.chi2[0]) / self.misfit))
        return ratio if ratio > NEGLIGIBLE_AMBIGUITY else 0.0

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) covariance of the best solution alone, in ROS order, inflated by the misfit."""
        return np.linalg.inv(self.information[0]) * self.misfit

    def to_estimate(
        self, model: ObjectModel, track_id: int | None = None, R_reference_camera: np.ndarray | None = None
    ) -> OrientationEstimate:
        """
        Return the estimate of this image alone.

        Args:
            model: the object.
            track_id: of the instance.
            R_reference_camera: (3, 3), to the axes that roll, pitch and yaw are about; default: those of the camera.
        """
        ambiguity = self.ambiguity
        covariance = covariance_over_both(self, ambiguity)
        return OrientationEstimate(
            pose=self.poses.at(0),
            covariance=0.5 * (covariance + covariance.T),
            reprojection_error_px=float(self.errors_px[0]),
            ambiguity=ambiguity,
            alternative=self.poses.at(1) if ambiguity else None,
            track_id=track_id,
            keypoints_used=int(self.used.sum()),
            outlier_suspected=self.outlier_suspected,
            model=model,
            R_reference_frame=np.eye(3) if R_reference_camera is None else R_reference_camera,
        )


def covariance_over_both(solution: PoseSolution, ambiguity: float) -> np.ndarray:
    """Return the (6, 6) second moment about the best pose of both solutions, weighted by how likely each is."""
    covariance = solution.covariance
    if not ambiguity:
        return covariance
    share = ambiguity / (1.0 + ambiguity)
    difference = solution.poses.at(0).step_to(solution.poses.at(1))
    other = np.linalg.inv(solution.information[1]) * solution.misfit + np.outer(difference, difference)
    return (1.0 - share) * covariance + share * other


@dataclass(frozen=True, eq=False)
class Observation:
    """
    The U keypoints of one instance that can be used, with what the geometry needs of them.

    Attributes:
        points: their positions on the object.
        used: (K,) bool, which of the object's keypoints they are.
        pixels: (U, 2) positions in the image.
        directions: (U, 2) undistorted positions x / z, y / z.
        whiten: (U, 2, 2), see `pnp.whitening`, of the covariances of the directions.
    """

    points: PointSet
    used: np.ndarray
    pixels: np.ndarray
    directions: np.ndarray
    whiten: np.ndarray

    def subset(self, keep: np.ndarray) -> Observation:
        """Return the observation of the keypoints for which `keep` (U,) is True; they may be too few."""
        used = self.used.copy()
        used[np.flatnonzero(used)[~keep]] = False
        points = PointSet(self.points.points[keep])
        return Observation(points, used, self.pixels[keep], self.directions[keep], self.whiten[keep])


class PoseSolver:
    """
    Computes poses of one object in the images of one camera; keeps what does not change from image to image.

    Attributes:
        model: the object.
        camera: intrinsics of the images.
        shape: all points of the object whose position is known.
    """

    def __init__(self, model: ObjectModel, camera: CameraIntrinsics):
        """Raise ConfigError when the object has no usable model_points."""
        self.model = model
        self.camera = camera
        self.shape = known_points(model)
        self._point_sets = {model.has_position.tobytes(): self.shape}

    def _point_set(self, used: np.ndarray) -> PointSet:
        key = used.tobytes()
        if key not in self._point_sets:
            if len(self._point_sets) > 1000:
                self._point_sets.clear()
            self._point_sets[key] = PointSet(self.model.model_points[used])  # type: ignore[index]
        return self._point_sets[key]

    def observe(self, pose: KeypointPose) -> Observation | Refusal:
        """
        Return the usable keypoints of a pose, or why they are too few (step 1).

        Raises:
            ValueError: the pose has another number of keypoints than the object.
        """
        if len(pose.visible) != self.model.keypoint_count:
            raise ValueError(
                f'pose must have the {self.model.keypoint_count} keypoints of {self.model.name}, '
                f'got {len(pose.visible)}'
            )
        used = pose.visible & self.model.has_position & np.isfinite(pose.keypoints).all(1)
        directions, jacobians = self.camera.undistort_with_jacobian(pose.keypoints[used])
        if not np.isfinite(directions).all():
            reachable = np.isfinite(directions).all(1)
            directions, jacobians = directions[reachable], jacobians[reachable]
            used[np.flatnonzero(used)[~reachable]] = False
        points = self._point_set(used)
        if points.refusal:
            return Refusal(points.refusal)
        covariances = jacobians @ _usable_covariances(pose.covariances[used]) @ jacobians.transpose(0, 2, 1)
        return Observation(points, used, pose.keypoints[used], directions, whitening(covariances))

    def solve(self, pose: KeypointPose) -> PoseSolution | Refusal:
        """
        Return every pose that explains the keypoints, best first, or the reason why there is none.

        With five or more keypoints, one that contradicts the others is left out; with four it can only be suspected.
        """
        observation = self.observe(pose)
        return observation if isinstance(observation, Refusal) else self.solve_without_outlier(observation)

    def solve_without_outlier(self, observation: Observation) -> PoseSolution | Refusal:
        """Return every pose that explains the keypoints of an observation but one that is wrong, see `solve`."""
        solution = self.solve_observation(observation)
        if not isinstance(solution, Refusal) and not consistent(solution.chi2[0], len(observation.pixels)):
            solution = self._without_outlier(observation, solution)
        return solution

    def solve_observation(self, observation: Observation) -> PoseSolution | Refusal:
        """Return every pose that explains all keypoints of the observation, best first, or why there is none."""
        points, directions, whiten = observation.points.points, observation.directions, observation.whiten
        starts = initial_poses(observation.points, directions)  # step 2
        if not len(starts.rotation):
            return Refusal('no pose with every keypoint in front of the camera explains the image')
        poses, chi2, information = refine_poses(starts, points, directions, whiten)  # step 3
        order = np.argsort(chi2, kind='stable')
        best = int(order[0])
        if not np.isfinite(chi2[best]) or np.linalg.cond(information[best]) > 1e14:
            return Refusal('the keypoints do not determine a pose: they nearly coincide in the image')
        distinct = [best]
        for i in order[1:].tolist():
            separate = all(rotation_between(poses.rotation[i], poses.rotation[j]) > SAME_POSE_RAD for j in distinct)
            if separate and np.isfinite(chi2[i]) and np.linalg.cond(information[i]) < 1e14:
                distinct.append(i)
        return PoseSolution(
            poses=poses.at(distinct),
            chi2=chi2[distinct],
            information=information[distinct],
            errors_px=np.array([self.reprojection_error_px(poses.at(i), observation) for i in distinct]),
            used=observation.used,
            outlier_suspected=not consistent(chi2[best], len(directions)),
        )

    def _without_outlier(self, observation: Observation, suspect: PoseSolution) -> PoseSolution:
        """Return the best solution without one keypoint, or the suspect one if none is credible (step 4)."""
        if len(observation.pixels) <= MIN_POINTS:
            return suspect
        best = suspect
        for index in _most_suspicious(observation, suspect):
            rest = observation.subset(np.arange(len(observation.pixels)) != index)
            points = self._point_set(rest.used)  # computed before, mostly
            if points.refusal:
                continue
            solution = self.solve_observation(replace(rest, points=points))
            if not isinstance(solution, Refusal) and solution.chi2[0] < best.chi2[0]:
                best = solution
        resolved = consistent(best.chi2[0], int(best.used.sum()))
        return replace(best if resolved else suspect, outlier_suspected=True)

    def reprojection_error_px(self, camera_object: Rigid, observation: Observation) -> float:
        """Return the root mean square distance [px] of the keypoints in use from the projected model points."""
        misses = self.camera.project(camera_object.apply(observation.points.points)) - observation.pixels
        return math.sqrt(np.vdot(misses, misses) / len(misses))


def _most_suspicious(observation: Observation, suspect: PoseSolution) -> list[int]:
    """Return the few keypoints without which chi-square would fall most, by one linear step from each solution."""
    o = observation
    residual, jacobian, _ = linearise(suspect.poses, o.points.points, o.directions, o.whiten)
    count = len(o.pixels)
    leverage = jacobian @ np.linalg.solve(suspect.information, jacobian.transpose(0, 2, 1))
    blocks = leverage.reshape(-1, count, 2, count, 2)[:, np.arange(count), :, np.arange(count)]  # (U, B, 2, 2)
    errors = residual.reshape(-1, count, 2).transpose(1, 0, 2)[..., None]
    regular = (1.0 + 1e-9) * np.eye(2) - blocks  # a keypoint on which the pose hangs alone has nothing to contradict
    gain = (errors * np.linalg.solve(regular, errors)).sum((2, 3)) - suspect.chi2
    return np.argsort(-gain.max(1), kind='stable')[:_SUSPECTS].tolist()


def consistent(chi2: float, keypoints: int) -> bool:
    """Tell whether a squared whitened reprojection error is credible when none of the keypoints is wrong."""
    return bool(chi2 <= MISFIT_TOLERANCE * chi2_quantile(2 * keypoints - 6))


def chi2_quantile(freedom: int) -> float:
    """
    Return the 99.9 % quantile of the chi-square distribution with `freedom` >= 2 degrees of freedom.

    By the approximation of Wilson and Hilferty (1931), good to 2.5 % from 2 degrees of freedom.
    """
    spread = 2.0 / (9.0 * freedom)
    return float(freedom * (1.0 - spread + _NORMAL_QUANTILE * np.sqrt(spread)) ** 3)


def _usable_covariances(covariances: np.ndarray) -> np.ndarray:
    """Return (U, 2, 2) covariances [px^2] with the missing ones replaced and the impossibly small ones raised."""
    variance = covariances[:, 0, 0]
    determinant = variance * covariances[:, 1, 1] - covariances[:, 0, 1] * covariances[:, 1, 0]
    usable = (variance > 0.0) & (determinant > 0.0) & (determinant < np.inf)
    if not usable.all():
        covariances = np.where(usable[:, None, None], covariances, DEFAULT_KEYPOINT_VARIANCE_PX2 * np.eye(2))
    return covariances + _SMALLEST_COVARIANCE
