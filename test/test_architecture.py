"""Who may import whom (CONTRIBUTING.md): checked on the syntax tree of every module, and by importing the package."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    'training': {'core', 'inference'},
}
# The same within custom_pose_ros/evaluation: every part may import those before it. Names of folders and files.
EVALUATION = (
    ('notes', 'provenance', 'rigid', 'records'),
    ('bags',),
    ('truth',),
    ('results',),
    ('scoring',),
    ('run',),
    ('report',),
)
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
CORE_LIBRARIES = {'numpy', 'cv2', 'yaml'}
NODES = ('pose_node', 'orientation_node')


def modules() -> list[Path]:
    return sorted([*(ROOT / PACKAGE).rglob('*.py'), *(ROOT / 'training').rglob('*.py')])


def layer(path: Path) -> str:
    """Return the layer of a file."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == 'training':
        return 'training'
    return parts[1] if len(parts) > 2 else ''


def evaluation_part(path: Path) -> str:
    """Return the folder, or else the file, within evaluation."""
    return path.relative_to(ROOT / PACKAGE / 'evaluation').with_suffix('').parts[0]


def evaluation_step(part: str) -> int:
    return next(step for step, parts in enumerate(EVALUATION) if part in parts)


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
        if parts[0] == PACKAGE and len(parts) > 1:
            target = parts[1] if (ROOT / PACKAGE / parts[1]).is_dir() else ''
            if target not in {here, *ALLOWED[here]} and target:
                found.append(f'{name}:{line}: {here or PACKAGE} must not import {module}')
            if here == parts[1] == 'evaluation' and evaluation_step(parts[2]) > evaluation_step(evaluation_part(path)):
                found.append(f'{name}:{line}: {evaluation_part(path)} must not import {module}')
            if here == 'nodes' and path.stem in NODES and parts[1] == 'nodes' and parts[2] in NODES:
                found.append(f'{name}:{line}: nodes must not import each other')
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
    parts = {evaluation_part(path) for path in (ROOT / PACKAGE / 'evaluation').rglob('*.py')}
    assert parts == {'__init__', *(part for step in EVALUATION for part in step)}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('import scipy.optimize', 'core may import cv2, numpy, yaml only, not scipy'),
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


def test_a_violation_within_evaluation_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'ROOT', tmp_path)
    path = tmp_path / PACKAGE / 'evaluation' / 'bags' / 'bad.py'
    path.parent.mkdir(parents=True)
    path.write_text('from custom_pose_ros.evaluation.truth import source', encoding='utf-8')
    assert complaints(path) == [
        'custom_pose_ros/evaluation/bags/bad.py:1: bags must not import custom_pose_ros.evaluation.truth.source'
    ]


def test_importing_the_package_stays_light():
    """`import custom_pose_ros` and its public names load neither ROS nor a network runtime."""
    code = (
        'import sys; from custom_pose_ros import KeypointPose, ObjectModel, PoseEstimator; '
        'heavy = {"torch", "rclpy", "onnxruntime", "vtk", "matplotlib", "scipy"}; '
        'print(sorted(heavy & set(sys.modules)))'
    )
    answer = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (answer.returncode, answer.stdout.strip()) == (0, '[]'), answer.stderr
