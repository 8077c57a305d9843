"""Tests of pose_node as it runs: a real network, real messages over real DDS, values, headers and frames compared."""

from __future__ import annotations

import array
import json
import shutil
import signal
import threading

import cv2
import numpy as np
import onnx
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from spoilt_models import another_first_keypoint, half_a_network, without_network
from std_msgs.msg import Header

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.inference.pose_messages import message_to_poses
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import Pose, PoseArray, bgr_to_image

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
WIDTH, HEIGHT = 320, 256
SWITCH_INSTEAD = 'parameters object, model: wanted a call of ~/switch_object, or the node cleaned up first'
KEYPOINT_TOLERANCE_PX = 0.5  # of the tiny network on its own pictures: its peaks are cells of 8 px, interpolated


@pytest.fixture(scope='session')
def points(tiny) -> np.ndarray:
    return tiny.TINY_POINTS


@pytest.fixture(scope='session')
def picture(tiny, points) -> np.ndarray:
    return tiny.draw_tiny_object(points, (WIDTH, HEIGHT))


def header(seconds: int = 1, frame_id: str = 'camera_optical_frame') -> Header:
    return Header(stamp=Time(sec=seconds, nanosec=7), frame_id=frame_id)


class Bench:
    """A pose_node of the tiny object with a camera in front of it."""

    def __init__(
        self, graph, tiny_object: str, *arguments: str, topic: str = 'image', kind: type = Image, **parameters
    ):
        self.graph = graph
        # The backend is named: auto would measure, and its choice is not what these tests are about.
        defaults = {'object': tiny_object, 'backend': 'onnxruntime', 'threads': 1, 'image_reliability': 'reliable'}
        parameters = {**defaults, **parameters}
        self.node = graph.start(PoseNode, *arguments, **parameters)
        self.poses = graph.listen('poses', PoseArray)
        self.camera = graph.advertise(topic, kind, RELIABLE)

    @property
    def received(self) -> int:
        """How many images have reached the node."""
        return sum(statistics.counts.received for statistics in self.node.health.statistics.values())

    def show(self, image: np.ndarray | Image | CompressedImage, seconds: int = 1) -> PoseArray:
        """Publish an image and return the answer to it."""
        message = bgr_to_image(image, header(seconds)) if isinstance(image, np.ndarray) else image
        message.header = header(seconds)
        self.camera.publish(message)
        return self.poses.wait(lambda answer: answer.header == message.header)


def assert_found(message: PoseArray, points: np.ndarray) -> None:
    """One instance, every keypoint where it was drawn."""
    (pose,) = message.poses
    found = np.array([[k.x, k.y] for k in pose.keypoints])
    assert [k.visible for k in pose.keypoints] == [True] * len(points)
    np.testing.assert_allclose(found, points, atol=KEYPOINT_TOLERANCE_PX)


def test_poses_are_published_with_the_header_of_the_image(graph, tiny_object, picture, points) -> None:
    answer = Bench(graph, tiny_object).show(picture)
    assert_found(answer, points)
    assert answer.header == header()
    assert (answer.image_width, answer.image_height) == (WIDTH, HEIGHT)
    assert answer.keypoint_names == ['front', 'left', 'right', 'top']
    assert answer.skeleton.tolist() == [0, 1, 0, 2, 0, 3]
    (pose,) = answer.poses
    assert (pose.object_name, pose.track_id) == ('tiny', 0)
    assert 0.5 < pose.score <= 1.0
    left, top = points.min(0)
    assert (pose.box_x, pose.box_y) == (pytest.approx(left, abs=0.5), pytest.approx(top, abs=0.5))
    for keypoint in pose.keypoints:
        (xx, xy, yy) = keypoint.covariance
        assert min(xx, yy) > 0.0
        assert xx * yy > xy * xy


def test_an_empty_image_gives_an_empty_array(graph, tiny_object) -> None:
    answer = Bench(graph, tiny_object).show(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert (answer.poses, answer.header) == ([], header())
    assert (answer.image_width, answer.image_height) == (WIDTH, HEIGHT)


def test_every_instance_is_published(graph, tiny_object, tiny, points) -> None:
    both = np.stack([points, points + [300.0, 20.0]])
    answer = Bench(graph, tiny_object).show(tiny.draw_tiny_object(both, (640, HEIGHT)))
    fronts = sorted(pose.keypoints[0].x for pose in answer.poses)
    np.testing.assert_allclose(fronts, both[:, 0, 0], atol=KEYPOINT_TOLERANCE_PX)
    assert sorted(pose.track_id for pose in answer.poses) == [0, 1]


def test_keypoints_are_in_pixels_of_the_original_image(graph, tiny_object, picture, points) -> None:
    large = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    answer = Bench(graph, tiny_object).show(large)
    (pose,) = answer.poses
    found = np.array([[k.x, k.y] for k in pose.keypoints])
    np.testing.assert_allclose(found, 2 * points + 0.5, atol=2 * KEYPOINT_TOLERANCE_PX)  # centres of pixels double so
    assert (answer.image_width, answer.image_height) == (2 * WIDTH, 2 * HEIGHT)


def test_an_rgb_image_with_padded_rows_is_the_same_picture(graph, tiny_object, picture, points) -> None:
    rows = np.pad(picture[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, 5)))
    message = Image(
        height=HEIGHT, width=WIDTH, encoding='rgb8', step=rows.shape[1], data=array.array('B', rows.tobytes())
    )
    assert_found(Bench(graph, tiny_object).show(message), points)


def test_depth_images_are_named(graph, tiny_object) -> None:
    bench = Bench(graph, tiny_object)
    depth = np.full((HEIGHT, WIDTH), 19000, np.uint16)  # nearer is refused, as nearly black
    message = Image(
        height=HEIGHT, width=WIDTH, encoding='16UC1', step=2 * WIDTH, data=array.array('B', depth.tobytes())
    )
    assert not bench.show(message).poses
    text = f'{graph.namespace}/image: 16UC1 looks like depth, not like a picture'
    graph.wait_for_log(Log.WARN, 'pose_node', text)


def compressed(image: np.ndarray, extension: str) -> CompressedImage:
    return CompressedImage(format=extension[1:], data=array.array('B', cv2.imencode(extension, image)[1].tobytes()))


def test_compressed_images_and_a_corrupt_one_between(graph, tiny_object, picture, points) -> None:
    bench = Bench(graph, tiny_object, topic='image/compressed', kind=CompressedImage, image_transport='compressed')
    assert_found(bench.show(compressed(picture, '.png'), 1), points)
    broken = compressed(picture, '.jpg')
    broken.data = broken.data[: len(broken.data) // 2]
    bench.camera.publish(broken)
    graph.wait_for_log(Log.WARN, 'pose_node', f'frame refused: {graph.namespace}/image/compressed: compressed image: ')
    assert_found(bench.show(compressed(picture, '.jpg'), 2), points)


def test_remapping_image_moves_its_compressed_topic_along(graph, tiny_object, picture, points) -> None:
    bench = Bench(
        graph, tiny_object, '-r', 'image:=rig/color', topic='rig/color/compressed', kind=CompressedImage,
        image_transport='compressed',
    )  # fmt: skip
    assert_found(bench.show(compressed(picture, '.png')), points)


def spoilt(picture: np.ndarray, **fields) -> Image:
    message = bgr_to_image(picture, header())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'encoding': 'nonsense'}, "image encoding 'nonsense' is unknown, wanted one of"),
        ({'width': 0, 'height': 0, 'step': 0, 'data': array.array('B')}, 'image of 0x0 pixels: wanted at least 1x1'),
        ({'data': array.array('B', bytes(100))}, 'image data of 100 bytes: wanted 245760'),
    ],
)
def test_after_a_bad_frame_the_node_warns_counts_and_goes_on(graph, tiny_object, picture, points, fields, text) -> None:
    bench = Bench(graph, tiny_object)
    bench.camera.publish(spoilt(picture, **fields))
    graph.wait_for_log(Log.WARN, 'pose_node', f'frame refused: {graph.namespace}/image: {text}')
    assert bench.node.health.statistics[''].counts.errors == 1
    assert_found(bench.show(picture, 2), points)
    assert [answer.header.stamp.sec for answer in bench.poses] == [2]


def test_an_image_of_one_pixel_is_answered_or_refused_and_the_node_goes_on(graph, tiny_object, picture, points) -> None:
    bench = Bench(graph, tiny_object)
    bench.camera.publish(bgr_to_image(np.zeros((1, 1, 3), np.uint8), header()))
    graph.wait(lambda: bench.poses or bench.node.health.statistics[''].counts.errors, 'an answer or a refusal')
    assert_found(bench.show(picture, 2), points)


def test_many_bad_frames_make_few_warnings(graph, tiny_object, picture) -> None:
    bench = Bench(graph, tiny_object)
    for count in range(1, 21):
        bench.camera.publish(spoilt(picture, encoding='nonsense'))
        graph.wait(lambda n=count: bench.node.health.statistics[''].counts.errors == n, 'the refusal')
    assert len([line for line in graph.logs(Log.WARN, 'pose_node') if 'frame refused' in line]) <= 2  # one each 5 s


def test_several_cameras_share_one_model_and_do_not_disturb_each_other(graph, tiny_object, picture, points) -> None:
    bench = Bench(graph, tiny_object, topic='front/image', cameras=['front', 'down'])
    down = graph.advertise('down/image', Image, RELIABLE)
    answers = {name: graph.listen(f'{name}/poses', PoseArray) for name in ('front', 'down')}
    bench.camera.publish(bgr_to_image(picture, header(1, 'front_optical')))
    down.publish(spoilt(picture, encoding='nonsense'))
    assert_found(answers['front'].wait(lambda m: m.header == header(1, 'front_optical')), points)
    graph.wait_for_log(Log.WARN, 'pose_node', f'frame refused: {graph.namespace}/down/image: image encoding')
    down.publish(bgr_to_image(picture[:, ::2].copy(), header(2, 'down_optical')))
    narrow = answers['down'].wait(lambda m: m.header == header(2, 'down_optical'))
    assert (narrow.image_width, narrow.image_height) == (WIDTH // 2, HEIGHT)
    assert bench.poses == []


def test_frames_of_several_cameras_that_wait_go_through_the_network_together(
    graph, tiny_object, picture, points
) -> None:
    bench = Bench(graph, tiny_object, topic='front/image', cameras=['front', 'down'])
    down = graph.advertise('down/image', Image, RELIABLE)
    answers = {name: graph.listen(f'{name}/poses', PoseArray) for name in ('front', 'down')}
    gate, batches, batch = threading.Event(), [], bench.node._estimator.batch

    def slow(images: list[np.ndarray], streams: list[str] | None = None) -> list:
        gate.wait(60)
        batches.append(len(images))
        return batch(images)

    bench.node._estimator.batch = slow
    for second, publisher in enumerate((bench.camera, down, bench.camera), 1):
        publisher.publish(bgr_to_image(picture, header(second)))
        graph.wait(lambda n=second: bench.received == n, 'the frame')
        if second == 1:
            graph.wait(lambda: not bench.node._frames._frames, 'the worker to take the first frame')
    gate.set()
    assert_found(answers['down'].wait(lambda m: m.header == header(2)), points)
    assert_found(answers['front'].wait(lambda m: m.header == header(3)), points)
    assert batches == [1, 2]


def test_a_batch_that_fails_is_told_and_every_camera_is_answered(graph, tiny_object, picture) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    bench = Bench(graph, tiny_object, topic='front/image', cameras=['front', 'down'])
    batch = bench.node._estimator.batch

    def small(images: list[np.ndarray], streams: list[str] | None = None) -> list:
        if len(images) > 1:
            raise RuntimeError('no memory for two images')
        return batch(images)

    bench.node._estimator.batch = small
    images = dict.fromkeys(('front', 'down'), picture)
    results = bench.node._estimate(bench.node._estimator, images)
    assert [len(results[name]) for name in images] == [1, 1]
    graph.wait_for_log(Log.WARN, 'pose_node', 'RuntimeError: no memory for two images')
    name = f'{graph.namespace[1:]}/pose_node'
    status = diagnostics.wait(lambda m: m.status[0].name.startswith(name) and 'failed batches' in rows_of(m.status[0]))
    assert rows_of(status.status[0])['failed batches'].startswith('1, ')


def rows_of(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def test_the_overlay_is_drawn_only_while_somebody_subscribes(graph, tiny_object, picture) -> None:
    bench = Bench(graph, tiny_object)
    bench.show(picture, 1)
    bench.show(picture, 2)  # answered when the node is done with the first one, overlay included
    overlay = graph.listen('pose_node/overlay', Image)
    answer = bench.show(picture, 3)
    message = overlay.wait(lambda m: m.header == header(3))
    assert header(1) not in [m.header for m in overlay]  # nobody listened
    model = ObjectModel.load(tiny_object)
    wanted = draw_poses(picture, message_to_poses(answer, model), model)
    drawn = image_to_bgr(message)
    # the message's float32 scores may turn a drawn label or shade by a level; lines and places are the same
    assert np.mean(np.abs(drawn.astype(int) - wanted).max(2) > 2) < 0.01
    assert np.any(drawn != picture)

    bench.node.set_parameters([Parameter('overlay', value=False)])
    bench.show(picture, 4)
    bench.show(picture, 5)
    assert max(m.header.stamp.sec for m in overlay) == 3


def test_the_newest_frame_wins_and_dropped_ones_are_counted(graph, tiny_object, picture) -> None:
    bench = Bench(graph, tiny_object)
    gate, process = threading.Event(), bench.node._process

    def slow(frames: dict) -> None:
        gate.wait(60)  # a model that is busy with the first frame while nine more arrive
        process(frames)

    bench.node._process = slow
    for number in range(1, 11):
        bench.camera.publish(bgr_to_image(picture, header(number)))
        graph.wait(lambda n=number: bench.received == n, 'the frame')
        if number == 1:
            graph.wait(lambda: not bench.node._frames._frames, 'the worker to take the first frame')
    gate.set()
    bench.poses.wait(lambda m: m.header == header(10))
    assert [m.header.stamp.sec for m in bench.poses] == [1, 10]
    counts = graph.counts(bench.node)
    assert (counts.received, counts.processed, counts.dropped, counts.errors) == (10, 2, 8, 0)


def test_ids_follow_the_instance_until_tracking_is_switched_off(graph, tiny_object, tiny, points) -> None:
    bench = Bench(graph, tiny_object, track_max_gap=5.0)
    ids = []
    for second in range(1, 4):
        moved = tiny.draw_tiny_object(points + [4.0 * second, 0.0], (WIDTH, HEIGHT))
        ids.append([pose.track_id for pose in bench.show(moved, second).poses])
    assert ids == [[0], [0], [0]]
    bench.node.set_parameters([Parameter('tracking', value=False)])
    (pose,) = bench.show(moved, 4).poses
    assert pose.track_id == Pose.TRACK_ID_NOT_TRACKED


def test_thresholds_change_over_the_parameter_service_and_refuse_nonsense(graph, tiny_object, picture, points) -> None:
    bench = Bench(graph, tiny_object, thresholds__min_keypoints=3)
    assert_found(bench.show(picture, 1), points)
    client = graph.tester.create_client(SetParameters, 'pose_node/set_parameters')
    graph.wait(client.service_is_ready, 'the parameter service')

    def change(name: str, value) -> tuple[bool, str]:
        future = client.call_async(SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()]))
        graph.wait(future.done, 'the answer of the parameter service')
        return future.result().results[0].successful, future.result().results[0].reason

    assert change('thresholds.pose_score', 1.0) == (True, '')
    assert bench.show(picture, 2).poses == []
    successful, reason = change('thresholds.pose_score', 1.5)
    assert (successful, 'thresholds.pose_score' in reason) == (False, True)
    assert change('thresholds.pose_score', 0.25) == (True, '')
    assert_found(bench.show(picture, 3), points)
    successful, reason = change('thresholds.min_keypoints', 5)
    assert (successful, 'at most the number of keypoints, 4, got 5' in reason) == (False, True)
    assert_found(bench.show(picture, 4), points)
    successful, reason = change('backend', 'torch')
    assert (successful, 'read-only' in reason) == (False, True)
    assert change('object', 'submarine') == (False, SWITCH_INSTEAD)


def test_thresholds_that_no_instance_can_pass_keep_the_node_from_serving(graph, tiny_object) -> None:
    with pytest.raises(ConfigError, match='thresholds.min_keypoints: wanted at most the number of keypoints, 4, got 9'):
        Bench(graph, tiny_object, thresholds__min_keypoints=9)


def test_diagnostics_tell_rate_latency_model_and_errors(graph, tiny_object, picture) -> None:
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    bench = Bench(graph, tiny_object)
    now = bench.graph.tester.get_clock().now().to_msg()
    bench.camera.publish(bgr_to_image(picture, Header(stamp=now)))
    bench.poses.wait()
    bench.camera.publish(spoilt(picture, encoding='nonsense'))
    name = f'{graph.namespace[1:]}/pose_node: pose estimation'
    message = diagnostics.wait(lambda m: m.status[0].name == name and 'messages refused' in m.status[0].message)
    rows = rows_of(message.status[0])
    assert message.header.stamp.sec >= now.sec
    assert (rows['object'], rows['backend'], rows['input height [px]']) == ('tiny', 'onnxruntime', '256')
    assert (rows['precision'], rows['device']) == ('f32', 'CPU')
    assert rows['choice of the backend'] == 'nothing to choose from'
    assert (rows['received'], rows['processed'], rows['dropped'], rows['errors']) == ('2', '1', '0', '1')
    assert "image encoding 'nonsense' is unknown" in rows['last error']
    assert 0.0 < float(rows['rate [Hz]']) <= 1.0
    assert 0.0 < float(rows['processing p50 [ms]']) <= float(rows['latency p50 [ms]']) < 20e3


def model_without_object(folder) -> None:
    network = onnx.load(str(folder / 'model.onnx'))
    kept = [p for p in network.metadata_props if p.key != 'object']
    del network.metadata_props[:]
    network.metadata_props.extend(kept)
    onnx.save(network, str(folder / 'model.onnx'))


BAD_MODELS = [
    (without_network, 'no model.onnx in this folder'),
    (half_a_network, 'is damaged or not an ONNX model'),
    (another_first_keypoint, 'does not fit'),
    (model_without_object, 'carries no object'),
]


@pytest.mark.parametrize(('spoil', 'text'), BAD_MODELS)
def test_a_model_that_cannot_serve_is_refused_with_its_name(graph, tiny_object, tmp_path, spoil, text: str) -> None:
    folder = tmp_path / 'tiny'
    shutil.copytree(tiny_object, folder)
    spoil(folder)
    with pytest.raises(ModelError, match=text) as caught:
        graph.start(PoseNode, object=str(folder), threads=1)
    assert '\n' not in str(caught.value)


MODULE = 'custom_pose_ros.nodes.pose.pose_node'


@pytest.mark.parametrize('interrupt', [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_with_0_on_interrupt(start_process, graph, tiny_object, picture, points, interrupt) -> None:
    process = start_process(MODULE, '--ros-args', '-p', f'object:={tiny_object}', '-r', f'__ns:={graph.namespace}')
    poses = graph.listen('poses', PoseArray)
    camera, image = graph.advertise('image', Image, RELIABLE), bgr_to_image(picture, header())
    graph.wait(
        lambda: camera.publish(image) or poses, 'an answer', 0.05
    )  # its side of the discovery cannot be seen from here
    assert_found(poses.wait(), points)
    for _ in range(5):  # interrupted in the middle of its work
        camera.publish(image)
    process.send_signal(interrupt)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, 'Traceback' in err, 'refused' in err) == (0, False, False), out + err


def test_the_process_ends_with_1_and_one_line_on_bad_input(start_process, tiny_object, tmp_path) -> None:
    empty = tmp_path / 'object.yaml'
    shutil.copy(f'{tiny_object}/object.yaml', empty)
    cases = {
        f'object:={tmp_path}': (str(tmp_path), 'no model.onnx'),
        'object:=nothing_like_it': ("'nothing_like_it' not found",),
        'image_transport:=pigeon': ('image_transport', 'raw, compressed', "'pigeon'"),
    }
    processes = {argument: start_process(MODULE, '--ros-args', '-p', argument) for argument in cases}
    for argument, process in processes.items():
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, out + err
        (line,) = err.splitlines()
        assert line.startswith('error: ')
        assert all(fact in line for fact in cases[argument]), err


def test_messages_that_are_not_built_are_explained(start_process, tmp_path) -> None:
    package = tmp_path / 'custom_pose_msgs'
    package.mkdir()
    (package / '__init__.py').write_text('', encoding='utf-8')
    code = f'import sys; sys.path.insert(0, {json.dumps(str(tmp_path))}); import custom_pose_ros.nodes.ros.conversions'
    (tmp_path / 'unbuilt.py').write_text(code, encoding='utf-8')
    process = start_process('unbuilt', PYTHONPATH=f'{tmp_path}:.')
    _, err = process.communicate(timeout=60)
    last = err.strip().splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith('ImportError: custom_pose_msgs is not built or not sourced')
    assert 'colcon build --base-paths . custom_pose_msgs' in last
