"""Files of other tools, where a network is wanted: each is named for what it is, and nothing in it is run."""

from __future__ import annotations

import json
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.errors import ModelError  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.backends import load_network  # noqa: E402
from custom_pose_ros.inference.layouts import layout_of_outputs  # noqa: E402

WANTED = 'wanted a checkpoint of training/train.py, a model.onnx of training/export_onnx.py or a published checkpoint'


def refusal(path: Path, model: ObjectModel | None = None) -> str:
    with pytest.raises(ModelError) as error:
        load_network(path, model=model)
    text = str(error.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert WANTED in text
    return text


def an_object_of(module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Return an instance of a class of somebody else's package, which is then gone."""
    parts = module.split('.')
    for i in range(len(parts)):
        monkeypatch.setitem(sys.modules, '.'.join(parts[: i + 1]), types.ModuleType('.'.join(parts[: i + 1])))
    kind = type(name, (), {'__module__': module})
    setattr(sys.modules[module], name, kind)
    return kind()


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'torch 0.4'])
@pytest.mark.parametrize(
    ('module', 'name', 'fact'),
    [
        ('ultralytics.nn.tasks', 'PoseModel', 'an Ultralytics YOLO checkpoint'),
        ('models.yolo', 'Model', 'an Ultralytics YOLO checkpoint'),
        ('mmengine.logging.history_buffer', 'HistoryBuffer', 'an MMPose (mmengine) checkpoint'),
        ('pytorch_lightning.callbacks', 'Checkpoint', 'a PyTorch Lightning checkpoint'),
        ('somebody.net', 'Net', 'a pickle (it asks for somebody.net.Net)'),
    ],
)
def test_a_pickle_with_code_is_named_by_whose_it_is(tmp_path, monkeypatch, module, name, fact, zipped):
    content = {'epoch': 3, 'model': an_object_of(module, name, monkeypatch), 'weights': {'a': torch.zeros(2)}}
    torch.save(content, tmp_path / 'best.pth', _use_new_zipfile_serialization=zipped)
    text = refusal(tmp_path / 'best.pth')
    assert fact in text
    assert 'refused for safety' in text


@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        (b'\x89HDF\r\n\x1a\n', 'is Keras or HDF5 weights; wanted'),
        (b'PK\x03\x04 cut off', 'zip archive that is cut off'),
        (b'hello', 'is no checkpoint, or damaged; wanted'),
    ],
)
def test_what_runs_no_code_is_not_called_unsafe(tmp_path, content, fact):
    (tmp_path / 'best.pth').write_bytes(content)
    text = refusal(tmp_path / 'best.pth')
    assert fact in text
    assert 'safety' not in text


def test_an_onnx_file_is_not_asked_for_where_one_was_given(tmp_path):
    (tmp_path / 'model.pth').write_bytes(b'\x08\x08\x12\x07pytorch')
    with pytest.raises(
        ModelError, match=r'model\.pth: is an ONNX model already; wanted a checkpoint, such as best\.pth$'
    ):
        load_network(tmp_path / 'model.pth')


def test_whole_models_are_named(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), tmp_path / 'whole.pth')
    assert 'a whole pickled PyTorch model' in refusal(tmp_path / 'whole.pth')
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)), str(tmp_path / 'script.pth'))
    assert 'a TorchScript module' in refusal(tmp_path / 'script.pth')
    (tmp_path / 'plain.pth').write_bytes(pickle.dumps({'a': np.zeros(3)}))


@pytest.mark.parametrize(
    ('names', 'fact'),
    [
        (['model.0.conv.weight', 'model.22.cv2.0.0.conv.weight'], 'a YOLO network'),
        (['backbone.stage4.0.branches.0.0.conv1.weight', 'keypoint_head.final_layer.weight'], 'an MMPose network'),
        (['backbone.stem.0.conv.weight', 'head.cls_x.weight'], 'an RTMPose network'),
        (['backbone.blocks.0.attn.qkv.weight'], 'a ViTPose network'),
        (['stage2.0.branches.0.0.conv1.weight', 'final_layer.weight'], 'an HRNet'),
        (['module.vgg.0.weight', 'module.m1_2.0.weight'], 'a DOPE network'),
        (['conv1_1.weight', 'Mconv7_stage6_L2.weight'], 'the OpenPose body network'),
        (['backbone.body.conv1.weight', 'roi_heads.keypoint_head.0.weight'], 'a Keypoint R-CNN'),
        (['conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'], 'a classifier'),
        (['encoder.0.weight'], 'another network'),
    ],
)
@pytest.mark.parametrize('model', [None, ObjectModel.load('human18')], ids=['no object', 'human18'])
def test_weights_are_named_by_their_layers(tmp_path, names, fact, model):
    torch.save({'state_dict': {name: torch.zeros(2, 2) for name in names}, 'epoch': 1}, tmp_path / 'a.pth')
    text = refusal(tmp_path / 'a.pth', model)
    assert f'holds the weights of {fact}' in text
    assert f'{len(names)} tensors such as {names[0]}' in text


@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        ({'state': {0: {'exp_avg': torch.zeros(3)}}, 'param_groups': [{'lr': 0.1}]}, 'only the state of an optimiser'),
        ({'optimizer': {'state': {0: {'m': torch.zeros(3)}}, 'param_groups': []}}, 'holds no network, only optimizer'),
        ({'engine': b'ftrt', 'input_names': ['x'], 'output_names': ['y']}, 'a TensorRT engine of torch2trt'),
        ({'format': 'custom_pose_ros checkpoint 7', 'weights': {}}, "of another version of this package ('custom"),
        ({}, 'holds no network, only nothing'),
        ([1, 2], 'holds list, no dictionary of tensors'),
    ],
)
def test_what_holds_no_network_is_told(tmp_path, content, fact):
    torch.save(content, tmp_path / 'a.pth')
    assert fact in refusal(tmp_path / 'a.pth')


def safetensors(*names: str) -> bytes:
    header = json.dumps({name: {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]} for name in names}).encode()
    return len(header).to_bytes(8, 'little') + header + bytes(4)


@pytest.mark.parametrize('suffix', ['pth', 'pt', 'onnx', 'pth.tar', 'ckpt'])
@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        (b'\x89HDF\r\n\x1a\n' + bytes(100), 'Keras or HDF5'),
        (b'\x1c\0\0\0TFL3' + bytes(100), 'a TensorFlow Lite model'),
        (b'ftrt' + bytes(100), 'a bare TensorRT engine'),
        (b'\x1f\x8b\x08' + bytes(100), 'a gzip archive'),
        (bytes(257) + b'ustar' + bytes(300), 'a tar archive'),
        (safetensors('backbone.blocks.0.attn.qkv.weight'), 'safetensors weights of a ViTPose network (backbone.bl'),
        (safetensors('unknown.weight'), 'safetensors weights (unknown.weight)'),
    ],
)
def test_a_file_of_another_kind_is_named_whatever_it_is_called(tmp_path, suffix, content, fact):
    path = tmp_path / f'model.{suffix}'
    path.write_bytes(content)
    assert fact in refusal(path)


@pytest.mark.parametrize('suffix', ['pth', 'pt', 'onnx', 'pth.tar', 'ckpt'])
@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'is a git-lfs pointer: run git lfs pull'),
        (b'<!DOCTYPE html><html>Sign in', 'is a web page'),
        (b'', 'is empty'),
    ],
)
def test_what_stands_in_for_a_file_is_told_before_any_library_opens_it(tmp_path, capfd, suffix, content, fact):
    path = tmp_path / f'model.{suffix}'
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_network(path)
    assert str(error.value).startswith(f'{path}: {fact}')
    assert ''.join(capfd.readouterr()) == ''  # OpenVINO prints five lines of its own about a git-lfs pointer


@pytest.mark.parametrize(
    ('member', 'fact'),
    [('pose/pose_landmarks.tflite', 'a bundle of MediaPipe'), ('a.npy', 'NumPy arrays'), ('readme', 'a zip archive (')],
)
def test_an_archive_is_named_by_its_members(tmp_path, member, fact):
    with zipfile.ZipFile(tmp_path / 'model.pth', 'w') as archive:
        archive.writestr(member, 'x')
    assert fact in refusal(tmp_path / 'model.pth')


@pytest.mark.parametrize('suffix', ['caffemodel', 'weights', 'pb'])
def test_a_file_without_a_mark_is_named_by_its_ending(tmp_path, suffix):
    (tmp_path / f'pose.{suffix}').write_bytes(b'\x0a\x03net' + bytes(50))
    facts = {'caffemodel': "Caffe weights, as OpenPose's", 'weights': 'Darknet weights', 'pb': 'a TensorFlow graph'}
    assert facts[suffix] in refusal(tmp_path / f'pose.{suffix}')


def test_networks_of_others_in_onnx_are_named():
    assert layout_of_outputs(['images'], ['output0']) == 'a YOLO network (Ultralytics)'
    assert layout_of_outputs(['input'], ['simcc_x', 'simcc_y']) == 'an RTMPose network (MMPose, SimCC)'
    assert layout_of_outputs(['image'], ['heatmaps']) == ''
