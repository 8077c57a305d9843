"""
Identity: poses of an instance whose keypoints can be named in two ways, in one image and over time.

The numbers of the steps in the comments are those of docs/filter.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import mean_distances, seen_points
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.outlines.fit_requests import FitRequests
from custom_pose_ros.core.orientation.solver import (
    MISFIT_TOLERANCE,
    NEGLIGIBLE_AMBIGUITY,
    PoseSolution,
    PoseSolver,
    Refusal,
    chi2_quantile,
)
from custom_pose_ros.core.orientation.track import InstanceTrack, TrackSetup

_LOOK_S = 1.0  # a network repeats a wrong identity about so long: images within it tell as much as one
_UNNAMED = math.log(AMBIGUOUS)  # log odds of an identity that an image does not name
_LEAD = math.log(1.5)  # the other identity must be so much likelier to become the first
_RESOLVED = math.log(0.01)  # up to here the other identity is not followed
_SAME_PLACE = 0.3  # mean distance of the keypoints of one instance from where it is, in sizes of it
_SURE = math.log(1e3)  # evidence is remembered up to here, so that a wrong choice is never final


def solve_identities(
    solver: PoseSolver, symmetries: SymmetryGroup, pose: KeypointPose, R_reference_camera: np.ndarray
) -> OrientationEstimate | Refusal:
    """Return the estimate of one image from all that its keypoints may mean, or why there is none."""
    solution = solver.solve(pose)
    other = None if pose.alternative is None else solver.solve(pose.alternative)
    log_odds = -math.inf if other is None else _log_odds(pose, solution, other)
    if other is not None and log_odds > 0.0:
        solution, other, log_odds = other, solution, -log_odds
    if isinstance(solution, Refusal):
        return solution
    estimate = solution.to_estimate(solver.model, pose.track_id, R_reference_camera)
    second = other.to_estimate(solver.model, pose.track_id) if isinstance(other, PoseSolution) else None
    return _with_other_identity(estimate, second, math.exp(log_odds), symmetries)


def _log_odds(pose: KeypointPose, solution: PoseSolution | Refusal, other: PoseSolution | Refusal) -> float:
    """Return how likely the alternative of a pose is over the pose, by its score and whether both fit (step 25)."""
    log_odds = math.log(pose.ambiguity) if pose.ambiguity > 0.0 else -_SURE
    if isinstance(solution, PoseSolution) and isinstance(other, PoseSolution):
        log_odds -= 0.5 * (_beyond_noise(other) - _beyond_noise(solution)) / min(solution.misfit, other.misfit)
    return max(-_SURE, min(_SURE, log_odds))


def _beyond_noise(solution: PoseSolution) -> float:
    """Return the part of a squared reprojection error that noise of the keypoints does not explain."""
    freedom = 2 * int(solution.used.sum()) - 6
    return max(0.0, float(solution.chi2[0]) - chi2_quantile(freedom)) if freedom else 0.0


def _with_other_identity(
    estimate: OrientationEstimate, other: OrientationEstimate | None, odds: float, symmetries: SymmetryGroup
) -> OrientationEstimate:
    """
    Return an estimate that covers another identity as well (step 25).

    Args:
        estimate: of the likelier identity.
        other: of the other one; None where its keypoints give no pose.
        odds: how likely it is compared with the first.
        symmetries: of the object; attitudes that look the same are one.
    """
    odds = min(1.0, odds)
    if odds <= NEGLIGIBLE_AMBIGUITY or estimate.impossibility:
        return estimate
    if other is None or other.impossibility:
        return replace(estimate, ambiguity=max(estimate.ambiguity, odds))
    R, t = other.pose
    pose = Rigid(R @ symmetries.turn_towards(estimate.pose.rotation, R), t)
    step = estimate.pose.step_to(pose)
    if step @ np.linalg.solve(estimate.covariance + other.covariance, step) < MISFIT_TOLERANCE * chi2_quantile(6):
        return estimate  # both mean the same pose
    share = odds / (1.0 + odds)
    covariance = (1.0 - share) * estimate.covariance + share * (other.covariance + np.outer(step, step))
    likelier = odds >= estimate.ambiguity
    return replace(
        estimate,
        covariance=0.5 * (covariance + covariance.T),
        ambiguity=max(odds, estimate.ambiguity),
        alternative=pose if likelier else estimate.alternative,
    )


class _Frame(NamedTuple):
    """An image in which an instance is followed; see `InstanceTrack.update`."""

    stamp_s: float
    longest_gap_s: float
    track_id: int | None
    has_image: bool


@dataclass(eq=False)
class _Followed:
    """One identity: its track, and the last estimate of that, None where it gave none."""

    track: InstanceTrack
    estimate: OrientationEstimate | None = None

    def follow(self, pose: KeypointPose | None, frame: _Frame) -> FitRequests[OrientationEstimate | Refusal]:
        """Update the track with its keypoints in an image, or predict it where the image does not name it."""
        result: OrientationEstimate | Refusal
        if pose is not None:
            named = replace(pose, track_id=frame.track_id)
            result = yield from self.track.update(named, frame.stamp_s, frame.longest_gap_s, frame.has_image)
        elif self.track.alive(frame.stamp_s, frame.longest_gap_s):
            result = yield from self.track.coast(frame.stamp_s, frame.track_id, False)
        else:
            result = Refusal('the image does not name the keypoints of this identity')
        self.estimate = None if isinstance(result, Refusal) else result
        return result

    def coast(self, stamp_s: float, track_id: int | None, has_image: bool) -> FitRequests[OrientationEstimate]:
        """Return the estimate for an image without usable keypoints."""
        self.estimate = yield from self.track.coast(stamp_s, track_id, has_image)
        return self.estimate


class IdentityTrack:
    """The orientation of one instance over time, each identity of its keypoints followed by a track of its own."""

    def __init__(self, setup: TrackSetup):
        self._setup = setup
        self._first = _Followed(InstanceTrack(setup))
        self._other: _Followed | None = None
        self._log_odds = _UNNAMED  # of the other identity over the first
        self._stamp_s = math.nan

    def update(
        self, pose: KeypointPose, stamp_s: float, longest_gap_s: float, has_image: bool
    ) -> FitRequests[OrientationEstimate | Refusal]:
        """Return the estimate at `stamp_s` or why there is none, see `InstanceTrack.update`."""
        first: KeypointPose | None = pose
        other: KeypointPose | None = None
        if not self.alive(stamp_s, longest_gap_s):
            first, other = self._start(pose)
        elif pose.alternative is None and self._other is None:
            self._learn(_UNNAMED, stamp_s)
        else:
            first, other, evidence = self._assigned(pose)
            self._learn(evidence, stamp_s)
        self._stamp_s = stamp_s
        frame = _Frame(stamp_s, longest_gap_s, pose.track_id, has_image)
        result = yield from self._first.follow(first, frame)
        if self._other is None and other is not None and self._log_odds > _RESOLVED:
            self._other = _Followed(InstanceTrack(self._setup))
        if self._other is None:
            return result
        return (yield from self._update_other(self._other, result, other, frame))

    def alive(self, stamp_s: float, longest_gap_s: float) -> bool:
        """Tell whether the instance is to be followed, see `InstanceTrack.alive`."""
        return self._first.track.alive(stamp_s, longest_gap_s)

    def sizes_away(self, pose: KeypointPose, stamp_s: float, longest_gap_s: float) -> float:
        """
        Return how far keypoints with another id are from this instance, which only its outline has shown lately.

        In sizes of the instance, inf where they are not its. What gave the ids has forgotten it meanwhile, or lost it.
        A symmetry may exchange the names of the keypoints.
        """
        if self._first.track.seen(stamp_s, longest_gap_s) or self._first.estimate is None:
            return math.inf
        identities = [pose] if pose.alternative is None else [pose, pose.alternative]
        return min(self._sizes_away(self._first.estimate.pose, identity) for identity in identities)

    def _sizes_away(self, place: Rigid, pose: KeypointPose) -> float:
        """Return how far keypoints are from where an instance is, under the names of any of its symmetries."""
        solver, symmetries = self._setup.solver, self._setup.symmetries
        keypoints = seen_points(pose)[solver.model.has_position]
        points = solver.camera.project(place.apply(solver.shape.points))
        size_px = float(np.linalg.norm(np.ptp(points, 0)))
        apart_px = mean_distances([points], [keypoints], [size_px])[0, 0]
        if _SAME_PLACE * size_px < apart_px < math.inf and not symmetries.trivial:
            solution = solver.solve(pose)
            if isinstance(solution, PoseSolution):
                turn = symmetries.turn_towards(place.rotation, solution.poses.rotation[0])
                turned = place._replace(rotation=place.rotation @ turn)
                points = solver.camera.project(turned.apply(solver.shape.points))
                apart_px = mean_distances([points], [keypoints], [size_px])[0, 0]
        return float(apart_px / size_px) if apart_px <= _SAME_PLACE * size_px else math.inf

    def coast(self, stamp_s: float, track_id: int | None, has_image: bool) -> FitRequests[OrientationEstimate]:
        """Return the estimate for an image without usable keypoints, see `InstanceTrack.coast`; only while `alive`."""
        estimate = yield from self._first.coast(stamp_s, track_id, has_image)
        if self._other is None:
            return estimate
        if self._other.estimate is None:  # its keypoints have given no pose yet
            return self._with_other(estimate, None)
        return self._with_other(estimate, (yield from self._other.coast(stamp_s, track_id, has_image)))

    def _start(self, pose: KeypointPose) -> tuple[KeypointPose, KeypointPose | None]:
        """Forget what was; return the keypoints of the likelier identity and of the other one."""
        self._other, self._log_odds = None, _UNNAMED
        if pose.alternative is not None:
            log_odds = _log_odds(pose, self._setup.solver.solve(pose), self._setup.solver.solve(pose.alternative))
            self._log_odds = -abs(log_odds)
            pose = pose.exchanged() if log_odds > 0.0 else pose
        return pose, pose.alternative

    def _learn(self, evidence: float, stamp_s: float) -> None:
        """Take in the log odds that an image gives the other identity (step 26)."""
        step_s = stamp_s - self._stamp_s
        odds, mixed = math.exp(self._log_odds), min(1.0, self._setup.parameters.switch_rate_hz * step_s)
        log_odds = math.log((odds + mixed) / (1.0 + mixed * odds)) + evidence * min(1.0, step_s / _LOOK_S)
        self._log_odds = max(-_SURE, min(_SURE, log_odds))

    def _assigned(self, pose: KeypointPose) -> tuple[KeypointPose | None, KeypointPose | None, float]:
        """Return the keypoints of the first identity, of the other one, and the log odds of that in this image."""
        miss = self._miss(self._first, pose)
        if pose.alternative is not None:
            log_ambiguity = math.log(max(pose.ambiguity, AMBIGUOUS))
            if self._miss(self._first, pose.alternative) < miss:
                return pose.alternative, pose, -log_ambiguity
            return pose, pose.alternative, log_ambiguity
        if self._miss(self._other, pose) < miss:
            return None, pose, -_UNNAMED
        return pose, None, _UNNAMED

    def _miss(self, followed: _Followed | None, pose: KeypointPose) -> float:
        """Return how far keypoints are from where the last estimate has them, their shift aside [px], or inf."""
        known = pose.visible & self._setup.solver.model.has_position
        if followed is None or followed.estimate is None or not known.any():
            return math.inf
        points = followed.estimate.pose.apply(self._setup.solver.model.model_points[known])  # type: ignore[index]
        away = pose.keypoints[known] - self._setup.solver.camera.project(points)
        away -= away.mean(0)
        return float(np.sqrt((away * away).sum(1).mean()))

    def _update_other(
        self, other: _Followed, result: OrientationEstimate | Refusal, pose: KeypointPose | None, frame: _Frame
    ) -> FitRequests[OrientationEstimate | Refusal]:
        """Follow the other identity too, and return the estimate that covers both; the likelier one comes first."""
        outcome = yield from other.follow(pose, frame)
        if self._log_odds > _LEAD and isinstance(outcome, OrientationEstimate):
            self._first, other, self._log_odds = other, self._first, -self._log_odds
            result = outcome
        gone = not other.track.alive(frame.stamp_s, frame.longest_gap_s)
        resolved = (gone and pose is None) or self._log_odds <= _RESOLVED
        self._other = None if resolved else other
        if isinstance(result, Refusal) or resolved:
            return result
        return self._with_other(result, other.estimate)

    def _with_other(self, estimate: OrientationEstimate, other: OrientationEstimate | None) -> OrientationEstimate:
        return _with_other_identity(estimate, other, math.exp(self._log_odds), self._setup.symmetries)
