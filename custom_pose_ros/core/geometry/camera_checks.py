"""What cannot be the intrinsics of a camera, and what is most likely a mistake in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from custom_pose_ros.core.geometry.camera import CameraIntrinsics

# Names of sensor_msgs/distortion_models.hpp and how many coefficients each may have, in OpenCV's order.
DISTORTION_MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
# Other names of the same models, as Kalibr, OpenCV and drivers write them.
_MODEL_NAMES = {
    'radtan': 'plumb_bob', 'radial_tangential': 'plumb_bob', 'rational': 'rational_polynomial', 'equi': 'equidistant',
    'fisheye': 'equidistant', 'kannala_brandt': 'equidistant', 'kannala_brandt4': 'equidistant',
}  # fmt: skip
_NO_MODEL = ('', 'none', 'pinhole', 'perspective')  # allow no coefficient but zeros
_FAR_FROM_MIDDLE = 0.1  # of the side; lenses are centred to a few percent, K of a binned or cropped image is not
_UNEQUAL_FOCALS = 1.15  # ratio; pixels are square, or nearly so
_SKEW = 0.02  # of the focal length; rows and columns of pixels are at right angles
_HIGHEST_FOCAL = 100.0  # of the image width: a field of view of half a degree
_LEAST_SPREAD = 0.5  # of an edge's distance from the axis without distortion; lenses with pincushion keep 0.8 and more
_ROUNDING_PX = 0.5  # by which two calibrations may place a point apart, and be the same one
_GRID = 9  # points along each side of the picture, at which they are compared
_SLOPES = np.tan(np.linspace(0.0, np.radians(89.0), 500))  # of directions, from the axis to the side


def checked_matrix(K: Any) -> np.ndarray:
    """Return K as a (3, 3) array; ConfigError when it is no camera matrix."""
    try:
        matrix = np.array(K, float).reshape(3, 3)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'camera: K: wanted 9 numbers (3x3 camera matrix), got {K!r:.120}') from None
    if not np.isfinite(matrix).all():
        raise ConfigError(f'camera: K: wanted finite numbers, got {matrix.ravel().tolist()}')
    if not (matrix[0, 0] > 0.0 and matrix[1, 1] > 0.0):
        raise ConfigError(
            f'camera: K: wanted focal lengths above 0 px, got fx = {matrix[0, 0]:g}, fy = {matrix[1, 1]:g}'
            + ('' if matrix[0, 0] or matrix[1, 1] else '; an uncalibrated camera sends zeros: calibrate it')
        )
    if matrix[1, 0] != 0.0 or matrix[2].tolist() != [0.0, 0.0, 1.0]:
        raise ConfigError(f'camera: K: wanted [fx, s, cx; 0, fy, cy; 0, 0, 1], got {matrix.ravel().tolist()}')
    return matrix


def distortion_model_of(name: Any, d: Sequence[float]) -> Any:
    """Return the lens model that a name stands for, an unknown one as it is; ConfigError when it allows no such D."""
    if not isinstance(name, str):
        return name
    plain = re.sub(r'[\s-]+', '_', name.strip().lower())
    if plain not in _NO_MODEL:
        return _MODEL_NAMES.get(plain, plain if plain in DISTORTION_MODELS else name)
    if any(d):
        raise ConfigError(
            f'camera: distortion_model: wanted one of {", ".join(DISTORTION_MODELS)} '
            f'for the {len(d)} coefficients, got {name[:80] or "none"}'
        )
    return 'plumb_bob'


def checked_distortion(D: Any, model: Any) -> np.ndarray:
    """Return the coefficients that a lens model has, without zeros beyond them; ConfigError when it has no such."""
    if not isinstance(model, str) or model not in DISTORTION_MODELS:
        raise ConfigError(f'camera: distortion_model: wanted one of {", ".join(DISTORTION_MODELS)}, got {model!r:.80}')
    try:
        given = np.array(D, float).ravel()
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f'camera: D: wanted numbers, got {D!r:.120}') from None
    if not np.isfinite(given).all():
        raise ConfigError(f'camera: D: wanted finite numbers, got {given.tolist()!r:.120}')
    counts = DISTORTION_MODELS[model]
    coefficients: np.ndarray = given
    while len(coefficients) > counts[0] and len(coefficients) not in counts and coefficients[-1] == 0.0:
        coefficients = coefficients[:-1]  # drivers fill up a fixed number of places with zeros
    if model != 'equidistant' and not coefficients.any():
        return coefficients if len(coefficients) in counts else np.empty(0)
    if len(coefficients) not in counts:
        wanted, none = ' or '.join(str(count) for count in counts), '' if model == 'equidistant' else ' (or none)'
        more = '; with more the model is rational_polynomial' if model == 'plumb_bob' and len(given) >= 8 else ''
        raise ConfigError(f'camera: D: wanted {wanted} coefficients for {model}{none}, got {len(given)}{more}')
    return coefficients


def is_centred(camera: CameraIntrinsics, width: int, height: int) -> bool:
    """Whether K may be that of images of this size [px], by how near to their middle it has the lens."""
    return bool(_off_centre(camera, width, height).max() <= _FAR_FROM_MIDDLE)


def _off_centre(camera: CameraIntrinsics, width: int, height: int) -> np.ndarray:
    """Return how far the principal point is from the middle of images of a size [px], in shares of their sides."""
    return np.abs(camera.K[:2, 2] - (np.array([width, height]) - 1) / 2) / [width, height]


def oddities(camera: CameraIntrinsics) -> list[str]:
    """Return what looks as if the matrix was that of other images than of this size, a line each."""
    found = []
    shares = _off_centre(camera, camera.width, camera.height)
    if shares.max() > _FAR_FROM_MIDDLE:
        side = ('width', 'height')[int(shares.argmax())]
        found.append(
            f'the principal point is far from the middle of the {camera.width}x{camera.height} image, by '
            f'{100 * shares.max():.0f} % of its {side}: the matrix may be that of a binned or cropped image, and '
            'distances wrong'
        )
    ratio = camera.K[0, 0] / camera.K[1, 1]
    if max(ratio, 1 / ratio) > _UNEQUAL_FOCALS:
        found.append(
            f'the focal lengths differ by {100 * (max(ratio, 1 / ratio) - 1):.0f} %: the matrix may be that of an '
            'image of another shape, and distances wrong'
        )
    if abs(camera.K[0, 1]) > _SKEW * camera.K[0, 0]:
        found.append(f'K has a skew of {camera.K[0, 1]:g} px, which no camera has: poses may be wrong')
    if camera.K[0, 0] > _HIGHEST_FOCAL * camera.width:
        found.append(f'fx = {camera.K[0, 0]:g} px is a field of view of less than 0.6 deg: is it in pixels?')
    if strange := _strange_distortion(camera):
        found.append(f'{strange}: poses may be missing or wrong; calibrate with pictures that reach the edges')
    return found


def _strange_distortion(camera: CameraIntrinsics) -> str | None:
    """Say where, between axis and edges of the image, the lens model does what no lens does, or None."""
    low, high = -camera.K[:2, 2] - 0.5, [camera.width, camera.height] - camera.K[:2, 2] - 0.5
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)) if camera.has_distortion else ():
        edge = float((high if sign > 0 else -low)[axis])
        points = np.zeros((len(_SLOPES), 3))
        points[:, axis], points[:, 2] = sign * _SLOPES, 1.0
        with np.errstate(over='ignore', invalid='ignore'):  # coefficients may be anything
            reached = sign * (camera.project(points)[:, axis] - camera.K[axis, 2])
            back, out = np.diff(reached) <= 0, reached >= edge
        last, first_out = (int(np.argmax(which)) if which.any() else len(_SLOPES) for which in (back, out))
        if last < first_out and back.any():
            return (
                f'the distortion folds back {reached[last]:.0f} px from the principal point, inside of the '
                f'{camera.width}x{camera.height} image'
            )
        if out.any() and _SLOPES[first_out] * camera.K[axis, axis] < _LEAST_SPREAD * edge:
            return (
                f'the distortion squeezes {edge:.0f} px of the {camera.width}x{camera.height} image into '
                f'{np.degrees(np.arctan(_SLOPES[first_out])):.2g} deg'
            )
    return None


def lens_text(camera: CameraIntrinsics) -> str:
    """Return focal lengths and principal point as a text."""
    (fx, fy), (cx, cy) = camera.K[[0, 1], [0, 1]], camera.K[:2, 2]
    focal = f'{fx:.1f}' if f'{fx:.1f}' == f'{fy:.1f}' else f'{fx:.1f} and {fy:.1f}'
    return f'focal length {focal} px, centre ({cx:.1f}, {cy:.1f})' + ', with distortion' * camera.has_distortion


def difference_from_recorded(given: CameraIntrinsics, recorded: CameraIntrinsics, topic: str) -> str:
    """Return how far a calibration given by --camera is from that of a topic of the bag; '' where they are the same."""
    if (apart := _largest_difference_px(given, recorded)) <= _ROUNDING_PX:
        return ''
    return (
        f'--camera is used, {lens_text(given)}, and {topic} in the bag says {lens_text(recorded)}: '
        f'they differ by up to {apart:.1f} px in the picture'
    )


def _largest_difference_px(one: CameraIntrinsics, other: CameraIntrinsics) -> float:
    """Return by how much, at most, two cameras place a direction apart that both have in the picture [px]."""
    grid = np.meshgrid(np.linspace(0, one.width - 1, _GRID), np.linspace(0, one.height - 1, _GRID))
    points = np.column_stack([axis.ravel() for axis in grid])
    directions = one.undistort(points)
    known = np.isfinite(directions).all(1)
    placed = other.project(np.column_stack([directions[known], np.ones(known.sum())]))
    return float(np.nanmax(np.linalg.norm(placed - points[known], axis=1), initial=0.0))
