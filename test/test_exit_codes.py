"""One table of exit codes for all commands: the same kind of mistake gives the same code, and a line that says why."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import cv2
import numpy as np
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
CLIP, MESH = 'config/submarine/demo/clip.mp4', 'config/submarine/submarine.glb'
# Arguments with a value that can never be right, whatever files there are, and what the line says.
WRONG_VALUE = [
    ('custom_pose_ros.tools.predict', ['a.png', '--object', 'submarin'], 'installed objects: '),
    ('custom_pose_ros.tools.predict', ['a.png', '--precision', 'f31'], "'f32'"),
    ('custom_pose_ros.tools.predict', ['a.png', '--outline', 'atuo'], 'wanted auto, off or a file'),
    ('custom_pose_ros.tools.predict', ['PICTURE', '--backend', 'torch', '--precision', 'int8'], 'only f32'),
    ('custom_pose_ros.tools.predict', ['PICTURE', '--object', 'face', '--model', 'x.onnx'], 'takes no model'),
    ('custom_pose_ros.tools.analyze_object', ['submarin'], 'installed objects: '),
    ('custom_pose_ros.tools.analyze_object', ['submarine', '--noise', '1e300'], 'from 0.001 to 1000'),
    ('custom_pose_ros.tools.analyze_object', ['submarine', '--mesh', MESH, '--seen-from', 'top'], "'above'"),
    ('custom_pose_ros.tools.analyze_object', ['submarine', '--seen-from', 'above'], 'give it with --mesh'),
    ('custom_pose_ros.tools.analyze_object', ['submarine', '--mesh', MESH, '--mesh-axes', 'f,l,u'], 'three of x'),
    ('custom_pose_ros.tools.evaluate_bag', ['bag', '--extrinsics', 'auot'], 'wanted auto, identity, estimate or'),
    ('custom_pose_ros.tools.evaluate_bag', ['bag', '--extrinsics', 'identity'], 'give --truth'),
    ('custom_pose_ros.tools.demo', ['--object', 'submarin', '--out', 'OUT'], 'installed objects: '),
    ('training.adapt', ['--model', 'submarin', '--footage', CLIP, '--steps', '1', '--out', 'OUT'], 'installed'),
    ('training.adapt', ['--model', 'submarine', '--footage', CLIP, '--image', '/x', '--steps', '1', '--out', 'OUT'],
     'is none: leave it out'),
    ('training.choose_keypoints', ['--mesh', MESH, '--choose', '8', '--mesh-axes', 'x,y,-z', '--out', 'OUT'],
     'right-handed'),
    ('training.evaluate', ['submarin', '--data', 'a', '--out', 'OUT'], 'installed objects: '),
    ('training.export_onnx', ['a.pth', '--object', 'submarin'], 'installed objects: '),
    ('training.export_tensorrt', ['a.pth', '--size', '100', '128'], 'a multiple of 32'),
    ('training.measure_object', ['LABELS', '--category', 'bot', '--out', 'OUT'], 'the file has box'),
    ('training.measure_object', ['LABELS', '--length', 'a', 'z', '1', '--out', 'OUT'], 'two of a, b, c, d'),
    ('training.measure_object', ['LABELS', '--forward', 'a', 'a', '--out', 'OUT'], 'two different keypoints'),
    ('training.outline', ['--object', 'submarin', '--out', 'OUT.npz'], 'installed objects: '),
    ('training.prelabel', ['submarin', 'photos', '--out', 'OUT.json'], 'installed objects: '),
    ('training.prelabel', ['--footage', CLIP, '--image', '/x', '--out', 'OUT'], 'is none: leave it out'),
    ('training.prepare_dataset', ['LABELS', '--category', 'bot', '--check'], 'the file has box'),
    ('training.synthesize', ['--object', 'submarin', '--out', 'OUT'], 'installed objects: '),
    ('training.synthesize', ['--object', 'submarine', '--mesh-axes', 'x,x,z', '--out', 'OUT'], 'right-handed'),
    ('training.train', ['--object', 'submarine', '--data', 'a', '--steps', '1', '--weights', 'imgnet', '--out', 'OUT'],
     'wanted auto, imagenet, none or a file'),
    ('training.train', ['--object', 'submarine', '--data', 'a', '--steps', '1', '--weight', '-1', '--out', 'OUT'],
     'from 0 to'),
    ('training.train', ['--object', 'submarine', '--data', 'a', '--steps', '1', '--weight', '0', '--out', 'OUT'],
     'every --weight is 0'),
    ('training.train', ['--object', 'submarine', '--data', 'a', '--steps', '1', '--weights', 'imagenet',
                        '--architecture', 'lightweight_openpose', '--out', 'OUT'], 'is for --architecture light;'),
]  # fmt: skip
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
    places |= {'PICTURE': str(folder / 'a.png'), 'LABELS': str(folder / 'labels.json')}
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
    told = capsys.readouterr().err
    assert told.startswith('error: ') and told.count('\n') == 1  # without the usage of all options


@pytest.mark.parametrize('module', CONTRADICTION)
def test_a_contradiction_is_wrong_use(module, tmp_path, capsys):
    assert run(module, CONTRADICTION[module], tmp_path) == WRONG_USE
    assert 'error: ' in capsys.readouterr().err


@pytest.fixture
def inputs(tmp_path) -> Path:
    """Return a folder with a sound picture and sound labels."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((48, 64, 3), np.uint8))
    box = {'id': 1, 'name': 'box', 'keypoints': list('abcd'), 'skeleton': []}
    label = {'id': 1, 'image_id': 1, 'category_id': 1, 'keypoints': [9, 9, 2, 40, 9, 2, 40, 30, 2, 9, 30, 2]}
    image = {'id': 1, 'file_name': 'a.png', 'width': 64, 'height': 48}
    content = {'images': [image], 'annotations': [label], 'categories': [box]}
    (tmp_path / 'labels.json').write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize(('module', 'arguments', 'text'), WRONG_VALUE)
def test_a_value_that_can_never_be_right_is_wrong_use(module, arguments, text, inputs, root, monkeypatch, capsys):
    monkeypatch.chdir(root)  # paths of CLIP and MESH
    before = sorted(inputs.iterdir())
    assert run(module, arguments, inputs) == WRONG_USE
    errors = [line for line in capsys.readouterr().err.splitlines() if 'error: ' in line]
    assert len(errors) == 1
    assert text in errors[0]
    assert sorted(inputs.iterdir()) == before


@pytest.mark.parametrize('value', ['gone.npz', 'gone/outline'])
def test_a_file_that_is_missing_is_no_misspelt_name(value, inputs, capsys):
    assert run('custom_pose_ros.tools.predict', ['PICTURE', '--no-save', '--outline', value], inputs) == CANNOT
    assert f'error: {value}: cannot be read' in capsys.readouterr().err
