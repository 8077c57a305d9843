"""What the demo recorded, compared with the ground truth: figures and table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion, rotation_between
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """
    Where the object is in each of F frames of a clip. K keypoints.

    keypoints : (F, K, 2) px. R : (F, 3, 3), t : (F, 3) m, object to camera optical frame.
    """

    keypoints: np.ndarray
    R: np.ndarray
    t: np.ndarray

    @classmethod
    def load(cls, path: Path, model: ObjectModel) -> GroundTruth:
        """Read a ground_truth.json; DatasetError when it is missing, damaged or about another object."""
        try:
            data = json.loads(path.read_text(encoding='utf-8'))
            names, frames = tuple(data['keypoints']), data['frames']
            truth = cls(
                np.array([frame['keypoints_px'] for frame in frames], float).reshape(-1, len(names), 2),
                np.array([frame['R_camera_object'] for frame in frames], float).reshape(-1, 3, 3),
                np.array([frame['t_camera_object'] for frame in frames], float).reshape(-1, 3),
            )
        except OSError as error:
            raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f'{path}: is not a ground truth of the demo ({error!r})') from error
        if names != model.keypoint_names:
            raise DatasetError(
                f'{path}: is about keypoints {", ".join(names)}, wanted {", ".join(model.keypoint_names)}'
            )
        if not frames:
            raise DatasetError(f'{path}: has no frames')
        return truth


@dataclass
class FrameRecord:
    """What came back for one frame; times in ns since 1970, None where nothing came."""

    stamp_ns: int
    poses: list[KeypointPose] | None = None
    orientations: list[OrientationEstimate] | None = None
    poses_received_ns: int = 0
    orientations_received_ns: int = 0


@dataclass
class Recording:
    """
    Everything the player sent and the recorder heard, matched by stamp.

    frames : one record for each frame sent, by number.
    dropped : frames that pose_node has skipped so far because a newer one had come; None before its first report.
    reports : number of such reports. dropped_before : value before the clip began.
    """

    frames: dict[int, FrameRecord] = field(default_factory=dict)
    dropped: int | None = None
    dropped_before: int | None = None
    reports: int = 0
    _heard: dict[tuple[str, int], Mapping[str, Any]] = field(default_factory=dict)

    def add_sent(self, frame: int, stamp_ns: int) -> None:
        """Note that the player published a frame."""
        self.frames[frame] = FrameRecord(stamp_ns)

    def add_heard(self, line: Mapping[str, Any]) -> None:
        """Note a line of the recorder."""
        if 'dropped' in line:
            self.dropped = line['dropped']
            self.reports += 1
        else:
            self._heard[line['topic'], line['stamp_ns']] = line

    def heard(self, topic: str) -> bool:
        """Tell whether any message of a topic has come."""
        return any(key[0] == topic for key in self._heard)

    def complete(self) -> bool:
        """Tell whether the last frame sent has come back as an orientation message."""
        return bool(self.frames) and ('orientations', self.frames[max(self.frames)].stamp_ns) in self._heard

    def resolve(self, model: ObjectModel) -> None:
        """Fill the records of all frames sent from what was heard."""
        for record in self.frames.values():
            poses = self._heard.get(('poses', record.stamp_ns))
            if poses is not None:
                record.poses = [KeypointPose(**fields) for fields in poses['instances']]
                record.poses_received_ns = poses['received_ns']
            orientations = self._heard.get(('orientations', record.stamp_ns))
            if orientations is not None:
                record.orientations = [_estimate(fields, model) for fields in orientations['instances']]
                record.orientations_received_ns = orientations['received_ns']


def _estimate(fields: Mapping[str, Any], model: ObjectModel) -> OrientationEstimate:
    values = dict(fields)
    return OrientationEstimate(
        pose=Rigid(matrix_from_quaternion(np.array(values.pop('quaternion'))), np.array(values.pop('t_camera_object'))),
        covariance=np.reshape(values.pop('covariance'), (6, 6)),
        model=model,
        **values,
    )


@dataclass
class FrameErrors:
    """
    Errors of the best instance of one frame.

    keypoints_px : distance of each keypoint found. rotation_deg, translation_m : None when no orientation was measured.
    ambiguity : of the orientation, see OrientationEstimate.
    """

    keypoints_px: np.ndarray
    rotation_deg: float | None = None
    translation_m: float | None = None
    ambiguity: float = 0.0


def frame_errors(record: FrameRecord, truth: GroundTruth, frame: int) -> FrameErrors | None:
    """Compare the best instance of a frame with the ground truth; None when nothing was found in it."""
    if not record.poses:
        return None
    best = record.poses[0]
    distances = np.linalg.norm(best.keypoints - truth.keypoints[frame], axis=1)
    errors = FrameErrors(distances[best.visible & np.isfinite(distances)])
    for estimate in record.orientations or []:
        if estimate.track_id == best.track_id and not estimate.coasting:
            errors.rotation_deg = float(np.rad2deg(rotation_between(estimate.R_camera_object, truth.R[frame])))
            errors.translation_m = float(np.linalg.norm(estimate.t_camera_object - truth.t[frame]))
            errors.ambiguity = estimate.ambiguity
    return errors


def summarise(recording: Recording, truth: GroundTruth) -> dict[str, Any]:
    """
    Return the figures of a run, as written to summary.json.

    Frames dropped are those that pose_node skipped because a newer one had come; the rest of the frames sent and not
    processed was lost on the way. Errors are those of the best instance of each frame. Latency runs from the stamp of
    an image to the reception of its orientations in another process. A figure without any value is None.
    """
    records = recording.frames
    processed = [record for record in records.values() if record.poses is not None]
    errors = [e for e in (frame_errors(record, truth, frame) for frame, record in records.items()) if e]
    keypoints_px = np.concatenate([e.keypoints_px for e in errors]) if errors else np.empty(0)
    rotations = [e.rotation_deg for e in errors if e.rotation_deg is not None]
    translations = [e.translation_m for e in errors if e.translation_m is not None]
    received = [r for r in records.values() if r.orientations is not None]
    latencies = [(r.orientations_received_ns - r.stamp_ns) / 1e6 for r in received]
    times = sorted(r.poses_received_ns for r in processed)
    span_s = (times[-1] - times[0]) / 1e9 if times else 0.0
    return {
        'frames_sent': len(records),
        'frames_processed': len(processed),
        'frames_dropped': (recording.dropped or 0) - (recording.dropped_before or 0),
        'detection_rate': round(len(errors) / len(records), 4) if records else None,
        'orientation_rate': round(len(rotations) / len(records), 4) if records else None,
        'keypoint_error_px': {'mean': _mean(keypoints_px), 'p95': _percentile(keypoints_px, 95)},
        'rotation_error_deg': {'median': _percentile(rotations, 50), 'p90': _percentile(rotations, 90)},
        'translation_error_m': {'median': _percentile(translations, 50)},
        'latency_ms': {'p50': _percentile(latencies, 50), 'p95': _percentile(latencies, 95)},
        'fps': round((len(processed) - 1) / span_s, 2) if span_s else None,
    }


def _mean(values: np.ndarray) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _percentile(values: Iterable[float], percent: float) -> float | None:
    array = np.array(list(values))
    return round(float(np.percentile(array, percent)), 4) if len(array) else None


def format_summary(summary: Mapping[str, Any]) -> str:
    """Return the figures as the lines of a small table; a figure that is not known is '-'."""
    keypoints, rotation, latency = summary['keypoint_error_px'], summary['rotation_error_deg'], summary['latency_ms']
    lost = summary['frames_sent'] - summary['frames_processed'] - summary['frames_dropped']
    rows = [
        ('frames sent', f'{summary["frames_sent"]}, processed {summary["frames_processed"]}'),
        ('frames dropped for a newer one', f'{summary["frames_dropped"]}, lost on the way {lost}'),
        ('object found', f'{_text(summary["detection_rate"], 100, 1)} % of the frames'),
        ('orientation solved', f'{_text(summary["orientation_rate"], 100, 1)} % of the frames'),
        ('keypoint error', f'mean {_text(keypoints["mean"])} px, p95 {_text(keypoints["p95"])} px'),
        ('rotation error', f'median {_text(rotation["median"])} deg, p90 {_text(rotation["p90"])} deg'),
        ('position error', f'median {_text(summary["translation_error_m"]["median"], 1000, 1)} mm'),
        ('latency image to orientation', f'p50 {_text(latency["p50"], 1, 1)} ms, p95 {_text(latency["p95"], 1, 1)} ms'),
        ('rate', f'{_text(summary["fps"], 1, 1)} frames/s'),
    ]
    width = max(len(title) for title, _ in rows)
    return '\n'.join(f'  {title:<{width}}  {value}' for title, value in rows)


def _text(value: float | None, factor: float = 1.0, digits: int = 2) -> str:
    return '-' if value is None else f'{value * factor:.{digits}f}'
