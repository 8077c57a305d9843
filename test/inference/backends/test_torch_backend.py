"""The torch backend: the numbers of the network, from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.errors import ModelError  # noqa: E402
from custom_pose_ros.inference.backends import load_network  # noqa: E402
from custom_pose_ros.inference.checkpoints import load_checkpoint  # noqa: E402
from custom_pose_ros.inference.network import DeploymentNetwork  # noqa: E402


def test_the_backend_gives_the_numbers_of_the_network(checkpoint, images):
    backend = load_network(checkpoint, 'torch', threads=1).backend
    network = DeploymentNetwork(load_checkpoint(checkpoint).network())
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images))
    for got, want in zip(backend(images), wanted):
        np.testing.assert_allclose(got, want.numpy(), atol=1e-5)  # channels-last convolutions sum in another order
        assert got.flags.c_contiguous


def test_auto_takes_the_checkpoint_where_there_is_no_onnx_file(checkpoint):
    assert load_network(checkpoint.parent).backend.name == 'torch'


def test_an_onnx_path_means_the_checkpoint_beside_it(checkpoint):
    assert load_network(checkpoint.with_name('model.onnx'), 'torch').backend.name == 'torch'


def test_a_missing_checkpoint_says_who_writes_it(tmp_path):
    with pytest.raises(ModelError, match=r"no model\.pth in this folder, which backend 'torch' needs; write it with"):
        load_network(tmp_path, 'torch')
