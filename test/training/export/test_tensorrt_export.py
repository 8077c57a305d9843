"""Engines for TensorRT: every operation has a converter, and export, file, checks and backend fit together."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import fake_tensorrt
import numpy as np
import pytest
import torch
from random_networks import randomised
from torch.overrides import TorchFunctionMode, resolve_name

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.inference.backends import load_network
from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
from custom_pose_ros.inference.network import NETWORKS, build_network
from training.export_tensorrt import main
from training.pose_training.export import tensorrt_export
from training.pose_training.export.onnx_export import export_onnx
from training.pose_training.export.tensorrt_export import EngineNetwork, export_tensorrt

SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'export_tensorrt.py'
BACKEND = 'custom_pose_ros.inference.backends.tensorrt_backend'
SIZE = (64, 96)

# Operations that torch2trt 0.5 converts to layers of TensorRT 8 to 10. Both networks were run through its registry of
# converters, against the signatures of TensorRT 10.13 and without a GPU: each of these calls met a converter, and
# every input of a converter came from one. Not in the list, and therefore replaced: torch.nn.functional.pad, whose
# layer TensorRT 10 lacks, and hardtanh, which is only warned about.
CONVERTED = {
    'torch.Tensor.add',
    'torch.cat',
    *(f'torch.nn.functional.{name}' for name in ('batch_norm', 'conv2d', 'elu', 'interpolate', 'relu', 'relu6')),
}


class Operations(TorchFunctionMode):
    """The functions called on tensors, not those that they call in turn: as torch2trt sees them."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = resolve_name(function) or str(function)
        if not name.endswith(('__get__', '.dim', '.size')):
            self.names.add(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('architecture', NETWORKS)
def test_every_operation_has_a_converter(dots, architecture):
    network = EngineNetwork(build_network(architecture, dots))
    x = torch.zeros(1, 3, *SIZE)
    with torch.no_grad(), Operations() as operations:
        network(x)
    assert operations.names <= CONVERTED


@pytest.mark.parametrize('architecture', NETWORKS)
def test_the_engines_network_is_the_same_function(dots, architecture):
    network = randomised(build_network(architecture, dots, channels=32))
    x = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network.stages(x)[-1]
        got = EngineNetwork(network)(x)
    for a, b in zip(got, wanted):
        assert b.abs().max() > 0.01
        np.testing.assert_allclose(a, b, atol=1e-5)


@contextlib.contextmanager
def machine_with_gpu(patch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, module in fake_tensorrt.modules().items():
        patch.setitem(sys.modules, name, module)
    patch.setattr(torch.cuda, 'is_available', lambda: True)
    patch.setattr(torch.cuda, 'get_device_name', lambda: fake_tensorrt.GPU)
    patch.setattr(importlib.import_module(BACKEND), 'DEVICE', torch.device('cpu'))
    yield
    del sys.modules[BACKEND]  # it has the stand-ins in its names


@pytest.fixture
def jetson(monkeypatch) -> Iterator[None]:
    """A machine with a GPU, as far as this code can tell."""
    with machine_with_gpu(monkeypatch):
        yield


@pytest.fixture(scope='module')
def checkpoint(dots) -> Checkpoint:
    network = randomised(build_network('light', dots, channels=32))
    return Checkpoint('light', {'channels': 32}, dots, network.state_dict())


@pytest.fixture(scope='module')
def exported(checkpoint, tmp_path_factory) -> Path:
    """An engine, made once for this file."""
    path = tmp_path_factory.mktemp('engine') / 'net_trt.pth'
    with pytest.MonkeyPatch.context() as patch, machine_with_gpu(patch):
        export_tensorrt(checkpoint, path, SIZE, max_batch=2)
    return path


@pytest.fixture
def engine(jetson, exported, tmp_path) -> Path:
    return Path(shutil.copy(exported, tmp_path))


def random_images(count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *size, 3), np.uint8)


def test_what_is_exported_runs_as_pytorch_does(engine, checkpoint):
    backend = load_network(engine.parent, 'tensorrt').backend
    assert (backend.name, backend.precision, backend.device) == ('tensorrt', 'f16', 'Orin')
    assert json.loads(backend.metadata['object']) == checkpoint.model.to_dict()
    images = random_images(5)  # more than the engine takes at once
    with torch.no_grad():
        wanted = checkpoint.network()(torch.from_numpy(images))[-1]
    for got, want in zip(backend(images), wanted):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=tensorrt_export.TOLERANCE)
    assert load_network(engine).backend.name == 'tensorrt'  # the file alone says what runs it


@pytest.mark.parametrize(
    ('gpu', 'version'), [('Xavier', fake_tensorrt.VERSION), (fake_tensorrt.GPU, '8.6.2')], ids=['GPU', 'TensorRT']
)
def test_another_machine_is_told_how_to_rebuild(engine, monkeypatch, gpu, version):
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: gpu)
    monkeypatch.setattr(sys.modules['tensorrt'], '__version__', version)
    with pytest.raises(ModelError) as caught:
        load_network(engine, 'tensorrt')
    for fact in (fake_tensorrt.GPU, fake_tensorrt.VERSION, gpu, version):
        assert fact in str(caught.value)
    assert f'training/export_tensorrt.py CHECKPOINT {engine} --size 64 96 --max-batch 2' in str(caught.value)


def test_images_of_another_size_are_refused_with_the_command_for_them(engine):
    with pytest.raises(ModelError, match=r'64 x 96 px.* --size 64 128'):
        load_network(engine).backend(random_images(1, (64, 128)))


def test_an_engine_that_tensorrt_refuses_is_one_line(engine):
    content = torch.load(engine, weights_only=True)
    content['engine'] = bytearray(b'broken')
    torch.save(content, engine)
    with pytest.raises(ModelError, match='cannot load the engine') as caught:
        load_network(engine)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('facts', [None, 'not JSON', '{}', '{"format": "another"}'])
def test_an_engine_that_does_not_say_what_it_is_for_is_refused(engine, facts):
    """Such as one that was written by the published recipe itself."""
    content = torch.load(engine, weights_only=True)
    del content['custom_pose_ros']
    torch.save(content if facts is None else {**content, 'custom_pose_ros': facts}, engine)
    with pytest.raises(ModelError, match='does not say'):
        load_network(engine)


def test_no_gpu_no_engine(engine, monkeypatch, checkpoint, tmp_path):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='needs an NVIDIA GPU'):
        load_network(engine)
    with pytest.raises(ConfigError, match='GPU'):
        export_tensorrt(checkpoint, tmp_path / 'other_trt.pth', SIZE)


def test_an_engine_belongs_to_the_onnx_file_beside_it(jetson, checkpoint, dots, tmp_path):
    export_onnx(checkpoint.network(), dots, tmp_path / 'model.onnx')
    export_tensorrt(checkpoint, tmp_path / 'net_trt.pth', SIZE)
    assert load_network(tmp_path, 'tensorrt').backend.name == 'tensorrt'
    other = randomised(build_network('light', dots, channels=32))
    with torch.no_grad():
        other.heatmaps.bias.add_(0.5)  # another training
    export_onnx(other, dots, tmp_path / 'model.onnx')
    with pytest.raises(ModelError, match=r'net_trt\.pth: was not made from the model\.onnx'):
        load_network(tmp_path, 'tensorrt')
    with pytest.raises(ModelError, match=r'model\.onnx: is not of this checkpoint'):
        export_tensorrt(checkpoint, tmp_path / 'net_trt.pth', SIZE)


def test_an_engine_that_computes_something_else_is_not_written(jetson, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_export, 'TOLERANCE', 0.0)
    with pytest.raises(ModelError, match=r'net_trt\.pth: not written'):
        export_tensorrt(checkpoint, tmp_path / 'net_trt.pth', SIZE)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ('name', 'size', 'max_batch', 'message'),
    [
        ('engine.pth', SIZE, 1, r'engine\.pth: .*_trt\.pth'),
        ('net_trt.pth', (64, 100), 1, 'size: .*64 100'),
        ('net_trt.pth', SIZE, 0, 'max-batch: .*0'),
    ],
)
def test_wrong_wishes_are_refused(jetson, checkpoint, tmp_path, name, size, max_batch, message):
    with pytest.raises(ConfigError, match=message):
        export_tensorrt(checkpoint, tmp_path / name, size, max_batch)


def test_the_command_writes_beside_the_checkpoint(jetson, checkpoint, tmp_path, capsys):
    save_checkpoint(tmp_path / 'best.pth', checkpoint)
    assert main([str(tmp_path / 'best.pth')]) == 0
    assert 'net_trt.pth: ' in (out := capsys.readouterr().out)
    assert 'MB for Orin with TensorRT 10.3.0, at most ' in out
    backend = load_network(tmp_path / 'net_trt.pth').backend
    assert backend(random_images(1, (64, 96)))[0].shape == (1, 4, 8, 12)  # 640x480 at the object's height of 64


def test_the_command_names_what_is_missing(checkpoint, tmp_path, capsys, monkeypatch):
    save_checkpoint(tmp_path / 'best.pth', checkpoint)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert main([str(tmp_path / 'best.pth')]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: an engine cannot be built without torch, tensorrt, torch2trt: apt install')
    assert error.count('\n') == 1
