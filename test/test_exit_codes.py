"""One table of exit codes for all commands: the same kind of mistake gives the same code, and a line that says why."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from custom_pose_ros.core.command_line import CANNOT, WRONG_USE

# Command -> arguments that are complete but for a file that is missing: GONE stands for its path, OUT for a folder.
MISSING_FILE = {
    'custom_pose_ros.tools.analyze_object': ['GONE'],
    'custom_pose_ros.tools.demo': ['--object', 'GONE', '--out', 'OUT'],
    'custom_pose_ros.tools.evaluate_bag': ['GONE', '--out', 'OUT'],
    'custom_pose_ros.tools.predict': ['GONE'],
    'training.adapt': ['--model', 'GONE', '--footage', 'GONE', '--steps', '1', '--out', 'OUT'],
    'training.choose_keypoints': ['--mesh', 'GONE', '--choose', '8', '--out', 'OUT'],
    'training.evaluate': ['GONE', '--data', 'GONE', '--out', 'OUT'],
    'training.export_onnx': ['GONE'],
    'training.export_tensorrt': ['GONE'],
    'training.measure_object': ['GONE', '--out', 'OUT'],
    'training.outline': ['--object', 'GONE', '--out', 'OUT.npz'],
    'training.prelabel': ['GONE', 'GONE', '--out', 'OUT.json'],
    'training.prepare_dataset': ['GONE', '--images', 'GONE', '--out', 'OUT'],
    'training.quantize': ['GONE', 'GONE'],
    'training.synthesize': ['--object', 'GONE', '--out', 'OUT'],
    'training.train': ['--object', 'GONE', '--data', 'GONE', '--steps', '1', '--out', 'OUT'],
}
# Command -> options that contradict each other or the inputs.
CONTRADICTION = {
    'custom_pose_ros.tools.analyze_object': ['submarine', '--choose', '8'],
    'custom_pose_ros.tools.evaluate_bag': ['bag', '--video', '--recorded', 'poses'],
    'custom_pose_ros.tools.predict': ['a.png', '--threshold', 'no_such_threshold=1'],
    'training.adapt': ['--model', 'a', '--footage', 'b', '--steps', '1', '--minutes', '1', '--out', 'OUT'],
    'training.prepare_dataset': ['labels.json'],
    'training.train': ['--object', 'submarine', '--data', 'a', '--steps', '1', '--epochs', '1', '--out', 'OUT'],
}
NEEDS = {
    'custom_pose_ros.tools.demo': ('rclpy', 'rosbags'),
    'custom_pose_ros.tools.evaluate_bag': ('rosbags',),
    'training.': ('torch',),
}


def commands(root: Path) -> set[str]:
    """Return the modules of this checkout that are commands of their own."""
    files = [*(root / 'custom_pose_ros/tools').glob('*.py'), *(root / 'training').glob('*.py')]
    names = {path.relative_to(root).with_suffix('').as_posix().replace('/', '.') for path in files}
    return {name for name in names if name.rpartition('.')[2] not in ('__init__', 'demo_player', 'demo_recorder')}


def run(module: str, arguments: list[str], folder: Path) -> int:
    """Return the exit code of a command."""
    for package in (package for start, packages in NEEDS.items() if module.startswith(start) for package in packages):
        pytest.importorskip(package)
    places = {'GONE': str(folder / 'gone.onnx')}
    places |= {f'OUT{ending}': str(folder / f'out{ending}') for ending in ('', '.json', '.npz')}
    try:
        return importlib.import_module(module).main([places.get(argument, argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


def test_every_command_is_here(root):
    with_main = {
        name for name in commands(root) if '\ndef main(' in (root / (name.replace('.', '/') + '.py')).read_text()
    }
    assert set(MISSING_FILE) == with_main


@pytest.mark.parametrize('module', MISSING_FILE)
def test_a_missing_file_is_one_line(module, tmp_path, capsys):
    assert run(module, MISSING_FILE[module], tmp_path) == CANNOT
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    assert 'gone.onnx' in errors[0]


@pytest.mark.parametrize('module', MISSING_FILE)
def test_an_unknown_option_is_wrong_use(module, tmp_path, capsys):
    assert run(module, ['--no-such-option'], tmp_path) == WRONG_USE
    assert 'error: ' in capsys.readouterr().err


@pytest.mark.parametrize('module', CONTRADICTION)
def test_a_contradiction_is_wrong_use(module, tmp_path, capsys):
    assert run(module, CONTRADICTION[module], tmp_path) == WRONG_USE
    assert 'error: ' in capsys.readouterr().err
