"""Frame scores -> the numbers of metrics.json (see metrics.schema.json); the same input gives the same bytes."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.evaluation.truth.coco_labels import LabelScore
from custom_pose_ros.evaluation.truth.tracks import interpolate

SCHEMA = 'custom_pose_ros/metrics/1'
LARGE_ERROR_DEG = 20.0  # an attitude that is worse than this misleads whoever steers by it
CHI2_99 = {'rotation': 11.345, 'position': 11.345, 'pose': 16.812}  # quantiles of 3, 3 and 6 degrees of freedom
_MAX_STEPS = 5.0  # more time between two frames than so many usual steps: frames are missing there
JITTER_GAP_S = 0.2  # three frames in a row, none farther apart than this
_DISTANCE_BINS_M = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, math.inf)
_ANGLE_BINS_DEG = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)
_DIGITS = 6


def summarise(scores: Sequence[FrameScore], model: ObjectModel, has_truth: bool) -> dict[str, Any]:
    """Return what is said about the frames: detection, orientation, errors, consistency, smoothness, latency."""
    estimates = [s.estimate for s in scores if s.estimate is not None]
    result: dict[str, Any] = {
        'detection': _detection(scores, has_truth),
        'orientation': _orientation(scores),
        'reprojection_error_px': distribution(e.reprojection_error_px for e in estimates),
        'ambiguity': {
            **distribution(e.ambiguity for e in estimates),
            'share_ambiguous': share(e.ambiguity > AMBIGUOUS for e in estimates if not math.isnan(e.ambiguity)),
        },
        'tracks': _tracks(scores),
        'jitter': _jitter(scores),
        'latency_ms': distribution(s.result.latency_ms for s in scores if s.result.latency_ms is not None),
    }
    if has_truth:
        result |= _errors(scores, model)
    return result


def outline_metrics(
    scores: Sequence[FrameScore], without: Sequence[FrameScore], mesh: str, has_truth: bool
) -> dict[str, Any]:
    """Return how the outline of a mesh was used, and the errors of the same frames `without` it."""
    agreements = [s.estimate.outline_agreement for s in scores if s.estimate is not None]
    remarks = Counter(s.estimate.outline_remark for s in scores if s.estimate is not None and s.estimate.outline_remark)
    alone = {'jitter': {name: part for name, part in _jitter(without).items() if name != 'keypoint_px'}}
    if has_truth:
        alone['rotation_error_deg'] = distribution(s.rotation_error_deg for s in without)
        alone['translation_error_m'] = distribution(s.translation_error_m for s in without)
    return {
        'mesh': mesh,
        'share_of_frames': share(math.isfinite(agreement) for agreement in agreements),
        'agreement': distribution(agreements),
        'remarks': dict(remarks.most_common()),
        'without': alone,
    }


def _errors(scores: Sequence[FrameScore], model: ObjectModel) -> dict[str, Any]:
    rotation = [s.rotation_error_deg for s in scores]
    angles = np.array([_angle_errors_deg(s, model) for s in scores if s.estimate is not None and s.truth is not None])
    per_keypoint = [s.keypoint_errors_px for s in scores if s.keypoint_errors_px is not None]
    return {
        'rotation_error_deg': {
            **distribution(rotation),
            'share_above_20deg': share(r > LARGE_ERROR_DEG for r in rotation if not math.isnan(r)),
        },
        'translation_error_m': distribution(s.translation_error_m for s in scores),
        'distance_error_share': distribution(
            abs(float(np.linalg.norm(s.estimate.t_camera_object) / np.linalg.norm(s.truth.translation)) - 1.0)
            for s in scores
            if s.estimate is not None and s.truth is not None and s.truth.translation.any()
        ),
        **{
            f'{name}_error_deg': distribution(np.abs(angles[:, i]) if len(angles) else ())
            for i, name in enumerate(('roll', 'pitch', 'yaw'))
        },
        'keypoint_error_px': {
            **distribution(s.keypoint_error_px for s in scores),
            'per_keypoint': _by_keypoint(per_keypoint, model),
        },
        'coasting_rotation_error_deg': distribution(s.coasting_error_deg for s in scores),
        'consistency': _consistency(scores),
        'rotation_error_deg_by_distance_m': _binned(scores, 'distance_m', _DISTANCE_BINS_M),
        'rotation_error_deg_by_view_angle_deg': _binned(scores, 'view_angle_deg', _ANGLE_BINS_DEG),
    }


def distribution(values: Iterable[float | None]) -> dict[str, Any]:
    """Return count, mean, median, p90, p95 and max of the finite values; None where there are none."""
    array = np.array([v for v in values if v is not None], float)
    array = array[np.isfinite(array)]
    names = ('mean', 'median', 'p90', 'p95', 'max')
    if not len(array):
        return {'count': 0, **dict.fromkeys(names)}
    median, p90, p95 = np.percentile(array, (50, 90, 95)).tolist()
    return {'count': len(array), **dict(zip(names, (float(array.mean()), median, p90, p95, float(array.max()))))}


def share(flags: Iterable[bool]) -> float | None:
    """Return the share of true ones; None when there are none at all."""
    array = np.array(list(flags), bool)
    return float(array.mean()) if len(array) else None


def _detection(scores: Sequence[FrameScore], has_truth: bool) -> dict[str, Any]:
    """With truth over the frames in which the object ought to be found, without it over all."""
    expected = [s for s in scores if s.expected] if has_truth else list(scores)
    gaps = [*_gaps(expected), *_holes(scores)]
    return {
        'expected': len(expected),
        'found': sum(s.found for s in expected),
        'rate': share(s.found for s in expected),
        'surplus_instances': sum(s.instances - s.found for s in scores if s.truth is not None) if has_truth else None,
        'instances_per_frame': float(np.mean([s.instances for s in scores])) if scores else None,
        'score': distribution(s.score for s in scores),
        'gaps': {
            'count': len(gaps),
            'frames': distribution(frames for frames, _ in gaps if frames),
            'longest_s': max((seconds for _, seconds in gaps), default=0.0),
        },
    }


def _gaps(expected: Sequence[FrameScore]) -> Iterable[tuple[int, float]]:
    """Yield frames and duration [s] of every run without the object, from the last frame with it to the next."""
    for found, run in itertools.groupby(range(len(expected)), key=lambda i: expected[i].found):
        if not found:
            missing = list(run)
            before, after = expected[max(missing[0] - 1, 0)], expected[min(missing[-1] + 1, len(expected) - 1)]
            yield len(missing), (after.result.stamp_ns - before.result.stamp_ns) * 1e-9


def _holes(scores: Sequence[FrameScore]) -> Iterable[tuple[int, float]]:
    """Yield no frames and the duration [s] where frames are missing between two with the object, as in a recording."""
    times = np.array([score.result.stamp_ns for score in scores], np.int64) * 1e-9
    for i in holes(times):
        if scores[i].found and scores[i + 1].found:
            yield 0, float(times[i + 1] - times[i])


def holes(times_s: np.ndarray) -> np.ndarray:
    """Return the indices of the frames after which frames are missing; times_s: (N,) [s] of the frames there are."""
    steps = np.diff(times_s)
    usual_s = np.median(steps[steps > 0]) if (steps > 0).any() else np.inf
    return np.flatnonzero(steps > _MAX_STEPS * usual_s)


def _orientation(scores: Sequence[FrameScore]) -> dict[str, Any]:
    found = [s for s in scores if s.found]
    return {
        'measured': sum(s.estimate is not None for s in scores),
        'rate': share(s.estimate is not None for s in found),
        'coasting': sum(any(e.coasting for e in s.result.estimates) for s in scores),
        'outlier_suspected': sum(s.estimate is not None and s.estimate.outlier_suspected for s in scores),
        'refusals': dict(Counter(reason for s in scores for reason in s.result.refusals).most_common()),
    }


def _tracks(scores: Sequence[FrameScore]) -> dict[str, Any]:
    """Ids of the followed instance; a switch is another id than in the frame in which it was last seen."""
    ids = [s.track_id for s in scores if s.track_id >= 0]
    return {
        'count': len({int(i) for s in scores for i in s.result.track_ids if i >= 0} | set(ids)),
        'switches': sum(a != b for a, b in zip(ids, ids[1:])),
    }


def _jitter(scores: Sequence[FrameScore]) -> dict[str, Any]:
    """
    Noise from frame to frame without truth: how far the middle of three frames lies off the mean of its neighbours.

    Divided by sqrt(1.5), so that white noise of standard deviation s gives a root mean square of s per axis.
    """
    pixels, turns, moves = [], [], []
    for before, now, after in zip(scores, scores[1:], scores[2:]):
        stamps = [s.result.stamp_ns for s in (before, now, after)]
        near = all(0 < b - a < JITTER_GAP_S * 1e9 for a, b in zip(stamps, stamps[1:]))
        if not near or not (before.track_id == now.track_id == after.track_id and now.found):
            continue
        if min(before.instance, now.instance, after.instance) >= 0:
            a, b, c = (s.result.keypoints[s.instance, :, :2] for s in (before, now, after))
            step = np.linalg.norm(b - (a + c) / 2.0, axis=1)
            pixels += step[np.isfinite(step)].tolist()
        if before.estimate and now.estimate and after.estimate:
            step = interpolate(before.estimate.pose, after.estimate.pose, 0.5).step_to(now.estimate.pose)
            moves.append(np.linalg.norm(step[:3]))
            turns.append(np.rad2deg(np.linalg.norm(step[3:])))
    scale = 1.0 / math.sqrt(1.5)
    return {
        'keypoint_px': distribution(scale * np.array(pixels)),
        'rotation_deg': distribution(scale * np.array(turns)),
        'position_m': distribution(scale * np.array(moves)),
    }


def _angle_errors_deg(score: FrameScore, model: ObjectModel) -> np.ndarray:
    """Return the (3,) differences of roll, pitch, yaw [deg] in (-180, 180], estimate minus truth."""
    estimate, truth = score.estimate, score.truth
    assert estimate is not None and truth is not None and score.rotation_error_rad is not None
    R_true = matrix_from_rotation_vector(score.rotation_error_rad) @ estimate.R_camera_object
    difference = model.roll_pitch_yaw(estimate.R_camera_object) - model.roll_pitch_yaw(R_true)
    return np.rad2deg((difference + np.pi) % (2.0 * np.pi) - np.pi)


def _consistency(scores: Sequence[FrameScore]) -> dict[str, Any]:
    """Say whether covariances are honest: mean squared error in their units (3 is right), truths inside 99 %."""
    clear = [s for s in scores if s.estimate is not None and s.estimate.ambiguity <= AMBIGUOUS]
    return {
        'nees_rotation': distribution(s.nees_rotation for s in scores),
        'nees_rotation_unambiguous': distribution(s.nees_rotation for s in clear),
        'nees_position': distribution(s.nees_position for s in scores),
        'share_inside_99': {
            name: share(v <= limit for v in (getattr(s, f'nees_{name}') for s in scores) if not math.isnan(v))
            for name, limit in CHI2_99.items()
        },
    }


def _binned(scores: Sequence[FrameScore], column: str, edges: Sequence[float]) -> list[dict[str, Any]]:
    values = np.array([getattr(s, column) for s in scores], float)
    errors = np.array([s.rotation_error_deg for s in scores], float)
    bins = []
    for low, high in zip(edges, edges[1:]):
        chosen = errors[(values >= low) & ((values < high) | (high == edges[-1]) & (values <= high))]
        if np.isfinite(chosen).any():
            bins.append({'from': low, 'to': None if math.isinf(high) else high, **distribution(chosen)})
    return bins


def summarise_labels(scores: Sequence[LabelScore], surplus: int, frames: int, model: ObjectModel) -> dict[str, Any]:
    """Return the comparison with hand-made labels."""
    found = [s for s in scores if s.found]
    means = [float(np.nanmean(s.errors_px)) for s in found if np.isfinite(s.errors_px).any()]
    sizes = [s.size_px for s in found if np.isfinite(s.errors_px).any()]
    return {
        'frames': frames,
        'instances': len(scores),
        'found': len(found),
        'recall': len(found) / len(scores) if scores else None,
        'surplus_instances': surplus,
        'keypoint_error_px': {**distribution(means), 'per_keypoint': _by_keypoint([s.errors_px for s in found], model)},
        'keypoint_error_share': distribution(m / s for m, s in zip(means, sizes)),
    }


def _by_keypoint(errors_px: Sequence[np.ndarray], model: ObjectModel) -> dict[str, dict[str, Any]]:
    """Return the distribution of the errors of each keypoint, of several (K,)."""
    columns = np.reshape(errors_px, (-1, model.keypoint_count)).T
    return {name: distribution(column) for name, column in zip(model.keypoint_names, columns)}


def rounded(value: Any) -> Any:
    """Return numbers with six significant digits, NaN and infinity as None, arrays as lists; the rest as it is."""
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f'{value:.{_DIGITS}g}') if math.isfinite(value) else None
    return value


def to_json(metrics: Mapping[str, Any]) -> str:
    """Return the text of metrics.json: fixed order, fixed rounding, nothing of the run itself (no time, no path)."""
    return json.dumps(rounded(metrics), indent=2, ensure_ascii=False, allow_nan=False) + '\n'
