"""What the machine must have before anything can be installed; what is missing is named with the package to install."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
ROS_VARIABLES = (
    'AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH',
    'ROS_DISTRO', 'ROS_PYTHON_VERSION', 'ROS_VERSION',
)  # fmt: skip
WHEELS_MARK = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'  # set by an environment of ROS wheels for its children


class SetupError(Exception):
    """What went wrong and what to do about it, for the person at the terminal."""


def sourced_distro() -> str | None:
    """Return the ROS 2 distribution this shell has sourced, or None."""
    if os.environ.get('ROS_DISTRO') and os.environ.get('AMENT_PREFIX_PATH'):
        return os.environ['ROS_DISTRO']
    return None


def check_python(target: str) -> None:
    """Refuse an interpreter that the packages are not made for."""
    release = sys.version_info[:2]
    if OLDEST_PYTHON <= release <= NEWEST_PYTHON:
        return
    minors = range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)
    found = [name for name in (f'python3.{minor}' for minor in minors) if _runs(name)]
    age = 'old' if release < OLDEST_PYTHON else 'new'
    hint = f'try: PYTHON={found[0]}' if found else 'install one and name it: PYTHON=python3.12'
    raise SetupError(
        f'Python {release[0]}.{release[1]} ({sys.executable}) is too {age}: wanted {_text(OLDEST_PYTHON)} to '
        f'{_text(NEWEST_PYTHON)}; {hint} make {target}'
    )


def check_tools(compiler: bool, colcon: bool) -> None:
    """Name everything that is missing at once, with the Debian or Ubuntu packages that bring it."""
    python = f'python{_text(sys.version_info[:2])}'
    missing = []
    if not all(importlib.util.find_spec(module) for module in ('venv', 'ensurepip')):
        missing.append(('the venv module', f'{python}-venv'))
    if compiler:
        for variable, default, package in (('CC', 'cc', 'gcc'), ('CXX', 'c++', 'g++')):
            command = os.environ.get(variable, default).split()[0]
            if not shutil.which(command):
                missing.append((f'the compiler {command!r}', package))
        if not Path(sysconfig.get_path('include'), 'Python.h').is_file():
            missing.append(('the header Python.h', f'{python}-dev'))
    if colcon and not shutil.which('colcon'):
        missing.append(('colcon', 'python3-colcon-common-extensions'))
    if missing:
        raise SetupError(
            f'missing: {", ".join(what for what, _ in missing)}. On Debian or Ubuntu: '
            f'sudo apt install {" ".join(package for _, package in missing)}'
        )


def check_wheels() -> None:
    """Refuse a machine that the ROS wheels are not made for."""
    if sys.platform != 'linux' or platform.machine() != 'x86_64':
        raise SetupError(
            f'PyPI has ROS 2 for Linux on x86-64 only, this is {platform.system()} on {platform.machine()}: '
            'install ROS 2 (Humble or newer), source its setup file, run make again'
        )


def environment_without_ros() -> dict[str, str]:
    """Return the environment less what a sourced ROS, or an outer environment of ROS wheels, has put into it."""
    hidden = set(ROS_VARIABLES) if sourced_distro() else set()
    if WHEELS_MARK in os.environ:
        hidden |= {WHEELS_MARK, 'LD_LIBRARY_PATH'}
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _runs(command: str) -> bool:
    return (
        shutil.which(command) is not None and subprocess.run([command, '-c', ''], capture_output=True).returncode == 0
    )


def _text(release: tuple[int, int]) -> str:
    return f'{release[0]}.{release[1]}'
