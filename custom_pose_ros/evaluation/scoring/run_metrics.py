"""Everything that metrics.json says about one evaluation: what was read and how, and the summary of its frames."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata as packages
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.files import sha256_of
from custom_pose_ros.core.measuring.lens_check import LensCheck
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluation_settings import Settings
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.frame_sources import CameraSupply, FrameSource
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.evaluation.scoring.summary import SCHEMA, rounded, summarise, summarise_labels
from custom_pose_ros.evaluation.truth.alignment import Alignment
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels
from custom_pose_ros.inference.estimator import Estimator

_PACKAGES = ('custom_pose_ros', 'opencv-python-headless', 'onnxruntime', 'rosbags')


def run_metrics(
    settings: Settings,
    bag: Bag,
    source: FrameSource,
    estimator: Estimator | None,
    labels: CocoLabels | None,
    scores: Sequence[FrameScore],
    alignment: Alignment | None,
    outline: dict[str, Any] | None = None,
    calibration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of metrics.json; labelled frames that were not read are noted."""
    selection, model, notes = source.selection, source.model, source.notes
    label_metrics = {} if labels is None else {'labels': _label_metrics(labels, source, scores)}
    dropped_live = None  # images that have no recorded result
    if settings.recorded and selection.image is not None:
        recorded = sum(score.result.latency_ms is not None for score in scores)
        dropped_live = max(bag.topics[selection.image].count - recorded, 0)
    return rounded({
        'schema': SCHEMA,
        'object': model.name,
        'bag': {
            'name': bag.name,
            'image': selection.image,
            'poses': selection.poses,
            'orientations': selection.orientations,
            'truth': _truth_name(settings, source, labels),
            'duration_s': (scores[-1].result.time_ns - scores[0].result.time_ns) * 1e-9,
        },
        'frames': {
            'scored': len(scores),
            'unreadable': source.unreadable,
            'with_truth': sum(s.truth is not None for s in scores),
            'image_sizes': {f'{w}x{h}': n for (w, h), n in source.image_sizes.items()},
            'missing_results': dropped_live,
        },
        'configuration': {
            **_configuration(source, estimator),
            'extrinsics': None if alignment is None else settings.truth.extrinsics,
        },
        **summarise(scores, model, alignment is not None),
        **label_metrics,
        **({} if alignment is None else {'alignment': alignment.to_dict()}),
        **({} if outline is None else {'outline': outline}),
        **({} if calibration is None else {'calibration': calibration}),
        'versions': _versions(),
        'notes': {
            'damage': bag.notes.lines(True) + notes.lines(True),
            'information': bag.notes.lines(False) + notes.lines(False),
        },
    })


def _truth_name(settings: Settings, source: FrameSource, labels: CocoLabels | None) -> str | None:
    truth = settings.truth
    if truth.kind == 'topic':
        return source.selection.truth[0]
    if truth.kind == 'tf':
        return 'tf: ' + ' '.join(truth.tf)
    if truth.kind == 'tags':
        return 'AprilTags on the object'
    return 'labels' if labels else None


def _configuration(source: FrameSource, estimator: Estimator | None) -> dict[str, Any]:
    if estimator is None:
        return {'mode': 'recorded', 'camera': source.cameras.description}
    file = estimator.network.path
    return {
        'mode': 'offline',
        'camera': source.cameras.description,
        'backend': estimator.backend.name,
        'precision': estimator.backend.precision,
        'model_sha256': None if file is None else sha256_of(file),
        'input_height': estimator.input_height,
        'thresholds': asdict(estimator.thresholds),
    }


def _label_metrics(labels: CocoLabels, source: FrameSource, scores: Sequence[FrameScore]) -> dict[str, Any]:
    label_scores, surplus, frames = [], 0, 0
    for index, score in enumerate(scores):
        labelled = labels.of(index, score.result.stamp_ns, score.result.width, score.result.height)
        if labelled is not None:
            of_frame, left_over = labels.score(score.result, labelled)
            label_scores, surplus, frames = label_scores + of_frame, surplus + left_over, frames + 1
    if labels.note:
        source.notes.info(labels.note)
    if labels.misfits:
        text = f'{len(labels.misfits)} labelled images do not fit their frames and are not scored: {labels.misfits[0]}'
        source.notes.info(text + ', ...' * (len(labels.misfits) > 1))
    if missing := labels.frames - frames - len(labels.misfits):
        source.notes.info(f'{missing} labelled frames are not in the part of the bag that was read')
    return summarise_labels(label_scores, surplus, frames, source.model)


def _versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    found = {'python': platform.python_version(), 'opencv': cv2.__version__, 'numpy': np.__version__}
    for name in _PACKAGES:
        with contextlib.suppress(packages.PackageNotFoundError):
            found[name] = packages.version(name)
    return dict(sorted(found.items()))


def calibration_metrics(
    results: Sequence[FrameResult], model: ObjectModel, cameras: CameraSupply
) -> dict[str, Any] | None:
    """
    Return what metrics.json says of the calibration, and note it; None where too little is seen of the object.

    Args:
        results: of all frames, in order; images of the size that most of them have are used.
        model: the object.
        cameras: the calibration.
    """
    if model.model_points is None:
        return None
    checks: dict[tuple[int, int], LensCheck] = {}
    for result in results:
        size = result.width, result.height
        if not all(size) or not result.estimates or (camera := cameras.for_size(*size)) is None:
            continue
        check = checks.setdefault(size, LensCheck(model, camera))
        for number, pose in enumerate(result.poses()):
            if (estimate := result.estimate_of(number)) is not None:
                check.add(result.stamp_ns * 1e-9, pose, estimate)
    longest = max(checks.values(), key=lambda check: check.duration_s, default=None)
    verdict = None if longest is None else longest.verdict()
    if verdict is None:
        return None
    cameras.notes.info(f'{cameras.description}: {verdict.text}')
    focal, low, high = verdict.focal_px or (None, None, None)
    change, change_low, change_high = verdict.k1_change or (None, None, None)
    return {
        'given_focal_px': verdict.given_px,
        'focal_px': focal,
        'focal_low_px': low,
        'focal_high_px': high,
        'k1_change': change,
        'k1_change_low': change_low,
        'k1_change_high': change_high,
        'fits': verdict.fits,
    }
