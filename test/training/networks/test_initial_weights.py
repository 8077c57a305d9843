"""Going on from a model.onnx: the same maps when evaluated, close to them when trained, damaged files refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_networks import randomised

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.network import NETWORKS, build_network
from training.pose_training.export.onnx_export import export_onnx
from training.pose_training.networks.initial_weights import load_exported


@pytest.mark.parametrize('architecture', NETWORKS)
def test_the_maps_of_the_file_come_back(tmp_path, dots, architecture):
    source = randomised(build_network(architecture, dots, channels=32))
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
    export_onnx(randomised(build_network('lightweight_openpose', dots, channels=32)), dots, tmp_path / 'other.onnx')
    with pytest.raises(ModelError, match="no layer in it fits the 'light' network"):
        load_exported(network, tmp_path / 'other.onnx', [])
