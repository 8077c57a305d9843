"""ONNX export: numbers, free sizes, the object inside, batch norms folded, nothing written when something is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from random_networks import randomised

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.backends import load_network
from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
from custom_pose_ros.inference.network import NETWORKS, DeploymentNetwork, build_network
from training.export_onnx import main
from training.pose_training.export import onnx_export
from training.pose_training.export.onnx_export import ExportReport, export_onnx

SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'export_onnx.py'


class Exported(NamedTuple):
    architecture: str
    network: torch.nn.Module
    path: Path
    report: ExportReport


@pytest.fixture(scope='module', params=NETWORKS)
def exported(request, dots, tmp_path_factory) -> Exported:
    network = randomised(build_network(request.param, dots, channels=32))
    path = tmp_path_factory.mktemp('exported') / 'model.onnx'
    return Exported(request.param, network, path, export_onnx(network, dots, path))


def test_onnx_runtime_gives_pytorchs_numbers_at_any_size(exported):
    network = exported.network
    assert exported.report.largest_difference <= 1e-4
    backend = load_network(exported.path).backend
    for shape in ((1, 32, 32, 3), (3, 96, 224, 3)):
        image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
        with torch.inference_mode():
            wanted = DeploymentNetwork(network)(torch.from_numpy(image))
        for got, want in zip(backend(image), wanted):
            assert np.abs(want.numpy()).max() > 0.01  # the maps are not empty
            np.testing.assert_allclose(got, want.numpy(), atol=1e-4)


# What TensorRT 10 documents for its reader of ONNX (operators.md of onnx-tensorrt), of what is used here; the tensors
# are float32, and bytes are taken by Cast alone.
TENSORRT_OPERATORS = {'Add', 'Cast', 'Clip', 'Concat', 'Conv', 'Elu', 'Relu', 'Resize', 'Split', 'Sub', 'Transpose'}


def test_tensorrt_has_every_operator(exported):
    model = onnx.load(exported.path)
    assert 9 <= model.opset_import[0].version <= 20
    assert {node.op_type for node in model.graph.node} <= TENSORRT_OPERATORS
    assert [node.op_type for node in model.graph.node if 'image' in node.input] == ['Cast']
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == 'Resize':
            assert attributes['mode'] == b'linear'
            assert attributes['coordinate_transformation_mode'] in (b'half_pixel', b'pytorch_half_pixel')


def test_the_object_is_inside(exported, dots):
    metadata = {p.key: p.value for p in onnx.load(exported.path).metadata_props}
    assert json.loads(metadata['object']) == dots.to_dict()
    assert (metadata['stride'], metadata['producer']) == ('8', 'custom_pose_ros')
    assert metadata['architecture'] == exported.architecture


def test_the_shipped_size_is_met(tmp_path, dots):
    report = export_onnx(build_network('light', dots), dots, tmp_path / 'model.onnx')
    assert report.size_bytes == os.path.getsize(tmp_path / 'model.onnx') < 10e6


def test_a_difference_is_not_written(tmp_path, dots, monkeypatch):
    monkeypatch.setattr(onnx_export, 'TOLERANCE', -1.0)
    with pytest.raises(ModelError, match=r'model\.onnx: not written'):
        export_onnx(build_network('light', dots, channels=32), dots, tmp_path / 'model.onnx')
    assert os.listdir(tmp_path) == []


def test_weights_that_are_not_finite_are_not_written(tmp_path, dots):
    network = build_network('light', dots, channels=32)
    with torch.no_grad():
        network.heatmaps.bias[0] = float('nan')
    with pytest.raises(ModelError, match='not written'):
        export_onnx(network, dots, tmp_path / 'model.onnx')


def test_the_command_writes_beside_the_checkpoint(tmp_path, dots, capsys):
    network = build_network('light', dots, channels=32)
    save_checkpoint(tmp_path / 'best.pth', Checkpoint('light', {'channels': 32}, dots, network.state_dict()))
    assert main([str(tmp_path / 'best.pth')]) == 0
    assert 'from PyTorch' in capsys.readouterr().out
    assert load_network(tmp_path).backend.name != 'torch'
    assert main([str(tmp_path / 'best.pth')]) == 0  # its own file is replaced


def test_the_command_replaces_no_file_of_somebody_else(tmp_path, capsys):
    """It wrote a network over an object.yaml that was given by mistake."""
    (tmp_path / 'object.yaml').write_text('name: mine')
    with pytest.raises(SystemExit, match='2'):
        main([str(tmp_path / 'best.pth'), str(tmp_path / 'object.yaml')])
    assert 'wanted a file to write whose name ends in .onnx, got' in capsys.readouterr().err
    (tmp_path / 'model.onnx').write_text('a network of another program')
    assert main([str(tmp_path / 'best.pth')]) == 1
    assert 'model.onnx: is there already and was not written by training/export_onnx.py' in capsys.readouterr().err
    assert (tmp_path / 'model.onnx').read_text() == 'a network of another program'


def test_the_command_names_another_height_in_the_object_file_beside(tmp_path, dots, dots_folder, capsys):
    """A network trained at 320 px ran at the 256 px of its object file, without a word."""
    higher = dataclasses.replace(dots, input_height=96)
    network = build_network('light', higher, channels=32)
    save_checkpoint(tmp_path / 'best.pth', Checkpoint('light', {'channels': 32}, higher, network.state_dict()))
    assert main([str(tmp_path / 'best.pth'), str(dots_folder / 'model.onnx')]) == 0
    note = capsys.readouterr().err
    assert 'object.yaml: says input_height: 64, and the network was trained at 96' in note


def test_the_command_asks_for_swaps_where_training_does_not_know_what_a_mirror_does(tmp_path, dots, capsys):
    chiral = dataclasses.replace(dots, swaps=())
    network = build_network('light', chiral, channels=32)
    save_checkpoint(tmp_path / 'best.pth', Checkpoint('light', {'channels': 32}, chiral, network.state_dict()))
    assert main([str(tmp_path / 'best.pth')]) == 0
    assert capsys.readouterr().err.startswith('note: training does not mirror images: swaps ')


def test_the_command_says_in_one_line_what_is_missing(tmp_path, capsys):
    assert main([str(tmp_path / 'gone.pth')]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'gone.pth: no such file' in error
    assert error.count('\n') == 1
