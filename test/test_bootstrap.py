"""The set-up behind `make`: what it says when something is missing, when it does a step again, what it pins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / '.make'))

import environment  # noqa: E402
import machine  # noqa: E402
import pins  # noqa: E402
import steps  # noqa: E402


@pytest.fixture(autouse=True)
def unsourced(monkeypatch):
    """Start from a shell without ROS."""
    for variable in machine.ROS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def sourced(monkeypatch):
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/opt/ros/humble')
    monkeypatch.setenv('PYTHONPATH', '/opt/ros/humble/lib/python3.10/site-packages')


@pytest.mark.parametrize(('release', 'word'), [((3, 9), 'too old'), ((3, 14), 'too new')])
def test_an_unfit_python_is_named_with_a_way_out(monkeypatch, tmp_path, release, word):
    monkeypatch.setattr(sys, 'version_info', (*release, 0))
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(machine.SetupError) as error:
        machine.check_python('demo')
    assert f'Python {release[0]}.{release[1]}' in str(error.value)
    assert f'{word}: wanted 3.10 to 3.13; install one and name it: PYTHON=python3.12 make demo' in str(error.value)
    (tmp_path / 'python3.12').write_text('#!/bin/sh\nexit 127\n')  # the name alone, as version managers leave it
    (tmp_path / 'python3.12').chmod(0o755)
    (tmp_path / 'python3.11').symlink_to(sys.executable)
    with pytest.raises(machine.SetupError, match='try: PYTHON=python3.11 make demo'):
        machine.check_python('demo')


def test_missing_tools_are_named_with_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CC', raising=False)
    monkeypatch.delenv('CXX', raising=False)
    monkeypatch.setattr(machine.importlib.util, 'find_spec', lambda name: None)
    monkeypatch.setattr(machine.sysconfig, 'get_path', lambda name: str(tmp_path))
    python = f'python{sys.version_info[0]}.{sys.version_info[1]}'
    with pytest.raises(machine.SetupError) as error:
        machine.check_tools(compiler=True, colcon=True)
    said, cure = str(error.value).split('sudo apt install ')
    assert all(tool in said for tool in ('venv', "'cc'", "'c++'", 'Python.h', 'colcon'))
    assert cure.split() == [f'{python}-venv', 'gcc', 'g++', f'{python}-dev', 'python3-colcon-common-extensions']


def test_wheels_are_refused_on_another_processor(monkeypatch):
    monkeypatch.setattr(machine.platform, 'machine', lambda: 'aarch64')
    with pytest.raises(machine.SetupError, match='for Linux on x86-64 only, this is Linux on aarch64: install ROS 2'):
        machine.check_wheels()


def test_which_environment_a_target_gets(sourced, monkeypatch):
    system = environment.choose_environment('test', None)
    assert (system.folder.name, system.distro, system.system) == ('.venv-system', 'humble', True)
    asked = environment.choose_environment('test', 'jazzy')
    assert (asked.folder.name, asked.distro, asked.system) == ('.venv-jazzy', 'jazzy', False)
    monkeypatch.delenv('ROS_DISTRO')
    assert environment.choose_environment('test', None).folder.name == '.venv'
    assert environment.choose_environment('test-oldest', None).override == 'oldest'
    with pytest.raises(machine.SetupError, match='DISTRO=foxy: wanted one of jazzy, kilted'):
        environment.choose_environment('test', 'foxy')


def test_an_environment_of_wheels_hides_a_sourced_ros(sourced, monkeypatch):
    assert 'AMENT_PREFIX_PATH' not in machine.environment_without_ros()
    assert 'PYTHONPATH' not in machine.environment_without_ros()
    monkeypatch.delenv('ROS_DISTRO')
    assert machine.environment_without_ros()['PYTHONPATH'] == os.environ['PYTHONPATH']  # the user's own


def test_libraries_are_compiled_once_and_not_in_every_process(monkeypatch):
    monkeypatch.setenv('PYTHONDONTWRITEBYTECODE', '1')
    monkeypatch.setattr(environment.os, 'chdir', lambda folder: None)
    started = []
    monkeypatch.setattr(environment.os, 'execvpe', lambda program, command, variables: started.append(variables))
    environment.choose_environment('test', None).become_python(['-c', ''])
    assert 'PYTHONDONTWRITEBYTECODE' not in started[0]
    assert started[0]['PATH'] == os.environ['PATH']


def test_a_distribution_replaces_the_pins_of_another():
    jazzy = {pins.package_name(pin): pin for pin in pins.constraints('jazzy')}
    kilted = {pins.package_name(pin): pin for pin in pins.constraints()}
    assert jazzy['ros-rclpy'] != kilted['ros-rclpy']
    assert jazzy['pytest'] == kilted['pytest']
    assert 'ros-fastdds' in kilted
    assert 'ros-fastdds' not in jazzy  # what Jazzy does not have must not stay behind
    oldest = [pin for pin in pins.constraints('oldest') if pin.startswith('numpy')]
    assert oldest == ['numpy==1.21.5']


@pytest.mark.parametrize(
    ('requirement', 'name'),
    [('Ruamel.YAML>=0.1', 'ruamel-yaml'), ('setuptools<80', 'setuptools'), ('lz4; python_version < "3"', 'lz4')],
)
def test_package_name(requirement, name):
    assert pins.package_name(requirement) == name


def step(inputs: list[str], action) -> steps.Step:
    return steps.Step('name', 'title', inputs, action, 'way out')


def test_a_step_is_done_once_until_an_input_changes(tmp_path):
    done = []
    stamps, log = tmp_path / 'stamps', tmp_path / 'log'
    for inputs in (['a', 'b'], ['a', 'b'], ['a', 'c'], ['a', 'c'], ['ac']):
        steps.carry_out([step(inputs, lambda shell, inputs=inputs: done.append(inputs))], stamps, log)
    assert done == [['a', 'b'], ['a', 'c'], ['ac']]


def test_a_failed_step_shows_its_output_and_is_tried_again(tmp_path):
    log = tmp_path / 'log'
    log.write_text('of an earlier step\n')
    failing = step(['a'], lambda shell: shell.run(['sh', '-c', 'seq 100; echo cause >&2; exit 3']))
    for _ in range(2):
        with pytest.raises(machine.SetupError) as error:
            steps.carry_out([failing], tmp_path / 'stamps', log)
        lines = str(error.value).splitlines()
        assert lines[0].startswith('sh exited with 3. The end of ')
        assert lines[1:] == [*(f'    {n}' for n in range(87, 101)), '    cause', 'way out']


def test_a_changed_message_or_ros_pin_rebuilds(monkeypatch, tmp_path):
    folder = tmp_path / 'some_msgs'
    folder.mkdir()
    (folder / 'Point.msg').write_text('float64 x\n')
    monkeypatch.setattr(environment, 'ROOT', tmp_path)
    wheels = environment.Environment(tmp_path / '.venv', 'kilted')

    def key(constraints: list[str]) -> str:
        monkeypatch.setattr(environment, 'constraints', lambda override: constraints)
        return wheels.interfaces('some_msgs').key

    first = key(['ros-rclpy==1', 'tqdm==1'])
    assert key(['ros-rclpy==1', 'tqdm==2']) == first
    assert key(['ros-rclpy==2', 'tqdm==1']) != first
    (folder / 'Point.msg').write_text('float64 y\n')
    assert key(['ros-rclpy==1', 'tqdm==1']) != first
