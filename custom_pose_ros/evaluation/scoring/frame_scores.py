"""One score for each frame: the instance that is followed, how far it is from the truth, what it claims of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_vector_from_matrix
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.records import FrameRecord

MATCH_RADIUS = 1.0  # an instance farther from the truth than this share of its size in the image is another thing
_MIN_SIZE_PX = 16.0
_VISIBLE_SHARE = 0.5  # of the keypoints must lie in the image for an object that ought to be found


@dataclass(eq=False)
class FrameScore:
    """
    What one frame contributes. NaN and None where there is nothing to measure.

    expected : the object ought to be found (truth in view), None without truth.
    found : it was (with truth an instance on it, without any instance).
    instance : index of the followed instance in the record, -1 for none; track_id : its id, -1 for none.
    instances : number of instances found. score : of the followed one.
    estimate : measured orientation of the followed instance.
    coasting : estimate that only predicts, where there is no measured one.
    truth : true camera_object. keypoint_errors_px : (K,), distance to the projected truth.
    rotation_error_rad : (3,) rotation vector in the camera frame that corrects the estimate.
    position_error_m : (3,), what is to be added to its position.
    nees_rotation, nees_position, nees_pose : squared errors in units of the claimed covariance.
    distance_m, view_angle_deg : of the true pose, without truth of the estimate.
    """

    record: FrameRecord
    expected: bool | None
    found: bool
    instance: int = -1
    track_id: int = -1
    instances: int = 0
    score: float = np.nan
    estimate: OrientationEstimate | None = None
    coasting: OrientationEstimate | None = None
    truth: Rigid | None = None
    keypoint_errors_px: np.ndarray | None = None
    rotation_error_rad: np.ndarray | None = None
    position_error_m: np.ndarray | None = None
    coasting_error_deg: float = np.nan
    nees_rotation: float = np.nan
    nees_position: float = np.nan
    nees_pose: float = np.nan
    distance_m: float = np.nan
    view_angle_deg: float = np.nan

    @property
    def rotation_error_deg(self) -> float:
        return np.nan if self.rotation_error_rad is None else float(np.rad2deg(np.linalg.norm(self.rotation_error_rad)))

    @property
    def translation_error_m(self) -> float:
        return np.nan if self.position_error_m is None else float(np.linalg.norm(self.position_error_m))

    @property
    def keypoint_error_px(self) -> float:
        errors = self.keypoint_errors_px
        return np.nan if errors is None or not np.isfinite(errors).any() else float(np.nanmean(errors))


class Scorer:
    """
    Scores frames of one object.

    camera_of : gives the intrinsics for an image size, or None; with them the truth is also compared in the image.
    """

    def __init__(self, model: ObjectModel, camera_of: Callable[[int, int], CameraIntrinsics | None]):
        self.model, self.camera_of = model, camera_of
        self.points = model.model_points
        self._normal = None if self.points is None else _plane_normal(self.points)
        self._symmetry = SymmetryGroup(model.symmetries)
        self._last_track = -1

    def score(self, records: Sequence[FrameRecord], truths: Sequence[Rigid | None] | None) -> list[FrameScore]:
        """
        Return one score for each record, in order.

        truths : camera_object of each record or None where unknown; None when nothing at all is known.
        """
        self._last_track = -1
        if truths is None:
            return [self._without_truth(record) for record in records]
        return [self._with_truth(record, truth) for record, truth in zip(records, truths)]

    def _without_truth(self, record: FrameRecord) -> FrameScore:
        """Follow the track followed before, else the best instance."""
        count = len(record.scores) or len(record.estimates)
        result = FrameScore(record, expected=None, found=count > 0, instances=count)
        if len(record.scores):
            same = np.flatnonzero(record.track_ids == self._last_track) if self._last_track >= 0 else []
            self._follow(result, int(same[0]) if len(same) else int(np.argmax(record.scores)))
        elif record.estimates:
            self._follow_estimate(result, record.estimates[0])
        self._describe(result)
        return result

    def _with_truth(self, record: FrameRecord, truth: Rigid | None) -> FrameScore:
        count = len(record.scores) or len(record.estimates)
        result = FrameScore(record, expected=False, found=False, instances=count, truth=truth)
        if truth is None:
            return result
        camera = self.camera_of(record.width, record.height) if record.width else None
        true_pixels = None
        if camera is not None and self.points is not None:
            true_pixels = camera.project(truth.apply(self.points))
            result.expected = self._in_view(true_pixels, record)
        else:
            result.expected = True
        match = self._match(record, truth, true_pixels)
        if isinstance(match, int):
            self._follow(result, match)
        elif match is not None:
            self._follow_estimate(result, match)
        result.found = match is not None
        if isinstance(match, int) and true_pixels is not None:
            misses = record.keypoints[match, :, :2] - true_pixels
            result.keypoint_errors_px = np.linalg.norm(misses, axis=1)
        self._compare(result, truth)
        self._describe(result)
        return result

    def _in_view(self, pixels: np.ndarray, record: FrameRecord) -> bool:
        known = np.isfinite(self.points).all(1)  # type: ignore[arg-type]
        inside = (pixels > -0.5).all(1) & (pixels < (record.width - 0.5, record.height - 0.5)).all(1)
        return bool(inside.sum() >= max(1.0, _VISIBLE_SHARE * known.sum()))

    def _match(self, record: FrameRecord, truth: Rigid, pixels: np.ndarray | None) -> int | OrientationEstimate | None:
        """Return the instance that lies on the true object in the image, whatever its orientation."""
        if len(record.scores) and pixels is not None and np.isfinite(pixels).any():
            size = max(float(np.linalg.norm(np.nanmax(pixels, 0) - np.nanmin(pixels, 0))), _MIN_SIZE_PX)
            distances = [self._centre_distance(keypoints, pixels) for keypoints in record.keypoints]
            best = int(np.argmin(distances))
            return best if distances[best] < MATCH_RADIUS * size else None
        if len(record.scores):
            return int(np.argmax(record.scores))
        measured = [e for e in record.estimates if not e.coasting]
        return min(measured, key=lambda e: float(np.linalg.norm(e.t_camera_object - truth.translation)), default=None)

    @staticmethod
    def _centre_distance(keypoints: np.ndarray, pixels: np.ndarray) -> float:
        """Distance [px] of the centres of the same keypoints."""
        both = np.isfinite(keypoints[:, 0]) & np.isfinite(pixels[:, 0])
        if not both.any():
            return np.inf
        return float(np.linalg.norm(keypoints[both, :2].mean(0) - pixels[both].mean(0)))

    def _follow(self, result: FrameScore, instance: int) -> None:
        record = result.record
        result.instance, result.track_id = instance, int(record.track_ids[instance])
        result.score = float(record.scores[instance])
        result.estimate = record.estimate_of(instance)
        self._last_track = result.track_id

    def _follow_estimate(self, result: FrameScore, estimate: OrientationEstimate) -> None:
        result.track_id = -1 if estimate.track_id is None else estimate.track_id
        result.estimate = None if estimate.coasting else estimate
        self._last_track = result.track_id

    def _compare(self, result: FrameScore, truth: Rigid) -> None:
        coasting = [e for e in result.record.estimates if e.coasting]
        if result.estimate is None and coasting:
            result.coasting = min(coasting, key=lambda e: float(np.linalg.norm(e.t_camera_object - truth.translation)))
            result.coasting_error_deg = float(np.rad2deg(np.linalg.norm(self._rotation_error(result.coasting, truth))))
        estimate = result.estimate
        if estimate is None:
            return
        result.rotation_error_rad = self._rotation_error(estimate, truth)
        result.position_error_m = truth.translation - estimate.t_camera_object
        error = np.concatenate([result.position_error_m, result.rotation_error_rad])
        covariance = estimate.covariance
        result.nees_position = _squared_length(error[:3], covariance[:3, :3])
        result.nees_rotation = _squared_length(error[3:], covariance[3:, 3:])
        result.nees_pose = _squared_length(error, covariance)

    def _rotation_error(self, estimate: OrientationEstimate, truth: Rigid) -> np.ndarray:
        """Return the rotation vector that takes the estimate to the nearest true attitude that looks the same."""
        R_true = truth.rotation @ self._symmetry.turn_towards(truth.rotation, estimate.R_camera_object)
        return rotation_vector_from_matrix(R_true @ estimate.R_camera_object.T)

    def _describe(self, result: FrameScore) -> None:
        """Distance and view angle, of the truth where there is one."""
        estimate = result.estimate
        pose = result.truth
        if pose is None and estimate is not None:
            pose = estimate.pose
        if pose is None or self.points is None:
            return
        centre = pose.apply(np.nanmean(self.points, axis=0))
        result.distance_m = float(np.linalg.norm(centre))
        if self._normal is not None and result.distance_m > 0:
            cosine = abs(float((pose.rotation @ self._normal) @ centre)) / result.distance_m
            result.view_angle_deg = float(np.rad2deg(np.arccos(min(cosine, 1.0))))


def _plane_normal(points: np.ndarray) -> np.ndarray:
    """Return the direction (3,) in which the model points spread least."""
    known = points[np.isfinite(points).all(1)]
    return np.linalg.svd(known - known.mean(0))[2][2]


def _squared_length(error: np.ndarray, covariance: np.ndarray) -> float:
    """Return error^T covariance^-1 error; NaN for a covariance that is none."""
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return np.nan
    whitened = np.linalg.solve(factor, error)
    return float(whitened @ whitened)
