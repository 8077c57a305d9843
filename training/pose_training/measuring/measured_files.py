"""What a measurement writes: the positions in object.yaml, camera.yaml, and what it says to its user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.drafts import quoted
from training.pose_training.measuring.measurement import Measurement
from training.pose_training.measuring.views_of_labels import LabelledViews

AUTHOR = 'training/measure_object.py'
_MEASURED = f'# Measured by {AUTHOR}.'  # begins a calibration
_WIDTH = 110  # of lines of YAML
_DIGITS = 4  # of positions, counted from the first one of the object's size


def position_lines(
    names: Sequence[str], points: np.ndarray, deviations: np.ndarray, views: int, notes: Sequence[str]
) -> list[str]:
    """Return the entry model_points of an object file, (K, 3) points [m] with their standard deviations [m]."""
    decimals = max(0, _DIGITS - int(np.floor(np.log10(np.nanmax(np.abs(points))))) - 1)
    lines = [
        '# Positions [m] in the object frame, x forward, y left, z up, and their standard deviations along x, y, z.',
        f'# Measured from labels of {views} objects by {AUTHOR}.',
        *(f'# Note: {note}.' for note in notes),
        'model_points:',
    ]
    for name, point, deviation in zip(names, points, deviations):
        if np.isfinite(point).all():
            place = ', '.join(f'{value + 0.0:.{decimals}f}' for value in point.round(decimals))
            lines.append(f'  {quoted(name)}: [{place}]  # +- {", ".join(f"{value:.2g}" for value in deviation)}')
        else:
            lines.append(f'  # {name}: cannot tell, as it is labelled in fewer than two usable objects')
    return lines


def measured_object_yaml(model: ObjectModel, positions: Sequence[str]) -> str:
    """Return an object.yaml that says what an object says already, with measured positions."""
    data = {key: value for key, value in model.to_dict().items() if key != 'model_points'}
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=_WIDTH) + '\n'.join([*positions, ''])


def camera_yamls(labelled: LabelledViews, found: Measurement) -> Iterator[tuple[str, str]]:
    """Yield file name and text of the calibration of each lens that could be measured."""
    for number, (width, height) in enumerate(labelled.sizes):
        focal = found.focals_px[number]
        if not focal.known:
            continue
        x, y = (np.array([width, height]) - 1) / 2 + found.centres_px[number]
        K = np.array([[focal.value, 0, x], [0, focal.value, y], [0, 0, 1]])
        camera = CameraIntrinsics(width, height, K, np.array([found.k1[number].value, 0, 0, 0]))
        lines = [f'{_MEASURED} {line}' for line in lens_lines(labelled, found, number)]
        text = yaml.safe_dump(camera.to_yaml_dict(), sort_keys=False, default_flow_style=None, width=_WIDTH)
        name = 'camera.yaml' if len(labelled.sizes) == 1 else f'camera_{width}x{height}.yaml'
        yield name, '\n'.join([*lines, text])


def is_measured_camera(path: Path) -> bool:
    """Return whether a calibration file is one of `camera_yamls`."""
    with path.open('rb') as file:
        return file.read(len(_MEASURED)) == _MEASURED.encode()


def lens_lines(labelled: LabelledViews, found: Measurement, number: int) -> list[str]:
    """Say what is known of a lens."""
    (width, height), focal, k1 = labelled.sizes[number], found.focals_px[number], found.k1[number]
    start = f'{width}x{height}: ' * (len(labelled.sizes) > 1)
    if not np.isfinite(focal.deviation):
        return [f'{start}focal length: cannot tell, no usable picture has this size']
    interval = f'between {focal.low:.4g} and {focal.high:.4g} px (95 %)'
    if not focal.known:
        return [f'{start}focal length: cannot tell, it is {interval}']
    fov_deg = np.degrees(2 * np.arctan(0.5 * width / focal.value))
    lines = [f'{start}focal length: {focal.value:.4g} px, {interval}, {fov_deg:.0f} degrees across']
    bend = f'between {k1.low:.2f} and {k1.high:.2f} (95 %)'
    lines.append(f'{start}distortion k1: {f"{k1.value:.3f}, " if k1.known else "cannot tell, it is "}{bend}')
    return lines
