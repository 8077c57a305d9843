"""
InstanceTrack: when the filter of one instance starts, is corrected, coasts through gaps, and starts anew.

The numbers of the steps in the comments are those of docs/filter.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.filter import FilteredPose, PoseFilter
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.core.orientation.outlines.fit_requests import FitRequests, compared
from custom_pose_ros.core.orientation.outlines.outline_fit import MeshSize, OutlineFit
from custom_pose_ros.core.orientation.outlines.outline_fitter import FitStart, OutlineFitter
from custom_pose_ros.core.orientation.outlines.outline_views import SIZE_ERROR
from custom_pose_ros.core.orientation.pnp import PointSet
from custom_pose_ros.core.orientation.solver import (
    MISFIT_TOLERANCE,
    NEGLIGIBLE_AMBIGUITY,
    Observation,
    PoseSolution,
    PoseSolver,
    Refusal,
    chi2_quantile,
)

_AGREEMENT_S = 1.0  # over which the agreement of the outline is averaged
_LONGEST_STEP_S = 0.2  # an image counts for no more
_FIRST_AGREEMENT, _FIRST_S = 0.5, 0.3  # what is taken for known at first
_FIRST_STEP_S = 0.1  # what the first image counts: with it alone not even full agreement is believed
_NOTHING_TOLD = np.eye(6)  # information of keypoints before there were any: of 1 m and 1 rad
_LEAST_AGREEMENT = 0.64  # on average; other shapes reach 0.63
# Why the outline is not believed.
UNCOMPARED = Refusal('too little of it is seen, or two attitudes fit alike')
NOT_SHOWN = Refusal('the image does not show it')
DOUBTFUL = Refusal('its keypoints contradict each other')
_NOT_YET = Refusal('over the last second the images did not show it')
_CONTRADICTED = Refusal('the keypoints contradict it')
_UNEXPECTED = Refusal('it is not where the motion leads')
OTHER_SIZE = 'the object is larger or smaller than its mesh by more than the size error that outline.npz states'
_GAPS_BY_OUTLINE = 4.0  # so many longest gaps the outline alone may carry a track: it tells the pose, not the object
CONTRADICTION_S = 0.15  # keypoints that contradict the track for longer are believed, and the track starts anew


@dataclass(frozen=True, eq=False)
class TrackSetup:
    """
    What all tracks of one object in the images of one camera have in common.

    Attributes:
        solver: computes poses of the object in the images of the camera.
        symmetries: those of the object.
        parameters: how the object moves.
        R_reference_camera: (3, 3), to the axes that roll, pitch and yaw of the estimates are about.
        outline: measures poses in the image itself, or None.
    """

    solver: PoseSolver
    symmetries: SymmetryGroup
    parameters: FilterParameters
    R_reference_camera: np.ndarray
    outline: OutlineFitter | None


class InstanceTrack:
    """
    The orientation of one instance over time, from its keypoint poses.

    What corrects it is a coroutine, see `fit_requests.run_together`.
    """

    def __init__(self, setup: TrackSetup):
        self._solver = setup.solver
        self._symmetries = setup.symmetries
        self._outline = setup.outline
        self._R_reference_camera = setup.R_reference_camera
        self._filter = PoseFilter(setup.solver.shape, setup.solver.model.keypoint_count, setup.parameters)
        self._agreement, self._compared_s = _FIRST_AGREEMENT, _FIRST_S  # of the outline, over the last second
        self._size = MeshSize(SIZE_ERROR if setup.outline is None else setup.outline.views.size_error)
        self._told: np.ndarray = _NOTHING_TOLD
        # Covariance of what does not average out, since the size of the object is uncertain.
        self._lasting: np.ndarray = np.zeros((6, 6))
        self._stamp_s = math.nan
        self._seen_s = -math.inf
        self._measured_s = -math.inf  # by the outline alone

    def update(
        self, pose: KeypointPose, stamp_s: float, longest_gap_s: float, has_image: bool
    ) -> FitRequests[OrientationEstimate | Refusal]:
        """
        Return the estimate at `stamp_s`, later than the last one [s], or why neither image nor filter give one.

        The track starts anew when the instance was not seen for longer than `longest_gap_s`.
        """
        if not self.alive(stamp_s, longest_gap_s):
            return (yield from self._start(pose, stamp_s, has_image))
        observation = self._solver.observe(pose)
        if isinstance(observation, Refusal):
            return observation
        step_s = stamp_s - self._stamp_s
        self._advance(stamp_s)
        if not self._symmetries.trivial:  # step 20
            observation = self._turned(observation)
        if self._filter.vague:  # step 13
            return (yield from self._fuse(pose, observation, stamp_s, has_image))
        accepted = self._correct(observation)
        if accepted is None:
            self._filter.loosen(step_s)  # step 18
            accepted = self._correct(observation)
        if accepted is not None:
            self._seen_s = stamp_s
            suspected = len(accepted.pixels) < len(observation.pixels)
            fit = yield from self._measure(has_image, accepted, step_s)
            return self._estimate(pose.track_id, accepted, suspected, fit)
        if stamp_s - self._seen_s > CONTRADICTION_S:
            return (yield from self._start(pose, stamp_s, has_image))
        return self._estimate(pose.track_id, None, True)

    def _fuse(
        self, pose: KeypointPose, observation: Observation, stamp_s: float, has_image: bool
    ) -> FitRequests[OrientationEstimate | Refusal]:
        """Correct a filter that is vague by the pose that the image gives on its own."""
        solution = self._solver.solve_without_outlier(observation)
        if isinstance(solution, Refusal):
            return solution
        used = observation.subset(solution.used[observation.used])
        self._filter.fuse(solution, used)
        fit = yield from self._measure(has_image, used, stamp_s - self._seen_s)
        self._seen_s = stamp_s
        return self._estimate(pose.track_id, used, solution.outlier_suspected, fit)

    def seen(self, stamp_s: float, longest_gap_s: float) -> bool:
        """Tell whether the keypoints of the instance were seen recently enough to predict where it is (step 19)."""
        return stamp_s - self._seen_s <= longest_gap_s

    def alive(self, stamp_s: float, longest_gap_s: float) -> bool:
        """Tell whether it is to be followed: it was seen, or was so not long ago and its outline is still seen."""
        if self.seen(stamp_s, longest_gap_s):
            return True
        return self.seen(stamp_s, _GAPS_BY_OUTLINE * longest_gap_s) and stamp_s - self._measured_s <= longest_gap_s

    def coast(self, stamp_s: float, track_id: int | None, has_image: bool) -> FitRequests[OrientationEstimate]:
        """Return the prediction for an image without usable keypoints, measured by its outline; only while `alive`."""
        step_s = stamp_s - self._stamp_s
        self._advance(stamp_s)
        fit = None if self._filter.vague else (yield from self._measure(has_image, None, step_s))
        if isinstance(fit, OutlineFit):
            self._measured_s = stamp_s
        return self._estimate(track_id, None, False, fit)

    def _measure(
        self, has_image: bool, observation: Observation | None, step_s: float, doubtful: bool = False
    ) -> FitRequests[OutlineFit | Refusal | None]:
        """
        Correct the filter by the outline in the image, or return why it is not believed (step 27).

        It must be credible, and allowed by the keypoints, or without any by the motion. None: nothing to compare.
        """
        self._lasting = self._lasting * math.exp(-step_s / _AGREEMENT_S)
        if not has_image or self._outline is None:
            return None
        if doubtful:
            return DOUBTFUL
        expected = self._filter.result()
        fit = yield from self._compare(expected, step_s)
        if fit is None:
            return UNCOMPARED
        if not fit.credible:
            return NOT_SHOWN
        if observation is not None:
            if not self._filter.allows(fit.pose, observation):
                return _CONTRADICTED
            self._told, pull = self._filter.told_by(observation, fit.pose)
            self._size.learn(fit, self._told, pull, 1.0 / self._filter.noise.persistence)
        else:
            step = fit.pose.step_to(expected.pose)
            if step @ np.linalg.solve(expected.covariance, step) > MISFIT_TOLERANCE * chi2_quantile(6):
                return _UNEXPECTED
        if self._agreement < _LEAST_AGREEMENT:
            return _NOT_YET
        self._filter.correct_by_fit(fit, step_s)
        both = fit.information[:6, :6] + self._told
        moved = np.linalg.solve(both, fit.information[:6, 6:])  # by an error of the size
        self._lasting = moved @ self._size.covariance @ moved.T
        return fit

    def _compare(self, expected: FilteredPose, step_s: float) -> FitRequests[OutlineFit | None]:
        """Return the fit of the outline in the image, if there is one, and count its agreement."""
        alternative = expected.alternative if expected.ambiguity > AMBIGUOUS else None
        start = FitStart(expected.pose, expected.covariance, alternative, self._size.growth)
        fit = yield from compared(start)
        if fit is not None:
            step_s = min(step_s, _LONGEST_STEP_S)
            self._compared_s = min(self._compared_s + step_s, _AGREEMENT_S)
            self._agreement += step_s / self._compared_s * (fit.agreement - self._agreement)
        return fit

    def _advance(self, stamp_s: float) -> None:
        if stamp_s > self._stamp_s:
            self._filter.predict(stamp_s - self._stamp_s)
            self._stamp_s = stamp_s

    def _start(self, pose: KeypointPose, stamp_s: float, has_image: bool) -> FitRequests[OrientationEstimate | Refusal]:
        solution = self._solver.solve(pose)
        if isinstance(solution, Refusal):
            return solution
        self._filter.start(solution)
        self._agreement, self._compared_s = _FIRST_AGREEMENT, _FIRST_S
        self._lasting, self._told = np.zeros((6, 6)), _NOTHING_TOLD
        self._stamp_s = self._seen_s = stamp_s
        fit = yield from self._measure(has_image, None, _FIRST_STEP_S, solution.outlier_suspected)
        return replace(
            self._estimate(pose.track_id, None, solution.outlier_suspected, fit),
            keypoints_used=int(solution.used.sum()),
            reprojection_error_px=float(solution.errors_px[0]),
        )

    def _correct(self, observation: Observation) -> Observation | None:
        """Correct the filter and return the keypoints that were right, or None when they are too few."""
        wrong = self._filter.correct(observation)
        if not wrong.any():
            return observation
        rest = observation.subset(~wrong)
        if rest.points.refusal or self._filter.correct(rest).any():
            return None
        return rest

    def _turned(self, observation: Observation) -> Observation:
        """Return the observation with the model points turned, by a symmetry, to the attitude that is expected."""
        solution = self._solver.solve_observation(observation)
        if not isinstance(solution, PoseSolution):
            return observation
        expected = self._filter.result().pose.rotation
        turns = [self._symmetries.turn_towards(expected, R) for R in solution.poses.rotation]
        best = int(np.argmax([np.vdot(expected @ turn, R) for turn, R in zip(turns, solution.poses.rotation)]))
        return replace(observation, points=PointSet(observation.points.points @ turns[best].T))

    def _estimate(
        self,
        track_id: int | None,
        observation: Observation | None,
        outlier_suspected: bool,
        fit: OutlineFit | Refusal | None = None,
    ) -> OrientationEstimate:
        """Return the state of the filter as an estimate; without an observation or a fit it is a coasting one."""
        filtered = self._filter.result()
        error_px = math.nan
        if observation is not None:
            error_px = self._solver.reprojection_error_px(filtered.pose, observation)
        ambiguous = filtered.ambiguity > NEGLIGIBLE_AMBIGUITY
        remark = fit.reason if isinstance(fit, Refusal) else OTHER_SIZE if fit and self._size.stated_wrongly else ''
        return OrientationEstimate(
            pose=filtered.pose,
            covariance=filtered.covariance + self._lasting,
            reprojection_error_px=error_px,
            ambiguity=min(1.0, filtered.ambiguity) if ambiguous else 0.0,
            alternative=filtered.alternative if ambiguous else None,
            track_id=track_id,
            keypoints_used=0 if observation is None else len(observation.pixels),
            outlier_suspected=outlier_suspected,
            outline_agreement=fit.agreement if isinstance(fit, OutlineFit) else math.nan,
            outline_remark=remark,
            model=self._solver.model,
            R_reference_frame=self._R_reference_camera,
        )
