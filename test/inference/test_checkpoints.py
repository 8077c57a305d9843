"""Checkpoints: what was saved is loaded, everything else refused, and no code from files is run."""

from __future__ import annotations

import pickle
import random

import pytest

torch = pytest.importorskip('torch')

from custom_pose_ros.core.errors import ConfigError, ModelError  # noqa: E402
from custom_pose_ros.inference.checkpoints import load_checkpoint, read_torch_file  # noqa: E402


def test_a_checkpoint_brings_its_object(checkpoint, model):
    loaded = load_checkpoint(checkpoint)
    assert loaded.model.keypoint_names == model.keypoint_names
    assert (loaded.architecture, loaded.options, loaded.training) == ('light', {'channels': 32}, None)


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
