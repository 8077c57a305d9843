"""Two runs on the same bag, frame by frame: differences with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_json
from custom_pose_ros.evaluation.scoring.frame_table import read_table

SCHEMA = 'custom_pose_ros/comparison/1'
RESAMPLES = 1000
CONFIDENCE = 0.95
BLOCK_S = 1.0  # neighbouring frames err alike: whole seconds are resampled, not frames (Kuensch 1989)
_SEED = 0
_ERRORS = ('rotation_error_deg', 'translation_error_m', 'keypoint_error_px', 'reprojection_error_px')
_STATISTICS = ('mean', 'median', 'p90')
_MIN_FRAMES = 20  # fewer common frames say nothing


@dataclass(eq=False)
class FinishedRun:
    """One finished evaluation: its name, metrics.json and the columns of frames.csv."""

    name: str
    metrics: Mapping[str, Any]
    frames: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, folder: str | Path) -> FinishedRun:
        """Read the folder that evaluate_bag wrote; DatasetError naming the file otherwise."""
        file = Path(folder) / 'metrics.json'
        metrics = read_json(file, 'wanted a folder that evaluate_bag wrote')
        if not has_schema(metrics, 'metrics'):
            raise DatasetError(f'{file}: is not a metrics.json of evaluate_bag')
        return cls(Path(folder).name, metrics, read_table(Path(folder) / 'frames.csv'))


@dataclass(frozen=True, eq=False)
class Pairing:
    """The frames that both runs have: a, b index the rows of each. blocks : (frames,) int, number of the time block."""

    a: np.ndarray
    b: np.ndarray
    blocks: np.ndarray


def has_schema(content: Any, kind: str) -> bool:
    """Return whether the content of a JSON file is one of evaluate_bag, 'metrics' or 'comparison', of any version."""
    return isinstance(content, Mapping) and str(content.get('schema', '')).startswith(f'custom_pose_ros/{kind}/')


def pair(a: FinishedRun, b: FinishedRun) -> Pairing:
    """Match frames by stamp; DatasetError when too few are common."""
    stamps, index_a, index_b = np.intersect1d(a.frames['stamp_ns'], b.frames['stamp_ns'], return_indices=True)
    if len(stamps) < _MIN_FRAMES:
        raise DatasetError(
            f'{a.name} and {b.name} have {len(stamps)} frames in common, wanted at least {_MIN_FRAMES}: '
            'compare runs on the same bag'
        )
    return Pairing(index_a, index_b, ((stamps - stamps[0]) / (BLOCK_S * 1e9)).astype(int))


def compare(a: FinishedRun, b: FinishedRun) -> dict[str, Any]:
    """
    Return both summaries and `difference` (b minus a) of each statistic with its 95 % bootstrap interval.

    Paired: errors are compared over the frames in which both runs have a value, and resampled together by blocks.
    `better` is 'a', 'b', or None when zero lies inside the interval.
    """
    pairing = pair(a, b)
    result: dict[str, Any] = {
        'schema': SCHEMA,
        'a': a.name,
        'b': b.name,
        'frames': {'a': len(a.frames['stamp_ns']), 'b': len(b.frames['stamp_ns']), 'common': len(pairing.a)},
        'difference': {},
    }
    rng = np.random.default_rng(_SEED)
    samples = _resampled_blocks(pairing.blocks, rng)
    difference = result['difference']
    rate = _rate_difference(a, b, pairing, samples)
    if rate is not None:
        difference['detection_rate'] = rate
    for column in _ERRORS:
        values_a, values_b = a.frames[column][pairing.a], b.frames[column][pairing.b]
        both = np.isfinite(values_a) & np.isfinite(values_b)
        if both.sum() < _MIN_FRAMES:
            continue
        difference[column] = {
            'frames': int(both.sum()),
            **_intervals(values_a, values_b, both, samples, larger_is_better=False),
            'share_of_frames_b_better': float(np.mean(values_b[both] < values_a[both])),
        }
    return result


def number_names() -> list[str]:
    """Return the names of all numbers a comparison can hold, keys joined by dots."""
    groups = ['detection_rate.mean', *(f'{error}.{statistic}' for error in _ERRORS for statistic in _STATISTICS)]
    names = [f'difference.{group}.{part}' for group in groups for part in ('value', 'low', 'high', 'a', 'b')]
    names += [f'difference.{error}.{part}' for error in _ERRORS for part in ('frames', 'share_of_frames_b_better')]
    return [*names, 'difference.detection_rate.frames', *(f'frames.{part}' for part in ('a', 'b', 'common'))]


def _statistics(values: np.ndarray) -> np.ndarray:
    """Return mean, median and 90 % quantile of (N,) values."""
    return np.array([values.mean(), *np.percentile(values, (50, 90))])


def _rate_difference(
    a: FinishedRun, b: FinishedRun, pairing: Pairing, samples: list[np.ndarray]
) -> dict[str, Any] | None:
    expected_a = a.frames['expected'][pairing.a]
    expected = ~(expected_a == 0.0)  # without truth (NaN) every frame counts
    found_a, found_b = a.frames['found'][pairing.a], b.frames['found'][pairing.b]
    if expected.sum() < _MIN_FRAMES:
        return None
    intervals = _intervals(found_a, found_b, expected, samples, larger_is_better=True)
    return {'frames': int(expected.sum()), 'mean': intervals['mean']}


def _resampled_blocks(blocks: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return RESAMPLES arrays of frame indices, each of as many whole blocks as there are, with replacement."""
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    return [np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))]) for _ in range(RESAMPLES)]


def _intervals(
    values_a: np.ndarray, values_b: np.ndarray, usable: np.ndarray, samples: list[np.ndarray], larger_is_better: bool
) -> dict[str, dict[str, Any]]:
    """Return for each statistic both values, their difference b - a, its interval, and who is better."""
    chosen = (sample[usable[sample]] for sample in samples)
    differences = np.array([_statistics(values_b[c]) - _statistics(values_a[c]) for c in chosen if len(c)])
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(differences, (tail, 100.0 - tail), axis=0)
    statistics_a, statistics_b = _statistics(values_a[usable]), _statistics(values_b[usable])
    result = {}
    for i, name in enumerate(_STATISTICS):
        value_a, value_b = float(statistics_a[i]), float(statistics_b[i])
        better = None
        if low[i] > 0 or high[i] < 0:
            better = 'b' if (low[i] > 0) == larger_is_better else 'a'
        limits = {'low': float(low[i]), 'high': float(high[i])}
        result[name] = {'a': value_a, 'b': value_b, 'value': value_b - value_a, **limits, 'better': better}
    return result
