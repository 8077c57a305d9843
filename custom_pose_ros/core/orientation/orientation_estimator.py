"""OrientationEstimator: keypoint poses in, orientations out, one filter for each track."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import R_BODY_OPTICAL, rotation_between
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import FrameInterval, PoseTracker, nearest_pairs
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, CAMERA_OPTICAL, OrientationEstimate
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.core.orientation.identity import IdentityTrack, solve_identities
from custom_pose_ros.core.orientation.outlines.fit_requests import FitRequests, compared, run_together
from custom_pose_ros.core.orientation.outlines.outline_fit import MeshSize, OutlineFit
from custom_pose_ros.core.orientation.outlines.outline_fitter import FitStart, OutlineFitter
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews, find_outline
from custom_pose_ros.core.orientation.solver import PoseSolver, Refusal
from custom_pose_ros.core.orientation.track import DOUBTFUL, NOT_SHOWN, OTHER_SIZE, UNCOMPARED, TrackSetup

REFERENCE_ROTATIONS = {CAMERA_OPTICAL: np.eye(3), 'camera_body': R_BODY_OPTICAL}


class OrientationEstimator:
    """
    Computes orientations from the keypoint poses of successive images of one camera.

    Args:
        model: the object; needs at least four model_points that are not on one line.
        camera: intrinsics of the images the keypoints are from.
        smoothing: False gives the estimate of each image on its own; may be changed between updates.
        parameters: how the object moves, for the filter.
        reference_frame: camera_optical or camera_body (REP 103), or a (3, 3) R_reference_camera; roll_pitch_yaw of the
            estimates is about its axes. Everything else stays in the camera optical frame.
        outline: what training/outline.py wrote, or its path; measures poses in the images given to `update`. 'auto':
            outline.npz beside the object file, where there is one.

    Attributes:
        refusals: (track_id, reason) of each pose in the last image that could not be solved.
        withheld: how many poses came out impossible so far (behind the camera, not finite, without a covariance, a
            second one with the same track id); none of them is returned.

    Raises:
        ConfigError: the object has no usable model_points or the frame is unknown.
        ModelError: the outline cannot be read, or is that of another object.
    """

    def __init__(
        self,
        model: ObjectModel,
        camera: CameraIntrinsics,
        *,
        smoothing: bool = True,
        parameters: FilterParameters | None = None,
        reference_frame: str | np.ndarray = 'camera_optical',
        outline: OutlineViews | str | Path | None = None,
    ):
        self.model = model
        views = find_outline(model, outline)
        self._setup = TrackSetup(
            PoseSolver(model, camera),
            SymmetryGroup(model.symmetries),
            parameters or FilterParameters(),
            _rotation_of(reference_frame),
            None if views is None else OutlineFitter(views, camera),
        )
        self.smoothing = smoothing
        self.refusals: list[tuple[int | None, str]] = []
        self.withheld = 0
        self.reset()

    def reset(self) -> None:
        """Forget all tracks."""
        self._tracks: dict[int, IdentityTrack] = {}
        self._tracker = PoseTracker(self.model, max_gap_s=self._setup.parameters.max_gap_s)
        self._interval = FrameInterval()
        self._stamp_s = -math.inf

    def branch(self) -> OrientationEstimator:
        """Return a copy of this estimator as it is now, with tracks of its own."""
        setup = self._setup
        shared = [self.model, setup, setup.solver, setup.solver.shape, setup.symmetries, setup.parameters]
        shared += [setup.outline, setup.R_reference_camera]
        return copy.deepcopy(self, {id(each): each for each in shared})

    def update(
        self, poses: Sequence[KeypointPose], stamp_s: float | None = None, image: np.ndarray | None = None
    ) -> list[OrientationEstimate]:
        """
        Return one estimate for each pose that can be solved, in their order, then one for each track that coasts.

        A track coasts (keypoints_used 0) while it is not seen, or its keypoints are too few or contradict it, until
        max_gap_s and GAP_FRAMES intervals between images have passed. Where its outline is seen in the image it is
        measured by that meanwhile, and lasts up to four times as long. When no pose has a track id they are tracked
        here, and the estimates have ids.
        Of poses with the same track id only the first is used. Afterwards `refusals` holds (track_id, reason) for each
        pose that could not be solved.

        Args:
            poses: the instances in the image. Among poses with a track id, those without one are solved on their own.
            stamp_s: time of the image [s]. A stamp that is not later than the last one means that time was set back (a
                bag played again): all tracks start anew. None: no filter, every image on its own.
            image: (H, W, 3) uint8 BGR, the image itself, of the camera's size; needed by the outline only.

        Raises:
            ValueError: the stamp is not finite, or the image is not one of the camera.
        """
        self._check(image)
        self.refusals = []
        if stamp_s is None or not self.smoothing:
            single = list(self._single(poses))
            return self._possible(single, [self._solve(pose, image is not None) for pose in single], image)
        self._begin(stamp_s)
        self._interval.add(stamp_s)
        if all(pose.track_id is None for pose in poses):
            poses = self._tracker.update(poses, stamp_s)
        single = list(self._single(poses))
        self._rename(single, stamp_s)
        updates = [
            self._solve(pose, image is not None)
            if pose.track_id is None
            else self._follow(pose, stamp_s, image is not None)
            for pose in single
        ]
        estimates = self._possible(single, updates, image)
        return estimates + self._coasting({estimate.track_id for estimate in estimates}, stamp_s, image)

    def follow(self, stamp_s: float, image: np.ndarray) -> list[OrientationEstimate]:
        """
        Return one estimate for each track in an image whose keypoints are not known, measured by the outline alone.

        So a network may run at every n-th image and poses come at the rate of the camera. A track lives as long as with
        `update`. Where the outline is not to be believed the estimate coasts.

        Args:
            stamp_s: time of the image [s], later than the last one; else all tracks are forgotten, as by `update`.
            image: (H, W, 3) uint8 BGR, of the camera's size.

        Raises:
            ValueError: the stamp is not finite, or the image is not one of the camera.
        """
        self._check(image)
        self.refusals = []
        self._begin(stamp_s)
        return self._coasting(set(), stamp_s, image)

    def _check(self, image: np.ndarray | None) -> None:
        """Raise ValueError, before anything changes, where the outline cannot be looked for in such an image."""
        if image is not None and self._setup.outline is not None:
            self._setup.outline.check(image)

    def _begin(self, stamp_s: float) -> None:
        """Go on to an image of this time, or start anew where that was set back."""
        if not math.isfinite(stamp_s):
            raise ValueError(f'stamp_s must be finite, got {stamp_s}')
        if stamp_s <= self._stamp_s:
            self.reset()
        self._stamp_s = stamp_s

    def _single(self, poses: Sequence[KeypointPose]) -> Iterator[KeypointPose]:
        """Yield the poses but those whose track id another one has already; these are withheld."""
        seen: set[int] = set()
        for pose in poses:
            if pose.track_id in seen:
                self._withhold(pose.track_id, 'another pose in the image has the same track id')
                continue
            if pose.track_id is not None:
                seen.add(pose.track_id)
            yield pose

    def _rename(self, poses: Sequence[KeypointPose], stamp_s: float) -> None:
        """
        Let tracks that only their outline has shown lately go on with the new ids of the keypoints nearest to them.

        Where those have a track already, the old one ends: it would be measured by the outline of the same instance.
        """
        ids = [pose.track_id for pose in poses]
        tracks = [(key, self._tracks[key]) for key in sorted(self._tracks.keys() - set(ids))]
        named = [(pose.track_id, pose) for pose in poses if pose.track_id is not None]
        away = np.array([[t.sizes_away(pose, stamp_s, self._longest_gap_s) for _, pose in named] for _, t in tracks])
        away = away.reshape(len(tracks), len(named))
        for row in np.flatnonzero(np.isfinite(away).any(1)):
            del self._tracks[tracks[row][0]]
        for row, column in nearest_pairs(away):
            self._tracks.setdefault(named[column][0], tracks[row][1])

    def _solve(self, pose: KeypointPose, has_image: bool) -> FitRequests[OrientationEstimate | Refusal]:
        """Return the estimate of one image on its own, measured by the outline where there is one."""
        setup = self._setup
        result = solve_identities(setup.solver, setup.symmetries, pose, setup.R_reference_camera)
        if isinstance(result, Refusal) or setup.outline is None or not has_image or result.impossibility:
            return result
        if result.outlier_suspected:
            return replace(result, outline_remark=DOUBTFUL.reason)
        alternative = result.alternative if result.ambiguity > AMBIGUOUS else None
        fit = yield from compared(FitStart(result.pose, result.covariance, alternative))
        if fit is None or not fit.credible:
            return replace(result, outline_remark=(UNCOMPARED if fit is None else NOT_SHOWN).reason)
        return _measured(result, fit, MeshSize(setup.outline.views.size_error))

    def _follow(
        self, pose: KeypointPose, stamp_s: float, has_image: bool
    ) -> FitRequests[OrientationEstimate | Refusal]:
        """Return the estimate of a track; a track that came to an impossible one starts anew with this image."""
        assert pose.track_id is not None
        result = yield from self._update_track(pose, pose.track_id, stamp_s, has_image)
        if isinstance(result, OrientationEstimate) and result.impossibility:
            del self._tracks[pose.track_id]
            result = yield from self._update_track(pose, pose.track_id, stamp_s, has_image)
        return result

    def _update_track(
        self, pose: KeypointPose, track_id: int, stamp_s: float, has_image: bool
    ) -> FitRequests[OrientationEstimate | Refusal]:
        if track_id not in self._tracks:
            self._tracks[track_id] = IdentityTrack(self._setup)
        return self._tracks[track_id].update(pose, stamp_s, self._longest_gap_s, has_image)

    @property
    def _longest_gap_s(self) -> float:
        return self._interval.longest_gap_s(self._setup.parameters.max_gap_s)

    def _coasting(self, solved: set[int | None], stamp_s: float, image: np.ndarray | None) -> list[OrientationEstimate]:
        """
        Return the estimates of the tracks that were not solved, see `InstanceTrack.coast`; drop those that are over.

        A track whose estimate is impossible, say behind the camera, is over, too.
        """
        longest_s = self._longest_gap_s
        self._tracks = {key: track for key, track in self._tracks.items() if track.alive(stamp_s, longest_s)}
        missing = [track_id for track_id in self._tracks if track_id not in solved]
        updates = [self._tracks[track_id].coast(stamp_s, track_id, image is not None) for track_id in missing]
        coasting = dict(zip(missing, run_together(updates, self._setup.outline, image)))
        for track_id, estimate in coasting.items():
            if estimate.impossibility:
                del self._tracks[track_id]
        return [estimate for track_id, estimate in coasting.items() if track_id in self._tracks]

    def _possible(
        self,
        poses: Sequence[KeypointPose],
        updates: Sequence[FitRequests[OrientationEstimate | Refusal]],
        image: np.ndarray | None,
    ) -> list[OrientationEstimate]:
        """Return the estimates of poses that are possible; others are refused, or withheld (step 21)."""
        estimates = []
        for pose, result in zip(poses, run_together(updates, self._setup.outline, image)):
            if isinstance(result, Refusal):
                self.refusals.append((pose.track_id, result.reason))
            elif result.impossibility:
                self._withhold(pose.track_id, result.impossibility)
            else:
                estimates.append(result)
        return estimates

    def _withhold(self, track_id: int | None, reason: str) -> None:
        self.withheld += 1
        self.refusals.append((track_id, reason))


def _measured(estimate: OrientationEstimate, fit: OutlineFit, size: MeshSize) -> OrientationEstimate:
    """Return the estimate of one image together with what its outline tells (step 27)."""
    poses = [estimate.pose] if estimate.alternative is None else [estimate.pose, estimate.alternative]
    start = min(poses, key=lambda pose: rotation_between(pose.rotation, fit.pose.rotation))  # the outline has decided
    pose, covariance = fit.together_with(start, np.linalg.inv(estimate.covariance), size)
    return replace(
        estimate,
        pose=pose,
        covariance=covariance,
        ambiguity=0.0,
        alternative=None,
        outline_agreement=fit.agreement,
        outline_remark=OTHER_SIZE if size.stated_wrongly else '',
    )


def _rotation_of(reference_frame: str | np.ndarray) -> np.ndarray:
    """Return R_reference_camera (3, 3) of a named frame or of a given rotation."""
    if isinstance(reference_frame, str):
        if reference_frame not in REFERENCE_ROTATIONS:
            raise ConfigError(
                f'reference_frame: wanted one of {", ".join(REFERENCE_ROTATIONS)}, got {reference_frame!r}'
            )
        return REFERENCE_ROTATIONS[reference_frame]
    R = np.asarray(reference_frame, float)
    if R.shape != (3, 3) or not np.allclose(R @ R.T, np.eye(3), atol=1e-6) or np.linalg.det(R) < 0.0:
        raise ConfigError(f'reference_frame: wanted a name or a (3, 3) rotation matrix, got {reference_frame!s:.120}')
    return R
