"""Checkpoints: what was saved is loaded, everything else refused, and no code from files is run."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.errors import ConfigError, ModelError  # noqa: E402
from custom_pose_ros.inference.checkpoints import Checkpoint, load_checkpoint, read_torch_file, save_checkpoint  # noqa: E402


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
    with pytest.raises(ModelError, match=r'model\.pth: is damaged, or holds more than tensors and is refused'):
        load_checkpoint(path)


def test_a_bare_pickle_is_not_run(tmp_path):
    path = tmp_path / 'model.pth'
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ModelError, match='refused for safety'):
        load_checkpoint(path)


def test_other_torch_files_are_refused(tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'weight': torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r'other\.pth: is not a checkpoint of training/train\.py'):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ModelError, match='wanted a dictionary of tensors, got list'):
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
