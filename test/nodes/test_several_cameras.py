"""Tests of one pose_node and one orientation_node with several cameras: fair, and none disturbs another."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    rotation_between,
)
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import (
    OrientationArray,
    PoseArray,
    bgr_to_image,
    poses_to_message,
    transform_message,
)

RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
NAMES = ('front', 'down')
T = np.array([0.1, -0.2, 3.0])
POSITION_TOLERANCE_M = 1e-3


def header(seconds: int, frame_id: str = '') -> Header:
    return Header(stamp=Time(sec=seconds), frame_id=frame_id)


class Rig:
    """A pose_node with two cameras."""

    def __init__(self, graph, tiny, tiny_object: str, **parameters):
        self.graph = graph
        self.node = graph.start(
            PoseNode, object=tiny_object, threads=1, image_reliability='reliable', cameras=list(NAMES), **parameters
        )
        self.answers = {name: graph.listen(f'{name}/poses', PoseArray, RELIABLE) for name in NAMES}
        self.cameras = {name: graph.advertise(f'{name}/image', Image, RELIABLE) for name in NAMES}
        self.picture = tiny.draw_tiny_object(tiny.TINY_POINTS, (320, 256))

    def send(self, name: str, seconds: int, picture: np.ndarray | None = None, **fields) -> None:
        message = bgr_to_image(self.picture if picture is None else picture, header(seconds))
        for field, value in fields.items():
            setattr(message, field, value)
        self.cameras[name].publish(message)

    def answer(self, name: str, seconds: int) -> PoseArray:
        return self.answers[name].wait(lambda m: m.header.stamp.sec == seconds)

    def wait_received(self, name: str, count: int) -> None:
        statistics = self.node.health.statistics[name]
        self.graph.wait(lambda: statistics.counts.received == count, f'image {count} of {name}')


@pytest.fixture
def rig(graph, tiny, tiny_object) -> Rig:
    return Rig(graph, tiny, tiny_object)


def test_under_overload_every_camera_gets_the_same(rig) -> None:
    """Both cameras send at least as fast as the network is, one of them ten times as fast as the other."""
    turns, begun, batch = threading.Semaphore(0), [], rig.node._estimator.batch

    def slow(*asked) -> list:
        begun.append(len(asked[0]))
        turns.acquire(timeout=60)
        return batch(*asked)

    rig.node._estimator.batch = slow
    for number in range(1, 101):
        rig.send('front', number)
        rig.wait_received('front', number)
        if number == 1:
            rig.graph.wait(lambda: len(begun) == 1, 'the first frame to be processed')
        if number % 10 == 0:
            rig.send('down', number)
            rig.wait_received('down', number // 10)
            turns.release()
            rig.graph.wait(lambda n=number: len(begun) == 1 + n // 10, 'the next frames to be processed')
    turns.release()
    rig.answer('down', 100)
    rig.answer('front', 100)
    assert begun == [1] + [2] * 10  # whoever waits is in the next turn
    counts = {name: rig.graph.counts(rig.node, name) for name in NAMES}
    assert (counts['down'].processed, counts['down'].dropped, counts['down'].errors) == (10, 0, 0)
    assert (counts['front'].processed, counts['front'].dropped, counts['front'].errors) == (11, 89, 0)


def test_a_camera_with_bad_images_does_not_cost_the_other_a_frame_or_a_warning(rig) -> None:
    for number in range(1, 21):
        rig.send('down', number, encoding='nonsense')
        rig.send('front', number)
        assert len(rig.answer('front', number).poses) == 1
    rig.graph.wait(lambda: rig.node.health.statistics['down'].counts.errors >= 1, 'the refusal')
    assert rig.node.health.statistics['front'].counts.errors == rig.node.health.statistics['front'].counts.dropped == 0
    rig.send('front', 30, encoding='gibberish')  # told at once, though the other one has just warned
    rig.graph.wait_for_log(Log.WARN, 'pose_node', "front/image: image encoding 'gibberish' is unknown")
    rig.send('down', 31)
    assert len(rig.answer('down', 31).poses) == 1


def test_an_image_that_the_network_cannot_take_does_not_cost_the_other_camera_its_frame(rig) -> None:
    batch, gate = rig.node._estimator.batch, threading.Event()

    def choosy(images: list[np.ndarray], streams: list[str] | None = None) -> list:
        gate.wait(60)
        if any(image.shape[1] == 160 for image in images):
            raise MemoryError('too much')
        return batch(images)

    rig.node._estimator.batch = choosy
    rig.send('front', 1)
    rig.graph.wait(
        lambda: not rig.node._frames._frames and rig.node.health.statistics['front'].counts.received, 'the worker'
    )
    rig.send('down', 2, rig.picture[:, ::2].copy())
    rig.send('front', 2)
    rig.graph.wait(lambda: len(rig.node._frames._frames) == 2, 'both frames to wait for the network')
    gate.set()
    assert len(rig.answer('front', 2).poses) == 1
    rig.graph.wait_for_log(Log.WARN, 'pose_node', 'frame refused: MemoryError: too much')
    assert (rig.node.health.statistics['front'].counts.errors, rig.node.health.statistics['down'].counts.errors) == (
        0,
        1,
    )


def test_diagnostics_are_about_each_camera(rig) -> None:
    diagnostics = rig.graph.listen('/diagnostics', DiagnosticArray)
    rig.send('front', 1)
    rig.answer('front', 1)
    names = [f'{rig.graph.namespace[1:]}/pose_node: pose estimation {name}' for name in NAMES]

    def wanted(message: DiagnosticArray) -> bool:
        statuses = {status.name: status for status in message.status}
        return set(statuses) == set(names) and statuses[names[0]].level == DiagnosticStatus.OK

    statuses = {status.name: status for status in diagnostics.wait(wanted).status}
    silent = statuses[names[1]]
    assert (silent.level, silent.message.split(':')[0]) == (DiagnosticStatus.WARN, 'no input yet')
    processed = [{v.key: v.value for v in statuses[name].values}['processed'] for name in names]
    assert processed == ['1', '0']


def test_no_more_images_than_asked_for_are_answered(graph, tiny, tiny_object) -> None:
    rig = Rig(graph, tiny, tiny_object, max_rate=0.001)
    for number in range(1, 6):
        for name in NAMES:
            rig.send(name, number)
    graph.wait(lambda: sum(s.counts.received for s in rig.node.health.statistics.values()) == 10, 'the images')
    for name in NAMES:
        assert len(rig.answer(name, 1).poses) == 1  # its first one
        counts = rig.node.health.statistics[name].counts
        assert (counts.skipped, counts.dropped) == (4, 0)
    rig.node.settings.set(max_rate=0.0)
    rig.send('front', 9)
    rig.answer('front', 9)


@pytest.fixture
def model(tiny_object: str) -> ObjectModel:
    return ObjectModel.load(tiny_object)


def camera_of(focal_px: float) -> CameraIntrinsics:
    return CameraIntrinsics(640, 480, np.array([[focal_px, 0, 330.0], [0, focal_px, 235.0], [0, 0, 1]]))


CAMERAS = {'front': camera_of(500.0), 'down': camera_of(900.0)}


def keypoints_of(model: ObjectModel, camera: CameraIntrinsics, R: np.ndarray, t: np.ndarray) -> KeypointPose:
    count = model.keypoint_count
    return KeypointPose(
        keypoints=camera.project(model.model_points @ R.T + t), covariances=np.tile(0.25 * np.eye(2), (count, 1, 1)),
        scores=np.ones(count), visible=np.ones(count, bool), score=0.9, track_id=0,
    )  # fmt: skip


def poses_of(model: ObjectModel, camera: CameraIntrinsics, frame_id: str) -> PoseArray:
    pose = keypoints_of(model, camera, R_BODY_OPTICAL.T, T)
    return poses_to_message([pose], model, header(1, frame_id), camera.width, camera.height)


def assert_both_cameras(graph, node: OrientationNode, model: ObjectModel, publish_info: bool) -> None:
    answers = {name: graph.listen(f'{name}/orientations', OrientationArray) for name in NAMES}
    for name, camera in CAMERAS.items():
        poses = graph.advertise(f'{name}/poses', PoseArray)
        if publish_info:
            info = graph.advertise(f'{name}/camera_info', CameraInfo)
            message = CameraInfo(
                width=camera.width, height=camera.height, distortion_model='plumb_bob', k=camera.K.ravel()
            )
            source = node._cameras[name].source
            graph.wait(
                lambda p=info, m=message, s=source: p.publish(m) or s.state == 'camera_info', 'camera_info', 0.02
            )
        poses.publish(poses_of(model, camera, f'{name}_optical'))
        (orientation,) = answers[name].wait().orientations
        position = orientation.pose.pose.position
        np.testing.assert_allclose([position.x, position.y, position.z], T, atol=POSITION_TOLERANCE_M)


def test_orientation_is_computed_with_the_calibration_of_each_camera(graph, model) -> None:
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs comes with ROS or is built by the test set-up')
    moving = graph.listen('/tf', messages.TFMessage)
    node = graph.start(OrientationNode, object=model.source, cameras=list(NAMES))
    assert_both_cameras(graph, node, model, publish_info=True)
    for name in NAMES:
        moving.wait(
            lambda m, n=name: (
                (m.transforms[0].header.frame_id, m.transforms[0].child_frame_id) == (f'{n}_optical', f'{n}/tiny_0')
            )  # one frame cannot have two parents
        )


def test_the_calibration_files_of_several_cameras_are_found_by_their_names(graph, model, tmp_path) -> None:
    for name, camera in CAMERAS.items():
        (tmp_path / f'{name}.yaml').write_text(yaml.safe_dump(camera.to_yaml_dict()), encoding='utf-8')
    files = str(tmp_path / '{camera}.yaml')
    node = graph.start(OrientationNode, object=model.source, cameras=list(NAMES), camera_calibration=files)
    assert_both_cameras(graph, node, model, publish_info=False)


def test_one_calibration_file_for_several_cameras_is_refused(graph, model) -> None:
    with pytest.raises(ConfigError, match=r"camera_calibration: wanted \{camera\} in the path where .* got 'one.yaml'"):
        graph.start(OrientationNode, object=model.source, cameras=list(NAMES), camera_calibration='one.yaml')


@pytest.mark.parametrize(
    'parameters',
    [{'reference_frame': 'base_link'}, {'cameras': list(NAMES)}, {'cameras': ['front'], 'reference_frame': 'odom'}],
)
def test_fusion_wants_several_cameras_and_a_common_frame(graph, model, tf2, parameters) -> None:
    with pytest.raises(ConfigError, match='parameter fusion: wanted several cameras and a reference_frame of TF'):
        graph.start(OrientationNode, object=model.source, fusion=True, **parameters)


R_OBJECT, T_OBJECT = matrix_from_roll_pitch_yaw(np.array([0.1, 0.2, 0.3])), np.array([3.0, 0.1, 0.2])  # in base_link
SIDE = matrix_from_roll_pitch_yaw(np.array([0.0, 0.0, np.pi / 2]))
VIEWS = {  # poses of the cameras in base_link
    'front': (R_BODY_OPTICAL, np.zeros(3)),
    'down': (SIDE @ R_BODY_OPTICAL, np.array([3.0, -3.0, 0.5])),
}


class TwoViews:
    """Two cameras that look at one object along different axes, before a node that fuses what they see."""

    def __init__(self, graph, model, folder, tf2):
        self.camera, self._graph, self._model, self._tf2 = CAMERAS['front'], graph, model, tf2
        for name in NAMES:
            (folder / f'{name}.yaml').write_text(yaml.safe_dump(self.camera.to_yaml_dict()), encoding='utf-8')
        self._node = graph.start(
            OrientationNode, object=model.source, cameras=list(NAMES), fusion=True, reference_frame='base_link',
            camera_calibration=str(folder / '{camera}.yaml'), smoothing=False, tf_timeout=0.0,
        )  # fmt: skip
        self._inputs = {name: graph.advertise(f'{name}/poses', PoseArray) for name in NAMES}

    def show(self, name: str, seconds: int) -> None:
        """Publish what a camera sees of the object."""
        R, t = VIEWS[name]
        seen = keypoints_of(self._model, self.camera, R.T @ R_OBJECT, R.T @ (T_OBJECT - t))
        self._inputs[name].publish(poses_to_message([seen], self._model, header(seconds, f'{name}_optical'), 640, 480))

    def give_transform(self, name: str) -> None:
        """Publish where a camera is, and wait until the node knows."""
        tf2 = self._tf2
        transform = TransformStamped(
            header=Header(frame_id='base_link'),
            child_frame_id=f'{name}_optical',
            transform=transform_message(Rigid(*VIEWS[name])),
        )
        self._graph.advertise('/tf_static', tf2.TFMessage, tf2.latched).publish(tf2.TFMessage(transforms=[transform]))
        known = Header(frame_id=f'{name}_optical')
        self._graph.wait(lambda: tf2.knows(self._node._reference, known), 'the transform')


def assert_shows_the_object(orientation) -> None:
    """Compare a fused orientation with the true pose."""
    position, q = orientation.pose.pose.position, orientation.pose.pose.orientation
    np.testing.assert_allclose([position.x, position.y, position.z], T_OBJECT, atol=POSITION_TOLERANCE_M)
    assert rotation_between(matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])), R_OBJECT) < 1e-3
    assert orientation.outlier_suspected is False
    np.testing.assert_allclose([orientation.roll, orientation.pitch, orientation.yaw], [0.1, 0.2, 0.3], atol=1e-3)


def test_one_pose_is_made_of_what_the_cameras_see(graph, model, tmp_path, tf2) -> None:
    """Only the second camera is known to TF at first."""
    views = TwoViews(graph, model, tmp_path, tf2)
    fused = graph.listen('fused/orientations', OrientationArray)
    single = graph.listen('fused/pose', PoseStamped)
    moving = graph.listen('/tf', tf2.TFMessage)
    views.give_transform('down')
    views.show('front', 1)
    views.show('down', 1)
    (alone,) = fused.wait().orientations
    assert alone.keypoints_used == 4
    graph.wait_for_log(Log.WARN, 'orientation_node', "front: no transform from 'front_optical' to reference_frame")
    views.give_transform('front')
    views.show('front', 2)
    graph.wait(lambda: any(m.header.stamp.sec == 2 for m in fused), 'the answer to the first camera')
    views.show('down', 2)
    together = fused.wait(lambda m: m.orientations and m.orientations[0].keypoints_used == 8)
    assert together.header == header(2, 'base_link')
    (orientation,) = together.orientations
    assert_shows_the_object(orientation)
    # A camera is sure of where the object is across its view and not of how far: together they know both.
    deviations = np.sqrt(np.diag(orientation.pose.covariance.reshape(6, 6)))
    assert deviations[0] < 0.5 * np.sqrt(alone.pose.covariance.reshape(6, 6)[1, 1])
    single.wait(lambda m: m.header == header(2, 'base_link') and m.pose == orientation.pose.pose)
    moving.wait(lambda m: (m.transforms[0].header.frame_id, m.transforms[0].child_frame_id) == ('base_link', 'tiny_0'))
