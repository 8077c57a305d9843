"""What the installed commands of the nodes say where something of ROS is missing; and that they run where it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = 'import sys; {setup}; from custom_pose_ros.nodes.commands import {name}; sys.exit({name}())'


def start(name: str, root, setup: str = '', *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-c', RUN.format(setup=setup or 'pass', name=name), *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize('name', ['pose_node', 'orientation_node'])
def test_without_rclpy_one_line_says_where_to_get_it(root, name):
    done = start(name, root, 'sys.modules["rclpy"] = None')
    assert done.returncode == 1
    assert done.stderr.startswith('error: wanted ROS 2, got no rclpy: source /opt/ros/')
    assert done.stderr.count('\n') == 1


def test_without_the_messages_one_line_says_how_to_build_them(root):
    done = start('pose_node', root, 'sys.modules["custom_pose_msgs"] = None')
    assert done.returncode == 1
    assert done.stderr.startswith('error: custom_pose_msgs is not built or not sourced')
    assert done.stderr.count('\n') == 1


@pytest.mark.parametrize('name', ['pose_node', 'orientation_node'])
def test_with_ros_they_run_the_node(root, name):
    done = start(name, root, '', '--ros-args', '-p', 'object:=nothing_of_that_name')
    assert done.returncode == 1
    assert 'nothing_of_that_name' in done.stderr
    assert 'Traceback' not in done.stderr


def test_ros_arguments_that_cannot_be_parsed_are_told_without_steering_the_terminal(root):
    done = start('pose_node', root, '', '--ros-args', '-r', 'image:=/a\x1b[2J')
    assert (done.returncode, '\x1b[2J' in done.stderr, 'Traceback' in done.stderr) == (1, False, False)
    assert done.stderr.splitlines()[-1].startswith('error: ')
