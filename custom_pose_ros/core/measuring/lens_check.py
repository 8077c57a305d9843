"""LensCheck: whether the calibration of a camera fits what it sees, with the tracked object as the target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.measuring.bundle import LENS, Adjustment, Bundle, Priors, Views, adjust, robust_noise
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.pnp import MIN_POINTS

LONG_ENOUGH_S = 30.0  # of motion; errors of keypoints last, so that a short track is one view
_MOST_VIEWS = 600  # that are kept, evenly over the time; a verdict takes 0.1 s of one core
_FEWEST_VIEWS = 60
_SHAPE = 0.005  # of the object's size: standard deviation of each coordinate of model_points
_LENS_SPREAD = (1.0, 0.3, 0.01)  # before: of log f, of the change of k1, of the principal point in image widths
_ROBUST = 3.0  # times the noise
_STEPS = 15
_TWIN = 0.1  # of the object's size in the image: keypoints farther off belong to another pose
_MISFIT = 0.05  # of the object's size in the image: noise above which the poses are not those of the keypoints
_REACH = 3.9  # standard deviations on both sides: 99.9 %, with room for how well the noise is known
_UNRELATED = 0.05  # correlation of errors from which on they count as new
_NEGLIGIBLE = 0.01  # differences of the focal length, as a share, that are not worth a warning
_NEGLIGIBLE_K1 = 0.03
_WIDEST = 0.1  # half of an interval, as a share of the focal length, that still tells something
_WIDEST_K1 = 0.15
_FOCAL = 'the focal length of the calibration'
_WATER = (1.25, 1.42)  # how much longer the focal length is in water behind a flat port: 1.33 and the distance to it


@dataclass(frozen=True)
class LensVerdict:
    """
    What a track tells of a calibration.

    Attributes:
        given_px: focal length of the calibration.
        focal_px: focal length by the object, and the ends of its 99.9 % interval; None where it cannot be told.
        k1_change: the same of k1, as a difference from the calibration; None where it cannot be told.
        fits: False where its focal length or its k1 lies outside of the interval; None where nothing can be told.
        text: all of it in one line.
    """

    given_px: float
    focal_px: tuple[float, float, float] | None
    k1_change: tuple[float, float, float] | None
    fits: bool | None
    text: str


class LensCheck:
    """
    Collects views of an object and compares the calibration with them.

    Shape and lens are adjusted together, the shape near model_points. Errors of keypoints that last for seconds are
    found in what the fit leaves, so that they do not make the interval too narrow.
    """

    def __init__(self, model: ObjectModel, camera: CameraIntrinsics):
        """Begin without a view; the object has model_points."""
        assert model.model_points is not None
        self.camera = camera
        self._known = model.has_position
        self._points, self._size_m = model.model_points[self._known], model.size_m
        self._views: list[tuple[float, np.ndarray, np.ndarray, Rigid]] = []
        self._step_s = 0.0

    @property
    def duration_s(self) -> float:
        """Time between the first and the last view."""
        return self._views[-1][0] - self._views[0][0] if self._views else 0.0

    def add(self, stamp_s: float, pose: KeypointPose, estimate: OrientationEstimate) -> None:
        """
        Add a view; most are passed over, as neighbours in time tell the same, and those that are not sure.

        Args:
            stamp_s: time of the image; one that is earlier than the last begins anew.
            pose: the keypoints.
            estimate: what they give by this calibration.
        """
        if estimate.ambiguity > AMBIGUOUS or estimate.outlier_suspected or estimate.coasting:
            return
        if self._views and stamp_s < self._views[-1][0]:
            self._views, self._step_s = [], 0.0
        if self._views and stamp_s - self._views[-1][0] < self._step_s:
            return
        keypoints, seen = pose.keypoints[self._known], pose.visible[self._known]
        if seen.sum() < MIN_POINTS or not self._agrees(keypoints[seen], seen, estimate.pose):
            return
        self._views.append((stamp_s, keypoints, seen, estimate.pose))
        if len(self._views) > _MOST_VIEWS:
            self._views = self._views[::2]
            self._step_s = 0.9 * self.duration_s / (len(self._views) - 1)

    def _agrees(self, pixels: np.ndarray, seen: np.ndarray, camera_object: Rigid) -> bool:
        """Whether most of the keypoints are those of the pose, and not those of its twin by a symmetry."""
        expected = self.camera.project(camera_object.apply(self._points[seen]))
        away_px, size_px = np.linalg.norm(pixels - expected, axis=1), np.linalg.norm(np.ptp(expected, axis=0))
        return bool(np.median(away_px) < _TWIN * size_px)

    def verdict(self) -> LensVerdict | None:
        """Return what the views tell so far; None while they are too few or of too short a time."""
        if len(self._views) < _FEWEST_VIEWS or self.duration_s < LONG_ENOUGH_S:
            return None
        stamps, keypoints, seen, poses = zip(*self._views)
        focal = float(self.camera.K[0, 0])
        directions = self.camera.undistort(np.concatenate(keypoints)).reshape(len(stamps), -1, 2)
        weights = np.where(np.isfinite(directions).all(-1), np.array(seen), False).astype(float)
        views = Views(np.nan_to_num(focal * directions), weights, np.zeros(len(stamps), int))
        lens = np.array([[np.log(focal), 0.0, 0.0, 0.0]])
        fit = self._fit(Bundle(self._points, Rigid.stack(poses), lens), views)
        if fit is None:
            return self._nothing('the poses do not fit the keypoints')
        return self._judged(fit, _deviations(fit, views))

    def _fit(self, start: Bundle, views: Views) -> Adjustment | None:
        """Adjust lens and shape, with weights by the noise that is found."""
        deviations = np.array([*_LENS_SPREAD, _LENS_SPREAD[2]]) * [1.0, 1.0, self.camera.width, self.camera.width]
        noise_px, bundle = 1.0, start
        for _ in range(2):
            weighted = Views(views.pixels, views.weights / noise_px**2, views.lens)
            priors = Priors(start.lenses, deviations[None] ** -2.0, self._points, (_SHAPE * self._size_m) ** -2.0)
            try:
                fit = adjust(bundle, weighted, priors, _ROBUST * noise_px, _STEPS)
            except (ValueError, np.linalg.LinAlgError):  # a pose behind the camera, nothing that is seen
                return None
            bundle = fit.bundle
            seen = views.weights > 0
            noise_px = max(0.05, robust_noise((fit.residuals**2).sum(-1)[seen], 6 * len(seen)))
        size_px = self._size_m * np.exp(bundle.lenses[0, 0]) / np.median(bundle.poses.translation[:, 2])
        return fit if noise_px < _MISFIT * size_px else None

    def _judged(self, fit: Adjustment, deviations: np.ndarray) -> LensVerdict:
        given = float(self.camera.K[0, 0])
        (log_focal, k1), reach = fit.bundle.lenses[0, :2], _REACH * deviations
        if reach[0] > _WIDEST:
            return self._nothing(self._why_not(fit))
        focal = (math.exp(log_focal), math.exp(log_focal - reach[0]), math.exp(log_focal + reach[0]))
        change = (float(k1), float(k1 - reach[1]), float(k1 + reach[1])) if reach[1] < _WIDEST_K1 else None
        ratio = focal[0] / given
        k1_fits = change is None or change[1] <= 0.0 <= change[2] or abs(change[0]) < _NEGLIGIBLE_K1
        fits = bool(focal[1] <= given <= focal[2] or abs(ratio - 1.0) < _NEGLIGIBLE)
        ends = f'between {focal[1]:.4g} and {focal[2]:.4g} px (99.9 %)'
        text = f'{focal[0]:.4g} px by the object, {ends}'
        if change is not None:
            text += f', with k1 {change[0]:+.3f}, {change[1]:+.3f} to {change[2]:+.3f}, from that of the calibration'
        if fits:
            word = 'fits' if k1_fits else 'fits, but its distortion does not'
            return LensVerdict(given, focal, change, k1_fits, f'{_FOCAL} of {given:.4g} px {word}: it is {text}')
        error = f'{100 * abs(1 / ratio - 1):.0f} % too {"short" if ratio > 1 else "long"}'
        text = f'{_FOCAL} of {given:.4g} px does not fit: it is {text}; distances are {error}'
        if _WATER[0] <= ratio <= _WATER[1]:
            text += '; it is as of a camera that was calibrated in air and looks through a flat port into water'
        elif _WATER[0] <= 1.0 / ratio <= _WATER[1]:
            text += '; it is as of a camera that was calibrated in water and is in air'
        else:
            text += '; calibrate at the resolution, zoom and focus in use, or correct the proportions of model_points'
        return LensVerdict(given, focal, change, False, text)

    def _nothing(self, reason: str) -> LensVerdict:
        text = f'whether the calibration fits cannot be told by the object: {reason}'
        return LensVerdict(float(self.camera.K[0, 0]), None, None, None, text)

    def _why_not(self, fit: Adjustment) -> str:
        """Say why the views do not tell the focal length."""
        distance = float(np.median(np.linalg.norm(fit.bundle.poses.translation, axis=1))) / self._size_m
        extents = np.linalg.svd(self._points - self._points.mean(0), compute_uv=False)
        if len(extents) < 3 or extents[2] < 0.05 * extents[0]:
            return 'the keypoints are nearly in one plane'
        if distance > 5:
            return f'the object is far away, {distance:.0f} times its size'
        return 'it turns too little, or its keypoints are not exact enough'


def _deviations(fit: Adjustment, views: Views) -> np.ndarray:
    """Return the standard deviations (4,) of the lens, of data that are worth less the longer their errors last."""
    inverse, prior = np.linalg.inv(fit.information), fit.prior_information
    data = fit.information - prior
    spread = inverse @ (_lasting(fit.residuals, views.weights > 0) * data + prior) @ inverse
    return np.sqrt(np.diag(spread)[-LENS:])


def _lasting(residuals: np.ndarray, seen: np.ndarray) -> float:
    """
    Return how many views in a row have the same errors: the sum of their autocorrelation.

    Args:
        residuals: (V, K, 2) in the order of time.
        seen: (V, K) bool.
    """
    series = np.where(seen[..., None], residuals, 0.0)
    variance, total = (series**2).sum() / seen.sum(), 1.0
    for lag in range(1, len(series) // 4):
        both = (seen[lag:] & seen[:-lag]).sum()
        correlation = (series[lag:] * series[:-lag]).sum() / max(both, 1) / variance
        if correlation < _UNRELATED:
            break
        total += 2.0 * correlation
    return float(total)
