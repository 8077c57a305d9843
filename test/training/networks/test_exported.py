"""Going on from a model.onnx: the same maps when evaluated, close to them when trained, damaged files refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.network import NETWORKS, build_network
from training.pose_training.export.onnx_export import export_onnx
from training.pose_training.networks.exported import load_exported


def trained(architecture, model):
    """Return a network whose batch norms and heads are not as they start."""
    torch.manual_seed(0)
    network = build_network(architecture, model, channels=32)
    for name, parameter in network.named_parameters():
        if 'heatmaps' in name or 'pafs' in name:
            torch.nn.init.normal_(parameter, std=0.05)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize('architecture', NETWORKS)
def test_the_maps_of_the_file_come_back(tmp_path, dots, architecture):
    source = trained(architecture, dots)
    export_onnx(source, dots, tmp_path / 'model.onnx')
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    network = build_network(architecture, dots, channels=32)
    loaded = load_exported(network, tmp_path / 'model.onnx', [images])
    assert not loaded.left_random
    with torch.inference_mode():
        wanted = source(images)[-1]
        evaluated = network.eval()(images)[-1]
        learning = network.train()(images)[-1]
    for want, got, while_learning in zip(wanted, evaluated, learning):
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
        # the statistics are those of these images, so that the first step of training sees the same maps
        torch.testing.assert_close(while_learning, want, atol=2e-2, rtol=2e-2)


def test_damaged_and_foreign_files_are_refused(tmp_path, dots):
    network = build_network('light', dots)
    (tmp_path / 'model.onnx').write_bytes(b'no network')
    with pytest.raises(ModelError, match=r'model\.onnx'):
        load_exported(network, tmp_path / 'model.onnx', [])
    export_onnx(trained('lightweight_openpose', dots), dots, tmp_path / 'other.onnx')
    with pytest.raises(ModelError, match="no layer in it fits the 'light' network"):
        load_exported(network, tmp_path / 'other.onnx', [])
