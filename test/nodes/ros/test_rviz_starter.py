"""Tests of custom_pose_ros.nodes.ros.rviz_starter over real DDS; a script that tells its arguments stands for rviz2."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from custom_pose_ros.nodes.ros.conversions import PoseArray

STARTER = 'custom_pose_ros.nodes.ros.rviz_starter'


@pytest.fixture
def with_rviz(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that has rviz2 where ROS installs it for `ros2 run`."""
    program = tmp_path / 'lib/rviz2/rviz2'
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "rviz2 $*"\n')
    program.chmod(0o755)
    return {'AMENT_PREFIX_PATH': f'{os.environ.get("AMENT_PREFIX_PATH", "")}:{tmp_path}'}


@pytest.mark.parametrize(('kind', 'topic'), [(CameraInfo, 'camera_info'), (PoseArray, 'poses')])
def test_the_fixed_frame_is_that_of_the_first_header(graph, start_process, with_rviz, root, kind, topic) -> None:
    remap = ['-r', f'__ns:={graph.namespace}', '-r', f'{topic}:=front/{topic}']
    process = start_process(STARTER, '--ros-args', *remap, **with_rviz)
    publisher = graph.advertise(f'front/{topic}', kind)

    def opened() -> bool:
        """Publish as a camera does, again and again; a header without a frame says nothing."""
        for frame in ('', 'front_optical_frame'):
            publisher.publish(kind(header=Header(frame_id=frame)))
        return process.poll() is not None

    graph.wait(opened, 'RViz', period_s=0.1)
    output, errors = process.communicate(timeout=60)
    view = root / 'config/custom_pose.rviz'
    assert output == (
        f'rviz2 --display-config {view} --fixed-frame front_optical_frame --ros-args {" ".join(remap)}\n'
    )  # with its remappings, so that the view's relative topics are those of the camera
    assert errors.startswith('RViz opens with the first frame_id on ')
    assert f'{graph.namespace}/front/{topic}' in errors


def test_a_frame_that_is_given_is_not_waited_for(start_process, with_rviz) -> None:
    process = start_process(STARTER, '-f', 'map', '-d', 'mine.rviz', '--fullscreen', **with_rviz)
    assert process.communicate(timeout=60)[0] == 'rviz2 --display-config mine.rviz --fixed-frame map --fullscreen\n'
    assert process.returncode == 0


def test_without_rviz_one_line_says_so(start_process) -> None:
    process = start_process(STARTER, PATH='/nowhere')
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith('error: rviz2 is not installed: sudo apt install ')
    assert errors.count('\n') == 1


def test_ctrl_c_while_it_waits(graph, start_process, with_rviz) -> None:
    process = start_process(STARTER, '--ros-args', '-r', f'__ns:={graph.namespace}', **with_rviz)
    graph.advertise('camera_info', CameraInfo)  # waits for its subscription
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 'Traceback' not in errors
