"""What users install: package.xml, setup.cfg, the pins, and a wheel that works without ROS and this checkout."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from declared_packages import console_scripts, declared_modules, dependencies

ROOT = Path(__file__).resolve().parents[1]
MADE_BY_MAKE = Path(sys.prefix, '.stamps/packages-test').is_file() and Path(sys.prefix).parent == ROOT
ROS_SUFFIXES = ('_msgs', '_srvs', '_interfaces')
ROS_MODULES = {'rclpy', 'cv_bridge', 'tf2_ros', 'launch', 'launch_ros', 'ament_index_python'}


def requirements(text: str) -> list[str]:
    return [line for line in (line.partition('#')[0].strip() for line in text.splitlines()) if line]


def distribution(requirement: str) -> str:
    """Return the normalised name in a requirement (PEP 503)."""
    return re.sub('[-_.]+', '-', re.split(r'[\s<>=!~;\[]', requirement)[0]).lower()


@pytest.fixture(scope='module')
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / 'setup.cfg', encoding='utf-8')
    return parser


@pytest.fixture(scope='module')
def pins() -> list[str]:
    files = (ROOT / 'constraints.txt', ROOT / '.make/requirements/faces.txt')  # the second has its own
    return [pin for file in files for pin in requirements(file.read_text(encoding='utf-8'))]


def test_one_version_everywhere(setup_cfg):
    manifests = [ROOT / 'package.xml', ROOT / 'custom_pose_msgs/package.xml']
    versions = {path.parent.name: ElementTree.parse(path).getroot().findtext('version') for path in manifests}
    assert set(versions.values()) == {setup_cfg['metadata']['version']}


@pytest.mark.parametrize(('folder', 'expected'), [('.', 'ros.ament_python'), ('custom_pose_msgs', 'ros.ament_cmake')])
def test_colcon_recognises_the_package(folder, expected):
    """An invalid package.xml makes colcon take the folder for a plain Python package, without a word."""
    ros = pytest.importorskip('colcon_ros.package_identification.ros', reason='colcon is missing: run `make test`')
    from colcon_core.package_descriptor import PackageDescriptor

    descriptor = PackageDescriptor(ROOT / folder)
    ros.RosPackageIdentification().identify(descriptor)
    assert descriptor.type == expected


@pytest.mark.parametrize('folder', ['.', 'custom_pose_msgs'])
def test_the_changelog_is_as_bloom_reads_it(folder, setup_cfg):
    """A release gives the section Forthcoming its version and date (catkin_prepare_release); then it must be found."""
    changelog = pytest.importorskip('catkin_pkg.changelog', reason='catkin_pkg is missing: run `make test`')
    text = (ROOT / folder / 'CHANGELOG.rst').read_text(encoding='utf-8')
    released = f'{setup_cfg["metadata"]["version"]} (2026-01-01)'
    text = re.sub(r'^Forthcoming\n-+$', f'{released}\n{"-" * len(released)}', text, flags=re.MULTILINE)
    read = changelog.populate_changelog_from_rst(changelog.Changelog(), text)
    (newest, _, items), *_ = read.foreach_version()
    assert newest == setup_cfg['metadata']['version']
    assert items
    name = ElementTree.parse(ROOT / folder / 'package.xml').getroot().findtext('name')
    assert text.splitlines()[1] == f'Changelog for package {name}'


def test_package_xml_is_valid():
    catkin_pkg = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is missing: run `make test`')
    for folder in (ROOT, ROOT / 'custom_pose_msgs', ROOT / 'test/interfaces/tf2_msgs'):
        complaints: list[str] = []
        package = catkin_pkg.parse_package(folder / 'package.xml', warnings=complaints)
        package.validate(warnings=complaints)
        assert complaints == []
        assert package.package_format == 3


def test_every_imported_ros_package_is_a_dependency():
    imported = set()
    for path in [*(ROOT / 'custom_pose_ros').rglob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            imported |= {name.split('.')[0] for name in names}
    ros = {name for name in imported if name in ROS_MODULES or name.endswith(ROS_SUFFIXES)}
    assert {'rclpy', 'sensor_msgs', 'custom_pose_msgs', 'launch'} <= ros
    assert ros - dependencies(ROOT / 'package.xml') == {'builtin_interfaces'}  # part of every *_msgs


# Hides the modules named in $HIDDEN, as if they were not installed.
HIDING = """
import importlib.machinery, os, sys

hidden = set(os.environ['HIDDEN'].split())


class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition('.')[0] in hidden else super().find_spec(name, path, target)


sys.meta_path[:] = [Without if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


def test_the_tests_are_collected_with_what_package_xml_names(setup_cfg, tmp_path):
    """`colcon test` after `rosdep install`: what needs an extra of setup.cfg is skipped, and nothing fails for it."""
    lists = setup_cfg['options.extras_require'].values()
    extras = {distribution(line) for text in lists for line in requirements(text)}
    modules = importlib.metadata.packages_distributions()
    hidden = {module for module, names in modules.items() if {distribution(name) for name in names} & extras}
    hidden -= declared_modules()
    assert {'torch', 'rosbags', 'onnx'} <= hidden or not MADE_BY_MAKE
    assert not hidden & {'numpy', 'cv2', 'yaml', 'pytest', 'hypothesis'}
    (tmp_path / 'hiding.py').write_text(HIDING, encoding='utf-8')
    paths = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'hiding', '--collect-only', '-p', 'no:cacheprovider', 'test'],
        cwd=ROOT, capture_output=True, text=True, timeout=250,
        env={**os.environ, 'PYTHONPATH': paths, 'HIDDEN': ' '.join(hidden)},
    )  # fmt: skip
    problems = [line for line in done.stdout.splitlines() if line.startswith(('ERROR', 'INTERNALERROR'))]
    assert problems == []
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_message_packages_are_declared_to_cmake():
    """Every package whose types the messages use stands in CMakeLists.txt and package.xml."""
    texts = [path.read_text(encoding='utf-8') for path in (ROOT / 'custom_pose_msgs/msg').glob('*.msg')]
    used = {match for text in texts for match in re.findall(r'^(\w+)/\w+', text, re.MULTILINE)} - {'custom_pose_msgs'}
    cmake = (ROOT / 'custom_pose_msgs/CMakeLists.txt').read_text(encoding='utf-8')
    assert used
    assert used <= dependencies(ROOT / 'custom_pose_msgs/package.xml')
    assert used <= set(re.search(r'DEPENDENCIES ([\w ]+)', cmake).group(1).split())
    for path in (ROOT / 'custom_pose_msgs/msg').glob('*.msg'):
        assert f'"msg/{path.name}"' in cmake


def test_every_pin_is_exact_and_every_requirement_pinned(setup_cfg, pins):
    assert [pin for pin in pins if not re.fullmatch(r'[\w.-]+==[\w.]+(; python_version .*)?', pin)] == []
    lists = [setup_cfg['options']['install_requires'], *setup_cfg['options.extras_require'].values()]
    lists += [path.read_text(encoding='utf-8') for path in (ROOT / '.make/requirements').glob('*.txt')]
    wanted = {distribution(requirement) for text in lists for requirement in requirements(text)}
    jazzy = requirements((ROOT / '.make/pins/jazzy.txt').read_text(encoding='utf-8'))
    assert wanted - {distribution(pin) for pin in [*pins, *jazzy]} == set()


@pytest.mark.skipif(not MADE_BY_MAKE, reason='only in the environment that `make test` makes')
def test_everything_installed_is_pinned(pins):
    from packaging.requirements import Requirement

    if os.environ.get('ROS_DISTRO'):
        pytest.skip('on a ROS 2 distribution its own versions count')
    override = Path(sys.prefix).name.partition('.venv-')[2]
    if override:
        pins = [*pins, *requirements((ROOT / f'.make/pins/{override}.txt').read_text(encoding='utf-8'))]
    parsed = [Requirement(pin) for pin in pins]
    allowed = {}
    for pin in parsed:
        if pin.marker is None or pin.marker.evaluate():
            allowed.setdefault(distribution(pin.name), []).append(pin.specifier)
    wheels = [d for d in importlib.metadata.distributions() if d.read_text('WHEEL')]  # not what ROS lays beside them
    wrong = {
        distribution(wheel.name): wheel.version
        for wheel in wheels
        if distribution(wheel.name) != 'custom-pose-ros'
        and not any(wheel.version in s for s in allowed.get(distribution(wheel.name), []))
    }
    assert len(wheels) > 100
    assert wrong == {}


def test_every_command_exists():
    """Each console script names a function of a module of this package."""
    assert {'pose_node', 'orientation_node', 'predict', 'demo'} <= set(console_scripts())
    for command in console_scripts().values():
        module, _, function = command.partition(':')
        path = ROOT / 'custom_pose_ros' / f'{module.replace(".", "/")}.py'
        functions = {node.name for node in ast.parse(path.read_text(encoding='utf-8')).body if hasattr(node, 'name')}
        assert function in functions, path


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A copy of what the package is built from, so that a build leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp('source')
    for name in ('custom_pose_ros', 'config', 'launch', '.make/resource'):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'package.xml', 'README.md', 'LICENSE', 'NOTICE'):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope='module')
def wheel(source) -> Path:
    """Build as for a release: the source archive, and the wheel from what is in the archive."""
    pytest.importorskip('build', reason='build is missing: run `make test`')
    command = [sys.executable, '-m', 'build', '--no-isolation', '.']
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=280)
    assert built.returncode == 0, built.stderr
    return next((source / 'dist').glob('*.whl'))


def test_colcon_builds_the_package(source, tmp_path):
    """Executables lie where `ros2 run` and `ros2 launch` look, object files where the nodes look."""
    pytest.importorskip('colcon_ros', reason='colcon is missing: run `make test`')
    command = [sys.executable, '-m', 'colcon', '--log-base', 'log', 'build', '--merge-install', '--base-paths', source]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert built.returncode == 0, built.stderr
    assert 'Traceback' not in built.stderr
    installed = tmp_path / 'install'
    assert {path.name for path in (installed / 'lib/custom_pose_ros').iterdir()} == set(console_scripts())
    share = installed / 'share/custom_pose_ros'
    assert (share / 'config/submarine/model.onnx').is_file()
    assert (share / 'launch/custom_pose.launch.py').is_file()
    assert (installed / 'share/ament_index/resource_index/packages/custom_pose_ros').is_file()


def test_wheel_carries_objects_launch_files_and_commands(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = archive.read('custom_pose_ros-0.1.0.dist-info/entry_points.txt').decode()
    shared = 'custom_pose_ros-0.1.0.data/data/share'
    assert 'custom_pose_ros/config/submarine/object.yaml' in names
    assert 'custom_pose_ros/config/submarine/demo/clip.mp4' in names
    assert 'custom_pose_ros/evaluation/scoring/metrics.schema.json' in names
    assert f'{shared}/ament_index/resource_index/packages/custom_pose_ros' in names
    assert f'{shared}/custom_pose_ros/package.xml' in names
    assert f'{shared}/custom_pose_ros/launch/custom_pose.launch.py' in names
    assert f'{shared}/custom_pose_ros/config/pose_node.yaml' in names
    assert f'{shared}/custom_pose_ros/config/submarine/object.yaml' in names
    assert [name for name in names if name.startswith(('training/', 'test/', 'custom_pose_msgs/'))] == []
    assert 'predict = custom_pose_ros.tools.predict:main' in entry_points


def test_the_installed_wheel_runs_the_lines_of_the_readme(wheel, tmp_path):
    """As after `pip install` somewhere without this checkout: objects by name, the model beside them."""
    target = tmp_path / 'site'
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index', '--target', target, wheel]
    subprocess.run(command, check=True, timeout=120)
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    lines = re.search(r'^```python\n(.*?)^```', readme, re.MULTILINE | re.DOTALL).group(1)
    photo = (
        'import cv2, custom_pose_ros; from custom_pose_ros.core.object_file import installed_objects\n'
        'clip = installed_objects()["submarine"] / "demo/clip.mp4"\n'
        'cv2.imwrite("photo.jpg", cv2.VideoCapture(str(clip)).read()[1])'
    )
    shown = 'print(custom_pose_ros.__file__, estimates[0].keypoints_used, *installed_objects(), sep="\\n")'
    answer = subprocess.run(
        [sys.executable, '-c', '\n'.join([photo, lines, shown])],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(target)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    package, keypoints, *objects = answer.stdout.splitlines()
    assert (package, keypoints) == (str(target / 'custom_pose_ros/__init__.py'), '4')
    assert set(objects) == {path.parent.name for path in (ROOT / 'config').glob('*/object.yaml')}


def test_ci_runs_what_contributors_run():
    script = (ROOT / '.ci/run').read_text(encoding='utf-8')
    assert os.access(ROOT / '.ci/run', os.X_OK)
    assert [line for line in script.splitlines() if line.startswith(('set', 'make'))] == [
        'set -euo pipefail',
        'make lint',
        'make test',
    ]
    listed = subprocess.run(['make', 'help'], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    targets = ['help', 'demo', 'face', 'test', 'test-oldest', 'bench', 'soak', 'docs', 'lint']
    assert re.findall('make ([a-z-]+)', listed) == targets
