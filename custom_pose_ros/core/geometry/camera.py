"""Camera intrinsics: project and undistort, with plumb_bob, rational_polynomial and equidistant lenses."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.calibration_files import CameraInfoFields
from custom_pose_ros.core.geometry.camera_checks import (
    checked_distortion,
    checked_matrix,
    distortion_model_of,
    oddities,
)
from custom_pose_ros.core.limits import MAX_IMAGE_SIDE_PX

_LOWEST_FOCAL = 0.05  # of the image width; no lens sees that much: 4.2 are millimetres
_NEWTON_STEPS = 15
_MANY = 64  # points, from which on formulas over all of them are faster than OpenCV, which also derives by the lens
_USUAL_COEFFICIENTS = 8  # k1, k2, p1, p2, k3 to k6; those of thin prisms and tilts follow
_WILD = 1e6  # coefficients of no lens
_ADJUGATE = np.array([[1.0, -1.0], [-1.0, 1.0]])  # signs of the adjugate of 2x2
_CONVERGED_PX = 1e-7  # where the iteration stops
_ACCEPTED_PX = 1e-2  # largest difference after distorting again; a point that misses it has no undistorted position


@dataclass(frozen=True, eq=False)
class CameraIntrinsics:
    """
    How a camera maps directions to pixels.

    Pixel convention: (0, 0) is the CENTRE of the top-left pixel; the middle of the image is ((W - 1) / 2, (H - 1) / 2).
    Camera frame: optical axes of REP 103, x right, y down, z forward [m].

    Attributes:
        width: of the images that K belongs to [px].
        height: of the images that K belongs to [px].
        K: (3, 3) camera matrix [px].
        D: distortion coefficients in OpenCV's order, without zeros at the end that its model does not have; empty or
            all zero for no distortion, but for equidistant, whose radius is f times the angle then.
        distortion_model: plumb_bob (4 or 5 coefficients), rational_polynomial (8; 12 with thin prism, 14 with tilt) or
            equidistant (4, fisheye).

    Raises:
        ConfigError: sizes, matrix or model cannot be those of a calibration.
    """

    width: int
    height: int
    K: np.ndarray
    D: np.ndarray = field(default_factory=lambda: np.empty(0))
    distortion_model: str = 'plumb_bob'

    def __post_init__(self) -> None:
        for name in ('width', 'height'):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, np.integer))
                or not 0 < value <= MAX_IMAGE_SIDE_PX
            ):
                raise ConfigError(
                    f'camera: {name}: wanted a whole number of pixels from 1 to {MAX_IMAGE_SIDE_PX}, got {value!r:.80}'
                )
            object.__setattr__(self, name, int(value))
        object.__setattr__(self, 'K', checked_matrix(self.K))
        object.__setattr__(self, 'D', checked_distortion(self.D, self.distortion_model))

    @classmethod
    def from_fov(cls, width: int, height: int, fov_rad: float) -> CameraIntrinsics:
        """
        Return a camera without distortion, with square pixels and its axis through the middle of the image.

        Args:
            width: of the image [px].
            height: of the image [px].
            fov_rad: horizontal field of view [rad] between the outer edges of the image, in (0, pi).
        """
        number = isinstance(fov_rad, (int, float, np.floating)) and not isinstance(fov_rad, bool)
        if not number or not 0.0 < fov_rad < math.pi:
            raise ConfigError(f'camera: horizontal field of view: wanted radians between 0 and pi, got {fov_rad!r}')
        focal_px = width / 2.0 / math.tan(fov_rad / 2.0)
        K = np.array([[focal_px, 0.0, (width - 1) / 2.0], [0.0, focal_px, (height - 1) / 2.0], [0.0, 0.0, 1.0]])
        return cls(width, height, K)

    @classmethod
    def from_camera_info_fields(
        cls, *, width: int, height: int, distortion_model: str, d: Sequence[float], k: Sequence[float]
    ) -> CameraIntrinsics:
        """
        Build from the fields of a sensor_msgs/CameraInfo of an unrectified image (k row-major, 9 numbers).

        An empty model name, `none` or `pinhole`, means that the driver knows of no distortion.

        Raises:
            ConfigError: the camera is not calibrated, or K is that of another image size.
        """
        model = distortion_model_of(distortion_model, d)
        matrix: Any = list(k)
        coefficients: Any = list(d)
        camera = cls(width, height, matrix, coefficients, model)
        (cx, cy), (fx, fy) = camera.K[:2, 2], camera.K[[0, 1], [0, 1]]
        if not (-0.5 <= cx <= width - 0.5 and -0.5 <= cy <= height - 0.5):
            raise ConfigError(
                f'camera: K: wanted a principal point inside of the {width}x{height} image, got ({cx:g}, {cy:g}): '
                'it is the matrix of another image size; calibrate at the resolution in use'
            )
        if min(fx, fy) < _LOWEST_FOCAL * width:
            raise ConfigError(
                f'camera: K: wanted focal lengths in pixels, {_LOWEST_FOCAL * width:g} or more for a width of {width}, '
                f'got fx = {fx:g}, fy = {fy:g}'
            )
        return camera

    @classmethod
    def from_yaml(cls, path: str | Path) -> CameraIntrinsics:
        """
        Read a calibration file of camera_calibration, Kalibr or OpenCV, or a printed CameraInfo.

        Images must have its size; `scaled_to` gives the camera of resized ones. What looks odd is a UserWarning.

        Raises:
            ConfigError: it cannot be used; the text names file, key, wanted and got.
        """
        camera = cls._from_fields(CameraInfoFields.from_yaml(path), str(path))
        for oddity in camera.oddities():
            warnings.warn(f'{path}: {oddity}', stacklevel=2)
        return camera

    @classmethod
    def from_yaml_dict(cls, data: Any, source: str = 'camera') -> CameraIntrinsics:
        """Build from the content of a camera_calibration YAML; `source` names it in the ConfigError of a mistake."""
        return cls._from_fields(CameraInfoFields.from_yaml_dict(data, source), source)

    @classmethod
    def _from_fields(cls, fields: CameraInfoFields, source: str) -> CameraIntrinsics:
        if not fields.is_whole:
            raise ConfigError(
                f'{source}: roi, binning: the images are a part of the {fields.width}x{fields.height} of the '
                'calibration, or binned; take these lines out for images that are not'
            )
        try:
            return cls.from_camera_info_fields(
                width=fields.width, height=fields.height, distortion_model=fields.distortion_model, d=fields.d,
                k=fields.k,
            )  # fmt: skip
        except ConfigError as error:
            raise ConfigError(f'{source}: {error}') from None

    def to_yaml_dict(self, name: str = 'camera') -> dict[str, Any]:
        """Return the content of a camera_calibration YAML (as camera_info_manager reads it) of this camera."""
        projection = np.hstack([self.K, np.zeros((3, 1))])
        return {
            'image_width': self.width,
            'image_height': self.height,
            'camera_name': name,
            'camera_matrix': {'rows': 3, 'cols': 3, 'data': self.K.ravel().tolist()},
            'distortion_model': self.distortion_model,
            'distortion_coefficients': {'rows': 1, 'cols': len(self.D), 'data': self.D.tolist()},
            'rectification_matrix': {'rows': 3, 'cols': 3, 'data': np.eye(3).ravel().tolist()},
            'projection_matrix': {'rows': 3, 'cols': 4, 'data': projection.ravel().tolist()},
        }

    def scaled_to(self, width: int, height: int) -> CameraIntrinsics:
        """
        Return the camera of the same view at another resolution.

        Raises:
            ConfigError: the aspect differs by more than a pixel: the image was cropped, nobody can say where. The text
                names both sizes.
        """
        if (width, height) == (self.width, self.height):
            return self
        if not self.has_shape(width, height):
            way = 'calibrate at the resolution in use'
            if self.has_shape(height, width):
                way = 'the image is turned by a quarter, by its EXIF orientation or by the driver; calibrate as it is'
            raise ConfigError(
                f'camera: the calibration is for {self.width}x{self.height} and the image has {width}x{height}: '
                f'wanted the same shape; {way}'
            )
        return self.stretched_to(width, height)

    def has_shape(self, width: int, height: int) -> bool:
        """Whether images of this size [px] have the aspect of the calibration, to a pixel."""
        misfit = abs(width * self.height - height * self.width)
        return min(width, height) > 0 and misfit <= max(self.width, self.height, width, height)

    def stretched_to(self, width: int, height: int) -> CameraIntrinsics:
        """Return the camera of the same view at another size, each axis scaled on its own."""
        sx, sy = width / self.width, height / self.height
        K = self.K.copy()
        K[0] *= sx
        K[1] *= sy
        K[0, 2] += 0.5 * sx - 0.5  # pixel centres: x' + 0.5 = (x + 0.5) * scale
        K[1, 2] += 0.5 * sy - 0.5
        return CameraIntrinsics(width, height, K, self.D, self.distortion_model)

    def cropped(self, left: int, top: int, width: int, height: int) -> CameraIntrinsics:
        """Return the camera of a part of the image."""
        K = self.K.copy()
        K[:2, 2] -= left, top
        return CameraIntrinsics(width, height, K, self.D, self.distortion_model)

    def oddities(self) -> list[str]:
        """Return what looks as if the matrix was that of other images than of this size, a line each."""
        return oddities(self)

    @cached_property
    def has_distortion(self) -> bool:
        """Whether a direction lies elsewhere in the image than K alone says."""
        return self.distortion_model == 'equidistant' or bool(np.any(self.D))

    @cached_property
    def _usual_lens(self) -> bool:
        """Whether the distortion is by the formulas of `_distort_many`, with coefficients that they cannot overflow."""
        usual = self.distortion_model != 'equidistant' and len(self.D) <= _USUAL_COEFFICIENTS
        return usual and bool(np.abs(self.D).max(initial=0.0) < _WILD)

    @cached_property
    def _inverse(self) -> np.ndarray:
        """(2, 2) inverse of the focal lengths and the skew."""
        return np.linalg.inv(self.K[:2, :2])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the (N, 2) pixels of (N, 3) points in the camera frame [m]; NaN for points not in front (z <= 0)."""
        points = _checked_shape('points', points, 3)
        front = points[:, 2] > 1e-12
        if len(points) and front.all():
            return self.distort_with_jacobian(points[:, :2] / points[:, 2:])[0]
        pixels = np.full((len(points), 2), np.nan)
        if front.any():
            pixels[front] = self.distort_with_jacobian(points[front, :2] / points[front, 2:])[0]
        return pixels

    def project_with_jacobian(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the (N, 2) pixels of (N, 3) points in front of the camera [m] and the (N, 2, 3) derivatives [px/m]."""
        points = _checked_shape('points', points, 3)
        inverse_depth = 1.0 / points[:, 2]
        directions = points[:, :2] * inverse_depth[:, None]
        pixels, lens = self.distort_with_jacobian(directions)
        jacobians = np.empty((len(points), 2, 3))
        jacobians[:, :, :2] = lens * inverse_depth[:, None, None]
        jacobians[:, :, 2] = -(jacobians[:, :, :2] @ directions[..., None])[..., 0]
        return pixels, jacobians

    def distort_with_jacobian(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the (N, 2) pixels of (N, 2) directions and the (N, 2, 2) derivatives d pixel / d direction."""
        scale = self.K[:2, :2]  # applied here: OpenCV's functions leave the skew out
        if not self.has_distortion:
            return directions @ scale.T + self.K[:2, 2], np.repeat(scale[None], len(directions), 0)
        if len(directions) >= _MANY and self._usual_lens:
            return self._distort_many(directions)
        points = np.ones((len(directions), 1, 3))
        points[:, 0, :2] = directions
        zero = np.zeros((3, 1))
        if self.distortion_model == 'equidistant':
            distorted, jacobian = cv2.fisheye.projectPoints(points, zero, zero, np.eye(3), self.D)
            translation = 11  # columns: f (2), c (2), k (4), rotation (3), translation (3), skew
        else:
            distorted, jacobian = cv2.projectPoints(points, zero, zero, np.eye(3), self.D)
            translation = 3  # columns: rotation (3), translation (3), f, c, k
        derivative = jacobian[:, translation : translation + 2].reshape(-1, 2, 2)
        return distorted.reshape(-1, 2) @ scale.T + self.K[:2, 2], scale @ derivative

    @np.errstate(over='ignore', invalid='ignore', divide='ignore')  # far outside: infinite or NaN, as is right
    def _distort_many(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `distort_with_jacobian` does, by the formulas of OpenCV's manual written out."""
        k1, k2, p1, p2, k3, k4, k5, k6 = (self.D.tolist() + _USUAL_COEFFICIENTS * [0.0])[:_USUAL_COEFFICIENTS]
        x, y = np.ascontiguousarray(directions.T)
        xx, xy, yy = x * x, x * y, y * y
        rr = xx + yy
        radial, slope = 1.0 + rr * (k1 + rr * (k2 + rr * k3)), k1 + rr * (2.0 * k2 + rr * (3.0 * k3))
        if k4 or k5 or k6:
            below = 1.0 + rr * (k4 + rr * (k5 + rr * k6))
            radial /= below
            slope = (slope - radial * (k4 + rr * (2.0 * k5 + rr * (3.0 * k6)))) / below
        slope *= 2.0
        distorted, jacobian = np.empty((2, len(x))), np.empty((2, 2, len(x)))
        distorted[0], distorted[1] = x * radial, y * radial
        jacobian[0, 0], jacobian[1, 1] = radial + slope * xx, radial + slope * yy
        jacobian[0, 1] = slope * xy
        if p1 or p2:
            distorted[0] += 2.0 * p1 * xy + p2 * (rr + 2.0 * xx)
            distorted[1] += 2.0 * p2 * xy + p1 * (rr + 2.0 * yy)
            jacobian[0, 0] += 2.0 * p1 * y + 6.0 * p2 * x
            jacobian[1, 1] += 6.0 * p1 * y + 2.0 * p2 * x
            jacobian[0, 1] += 2.0 * (p1 * x + p2 * y)
        jacobian[1, 0] = jacobian[0, 1]
        scale = self.K[:2, :2]
        pixels = scale @ distorted + self.K[:2, 2:]
        return pixels.T, (scale @ jacobian.reshape(2, -1)).reshape(jacobian.shape).transpose(2, 0, 1)

    def undistort(self, points: np.ndarray) -> np.ndarray:
        """
        Return the (N, 2) directions (x / z, y / z) that are seen at (N, 2) pixels.

        NaN for pixels that no direction in front of the camera maps to (outside the lens model) and for NaN.
        """
        return self.undistort_with_jacobian(points)[0]

    def undistort_with_jacobian(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the (N, 2) directions as `undistort` does and the (N, 2, 2) derivatives d direction / d pixel.

        OpenCV's fixed-point iteration gives the start, Newton's method the rest; the result is accepted only when
        distorting it again gives the pixel back and the lens model does not fold over there.
        """
        points = _checked_shape('points', points, 2)
        if not self.has_distortion:
            with np.errstate(invalid='ignore'):  # infinite pixels become NaN
                return (points - self.K[:2, 2]) @ self._inverse.T, np.repeat(self._inverse[None], len(points), 0)
        finite = np.isfinite(points).all(1)
        if len(points) and finite.all():
            return self._undistort_finite(points)
        directions, jacobians = np.full((len(points), 2), np.nan), np.full((len(points), 2, 2), np.nan)
        if finite.any():
            directions[finite], jacobians[finite] = self._undistort_finite(points[finite])
        return directions, jacobians

    def _undistort_finite(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what `undistort_with_jacobian` does, of finite points and for a lens with distortion."""
        column = np.ascontiguousarray(points[:, None])
        if self.distortion_model == 'equidistant':
            directions = cv2.fisheye.undistortPoints(column, self.K, self.D)[:, 0]
        else:
            directions = cv2.undistortPoints(column, self.K, self.D)[:, 0]
        directions = np.where(np.abs(directions).max(1, keepdims=True) < 1e3, directions, 0.0)
        for _ in range(_NEWTON_STEPS):
            pixels, derivative = self.distort_with_jacobian(directions)
            missing = points - pixels
            if np.abs(missing).max() < _CONVERGED_PX:
                break
            step = _inverse_2x2(derivative)[0] @ missing[..., None]
            directions = directions + np.clip(np.nan_to_num(step[..., 0]), -0.5, 0.5)
        else:
            pixels, derivative = self.distort_with_jacobian(directions)
            missing = points - pixels
        jacobians, determinants = _inverse_2x2(derivative)
        wrong = ~((np.abs(missing).max(1) < _ACCEPTED_PX) & (determinants > 0.0))  # K, too, has one above 0
        if wrong.any():
            directions[wrong], jacobians[wrong] = np.nan, np.nan
        return directions, jacobians


def _inverse_2x2(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (N, 2, 2) inverses, not finite where singular, and the (N,) determinants of what is inverted."""
    determinants = matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]
    with np.errstate(divide='ignore', invalid='ignore'):
        return matrices[:, ::-1, ::-1].transpose(0, 2, 1) * (_ADJUGATE / determinants[:, None, None]), determinants


def _checked_shape(name: str, array: np.ndarray, columns: int) -> np.ndarray:
    array = np.asarray(array, float)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f'{name} must have shape (N, {columns}), got {array.shape}')
    return array
