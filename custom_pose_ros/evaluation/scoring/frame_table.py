"""frames.csv: one line for each frame, for spreadsheets and for comparing two runs frame by frame."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore

_POSE = ('x_m', 'y_m', 'z_m', 'qx', 'qy', 'qz', 'qw', 'roll_deg', 'pitch_deg', 'yaw_deg')
COLUMNS = (
    'frame', 'stamp_ns', 'bag_time_s', 'width', 'height', 'instances', 'expected', 'found', 'track_id', 'score',
    'keypoint_error_px', 'rotation_error_deg', 'translation_error_m', 'reprojection_error_px', 'ambiguity',
    'coasting', 'outlier_suspected', 'sigma_rotation_deg', 'sigma_position_m', 'nees_rotation', 'nees_position',
    'distance_m', 'view_angle_deg', 'latency_ms', *_POSE, *(f'true_{name}' for name in _POSE),
)  # fmt: skip
_TEXT_COLUMNS = ('stamp_ns',)
_DIGITS = 8


def to_csv(scores: Sequence[FrameScore], model: ObjectModel, bag_start_ns: int) -> str:
    """Return the text of frames.csv; empty cells are numbers that do not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    for index, score in enumerate(scores):
        row = _row(index, score, model, bag_start_ns)
        writer.writerow([_cell(row.get(column)) for column in COLUMNS])
    return text.getvalue()


def _row(index: int, score: FrameScore, model: ObjectModel, bag_start_ns: int) -> dict[str, Any]:
    record, estimate = score.record, score.estimate
    row: dict[str, Any] = {
        'frame': index,
        'stamp_ns': record.stamp_ns,
        'bag_time_s': round((record.time_ns - bag_start_ns) * 1e-9, 6),
        'width': record.width,
        'height': record.height,
        'instances': score.instances,
        'expected': score.expected,
        'found': score.found,
        'track_id': score.track_id if score.track_id >= 0 else None,
        'score': score.score,
        'keypoint_error_px': score.keypoint_error_px,
        'rotation_error_deg': score.rotation_error_deg,
        'translation_error_m': score.translation_error_m,
        'coasting': any(e.coasting for e in record.estimates),
        'nees_rotation': score.nees_rotation,
        'nees_position': score.nees_position,
        'distance_m': score.distance_m,
        'view_angle_deg': score.view_angle_deg,
        'latency_ms': record.latency_ms,
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


def _cell(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return f'{value:.{_DIGITS}g}' if math.isfinite(value) else ''


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """
    Return the columns of a frames.csv: stamp_ns as int64, everything else as float64 with NaN for empty cells.

    Raises DatasetError naming the file.
    """
    try:
        with path.open(encoding='utf-8', newline='') as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise DatasetError(f'{path}: has no frames')
        columns: dict[str, np.ndarray] = {'stamp_ns': np.array([int(row['stamp_ns']) for row in rows], np.int64)}
        for name in COLUMNS:
            if name not in _TEXT_COLUMNS:
                columns[name] = np.array([float(row[name]) if row[name] else np.nan for row in rows])
        return columns
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(f'{path}: is not a frames.csv of evaluate_bag ({error})') from error
