"""Quantisation of an exported network to int8 by NNCF, accepted only when it finds the same keypoints as before."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError
from custom_pose_ros.core.files import replacing, sha256_of
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import prepare
from custom_pose_ros.inference.backends import LoadedNetwork, default_threads
from custom_pose_ros.inference.backends.choice import KINDS, Candidate
from custom_pose_ros.inference.backends.contract import object_inside
from custom_pose_ros.inference.backends.model_files import INT8, ONNX, file_beside
from custom_pose_ros.inference.estimator import PoseEstimator
from training.pose_training.judging.accuracy import measure
from training.pose_training.judging.drift import Drift, DriftLimits, measure_drift
from training.pose_training.labels.coco import LabelledImage

# How many of the first and of the last layers stay in f32, tried in this order: the last, next to the maps, cost little
# and decide about fractions of a pixel; the first see the widest range of values and cost the most.
_KEPT_LAYERS = ((0, 9), (6, 9), (10, 14))
_HOLD_OUT = 4  # one image in so many is held out from the calibration, to measure on
FEWEST_IMAGES = 20


@dataclass(frozen=True)
class Quantized:
    """
    What was written, and what was measured.

    Attributes:
        path: The file.
        size_bytes: Of the file.
        calibrated_on: Number of images.
        measured_on: Number of images.
        kept: How many of the first and of the last layers are still in f32.
        drifts: Of the bare network of each backend and precision against f32, on the images that were held out.
        in_use: The same as the robot runs it, with close images given to f32 as well, and how many of them there were.
        errors_px: Mean distance from the labels by backend and precision, f32 first; empty without labels.
    """

    path: Path
    size_bytes: int
    calibrated_on: int
    measured_on: int
    kept: tuple[int, int]
    drifts: dict[str, Drift]
    in_use: dict[str, tuple[Drift, int]]
    errors_px: dict[str, float]


def quantize(
    source: Path,
    images: Sequence[np.ndarray],
    path: Path | None = None,
    limits: DriftLimits | None = None,
    input_height: int | None = None,
    labels: Sequence[LabelledImage] = (),
) -> Quantized:
    """
    Write a model with int8 weights and features beside an exported one.

    As few layers as possible stay in f32.

    Args:
        source: .onnx file of training/export_onnx.py, or a folder with model.onnx.
        images: (H, W, 3) uint8 BGR, as the camera sees the object; three of four calibrate, the others measure.
        path: File to write; default: the source with the ending _int8.onnx.
        limits: Drift that is accepted of the network in use, for each backend that is installed.
        input_height: Height of the network input [px]; default: the object's.
        labels: Labelled images, to measure the distance from the labels before and after.

    Raises:
        ConfigError: The name of the file is wrong, or NNCF is missing.
        DatasetError: The images are too few, or show no object.
        ModelError: The drift passes the limits whatever stays in f32; nothing is written then.
    """
    source = file_beside(source, ONNX)
    path = file_beside(source, INT8) if path is None else path
    limits = DriftLimits() if limits is None else limits
    if not path.name.endswith(INT8):
        raise ConfigError(f'{path}: wanted a name that ends in {INT8}, by which the backends know it')
    if len(images) < FEWEST_IMAGES:
        raise DatasetError(
            f'{len(images)} images are too few to calibrate and to measure on; give {FEWEST_IMAGES} or more'
        )
    held_out = images[_HOLD_OUT - 1 :: _HOLD_OUT]
    calibration = [image for i, image in enumerate(images) if i % _HOLD_OUT != _HOLD_OUT - 1]
    reference = _estimator(Candidate('onnxruntime', 'f32', source), input_height)
    before = [reference(image) for image in held_out]
    if not any(before):
        raise DatasetError(
            f'{source}: finds no {reference.model.name} in any of the {len(held_out)} images that are held out: '
            'nothing can be compared; give images that show it'
        )
    inputs = [prepare(image, reference.input_height)[0] for image in calibration]
    complaint = ''
    for kept in _KEPT_LAYERS:
        graph = _quantized_graph(source, inputs, *kept)
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder, f'trial{INT8}')
            onnx.save(graph, str(trial))
            estimators = {str(way): _estimator(way, input_height) for way in _comparable(source, trial)}
            drifts = {name: measure_drift(held_out, before, estimator) for name, estimator in estimators.items()}
            in_use = {name: _measure_in_use(held_out, before, bare, reference) for name, bare in estimators.items()}
            complaint = _complaint({name: drift for name, (drift, _) in in_use.items()}, limits)
            errors = {} if complaint else _label_errors_px({'f32': reference, **estimators}, labels)
        if not complaint:
            with replacing(path) as temporary:
                onnx.save(graph, str(temporary))
            return Quantized(path, path.stat().st_size, len(calibration), len(held_out), kept, drifts, in_use, errors)
    raise ModelError(
        f'{path}: not written: {complaint}; keep f32, calibrate on more varied images, or raise the limits'
    )


def _complaint(drifts: Mapping[str, Drift], limits: DriftLimits) -> str:
    """Say with which backend the quantised network passes which limits; '' when with none."""
    complaints = {name: limits.complaint(drift) for name, drift in drifts.items() if name.endswith('int8')}
    return next((f'with {name} {complaint}' for name, complaint in complaints.items() if complaint), '')


def _label_errors_px(estimators: Mapping[str, PoseEstimator], labels: Sequence[LabelledImage]) -> dict[str, float]:
    """Return the mean distance from the labels of each estimator; empty without labels."""
    if not labels:
        return {}
    return {name: measure(estimator, labels).summary()['mean_px'] for name, estimator in estimators.items()}


def _comparable(source: Path, quantized: Path) -> list[Candidate]:
    """Return the ways to run the quantised network here, and for comparison bf16, which needs no file of its own."""
    ways = [Candidate(name, 'int8', quantized) for name, kind in KINDS.items() if 'int8' in kind.files]
    ways += [Candidate(name, 'bf16', source) for name, kind in KINDS.items() if 'bf16' in kind.files]
    return [way for way in ways if not KINDS[way.name].missing and _loads(way)]


def _loads(way: Candidate) -> bool:
    """Return whether this processor computes in the precision of a candidate."""
    try:
        way.load(threads=1)
    except ConfigError:
        return False
    return True


def _measure_in_use(
    images: Sequence[np.ndarray], before: list[list[KeypointPose]], bare: PoseEstimator, reference: PoseEstimator
) -> tuple[Drift, int]:
    """Return the drift of an estimator that gives close images to the reference's network, and how many it gave."""
    estimator = PoseEstimator(bare.model, LoadedNetwork(bare.backend, reference.backend), bare.input_height)
    return measure_drift(images, before, estimator), estimator.repeated


def _estimator(candidate: Candidate, input_height: int | None) -> PoseEstimator:
    """Return an estimator over the bare network of a candidate."""
    backend = candidate.load(default_threads())
    return PoseEstimator(object_inside(backend, candidate.path), backend, input_height)


def _quantized_graph(source: Path, inputs: Sequence[np.ndarray], first: int, last: int) -> onnx.ModelProto:
    """Return the graph quantised but for its first and last layers, calibrated on (h, w, 3) network inputs."""
    os.environ.setdefault('NNCF_CI', '1')  # or it reports every run to its makers
    try:
        import nncf
    except ImportError as error:
        raise ConfigError('quantisation needs NNCF: pip install nncf') from error
    nncf.set_log_level(logging.ERROR)
    graph = onnx.load(str(source))
    layers = [node.name for node in graph.graph.node if node.op_type in ('Conv', 'Add')]
    result = nncf.quantize(
        graph,
        nncf.Dataset([{'image': image[None]} for image in inputs]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=[*layers[:first], *layers[-last:]]),
    )
    metadata = {p.key: p.value for p in graph.metadata_props}
    onnx.helper.set_model_props(result, {**metadata, 'made_from': sha256_of(source)})
    return result
