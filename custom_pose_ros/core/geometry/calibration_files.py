"""CameraInfoFields: what a CameraInfo message or a calibration file says of a camera; not yet for which images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.yaml_files import UniqueKeyLoader, read_yaml_documents

_ROUNDING = 1e-6  # relative, of the numbers of a camera_info; squared: of zeros
# One thing and the keys it has: of camera_calibration first, then of messages (ROS 2, ROS 1), OpenCV and Kalibr.
_KEYS = {
    'image_width': ('image_width', 'width'),
    'image_height': ('image_height', 'height'),
    'image_size': ('resolution', 'image_size', 'imageSize'),
    'camera_matrix': ('camera_matrix', 'k', 'K', 'cameraMatrix'),
    'intrinsics': ('intrinsics',),  # Kalibr, EuRoC: fx, fy, cx, cy
    'distortion_coefficients': (
        'distortion_coefficients', 'd', 'D', 'distCoeffs', 'distortion_coeffs', 'dist_coeffs',
    ),
    'projection_matrix': ('projection_matrix', 'p', 'P'),
}  # fmt: skip


@dataclass(frozen=True)
class CameraInfoFields:
    """
    The fields of a sensor_msgs/CameraInfo that say how images arise, not yet checked.

    Attributes:
        width, height: of the images of the calibration, before region and binning [px].
        distortion_model: name of the lens model.
        d: distortion coefficients.
        k: camera matrix of the raw images, row-major, 9 numbers.
        p: projection matrix of the rectified images, row-major, 12 numbers; empty where there is none.
        binning: columns and rows of the sensor that make one pixel.
        offset: left column and top row of the region that the driver cuts out [px].
        region: its width and height [px].
    """

    width: Any
    height: Any
    distortion_model: Any
    d: tuple
    k: tuple
    p: tuple
    binning: tuple[int, int]
    offset: tuple[int, int]
    region: tuple[Any, Any]

    @property
    def changes_when_rectified(self) -> bool:
        """Whether the rectified images are others than the raw ones."""
        return any(self.d) or (*self.p[:3], *self.p[4:7], *self.p[8:11]) != self.k

    def is_like(self, other: CameraInfoFields) -> bool:
        """Whether a message says the same as another one: numbers that were computed anew differ by rounding."""
        if self == other:
            return True
        rounded = all(
            len(mine) == len(theirs) and np.allclose(mine, theirs, _ROUNDING, _ROUNDING**2)
            for mine, theirs in ((self.d, other.d), (self.k, other.k), (self.p, other.p))
        )
        return rounded and replace(self, d=other.d, k=other.k, p=other.p) == other

    @property
    def is_offset_only(self) -> bool:
        """Whether the region is as large as the calibration, so that nothing was cut out of what it describes."""
        return self.region == (self.width, self.height)

    @property
    def is_whole(self) -> bool:
        """Whether the images have the size of the calibration, by what it says."""
        return self.binning == (1, 1) and self.is_offset_only

    @classmethod
    def from_message(cls, message: Any) -> CameraInfoFields:
        """Take over a CameraInfo, made by rclpy or by rosbags; ROS 1 spells the arrays in capitals."""
        d, k, p = (tuple(getattr(message, n) if hasattr(message, n) else getattr(message, n.upper())) for n in 'dkp')
        binning, roi = (max(message.binning_x, 1), max(message.binning_y, 1)), message.roi
        offset, region = (roi.x_offset, roi.y_offset), (roi.width or message.width, roi.height or message.height)
        return cls(message.width, message.height, message.distortion_model, d, k, p, binning, offset, region)

    @classmethod
    def from_yaml(cls, path: str | Path) -> CameraInfoFields:
        """
        Read a calibration file of camera_calibration, Kalibr or OpenCV, or what `ros2 topic echo` prints.

        Raises:
            ConfigError: It is none of these, or tells of several cameras; the text names file, key, wanted and got.
        """
        documents = read_yaml_documents(path, 'give a camera_calibration YAML', _CalibrationLoader)
        found = [cls.from_yaml_dict(data, str(path)) for data in documents if data is not None or len(documents) == 1]
        if not found:
            raise ConfigError(f'{path}: {_WANTED}, got an empty file')
        if any(fields != found[0] for fields in found):
            raise ConfigError(f'{path}: its {len(found)} documents are different calibrations; keep one')
        return found[0]

    @classmethod
    def from_yaml_dict(cls, data: Any, source: str) -> CameraInfoFields:
        """Take over the content of a calibration file; `source` names it in the ConfigError of a mistake."""
        data = _only_camera(data, source)
        if _first(data, 'image_size') is not None:
            size = _numbers(data, source, 'image_size')
            width, height = size if len(size) == 2 else (None, None)
        else:
            width, height = _entry(data, source, 'image_width'), _entry(data, source, 'image_height')
        roi = data.get('roi') or {}
        binning = [_count(data, source, f'binning_{axis}') for axis in 'xy']
        corner = [_count(roi, source, key) for key in ('x_offset', 'y_offset', 'width', 'height')]
        return cls(
            width, height, _distortion_model(data, source), _numbers(data, source, 'distortion_coefficients'),
            _camera_matrix(data, source),
            () if _first(data, 'projection_matrix') is None else _numbers(data, source, 'projection_matrix'),
            (max(binning[0], 1), max(binning[1], 1)), (corner[0], corner[1]), (corner[2] or width, corner[3] or height),
        )  # fmt: skip


_INI = re.compile(r'^\[[A-Za-z]\w*\]\s*$', re.MULTILINE)
_WANTED = 'wanted a camera_calibration YAML with image_width, image_height, ...'


class _CalibrationLoader(UniqueKeyLoader):
    """Reads also what OpenCV's FileStorage writes: `%YAML:1.0` and matrices with a tag of their own."""

    def __init__(self, stream: str):
        if _INI.search(stream):
            raise ValueError(
                'it is an INI file; `camera_calibration_parsers convert` of ROS makes YAML of those of '
                'camera_calibration, of others (ZED) copy the numbers'
            )
        super().__init__(re.sub(r'\A%YAML:.*', '', stream))


def _opencv_matrix(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    return {'type_id': 'opencv-matrix', **loader.construct_mapping(node, deep=True)}


_CalibrationLoader.add_constructor('tag:yaml.org,2002:opencv-matrix', _opencv_matrix)


def _only_camera(data: Any, source: str) -> Mapping:
    """Return the keys of the camera: of the only one in a camera chain of Kalibr."""
    if not isinstance(data, Mapping):
        raise ConfigError(f'{source}: {_WANTED}, got {data!r:.80}')
    if 'keypoints' in data:
        raise ConfigError(f'{source}: {_WANTED}, got an object file')
    cameras = {name: entry for name, entry in data.items() if isinstance(entry, Mapping) and 'intrinsics' in entry}
    if len(cameras) > 1:
        raise ConfigError(f'{source}: has the cameras {", ".join(map(str, cameras)):.120}: give a file with one')
    data = next(iter(cameras.values()), data)
    model = data.get('camera_model', 'pinhole')
    if model != 'pinhole':
        raise ConfigError(f'{source}: camera_model: wanted pinhole, got {model!r:.80}; calibrate with a pinhole model')
    return data


def _distortion_model(data: Mapping, source: str) -> Any:
    """Return the name of the lens model; OpenCV writes none and is told by the number of coefficients."""
    if data.get('distortion_model') is not None:
        return data['distortion_model']
    coefficients = _first(data, 'distortion_coefficients')
    if coefficients is not None and not any(_numbers(data, source, 'distortion_coefficients')):
        return ''
    if isinstance(coefficients, Mapping) and coefficients.get('type_id') == 'opencv-matrix':
        count = len(_numbers(data, source, 'distortion_coefficients'))
        if data.get('fisheye_model'):
            return 'equidistant'
        if 'fisheye_model' in data or count > 4:  # its fisheye model has 4
            return 'plumb_bob' if count < 8 else 'rational_polynomial'
        raise ConfigError(
            f'{source}: distortion_model: is missing, and {count} coefficients may be of plumb_bob or of equidistant '
            '(fisheye): add the line "distortion_model: ..."'
        )
    return _entry(data, source, 'distortion_model')


def _camera_matrix(data: Mapping, source: str) -> tuple:
    if _first(data, 'intrinsics') is None:
        return _numbers(data, source, 'camera_matrix')
    values = _numbers(data, source, 'intrinsics')
    if len(values) != 4:
        raise ConfigError(f'{source}: intrinsics: wanted fx, fy, cx, cy, got {list(values)!r:.80}')
    fx, fy, cx, cy = values
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)


def _first(data: Mapping, key: str) -> Any:
    return next((data[name] for name in _KEYS.get(key, (key,)) if data.get(name) is not None), None)


def _entry(data: Mapping, source: str, key: str) -> Any:
    found = _first(data, key)
    if found is None:
        raise ConfigError(f'{source}: {key}: is missing, wanted as written by camera_calibration')
    return found


def _numbers(data: Mapping, source: str, key: str) -> tuple:
    """Return the numbers of a matrix, written as a list or, with its rows and columns, as `data`."""
    entry = _entry(data, source, key)
    values = entry.get('data') if isinstance(entry, Mapping) else entry
    if not isinstance(values, list):
        raise ConfigError(f'{source}: {key}: wanted "data" with a list of numbers, got {entry!r:.80}')
    flat = np.ravel(np.array(values, object)) if values else ()
    if any(isinstance(value, (Mapping, list)) for value in flat):
        raise ConfigError(f'{source}: {key}: wanted a list of numbers, got {values!r:.80}')
    rows, columns = (entry.get('rows'), entry.get('cols')) if isinstance(entry, Mapping) else (None, None)
    if isinstance(rows, int) and isinstance(columns, int) and rows * columns != len(flat):
        raise ConfigError(f'{source}: {key}: wanted {rows}x{columns} numbers, as it says, got {len(flat)}')
    return tuple(flat)


def _count(data: Any, source: str, key: str) -> int:
    value = data.get(key, 0) if isinstance(data, Mapping) else data
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f'{source}: {key}: wanted a whole number from 0 up, got {value!r:.80}')
    return value
