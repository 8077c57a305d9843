"""Checkpoints: what was saved is loaded, everything else refused, and no code from files is run."""

from __future__ import annotations

import argparse
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.errors import ConfigError, ModelError  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.checkpoints import Checkpoint, load_checkpoint, read_torch_file, save_checkpoint  # noqa: E402
from custom_pose_ros.inference.network import build_network  # noqa: E402


def test_a_checkpoint_brings_its_object(checkpoint, model):
    loaded = load_checkpoint(checkpoint)
    assert loaded.model.keypoint_names == model.keypoint_names
    assert (loaded.architecture, loaded.options, loaded.training) == ('light', {'channels': 32}, None)


def test_a_checkpoint_comes_back_as_it_was(checkpoint, tmp_path):
    loaded = load_checkpoint(checkpoint)
    training = {'step': 7}
    save_checkpoint(
        tmp_path / 'new' / 'a.pth',
        Checkpoint(loaded.architecture, loaded.options, loaded.model, loaded.weights, training),
    )
    again = load_checkpoint(tmp_path / 'new' / 'a.pth')
    assert (again.model.to_dict(), again.training) == (loaded.model.to_dict(), training)
    for name, value in again.network().state_dict().items():
        torch.testing.assert_close(value, loaded.weights[name], rtol=0, atol=0)
    assert os.listdir(tmp_path / 'new') == ['a.pth']


WRITER = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.network import build_network
from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
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
    path = tmp_path / 'last.pth'
    command = [sys.executable, '-c', WRITER, str(path), str(Path(__file__).resolve().parents[2])]
    interrupted = attempts = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as parent:
        while interrupted < 3:  # one that the machine holds up may be over when it is seen
            attempts += 1
            assert attempts < 30, f'{interrupted} of {attempts} deaths left a half-written file'
            for folder in tmp_path.glob('.*.partial'):
                shutil.rmtree(folder)
            parent.stdin.write('\n')
            writer = int(parent.stdout.readline())
            deadline = time.monotonic() + 60
            while not half_written(tmp_path) and time.monotonic() < deadline:
                pass
            os.kill(writer, signal.SIGKILL)
            time.sleep(0.05)  # until the kernel has let go of its files
            interrupted += bool(list(tmp_path.glob('.*.partial/*')))
            assert load_checkpoint(path).architecture == 'lightweight_openpose'
        parent.stdin.close()
        parent.wait(timeout=60)


def half_written(folder: Path) -> bool:
    try:
        return any(path.stat().st_size > 1000 for path in folder.glob('.*.partial/*'))
    except FileNotFoundError:
        return False


class Payload:
    """Something that a hostile file would run on loading."""

    def __reduce__(self):
        return (exec, ('raise AssertionError("code from a checkpoint was run")',))


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path = tmp_path / 'model.pth'
    torch.save({'format': Payload()}, path)
    with pytest.raises(
        ModelError, match=r'model\.pth: is a pickle \(it asks for .*\.exec\), and is refused for safety'
    ):
        load_checkpoint(path)


def test_a_bare_pickle_is_not_run(tmp_path):
    path = tmp_path / 'model.pth'
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ModelError, match='refused for safety'):
        load_checkpoint(path)


def test_other_torch_files_are_refused(tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'weight': torch.zeros(1)}, path)
    with pytest.raises(
        ModelError, match=r'other\.pth: holds the weights of another network: 1 tensors such as weight; wanted a checkp'
    ):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match='holds list, no dictionary of tensors'):
        read_torch_file(path)


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('architecture', 'resnet', "unknown architecture 'resnet', wanted light or lightweight_openpose"),
        ('object', {'name': 'x'}, r'is damaged \(.*keypoints: is missing'),
        ('weights', {}, r'is damaged \(.*state_dict'),
        ('weights', None, 'is damaged'),
        ('options', {'colour': 3}, 'is damaged'),
        ('options', None, 'is damaged'),
    ],
)
def test_wrong_content_is_refused(checkpoint, key, value, message):
    content = torch.load(checkpoint, weights_only=True)
    content[key] = value
    torch.save(content, checkpoint)
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(checkpoint)
    assert '\n' not in str(caught.value)


def test_a_flipped_bit_in_a_weight_is_found(checkpoint):
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 4  # amid the largest tensor
    checkpoint.write_bytes(data)
    with pytest.raises(ModelError, match='is damaged .*data/[0-9]+ has another sum'):
        load_checkpoint(checkpoint)


def test_damaged_bytes_never_end_in_a_traceback(checkpoint):
    content = checkpoint.read_bytes()
    numbers = random.Random(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        if numbers.random() < 0.3:
            damaged = damaged[: numbers.randrange(len(damaged))]
        else:
            start = numbers.choice([0, len(damaged) - 3000, numbers.randrange(len(damaged) - 50)])
            for _ in range(20):
                damaged[start + numbers.randrange(50)] = numbers.randrange(256)
        checkpoint.write_bytes(damaged)
        try:
            load_checkpoint(checkpoint)
        except (ModelError, ConfigError):
            refused += 1
    assert refused > 15  # a flipped bit inside a weight is not noticed, a damaged archive is


HUMAN = ObjectModel.load('human18')


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    return build_network('lightweight_openpose', HUMAN, refinement_stages=2)


@pytest.fixture(scope='module')
def state(network):
    return network.state_dict()


def prefixed(state, prefix):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


LAYOUTS = {
    'bare': lambda state: state,
    'state_dict': lambda state: {'state_dict': state, 'iter': 370000, 'current_epoch': 280},
    'weights': lambda state: {'weights': state},
    'net': lambda state: {'net': state, 'optimizer': {'state': {}, 'param_groups': []}},
    'nested': lambda state: {'checkpoint': {'model': {'state_dict': state}}},
    'module': lambda state: {'state_dict': prefixed(state, 'module.')},
    'module twice': lambda state: {'state_dict': prefixed(state, 'module.module.')},
    'compiled': lambda state: {'model': prefixed(state, '_orig_mod.')},
    'named': lambda state: prefixed(state, 'net.'),
    'without counters': lambda state: {'state_dict': {k: v for k, v in state.items() if 'num_batches' not in k}},
    'numpy beside': lambda state: {'state_dict': state, 'loss': np.float64(0.5), 'best': np.int64(3), 'm': np.ones(2)},
    'options beside': lambda state: {'state_dict': state, 'args': argparse.Namespace(batch_size=80)},
}


OTHER_OBJECTS = ('bare', 'numpy beside', 'options beside')  # what is in the pickle beside dictionaries of tensors


@pytest.mark.parametrize(
    ('layout', 'zipped'),
    [*((layout, True) for layout in LAYOUTS), *((layout, False) for layout in OTHER_OBJECTS)],
    ids=lambda value: value if isinstance(value, str) else 'zip' if value else 'torch 0.4',
)
def test_every_layout_gives_the_same_network(tmp_path, network, state, layout, zipped):
    path = tmp_path / 'checkpoint_iter_370000.pth'
    torch.save(LAYOUTS[layout](state), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(path, HUMAN)
    assert checkpoint.options == {'channels': 128, 'refinement_stages': 2}
    assert checkpoint.ignored == ()
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8))
    with torch.inference_mode():
        for got, wanted in zip(checkpoint.network()(image)[-1], network.eval()(image)[-1]):
            assert torch.equal(got, wanted)


def refusal(tmp_path, content, model=HUMAN) -> str:
    path = tmp_path / 'other.pth'
    torch.save(content, path)
    with pytest.raises(ModelError) as error:
        load_checkpoint(path, model)
    text = str(error.value)
    assert str(path) in text
    assert '\n' not in text
    return text


def test_another_network_is_named_by_its_layers(tmp_path):
    text = refusal(tmp_path, {'state_dict': {'backbone.conv1.weight': torch.zeros(3)}})
    assert 'Lightweight OpenPose' in text
    assert 'backbone.conv1.weight' in text


def test_a_file_without_tensors_is_named_by_its_keys(tmp_path):
    assert 'epoch' in refusal(tmp_path, {'epoch': 3})


def test_without_an_object_the_option_is_named(tmp_path, state):
    assert '--object human18' in refusal(tmp_path, state, None)


def test_the_number_of_maps_must_be_that_of_the_object(tmp_path, state):
    text = refusal(tmp_path, state, ObjectModel.load('submarine'))
    assert '19 heatmaps' in text
    assert '38 part affinity fields' in text
    assert 'submarine' in text


def test_layers_that_do_not_fit_are_named(tmp_path, state):
    broken = {name: tensor for name, tensor in state.items() if name != 'cpm.conv.0.weight'}
    broken['model.0.0.weight'] = torch.zeros(2)
    text = refusal(tmp_path, broken)
    assert 'cpm.conv.0.weight (missing)' in text
    assert 'model.0.0.weight' in text


def test_layers_that_the_network_does_not_have_are_told(tmp_path, state):
    path = tmp_path / 'more.pth'
    torch.save({**state, 'classifier.weight': torch.zeros(2)}, path)
    assert load_checkpoint(path, HUMAN).ignored == ('classifier.weight',)


def test_numbers_under_the_names_of_layers_are_no_network(tmp_path, state):
    path = tmp_path / 'rates.pth'
    torch.save({'lr': dict.fromkeys(state, 1e-3), 'state_dict': state}, path)
    assert load_checkpoint(path, HUMAN).options == {'channels': 128, 'refinement_stages': 2}


def test_several_networks_in_one_file_are_not_guessed_between(tmp_path, state):
    text = refusal(tmp_path, {'model': state, 'ema': {name: torch.zeros_like(t) for name, t in state.items()}})
    assert 'several networks' in text
    assert '[model]' in text
    assert '[ema]' in text
    text = refusal(tmp_path, {**prefixed(state, 'teacher.'), **prefixed(state, 'student.')})
    assert 'teacher.' in text


class Harmful:
    def __reduce__(self):
        return (print, ('code ran',))


def test_what_would_run_code_is_refused(tmp_path, state, capsys):
    assert 'refused for safety' in refusal(tmp_path, {'state_dict': state, 'extra': Harmful()})
    assert 'code ran' not in capsys.readouterr().out
