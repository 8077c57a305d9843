"""
CameraCalibration: the intrinsics for images of a size, from a calibration file or from camera_info; needs no ROS.

Here alone it is decided whether a calibration belongs to an image, and what is done with it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.calibration_files import CameraInfoFields
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.camera_checks import is_centred

_RECTIFIED = {'rect', 'rectified', 'undistorted', 'undist'}  # parts of names of topics
_SIZES = 16  # of images whose intrinsics are kept


class CameraCalibration:
    """
    Answers with the intrinsics for an image size; the same object as long as nothing changes.

    A camera_info that is no calibration is refused and the last valid one stays in use.

    Attributes:
        is_given: whether a file was given; camera_info is not needed then.
        refusal: why the last camera_info is no calibration; empty when it is one.
        remarks: what a user should know of the last answer: that it was scaled, that a roi was ignored, ...
    """

    def __init__(
        self,
        file: str | Path | None = None,
        rectified: bool = False,
        report: Callable[[str], None] = lambda remark: None,
    ):
        """
        Read a calibration file, or wait for camera_info.

        Args:
            file: the calibration, instead of any camera_info.
            rectified: whether the images are rectified, so that P is used, without distortion.
            report: is told each remark once.

        Raises:
            ConfigError: the file is no calibration; the text names it.
        """
        self.is_given, self.refusal = bool(file), ''
        self.remarks: list[str] = []
        self._rectified, self._report = rectified, report
        self._fields: CameraInfoFields | None = None
        self._refused: CameraInfoFields | None = None
        self._camera: CameraIntrinsics | None = None
        self._said: set[str] = set()
        self._fitted: dict[tuple[int, int, float], tuple[CameraIntrinsics, list[str]]] = {}
        if file:
            try:
                self._use(CameraInfoFields.from_yaml(file))
            except ConfigError as error:
                raise ConfigError(str(error) if str(error).startswith(str(file)) else f'{file}: {error}') from None

    @property
    def is_known(self) -> bool:
        """Whether there is a calibration, given or from camera_info."""
        return self._camera is not None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height [px] of the images of the calibration, before region and binning; there must be one."""
        assert self._camera is not None
        return self._camera.width, self._camera.height

    @property
    def rectified(self) -> bool:
        """Whether the images are rectified, so that P is used, without distortion."""
        return self._rectified

    @rectified.setter
    def rectified(self, rectified: bool) -> None:
        if rectified == self._rectified:
            return
        self._rectified, self._camera = rectified, None
        if self._fields is not None:
            with contextlib.suppress(ConfigError):  # is told in `refusal`
                self._use(self._fields)

    @property
    def rectifies(self) -> bool:
        """Whether P is used, and K and D would give something else."""
        return self._rectified and self._fields is not None and self._fields.changes_when_rectified

    def accept(self, message: Any) -> bool:
        """
        Use a CameraInfo message (ROS 1 or 2); one that repeats the one before, up to rounding, costs nothing.

        Returns:
            Whether it has changed the calibration.

        Raises:
            ConfigError: it is no calibration.
        """
        fields = CameraInfoFields.from_message(message)
        if self._camera and self._fields and fields.is_like(self._fields):
            self.refusal = ''
            return False
        if fields == self._refused and self.refusal:
            raise ConfigError(self.refusal)
        self._use(fields)
        return True

    def _use(self, fields: CameraInfoFields) -> None:
        """Use this calibration from now on; ConfigError, and the one before stays, when it is none."""
        try:
            camera = calibrated_camera(fields, self._rectified)
        except (ConfigError, ValueError, OverflowError) as error:
            self._refused, self.refusal = fields, str(error)
            raise ConfigError(self.refusal) from None
        self._fields, self.refusal, self._camera = fields, '', camera
        self._fitted.clear()

    def for_size(self, width: int, height: int, fov_deg: float = 0.0) -> CameraIntrinsics:
        """
        Return the intrinsics for images of this size [px].

        Args:
            width: of the image.
            height: of the image.
            fov_deg: horizontal field of view to assume while there is no calibration.

        Raises:
            ConfigError: the calibration cannot be that of such images.
        """
        if self._camera is None and self.is_given:
            raise ConfigError(self.refusal)
        key = width, height, 0.0 if self._camera else fov_deg
        if key not in self._fitted:
            if len(self._fitted) == _SIZES:
                self._fitted.clear()
            if self._camera is None or self._fields is None:
                self._fitted[key] = CameraIntrinsics.from_fov(width, height, math.radians(fov_deg)), []
            else:
                camera, remark = _fitted_camera(self._fields, self._camera, width, height)
                remarks = [remark, *_oddities(self._fields, self._camera, self._rectified)]
                self._fitted[key] = camera, [text for text in remarks if text]
        camera, self.remarks = self._fitted[key]
        for text in self.remarks:
            if text not in self._said:
                self._said.add(text)
                self._report(text)
        return camera


def shows_rectified_images(topic: str) -> bool:
    """Whether images are rectified by the name of their topic: image_rect_color/compressed, undistorted/image."""
    for name in reversed(topic.lower().split('/')):
        parts = name.split('_')
        if not _RECTIFIED.isdisjoint(parts):
            return True
        if 'raw' in parts:
            return False
    return False


def calibrated_camera(fields: CameraInfoFields, rectified: bool = False) -> CameraIntrinsics:
    """
    Return the camera of the whole images that a calibration belongs to, before region and binning.

    Args:
        fields: What the calibration says.
        rectified: False for raw images: K and D; True for rectified images: P, without distortion.

    Raises:
        ConfigError: It is not a calibration (an uncalibrated camera sends zeros).
    """
    projected = rectified and any(fields.p)
    lens = {'distortion_model': fields.distortion_model, 'd': fields.d, 'k': fields.k}
    if projected:
        lens = {'distortion_model': '', 'd': (), 'k': _projection(fields)[:, :3].ravel()}
    try:
        camera = CameraIntrinsics.from_camera_info_fields(width=fields.width, height=fields.height, **lens)
    except ConfigError as error:
        raise ConfigError(str(error).replace('camera: K:', 'camera: P:') if projected else str(error)) from None
    if rectified and camera.has_distortion:
        raise ConfigError('camera: P: is missing, and the images are rectified, so that K and D do not apply to them')
    view = _ImagePart(*fields.offset, *fields.region)
    left, top, width, height = view
    if not fields.is_offset_only and (left + width > camera.width or top + height > camera.height):
        raise ConfigError(
            f'camera: roi: wanted a region inside {camera.width}x{camera.height}, '
            f'got {width}x{height} at ({left}, {top})'
        )
    if min(view.binned(fields.binning)) < 1:
        raise ConfigError(
            f'camera: binning: wanted images of a pixel or more, got {fields.binning[0]}x{fields.binning[1]} for '
            f'{width}x{height}'
        )
    return camera


def _projection(fields: CameraInfoFields) -> np.ndarray:
    """Return P (3, 4)."""
    try:
        return np.array(fields.p, float).reshape(3, 4)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'camera: P: wanted 12 numbers (3x4 projection matrix), got {fields.p!r:.120}') from None


class _ImagePart(NamedTuple):
    """A part of the images that a calibration is for [px]."""

    left: int
    top: int
    width: int
    height: int

    def binned(self, binning: tuple[int, int]) -> tuple[int, int]:
        """Return width and height of images of it."""
        return self.width // binning[0], self.height // binning[1]


def _fitted_camera(
    fields: CameraInfoFields, camera: CameraIntrinsics, width: int, height: int
) -> tuple[CameraIntrinsics, str]:
    """
    Return the camera of images of a size, and what was done for it that nobody asked for.

    Images show the whole of the calibration or its region, each as it is, binned, or scaled otherwise; whichever
    explains their size is taken, if it is the only one.
    """
    whole = _ImagePart(0, 0, camera.width, camera.height)
    part = whole if fields.is_offset_only else _ImagePart(*fields.offset, *fields.region)
    size = width, height
    if size == part.binned(fields.binning):
        columns, rows = (side * binning for side, binning in zip(size, fields.binning))  # without a rest at the end
        return camera.cropped(part.left, part.top, columns, rows).stretched_to(*size), ''
    if size == whole[2:]:
        ignored = ' and '.join(['roi'] * (part != whole) + ['binning'] * (fields.binning != (1, 1)))
        return camera, f'{ignored} of the calibration ignored: images of {width}x{height} have its full size'
    view = _shown_view(fields, camera, whole, part, size)
    if view == whole and is_centred(camera, *size) and not is_centred(camera, *whole[2:]):
        raise ConfigError(
            f'camera: the calibration is for {whole.width}x{whole.height} and the image has {width}x{height}, of which '
            'its matrix has the middle: correct width and height of the calibration, or give that of this camera'
        )
    return camera.cropped(*view).scaled_to(*size), _remark_on_scaling(whole, part, view, size)


def _shown_view(
    fields: CameraInfoFields, camera: CameraIntrinsics, whole: _ImagePart, part: _ImagePart, size: tuple[int, int]
) -> _ImagePart:
    """Return what images of a size show: the part or, also where neither fits, the whole; ConfigError if both fit."""
    views = dict.fromkeys((whole, part))
    fitting = [view for view in views if size in (view[2:], view.binned(fields.binning))]
    fitting = fitting or [view for view in views if camera.cropped(*view).has_shape(*size)]
    if len(fitting) > 1:
        raise ConfigError(
            f'camera: images of {size[0]}x{size[1]} may show all {whole.width}x{whole.height} of the calibration or '
            f'its roi, {part.width}x{part.height} at ({part.left}, {part.top}): nobody can tell; correct roi and '
            'binning'
        )
    return (fitting or [whole])[0]


def _remark_on_scaling(whole: _ImagePart, part: _ImagePart, view: _ImagePart, size: tuple[int, int]) -> str:
    """Say what was assumed of images that show a view in another size than the calibration states."""
    images = f'{size[0]}x{size[1]}'
    if view != whole and size == view[2:]:
        return (
            f'binning of the calibration ignored: images of {images} have the size of its roi; distances are wrong if '
            'the driver counts binned pixels there'
        )
    if view != whole:
        return f'the roi of the calibration, {part.width}x{part.height}, is scaled to the images, {images}'
    ignored = '; its roi is ignored' if part != whole else ''
    return (
        f'the calibration is for {whole.width}x{whole.height} and is scaled to images of {images}{ignored}: right '
        'where images are resized, wrong where they are cropped'
    )


def _oddities(fields: CameraInfoFields, camera: CameraIntrinsics, rectified: bool) -> list[str]:
    """Return what looks as if the calibration was made for other images."""
    matrix, found = 'P' if rectified and any(fields.p) else 'K', []
    if fields.is_offset_only and any(fields.offset):
        found.append(
            f'roi is ignored: it has the size of the calibration, so its offset {fields.offset} is in {matrix} already'
        )
    found += camera.oddities()
    if rectified and not any(fields.p):
        found.append('P is empty and there is no distortion: K is used for the rectified images')
    elif rectified and any(_projection(fields)[:2, 3]):
        found.append(
            'P is that of the second camera of a stereo pair: poses are relative to this camera, not to the first'
        )
    return found
