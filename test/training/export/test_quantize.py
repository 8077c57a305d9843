"""Quantisation to int8 of the shipped network: accurate enough on frames it was not calibrated on, or not written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('nncf', reason='NNCF is missing: run `make test`')

import onnx

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError
from custom_pose_ros.core.object_file import installed_objects
from custom_pose_ros.inference.backends import load_network
from custom_pose_ros.inference.backends.choice import Candidate
from training.pose_training.export import quantization
from training.pose_training.export.quantization import Quantized, quantize
from training.pose_training.judging.drift import DriftLimits
from training.pose_training.labels.image_files import sample_images
from training.quantize import main

SUBMARINE = installed_objects()['submarine']
SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'quantize.py'


@pytest.fixture(scope='module')
def frames() -> list[np.ndarray]:
    return sample_images([SUBMARINE / 'demo/clip.mp4'], 24)


@pytest.fixture
def model(tmp_path) -> Path:
    shutil.copy(SUBMARINE / 'object.yaml', tmp_path / 'object.yaml')
    return Path(shutil.copy(SUBMARINE / 'model.onnx', tmp_path / 'model.onnx'))


@pytest.fixture(scope='module')
def done(frames, tmp_path_factory) -> Quantized:
    """The quantised network, made once for this file, and what was measured."""
    folder = tmp_path_factory.mktemp('quantized')
    for name in ('object.yaml', 'model.onnx'):
        shutil.copy(SUBMARINE / name, folder / name)
    return quantize(folder, frames)


@pytest.fixture(scope='module')
def graph(done) -> onnx.ModelProto:
    return onnx.load(done.path)


@pytest.fixture
def quick(monkeypatch, graph):
    monkeypatch.setattr(quantization, '_KEPT_LAYERS', ((0, 9),))
    monkeypatch.setattr(quantization, '_quantized_graph', lambda source, inputs, first, last: graph)
    monkeypatch.setattr(quantization, '_comparable', only_onnxruntime)


def only_onnxruntime(source: Path, quantized: Path) -> list[Candidate]:
    """The other backends are measured in the test of the limits."""
    return [Candidate('onnxruntime', 'int8', quantized)]


def test_int8_finds_what_f32_finds(done):
    """The limits are those of the command; eighteen frames calibrate, six others measure."""
    assert (done.calibrated_on, done.measured_on) == (18, 6)
    assert done.path.name == 'model_int8.onnx'
    assert done.size_bytes == done.path.stat().st_size < 0.5 * done.path.with_name('model.onnx').stat().st_size
    assert set(done.drifts) >= {'onnxruntime int8'}
    for drift in done.drifts.values():
        assert drift.keypoints == 24  # four of the submarine, in six frames
        assert drift.changed == 0
        assert 0 < drift.mean_px <= 0.3
        assert drift.p99_px <= 1.0
    for drift, repeated in done.in_use.values():
        assert (drift.keypoints, drift.changed) == (24, 0)
        assert repeated <= 2  # of six: the clip is clear, a margin that calls everything close would be of no use


def test_the_file_is_taken_by_precision_and_knows_its_origin(model, frames, quick):
    quantize(model, frames)
    network = load_network(model.parent, 'onnxruntime', precision='int8')
    assert (network.backend.precision, network.exact.precision) == ('int8', 'f32')
    assert json.loads(network.backend.metadata['object'])['name'] == 'submarine'
    changed = onnx.load(model)
    changed.doc_string = 'trained again'
    onnx.save(changed, model)
    with pytest.raises(ModelError, match=r'model_int8\.onnx: was not made from the model\.onnx'):
        load_network(model.parent, 'onnxruntime', precision='int8')


def test_most_layers_are_quantised_and_the_last_are_not(graph):
    quantised = {name for node in graph.graph.node if node.op_type == 'DequantizeLinear' for name in node.output}
    layers = [node for node in graph.graph.node if node.op_type == 'Conv']
    inside = [node for node in layers if quantised & set(node.input)]
    assert len(inside) >= 0.75 * len(layers)
    assert not any(quantised & set(node.input) for node in layers[-2:])


def test_more_layers_stay_in_f32_when_fewer_drift_too_far(model, frames, graph, monkeypatch):
    tried = []

    def quantized(source, inputs, first, last):
        tried.append((first, last))
        return graph if len(tried) == 2 else with_bias(graph, -1.0)

    monkeypatch.setattr(quantization, '_quantized_graph', quantized)
    monkeypatch.setattr(quantization, '_comparable', only_onnxruntime)
    assert quantize(model, frames).kept == tried[1]
    assert len(tried) == 2
    assert tried[1] > tried[0]


def with_bias(graph: onnx.ModelProto, bias: float) -> onnx.ModelProto:
    """Return a network whose heatmaps are shifted, so that it is blind with a bias of -1."""
    shifted = onnx.ModelProto()
    shifted.CopyFrom(graph)
    for node in shifted.graph.node:
        node.output[:] = ['unshifted' if name == 'heatmaps' else name for name in node.output]
    shifted.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(bias), 'shift'))
    shifted.graph.node.append(onnx.helper.make_node('Add', ['unshifted', 'shift'], ['heatmaps']))
    return shifted


def test_too_much_drift_is_not_written(model, frames, quick):
    old = model.with_name('model_int8.onnx')
    old.write_bytes(b'an older one')
    with pytest.raises(ModelError, match=r'model_int8\.onnx: not written: with onnxruntime int8 .*limit 0\.001.*limit'):
        quantize(model, frames, limits=DriftLimits(mean_px=0.001, p99_px=0.002))
    assert old.read_bytes() == b'an older one'
    assert sorted(os.listdir(model.parent)) == ['model.onnx', 'model_int8.onnx', 'object.yaml']


def test_a_network_that_finds_other_keypoints_is_not_written(model, frames, quick, graph, monkeypatch):
    blind = with_bias(graph, -1.0)
    monkeypatch.setattr(quantization, '_quantized_graph', lambda source, inputs, first, last: blind)
    with pytest.raises(ModelError, match='24 of 24 keypoints'):
        quantize(model, frames)
    assert not model.with_name('model_int8.onnx').exists()


def test_images_that_decide_nothing_are_refused(model, frames):
    with pytest.raises(DatasetError, match='19 images .* 20 or more'):
        quantize(model, frames[:19])
    with pytest.raises(DatasetError, match='finds no submarine in any of the 5 images'):
        quantize(model, [np.zeros((480, 640, 3), np.uint8)] * 20)
    with pytest.raises(ConfigError, match=r'small\.onnx: .* _int8\.onnx'):
        quantize(model, frames, model.with_name('small.onnx'))


def test_the_command_tells_before_and_after(model, quick, capsys, shared):
    arguments = [str(model.parent), str(SUBMARINE / 'demo/clip.mp4'), '--max-images', '24']
    assert main([*arguments, '--data', str(shared / 'data/submarine')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'against f32, on 6 images that were held out from the calibration:'
    assert any(line.startswith('  onnxruntime int8  mean 0.') for line in lines)
    assert 'as it runs later, images with a close decision computed again in f32:' in lines
    assert any(line.endswith(' of 6 images again') for line in lines)
    errors = lines[lines.index('mean distance from the labels:') + 1 :]
    assert errors[0].startswith('  f32 ')
    assert abs(float(errors[0].split()[-2]) - float(errors[1].split()[-2])) < 0.5  # px, before and after
    assert any(line.startswith('on this machine auto takes ') for line in lines)
    assert 'model_int8.onnx: 1.' in lines[-1]
    assert lines[-1].endswith('layers stay in f32')


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path), str(SUBMARINE / 'demo/clip.mp4')]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'model.onnx' in error
    assert error.count('\n') == 1
