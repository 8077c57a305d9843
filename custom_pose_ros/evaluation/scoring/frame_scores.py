"""Scores each frame: which instance is followed, its errors against the truth, and whether its covariance is honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.frame_result import FrameResult

MATCH_RADIUS = 1.0  # an instance farther from the truth than this share of its size in the image is another thing
_MIN_SIZE_PX = 16.0
_VISIBLE_SHARE = 0.5  # of the keypoints must lie in the image for an object that ought to be found


@dataclass(eq=False)
class FrameScore:
    """
    What one frame contributes. NaN and None where there is nothing to measure.

    Attributes:
        expected: The object ought to be found (truth in view), None without truth.
        found: It was (with truth an instance on it, without any instance).
        instance: Index of the followed instance in the result, -1 for none.
        track_id: Its id, -1 for none.
        instances: Number of instances found.
        score: Of the followed one.
        estimate: Measured orientation of the followed instance.
        coasting: Estimate that only predicts, where there is no measured one.
        truth: True camera_object.
        keypoint_errors_px: (K,), distance to the projected truth.
        rotation_error_rad: (3,) rotation vector in the camera frame that corrects the estimate.
        position_error_m: (3,), what is to be added to its position.
        nees_rotation, nees_position, nees_pose: Squared errors in units of the claimed covariance.
        distance_m, view_angle_deg: Of the true pose, without truth of the estimate.
    """

    result: FrameResult
    expected: bool | None
    found: bool = False
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
    """Scores frames of one object."""

    def __init__(self, model: ObjectModel, camera_of: Callable[[int, int], CameraIntrinsics | None]):
        """
        Begin with an object and its camera.

        Args:
            model: The object.
            camera_of: Gives the intrinsics for an image size, or None; with them the truth is compared in the image.
        """
        self.model, self.camera_of = model, camera_of
        self.points = model.model_points
        self._normal = None if self.points is None else _plane_normal(self.points)
        self._symmetry = SymmetryGroup(model.symmetries)
        self._last_track = -1

    def score(self, results: Sequence[FrameResult], truths: Sequence[Rigid | None] | None) -> list[FrameScore]:
        """
        Return one score for each result, in order.

        Args:
            results: What was found in the frames.
            truths: camera_object of each or None where unknown; None when nothing at all is known.
        """
        self._last_track = -1
        if truths is None:
            return [self._without_truth(result) for result in results]
        return [self._with_truth(result, truth) for result, truth in zip(results, truths)]

    def _without_truth(self, result: FrameResult) -> FrameScore:
        score = FrameScore(result, expected=None, instances=len(result.scores) or len(result.estimates))
        self._follow(score, self._likeliest(result))
        self._describe(score)
        return score

    def _likeliest(self, result: FrameResult) -> int | OrientationEstimate | None:
        """Return the instance that was followed before, else the best one."""
        if not len(result.scores):
            return next(iter(result.estimates), None)
        same = np.flatnonzero(result.track_ids == self._last_track) if self._last_track >= 0 else []
        return int(same[0]) if len(same) else int(np.argmax(result.scores))

    def _with_truth(self, result: FrameResult, truth: Rigid | None) -> FrameScore:
        instances = len(result.scores) or len(result.estimates)
        score = FrameScore(result, expected=False, instances=instances, truth=truth)
        if truth is None:
            return score
        camera = self.camera_of(result.width, result.height) if result.width else None
        pixels = None if camera is None or self.points is None else camera.project(truth.apply(self.points))
        score.expected = pixels is None or self._in_view(pixels, result)
        self._follow(score, self._match(result, truth, pixels))
        if score.instance >= 0 and pixels is not None:
            score.keypoint_errors_px = np.linalg.norm(result.keypoints[score.instance, :, :2] - pixels, axis=1)
        self._compare(score, truth)
        self._describe(score)
        return score

    def _in_view(self, pixels: np.ndarray, result: FrameResult) -> bool:
        known = np.isfinite(self.points).all(1)  # type: ignore[arg-type]
        inside = (pixels > -0.5).all(1) & (pixels < (result.width - 0.5, result.height - 0.5)).all(1)
        return bool(inside.sum() >= max(1.0, _VISIBLE_SHARE * known.sum()))

    def _match(self, result: FrameResult, truth: Rigid, pixels: np.ndarray | None) -> int | OrientationEstimate | None:
        """Return the instance that lies on the true object in the image, whatever its orientation."""
        if len(result.scores) and pixels is not None and np.isfinite(pixels).any():
            size = max(float(np.linalg.norm(np.nanmax(pixels, 0) - np.nanmin(pixels, 0))), _MIN_SIZE_PX)
            distances = [self._centre_distance(keypoints, pixels) for keypoints in result.keypoints]
            best = int(np.argmin(distances))
            return best if distances[best] < MATCH_RADIUS * size else None
        if len(result.scores):
            return int(np.argmax(result.scores))
        measured = [e for e in result.estimates if not e.coasting]
        return min(measured, key=lambda e: float(np.linalg.norm(e.t_camera_object - truth.translation)), default=None)

    @staticmethod
    def _centre_distance(keypoints: np.ndarray, pixels: np.ndarray) -> float:
        """Distance [px] of the centres of the same keypoints."""
        both = np.isfinite(keypoints[:, 0]) & np.isfinite(pixels[:, 0])
        if not both.any():
            return np.inf
        return float(np.linalg.norm(keypoints[both, :2].mean(0) - pixels[both].mean(0)))

    def _follow(self, score: FrameScore, match: int | OrientationEstimate | None) -> None:
        """Follow an instance, given by its number or, where there are no keypoints, by its estimate; or none."""
        if match is None:
            return
        if isinstance(match, int):
            result = score.result
            score.instance, score.track_id = match, int(result.track_ids[match])
            score.score, score.estimate = float(result.scores[match]), result.estimate_of(match)
        else:
            score.track_id = -1 if match.track_id is None else match.track_id
            score.estimate = None if match.coasting else match
        score.found, self._last_track = True, score.track_id

    def _compare(self, score: FrameScore, truth: Rigid) -> None:
        coasting = [e for e in score.result.estimates if e.coasting]
        if score.estimate is None and coasting:
            score.coasting = min(coasting, key=lambda e: float(np.linalg.norm(e.t_camera_object - truth.translation)))
            score.coasting_error_deg = float(np.rad2deg(np.linalg.norm(self._error(score.coasting, truth)[3:])))
        estimate = score.estimate
        if estimate is None:
            return
        error, covariance = self._error(estimate, truth), estimate.covariance
        score.position_error_m, score.rotation_error_rad = error[:3], error[3:]
        score.nees_position = _squared_length(error[:3], covariance[:3, :3])
        score.nees_rotation = _squared_length(error[3:], covariance[3:, 3:])
        score.nees_pose = _squared_length(error, covariance)

    def _error(self, estimate: OrientationEstimate, truth: Rigid) -> np.ndarray:
        """Return the (6,) step that takes the estimate to the nearest true pose that looks the same."""
        turn = self._symmetry.turn_towards(truth.rotation, estimate.R_camera_object)
        return estimate.pose.step_to(truth._replace(rotation=truth.rotation @ turn))

    def _describe(self, score: FrameScore) -> None:
        """Distance and view angle, of the truth where there is one."""
        pose = score.truth or (score.estimate and score.estimate.pose)
        if pose is None or self.points is None:
            return
        centre = pose.apply(np.nanmean(self.points, axis=0))
        score.distance_m = float(np.linalg.norm(centre))
        if self._normal is not None and score.distance_m > 0:
            cosine = abs(float((pose.rotation @ self._normal) @ centre)) / score.distance_m
            score.view_angle_deg = float(np.rad2deg(np.arccos(min(cosine, 1.0))))


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
