"""What a command says where a package that only it needs is missing."""

from __future__ import annotations

import configparser
import subprocess
import sys

import pytest

from custom_pose_ros.core.optional import optional_packages, pip_install


@pytest.mark.parametrize('missing', ['rosbags', 'matplotlib', 'lz4'])
def test_evaluate_bag_names_what_is_missing_in_one_line(root, missing):
    """As after `pip install .`, or on a robot whose distribution has no rosbags."""
    code = f'import sys; sys.modules[{missing!r}] = None; import custom_pose_ros.tools.evaluate_bag'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: evaluate_bag needs {missing}')
    assert "which is not installed: pip install 'backports.zstd' 'lz4' 'rosbags'" in line


@pytest.mark.parametrize(
    ('command', 'missing'),
    [('train', 'torch'), ('export_onnx', 'torch'), ('export_tensorrt', 'torch'), ('evaluate', 'pycocotools')],
)
def test_a_training_script_names_what_is_missing_in_one_line(root, command, missing):
    """As after `make demo`, which installs neither of them."""
    code = f'import sys; sys.modules[{missing!r}] = None; import runpy; runpy.run_path("training/{command}.py")'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'error: {command} needs {missing}')
    assert 'pip install' in line and "'torch'" in line


def test_synthesize_names_everything_it_needs(root):
    """As after `make demo`: VTK alone would only lead to the next missing one."""
    code = 'import sys; sys.modules["trimesh"] = None; import training.synthesize'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith('error: synthesize needs trimesh')
    assert "'trimesh' 'vtk'" in line


def test_what_two_extras_need_is_named_once():
    words = pip_install(['quantization', 'training']).split()
    assert len(words) == len(set(words)) > 3


def test_the_packages_are_those_of_setup_cfg(root):
    parser = configparser.ConfigParser()
    parser.read(root / 'setup.cfg')
    listed = [
        line.partition(';')[0].strip()
        for extra in ('bags', 'report')
        for line in parser['options.extras_require'][extra].strip().splitlines()
    ]
    words = pip_install(['bags', 'report']).removeprefix('pip install ').split(' ')
    assert sorted(words) == sorted(f"'{name}'" for name in listed)


def test_a_module_of_this_project_that_is_missing_is_no_package_to_install():
    with pytest.raises(ModuleNotFoundError), optional_packages('command', ['bags']):
        import custom_pose_ros.nothing_like_it  # noqa: F401
