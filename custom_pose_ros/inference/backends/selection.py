"""Of several ways to run a network the fastest on this machine: measured once and remembered."""

from __future__ import annotations

import importlib.metadata
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from custom_pose_ros.inference.backends import hardware
from custom_pose_ros.inference.backends.measuring import Measurement, measure_candidates
from custom_pose_ros.inference.backends.model_files import file_hash
from custom_pose_ros.inference.backends.registry import Candidate
from custom_pose_ros.inference.backends.user_cache import read_record, write_record

_WORTH_IT = 0.9  # of the time of the one preferred: the rest is noise
_DISTRIBUTIONS = ('onnxruntime', 'onnxruntime-gpu', 'openvino', 'torch', 'tensorrt', 'torch2trt')

_log = logging.getLogger(__name__)


def fastest(candidates: Sequence[Candidate], threads: int, input_shape: tuple[int, int, int]) -> tuple[Candidate, str]:
    """Return the fastest candidate and the figures it was chosen by, remembered or measured now."""
    key = _key(candidates, threads, input_shape)
    measurement = _remembered(read_record(key), candidates)
    if measurement is None:
        try:
            measurement = measure_candidates(candidates, threads, input_shape)
        except OSError as error:  # no memory or no permission for another process
            measurement = Measurement({}, {}, {str(candidate): str(error) for candidate in candidates})
        if measurement.seconds and not measurement.crashed:
            write_record(key, {'seconds': measurement.seconds, 'refused': measurement.refused})
    left_out = {**measurement.refused, **measurement.crashed}
    measured = [candidate for candidate in candidates if str(candidate) in measurement.seconds]
    if not measured:  # nothing is warned about: what is wrong with the file is said once, where it is loaded
        reason = left_out.get(str(candidates[0]), 'no answer')
        return candidates[0], f'the first, since none could be measured ({reason})'
    for label, reason in left_out.items():
        _log.warning('%s is left out: %s', label, reason)
    best = measured[0]
    for candidate in measured[1:]:
        if measurement.seconds[str(candidate)] < _WORTH_IT * measurement.seconds[str(best)]:
            best = candidate
    figures = ', '.join(f'{label} {1e3 * s:.1f} ms' for label, s in measurement.seconds.items())
    return best, f'measured: {figures}'


def _key(candidates: Sequence[Candidate], threads: int, input_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Return everything that the measurement depends on."""
    hashes = {path: file_hash(path) for path in {candidate.path for candidate in candidates}}
    return {
        'candidates': [[str(candidate), hashes[candidate.path]] for candidate in candidates],
        'input_shape': list(input_shape),
        'threads': threads,
        'hardware': hardware.description(),
        'libraries': _versions(),
    }


def _versions() -> dict[str, str]:
    """Return the versions of what is installed for the backends."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _remembered(value: Any, candidates: Sequence[Candidate]) -> Measurement | None:
    """Return a measurement as it was written; None for anything else."""
    if not isinstance(value, Mapping) or set(value) != {'seconds', 'refused'}:
        return None
    seconds, refused = value['seconds'], value['refused']
    if not isinstance(seconds, dict) or not isinstance(refused, dict) or not seconds:
        return None
    good = all(isinstance(s, float) and math.isfinite(s) and s > 0 for s in seconds.values())
    complete = {*seconds, *refused} == {str(candidate) for candidate in candidates}
    return Measurement(seconds, refused) if good and complete else None
