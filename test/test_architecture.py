"""Who may import whom (CONTRIBUTING.md): checked on the syntax tree of every module, and by importing the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'custom_pose_ros'

# Layer -> layers it may import besides itself. A layer is a folder of custom_pose_ros, or training.
ALLOWED = {
    '': {'core', 'inference'},  # custom_pose_ros/__init__.py, the public names
    'core': set(),
    'inference': {'core'},
    'evaluation': {'core', 'inference'},
    'nodes': {'core', 'inference'},
    'tools': {'core', 'inference', 'evaluation', 'nodes'},
    'training': {'core', 'inference', 'evaluation'},  # evaluation: the reader of bags
}
# The same within these folders: every part, a folder or a file, may import itself and those in earlier rows.
ORDER = {
    'custom_pose_ros/core': (
        ('errors', 'limits'),
        ('command_line', 'files', 'xml_files'),
        ('pictures', 'video_file', 'yaml_files'),
        ('geometry',),
        ('keypoint_names',),
        ('object_checks',),
        ('object_file',),
        ('object_model',),
        ('keypoints', 'labels'),
        ('orientation',),
        ('measuring', 'drawing'),
    ),
    'custom_pose_ros/inference': (
        ('network', 'image_messages', 'pose_messages', 'camera_calibration', 'layouts'),
        ('checkpoints',),
        ('backends',),
        ('faces',),
        ('estimator',),
        ('copies',),
    ),
    'custom_pose_ros/evaluation': (
        ('notes', 'frame_result'),
        ('bags',),
        ('truth',),
        ('evaluation_settings',),
        ('frames',),
        ('scoring',),
        ('evaluator',),
        ('report',),
    ),
    'custom_pose_ros/nodes': (('ros',), ('pose', 'orientation'), ('both_nodes',), ('commands',)),
    'training': (
        ('pose_training', 'synthetic'),
        (
            'adapt',
            'choose_keypoints',
            'evaluate',
            'export_onnx',
            'export_tensorrt',
            'measure_object',
            'outline',
            'prelabel',
            'prepare_dataset',
            'quantize',
            'synthesize',
            'train',
        ),
    ),
    'training/pose_training': (
        ('labels',),
        ('networks', 'footage', 'measuring'),
        ('data',),
        ('judging',),
        ('learning', 'export'),
        ('adapting',),
    ),
    'training/synthetic': (('settings',), ('geometry',), ('rendering',), ('scenes',), ('output', 'choosing')),
}
# External package -> where alone it may be imported.
HOMES = {
    'torch': (
        'custom_pose_ros/inference/network.py',
        'custom_pose_ros/inference/checkpoints.py',
        'custom_pose_ros/inference/backends/',
        'training/',
    ),
    'vtk': ('training/',),
    'rclpy': ('custom_pose_ros/nodes/', 'custom_pose_ros/tools/'),
    'custom_pose_msgs': ('custom_pose_ros/nodes/', 'custom_pose_ros/tools/'),
    'onnxruntime': ('custom_pose_ros/inference/', 'training/'),
    'training': ('training/',),
}
MOST_MODULES = 14  # in one folder
CALLED_FROM_OUTSIDE = {'on_error', 'backend_name'}  # by rclpy, by users
CORE_LIBRARIES = {'numpy', 'cv2', 'yaml', 'tqdm'}


def modules() -> list[Path]:
    return sorted([*(ROOT / PACKAGE).rglob('*.py'), *(ROOT / 'training').rglob('*.py')])


def layer(path: Path) -> str:
    """Return the layer of a file."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == 'training':
        return 'training'
    return parts[1] if len(parts) > 2 else ''


def part(folder: str, path: Path) -> str | None:
    """Return the folder, or else the file, directly in a folder that a module belongs to, None outside of it."""
    name = path.relative_to(ROOT).with_suffix('').as_posix()
    rest = name.removeprefix(folder + '/') if name.startswith(folder + '/') else ''
    return rest.split('/')[0] if rest and rest != '__init__' else None


def step(folder: str, name: str) -> int:
    """Return the row of a part in ORDER."""
    return next(row for row, parts in enumerate(ORDER[folder]) if name in parts)


def module_path(module: str) -> Path:
    """Return where a module, or a name in a module, would lie; the longest existing prefix decides."""
    path = ROOT / module.replace('.', '/')
    while not path.is_dir() and not path.with_suffix('.py').is_file() and path != ROOT:
        path = path.parent
    return path / '__init__.py' if path.is_dir() else path.with_suffix('.py')


def against_the_order(path: Path, module: str) -> str | None:
    """Return the part that imports upwards or sideways within one of the ordered folders, None when all is well."""
    for folder in ORDER:
        here, there = part(folder, path), part(folder, module_path(module))
        if here and there and here != there and step(folder, there) >= step(folder, here):
            return here
    return None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and absolute module name of every import in a file; `from a import b` yields a.b."""
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[: len(package) - node.level + 1]) if node.level else ''
            for alias in node.names:
                yield node.lineno, '.'.join(filter(None, (base, node.module, alias.name)))


def complaints(path: Path) -> list[str]:
    """Return what a file imports against the rules."""
    found = []
    here, name = layer(path), path.relative_to(ROOT).as_posix()
    for line, module in imports(path):
        parts = module.split('.')
        if wrong := against_the_order(path, module):
            found.append(f'{name}:{line}: {wrong} must not import {module}')
        if parts[0] == PACKAGE and len(parts) > 1:
            target = parts[1] if (ROOT / PACKAGE / parts[1]).is_dir() else ''
            if target not in {here, *ALLOWED[here]} and target:
                found.append(f'{name}:{line}: {here or PACKAGE} must not import {module}')
        elif here == 'core' and parts[0] not in {*CORE_LIBRARIES, *sys.stdlib_module_names, PACKAGE}:
            found.append(f'{name}:{line}: core may import {", ".join(sorted(CORE_LIBRARIES))} only, not {parts[0]}')
        elif parts[0] in HOMES and not name.startswith(HOMES[parts[0]]):
            found.append(f'{name}:{line}: {parts[0]} may be imported in {", ".join(HOMES[parts[0]])} only')
    return found


@pytest.mark.parametrize('path', modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_downward(path: Path):
    assert complaints(path) == []


def test_every_folder_is_a_known_layer():
    """A new folder has to be given its place in the rules above."""
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir() and any(path.glob('*.py'))}
    assert folders <= set(ALLOWED)


@pytest.mark.parametrize('folder', ORDER)
def test_every_part_of_an_ordered_folder_has_its_row(folder):
    parts = {part(folder, path) for path in (ROOT / folder).rglob('*.py')} - {None}
    assert parts == {name for row in ORDER[folder] for name in row}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('import scipy.optimize', 'core may import cv2, numpy, tqdm, yaml only, not scipy'),
        ('from custom_pose_ros.nodes import markers', 'core must not import custom_pose_ros.nodes.markers'),
        ('def f():\n    from custom_pose_ros.inference.estimator import PoseEstimator', 'core must not import'),
        ('from ..tools import predict', 'core must not import custom_pose_ros.tools.predict'),
    ],
)
def test_a_violation_is_found(tmp_path, monkeypatch, text, expected):
    """The walk itself works: it sees lazy and relative imports."""
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    for name in ('core', 'nodes', 'tools', 'inference'):
        (tmp_path / PACKAGE / name).mkdir(parents=True)
    path = tmp_path / PACKAGE / 'core' / 'bad.py'
    path.write_text(text, encoding='utf-8')
    assert [expected in complaint for complaint in complaints(path)] == [True]


@pytest.mark.parametrize(
    ('name', 'text', 'expected'),
    [
        ('custom_pose_ros/evaluation/bags/bad.py', 'import custom_pose_ros.evaluation.truth.source', 'bags must not'),
        (
            'custom_pose_ros/core/geometry/bad.py',
            'from custom_pose_ros.core.keypoints import pafs',
            'geometry must not',
        ),
        ('custom_pose_ros/nodes/pose/bad.py', 'import custom_pose_ros.nodes.orientation.markers', 'pose must not'),
        ('training/synthetic/scenes/bad.py', 'import training.synthetic.output.clip', 'scenes must not'),
    ],
)
def test_a_violation_within_a_folder_is_found(tmp_path, monkeypatch, name, text, expected):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding='utf-8')
    target = tmp_path / text.split('import ')[-1].split(' ')[0].replace('.', '/')
    (target if 'from' not in text else tmp_path / 'custom_pose_ros/core/keypoints').mkdir(parents=True)
    assert [expected in complaint for complaint in complaints(path)] == [True]


def test_a_module_name_means_one_thing():
    names = Counter(path.stem for path in modules() if path.stem != '__init__')
    assert [name for name, count in names.items() if count > 1] == []


def test_a_class_name_means_one_thing():
    trees = (ast.parse(path.read_text(encoding='utf-8')) for path in modules())
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_folder_can_be_overlooked():
    sizes = Counter(path.parent for path in modules() if path.stem != '__init__')
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_everything_defined_is_used_by_the_product():
    """What only a test uses is not part of the product; names that a framework calls are left out."""
    texts = {path: path.read_text(encoding='utf-8') for path in modules()}
    words = Counter(word for text in texts.values() for word in re.findall(r'\w+', text))
    unused = [
        f'{path.relative_to(ROOT).as_posix()}: {node.name}'
        for path, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and words[node.name] == 1
        and node.name[:1] != '_'
        and node.name not in CALLED_FROM_OUTSIDE
    ]
    assert unused == []


def test_importing_the_package_stays_light():
    """`import custom_pose_ros` and its public names load neither ROS nor a network runtime."""
    code = (
        'import sys; from custom_pose_ros import KeypointPose, ObjectModel, PoseEstimator; '
        'heavy = {"torch", "rclpy", "onnxruntime", "vtk", "matplotlib", "scipy"}; '
        'print(sorted(heavy & set(sys.modules)))'
    )
    answer = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (answer.returncode, answer.stdout.strip()) == (0, '[]'), answer.stderr
