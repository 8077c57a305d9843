"""The table of all frames, a column of numbers for each thing measured: for frames.csv, charts and comparisons."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_bytes
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.limits import MAX_TABLE_BYTES
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore

_POSE = ('x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw', 'roll_deg', 'pitch_deg', 'yaw_deg')
COLUMNS = (
    'frame', 'stamp_ns', 'bag_time_s', 'width', 'height', 'instances', 'expected', 'found', 'track_id', 'score',
    'keypoint_error_px', 'rotation_error_deg', 'translation_error_m', 'reprojection_error_px', 'ambiguity',
    'coasting', 'outlier_suspected', 'sigma_rotation_deg', 'sigma_position_m', 'nees_rotation', 'nees_position',
    'distance_m', 'view_angle_deg', 'latency_ms', *_POSE, *(f'true_{name}' for name in _POSE),
)  # fmt: skip
_OF_SCORE = (
    'instances', 'expected', 'found', 'score', 'keypoint_error_px', 'rotation_error_deg', 'translation_error_m',
    'nees_rotation', 'nees_position', 'distance_m', 'view_angle_deg',
)  # fmt: skip
_WHOLE = ('frame', 'width', 'height', 'instances', 'track_id')  # numbers with all their digits
_DIGITS = 8
Table = Mapping[str, np.ndarray]


def frame_table(scores: Sequence[FrameScore], model: ObjectModel, bag_start_ns: int) -> dict[str, np.ndarray]:
    """Return the columns by name, a value for each frame: stamp_ns int64, the others float64, NaN for no value."""
    values = np.empty((len(scores), len(COLUMNS)))
    for index, score in enumerate(scores):
        row = _row(index, score, model, bag_start_ns)
        values[index] = [row.get(name) for name in COLUMNS]
    values[~np.isfinite(values)] = np.nan
    table = dict(zip(COLUMNS, values.T))
    return {**table, 'stamp_ns': np.array([score.result.stamp_ns for score in scores], np.int64)}


def to_csv(table: Table) -> str:
    """Return the text of frames.csv; empty cells are numbers that do not exist."""
    columns = [_cells(table[name], '.0f' if name in _WHOLE else f'.{_DIGITS}g') for name in COLUMNS]
    return '\n'.join(','.join(line) for line in (COLUMNS, *zip(*columns))) + '\n'


def _cells(values: np.ndarray, form: str) -> list[str]:
    if values.dtype == np.int64:
        return [str(value) for value in values.tolist()]
    return ['' if math.isnan(value) else format(value, form) for value in values.tolist()]


def _row(index: int, score: FrameScore, model: ObjectModel, bag_start_ns: int) -> dict[str, Any]:
    result, estimate = score.result, score.estimate
    row: dict[str, Any] = {
        'frame': index,
        'bag_time_s': round((result.time_ns - bag_start_ns) * 1e-9, 6),
        'width': result.width,
        'height': result.height,
        'track_id': score.track_id if score.track_id >= 0 else None,
        'coasting': any(e.coasting for e in result.estimates),
        'latency_ms': result.latency_ms,
        **{name: getattr(score, name) for name in _OF_SCORE},
    }
    if estimate is not None:
        variances = np.diag(estimate.covariance)
        row |= {
            'reprojection_error_px': estimate.reprojection_error_px,
            'ambiguity': estimate.ambiguity,
            'outlier_suspected': estimate.outlier_suspected,
            'sigma_rotation_deg': math.degrees(math.sqrt(max(float(variances[3:].sum()), 0.0))),
            'sigma_position_m': math.sqrt(max(float(variances[:3].sum()), 0.0)),
        }
        row |= _pose_cells(estimate.pose, model, '')
    if score.truth is not None:
        row |= _pose_cells(score.truth, model, 'true_')
    return row


def _pose_cells(pose: Rigid, model: ObjectModel, prefix: str) -> dict[str, float]:
    angles = np.rad2deg(model.roll_pitch_yaw(pose.rotation))
    values = [*pose.translation.tolist(), *quaternion_from_matrix(pose.rotation).tolist(), *angles.tolist()]
    return {prefix + name: value for name, value in zip(_POSE, values)}


def read_table(path: Path) -> dict[str, np.ndarray]:
    """
    Read a frames.csv.

    Raises:
        DatasetError: Naming the file, when it cannot be read or is another kind of file.
    """
    try:
        text = read_bytes(path, MAX_TABLE_BYTES).decode('utf-8')
        rows = list(csv.DictReader(io.StringIO(text, newline='')))
        if not rows:
            raise DatasetError(f'{path}: has no frames')
        if not text.endswith('\n') or any(None in row or None in row.values() for row in rows):
            raise DatasetError(f'{path}: is cut off or damaged; copy it again')
        table = {'stamp_ns': np.array([int(row['stamp_ns']) for row in rows], np.int64)}
        for name in COLUMNS:
            if name not in table:
                table[name] = np.array([float(row[name]) if row[name] else np.nan for row in rows])
        return table
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(f'{path}: is not a frames.csv of evaluate_bag ({error})') from error
