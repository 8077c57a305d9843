"""A network that cannot be right is refused when it is loaded, whatever runs it, in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='onnx is not installed')

import onnx
from onnx import TensorProto
from tiny_model import make_nan, send_through, write_tiny_object

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import KINDS, load_network
from custom_pose_ros.inference.estimator import PoseEstimator

READERS = [name for name in ('onnxruntime', 'openvino') if not KINDS[name].missing]


def half(folder: Path) -> None:
    send_through(folder / 'model.onnx', 'heatmaps', 'Cast', to=TensorProto.FLOAT16)


def nan(folder: Path) -> None:
    make_nan(folder / 'model.onnx')


def infinite(folder: Path) -> None:
    send_through(folder / 'model.onnx', 'heatmaps', 'Div', np.zeros(1, np.float32))


def one_map_less(folder: Path) -> None:
    send_through(folder / 'model.onnx', 'heatmaps', 'Slice', np.array([0]), np.array([4]), np.array([1]))


def larger(folder: Path) -> None:
    send_through(folder / 'model.onnx', 'pafs', 'Concat', np.zeros((1, 6, 8, 44), np.float32), axis=2)


def without_weights(folder: Path) -> None:
    for output in ('heatmaps', 'pafs'):
        send_through(folder / 'model.onnx', output, 'Mul', np.zeros(1, np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_object(tmp_path / 'tiny')


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize(
    ('wrong', 'text'),
    [
        (half, 'its heatmaps are float16, wanted float32'),
        (nan, 'its pafs are not finite'),
        (infinite, 'its heatmaps are not finite'),
        (one_map_less, r'its heatmaps have shape \(1, 4, 32, 44\), wanted \(1, 5, 32, 44\)'),
        (larger, r'its pafs have shape \(1, 6, 40, 44\), wanted \(1, 6, 32, 44\)'),
        (without_weights, 'its maps are the same everywhere'),
    ],
)
def test_a_network_that_cannot_be_right_is_refused(folder, reader, wrong, text):
    wrong(folder)
    with pytest.raises(ModelError, match=rf'model\.onnx: {text}[^\n]*; train it or export it again$'):
        PoseEstimator.load(folder, backend=reader)


def test_a_network_that_takes_other_images_is_refused(folder):
    """By ONNX Runtime; OpenVINO converts them."""
    network = onnx.load(str(folder / 'model.onnx'))
    network.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(network, str(folder / 'model.onnx'))
    with pytest.raises(ModelError, match=r'^\S+model\.onnx: [^\n]*$'):
        load_network(folder, 'onnxruntime')


def test_of_several_files_the_one_that_is_right_serves(folder, caplog):
    """A quantised file beside it that cannot be right is left out with a word."""
    from hashlib import sha256

    shutil.copy(folder / 'model.onnx', folder / 'model_int8.onnx')
    made_from = sha256((folder / 'model.onnx').read_bytes()).hexdigest()
    other = folder / 'other'
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns('*_int8*', 'other'))
    nan(other)
    quantised = onnx.load(str(other / 'model.onnx'))
    quantised.metadata_props.append(onnx.StringStringEntryProto(key='made_from', value=made_from))
    onnx.save(quantised, str(folder / 'model_int8.onnx'))
    for precision in ('auto', 'int8'):
        if precision == 'int8':
            with pytest.raises(ModelError, match=r'model_int8\.onnx: its pafs are not finite'):
                load_network(folder, READERS[0], precision=precision)
        else:
            assert load_network(folder, READERS[0]).path.name == 'model.onnx'


@pytest.mark.parametrize('value', [float('nan'), 0.0])
def test_a_checkpoint_that_cannot_be_right_is_refused(tmp_path, value):
    torch = pytest.importorskip('torch')
    from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
    from custom_pose_ros.inference.network import build_network

    model = ObjectModel.load('submarine')
    weights = build_network('light', model, channels=32).state_dict()
    bad = {name: torch.full_like(t, value) if t.is_floating_point() else t for name, t in weights.items()}
    save_checkpoint(tmp_path / 'best.pth', Checkpoint('light', {'channels': 32}, model, bad))
    with pytest.raises(ModelError, match=r'best\.pth: its .*(not finite|same everywhere)'):
        PoseEstimator.load('submarine', tmp_path / 'best.pth', backend='torch')
