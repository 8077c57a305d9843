"""
PoseFusion: orientations of one object from several cameras, in one frame -> one orientation for each instance.

The numbers of the steps in the comments are those of docs/filter.md, where each is derived.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.solver import MISFIT_TOLERANCE, NEGLIGIBLE_AMBIGUITY, SAME_POSE_RAD, chi2_quantile

MAX_AGE_S = 0.2  # estimates of other cameras that are older are left out
_STEPS = 3  # iterations of the mean of rotations; the second changes it by less than 1e-6 rad where views agree
_SMALLEST_VARIANCE = 1e-10


@dataclass(eq=False)
class _View:
    """
    The estimate of one camera for one instance (step 22).

    Attributes:
        camera: name of the camera.
        estimate: as it was given.
        poses: one or two poses that explain the image.
        weights: probability of each of them.
        covariance: (6, 6) of either of them alone.
    """

    camera: str
    estimate: OrientationEstimate
    poses: list[Rigid]
    weights: list[float]
    covariance: np.ndarray

    @classmethod
    def of(cls, camera: str, estimate: OrientationEstimate, age_s: float, speeds: tuple[float, float]) -> _View:
        poses, weights, covariance = [estimate.pose], [1.0], estimate.covariance
        if estimate.alternative is not None:
            # The covariance of an estimate covers both attitudes; without the step between them it is that of one.
            share = estimate.ambiguity / (1.0 + estimate.ambiguity)
            step = estimate.pose.step_to(estimate.alternative)
            poses, weights = [estimate.pose, estimate.alternative], [1.0 - share, share]
            covariance = covariance - share * np.outer(step, step)
        moved = np.repeat(np.square(speeds) * age_s**2, 3)  # since then it may have moved
        values, vectors = np.linalg.eigh(covariance + np.diag(moved))
        covariance = (vectors * np.maximum(values, _SMALLEST_VARIANCE)) @ vectors.T
        return cls(camera, estimate, poses, weights, covariance)


@dataclass(frozen=True, eq=False)
class _Fused:
    """
    A weighted mean of one pose of each view.

    Attributes:
        pose: the mean.
        covariance: (6, 6) of the mean.
        chi2: squared Mahalanobis distances of the poses from the mean, summed.
        log_likelihood: of this choice of poses.
    """

    pose: Rigid
    covariance: np.ndarray
    chi2: float
    log_likelihood: float


class PoseFusion:
    """
    Combines the estimates of several cameras for the instances of one object.

    Each estimate has one or two attitudes (a flat object seen from afar has a mirrored one). Of all choices of one
    attitude for each camera, the one whose attitudes agree best is used, weighted by the inverse of their covariances:
    two cameras that look from different sides share the true attitude and not the mirrored ones. Errors of different
    cameras are taken as independent. Estimates that contradict each other are not averaged: the surest one is returned,
    marked outlier_suspected.

    Args:
        model: the object.
        speeds: how fast it usually moves and turns [m/s, rad/s]: the cameras' images are not taken at the same moment.

    Attributes:
        stamp_s: time of the newest image [s].
    """

    def __init__(self, model: ObjectModel, speeds: tuple[float, float] = (0.5, 1.0)):
        self.model = model
        self.speeds = speeds
        self.stamp_s = -math.inf
        self._symmetries = SymmetryGroup(model.symmetries)
        self._latest: dict[str, tuple[float, Sequence[OrientationEstimate]]] = {}
        self._ids: dict[tuple[str, int], int] = {}
        self._next_id = 0

    def update(
        self, camera: str, stamp_s: float, estimates: Sequence[OrientationEstimate]
    ) -> list[OrientationEstimate]:
        """
        Add the estimates of one image, and return one estimate for each instance that any camera sees at that time.

        The results are in the frame of the estimates, with track ids of their own; reprojection_error_px is the largest
        of the cameras'.

        Args:
            camera: name of the camera.
            stamp_s: time of the image [s].
            estimates: of all instances in the image, in a frame that is common to all cameras.
        """
        if stamp_s < self.stamp_s - MAX_AGE_S:  # time was set back
            self._latest.clear()
        self.stamp_s = max(stamp_s, self.stamp_s) if self._latest else stamp_s
        self._latest[camera] = stamp_s, estimates
        views = [
            _View.of(name, estimate, abs(self.stamp_s - seen_s), self.speeds)
            for name, (seen_s, seen) in self._latest.items()
            if self.stamp_s - seen_s <= MAX_AGE_S
            for estimate in seen
        ]
        fused = [(self._id_of(group), self._fuse(group)) for group in self._groups(views)]
        return [replace(estimate, track_id=track_id) for track_id, estimate in fused]

    def _groups(self, views: list[_View]) -> list[list[_View]]:
        """Return the views of each instance: nearest positions first, at most one view of each camera (step 23)."""
        group_of = {id(view): [view] for view in views}
        pairs = [(_position_distance(a, b), a, b) for a, b in itertools.combinations(views, 2) if a.camera != b.camera]
        for distance, a, b in sorted(pairs, key=lambda pair: pair[0]):
            if distance > MISFIT_TOLERANCE * chi2_quantile(3):
                break
            one, other = group_of[id(a)], group_of[id(b)]
            cameras = [view.camera for view in one + other]
            if one is not other and len(set(cameras)) == len(cameras):
                one.extend(other)
                group_of.update({id(view): one for view in other})
        return list({id(group): group for group in group_of.values()}.values())

    def _fuse(self, views: list[_View]) -> OrientationEstimate:
        """Return the estimate of one instance from all its views (step 24)."""
        choices = itertools.product(*(range(len(view.poses)) for view in views))
        best, *others = sorted((self._mean(views, choice) for choice in choices), key=lambda m: -m.log_likelihood)
        freedom = 6 * (len(views) - 1)
        if freedom and best.chi2 > MISFIT_TOLERANCE * chi2_quantile(freedom):
            surest = min(views, key=lambda view: np.linalg.slogdet(view.estimate.covariance)[1])
            return replace(surest.estimate, outlier_suspected=True)
        misfit = max(1.0, best.chi2 / freedom) if freedom else 1.0
        second = next(
            (o for o in others if rotation_between(o.pose.rotation, best.pose.rotation) > SAME_POSE_RAD), None
        )
        ambiguity = 0.0 if second is None else math.exp((second.log_likelihood - best.log_likelihood) / misfit)
        ambiguity = min(1.0, ambiguity) if ambiguity > NEGLIGIBLE_AMBIGUITY else 0.0
        covariance, alternative = best.covariance * misfit, None
        if second is not None and ambiguity:
            share, alternative = ambiguity / (1.0 + ambiguity), second.pose
            step = best.pose.step_to(second.pose)
            covariance = covariance + share * np.outer(step, step)
        estimates = [view.estimate for view in views]
        errors = [estimate.reprojection_error_px for estimate in estimates if not estimate.coasting]
        return replace(
            estimates[0],
            pose=best.pose,
            covariance=covariance,
            reprojection_error_px=max(errors, default=math.nan),
            ambiguity=ambiguity,
            alternative=alternative,
            keypoints_used=sum(estimate.keypoints_used for estimate in estimates),
            outlier_suspected=any(estimate.outlier_suspected for estimate in estimates),
        )

    def _mean(self, views: Sequence[_View], choice: Sequence[int]) -> _Fused:
        """Return the mean of the chosen pose of each view, weighted by the inverse of its covariance."""
        weights = [np.linalg.inv(view.covariance) for view in views]
        pose = views[0].poses[choice[0]]
        poses = [view.poses[i] for view, i in zip(views, choice)]
        poses = [Rigid(R @ self._symmetries.turn_towards(R, pose.rotation), t) for R, t in poses]
        covariance = np.linalg.inv(sum(weights))
        for _ in range(_STEPS):
            steps = [pose.step_to(other) for other in poses]
            pose = pose.moved(covariance @ sum(weight @ step for weight, step in zip(weights, steps)))
        steps = [pose.step_to(other) for other in poses]
        chi2 = float(sum(step @ weight @ step for weight, step in zip(weights, steps)))
        prior = sum(math.log(max(view.weights[i], 1e-300)) for view, i in zip(views, choice))
        return _Fused(pose, covariance, chi2, prior - 0.5 * chi2)

    def _id_of(self, views: Sequence[_View]) -> int | None:
        """Return the id of an instance: the oldest one that any of its views has had."""
        keys = [(v.camera, v.estimate.track_id) for v in views if v.estimate.track_id is not None]
        if not keys:
            return None
        known = [self._ids[key] for key in keys if key in self._ids]
        if not known:
            known, self._next_id = [self._next_id], self._next_id + 1
        if len(self._ids) > 10_000:
            self._ids.clear()
        self._ids.update(dict.fromkeys(keys, min(known)))
        return min(known)


def _position_distance(a: _View, b: _View) -> float:
    """Return the squared Mahalanobis distance of two positions."""
    difference = a.estimate.pose.translation - b.estimate.pose.translation
    return float(difference @ np.linalg.solve((a.covariance + b.covariance)[:3, :3], difference))
