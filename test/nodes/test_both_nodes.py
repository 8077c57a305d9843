"""pose_node and orientation_node in one process: they share each image, and each has its own parameters."""

from __future__ import annotations

import functools
import signal

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews, ViewLines
from custom_pose_ros.nodes.both_nodes import split_arguments
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image
from custom_pose_ros.nodes.ros.frames import FrameExchange

CAMERA_INFO = CameraInfo(width=320, height=256, k=[300.0, 0, 160, 0, 300, 128, 0, 0, 1], distortion_model='plumb_bob')


@pytest.fixture(scope='module')
def image(tiny) -> Image:
    header = Header(stamp=Time(sec=5), frame_id='optical')
    return bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS, (320, 256)), header)


@pytest.fixture
def outline_of_nothing(tiny_object, tmp_path) -> str:
    """An outline of the tiny object without lines; its keypoints in the picture are no projection of it anyway."""
    nothing = ViewLines(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, int))
    views = OutlineViews.from_lines(
        ObjectModel.load(tiny_object), 'nothing', np.zeros(3), 0.1, np.array([[0.0, 0, 1]]), [nothing]
    )
    views.save(tmp_path / 'outline.npz')
    return str(tmp_path / 'outline.npz')


def test_each_node_has_its_own_arguments() -> None:
    own = '--pose-node -p a:=1 --orientation-node -p b:=2 -p c:=3'.split()
    given = '--ros-args --log-level info -- --ros-args -r __ns:=/front'.split()
    shared, of_nodes = split_arguments(['both_nodes', *own, *given])
    assert shared == ['both_nodes', *given]
    assert of_nodes == {'--pose-node': ['-p', 'a:=1'], '--orientation-node': ['-p', 'b:=2', '-p', 'c:=3']}


def test_the_image_goes_from_node_to_node_without_a_subscription(graph, tiny_object, image, outline_of_nothing) -> None:
    exchange = FrameExchange()
    refine = {'refine': 'outline', 'outline_file': outline_of_nothing, 'refine_wait': 1.0}
    orienter = graph.start(functools.partial(OrientationNode, exchange), object=tiny_object, **refine)
    graph.start(functools.partial(PoseNode, exchange), object=tiny_object, backend='onnxruntime', threads=1)
    answers, camera = graph.listen('orientations', OrientationArray), graph.advertise('image', Image)
    infos = graph.advertise('camera_info', CameraInfo)
    seen = orienter._cameras['']
    graph.wait(lambda: infos.publish(CAMERA_INFO) or seen.source.state.startswith('camera_info'), 'camera_info', 0.05)
    assert [s.topic_name.rpartition('/')[2] for s in orienter.subscriptions if s.topic_name.endswith('image')] == []
    camera.publish(image)
    answer = answers.wait(lambda message: message.header == image.header)
    assert len(answer.orientations) == 1
    assert seen.rows()['not refined'] == 'its keypoints contradict each other: 1'


def test_one_process_runs_both_with_the_parameters_of_each(graph, start_process, tiny_object, image) -> None:
    process = start_process(
        'custom_pose_ros.nodes.both_nodes', '--pose-node', '-p', 'backend:=onnxruntime', '-p', 'threads:=1',
        '--orientation-node', '-p', 'publish_tf:=false',
        '--ros-args', '-p', f'object:={tiny_object}', '-r', f'__ns:={graph.namespace}',
    )  # fmt: skip
    poses, orientations = graph.listen('poses', PoseArray), graph.listen('orientations', OrientationArray)
    camera, infos = graph.advertise('image', Image), graph.advertise('camera_info', CameraInfo)
    graph.wait(
        lambda: any(o.orientations for o in orientations) or infos.publish(CAMERA_INFO) or camera.publish(image),
        'an orientation',
        0.2,
    )
    assert poses.wait(lambda message: message.poses).header == image.header
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    out, err = process.communicate()
    assert 'unknown' not in out + err  # no node was given a parameter of the other


def test_what_one_node_cannot_do_ends_the_process_with_one_line(start_process, tiny_object) -> None:
    process = start_process(
        'custom_pose_ros.nodes.both_nodes', '--orientation-node', '-p', 'refine:=outline',
        '--ros-args', '-p', f'object:={tiny_object}',
    )  # fmt: skip
    assert process.wait(60) == 1
    _, err = process.communicate()
    assert err.startswith('error: parameter refine: outline wants outline.npz beside ')
    assert err.count('\n') == 1
