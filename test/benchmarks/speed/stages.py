"""
The stages of one frame, each timed where it runs: after the stage before it, with the caches as that left them.

The estimator is the real one with the real network. For made-up instances its maps are exchanged after the network has
run, so that decoding and grouping find as many keypoints and instances as are wanted.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import cv2
import numpy as np

from custom_pose_ros.core.keypoints import grouping
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import input_shape
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.inference import estimator as estimator_module
from custom_pose_ros.inference.backends import LoadedNetwork
from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.inference.image_messages import image_to_bgr
from speed.scenes import clip_camera, clip_frames, maps_of, noise_maps
from speed.timing import spread

FRAME_S = 1 / 15  # between frames of the clip
CONDITIONS = (  # name, object, instances; None: what is in the clip
    ('clip', 'submarine', None),
    ('4 keypoints, 1 instance', 'submarine', 1),
    ('4 keypoints, 5 instances', 'submarine', 5),
    ('18 keypoints, 1 instance', 'human18', 1),
    ('18 keypoints, 5 instances', 'human18', 5),
    ('18 keypoints, 20 instances', 'human18', 20),
    ('18 keypoints, noise', 'human18', 0),
)
WARM_UP = 3  # frames that do not count
AROUND = ('pre-process', 'decode', 'grouping', 'rest')


class Stopwatch:
    """Seconds of each stage of the frame that is running; stages inside another one are taken out of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner_s = [0.0]

    def timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, timed."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self._inner_s.append(0.0)
            begin = time.perf_counter()
            result = work(*args, **kwargs)
            took = time.perf_counter() - begin
            self.seconds[stage] = self.seconds.get(stage, 0.0) + took - self._inner_s.pop()
            self._inner_s[-1] += took
            return result

        return run

    @contextlib.contextmanager
    def inside_the_estimator(self, estimator: PoseEstimator) -> Iterator[None]:
        """Time the parts of `estimator(image)`."""
        network = self.timed('network', estimator.maps)
        with (
            mock.patch.object(estimator_module, 'prepare', self.timed('pre-process', estimator_module.prepare)),
            mock.patch.object(estimator, 'maps', network),
            mock.patch.object(grouping, 'find_peaks', self.timed('decode', grouping.find_peaks)),
            mock.patch.object(estimator_module, 'group_poses', self.timed('grouping', estimator_module.group_poses)),
            mock.patch.object(
                estimator_module, 'group_with_margin', self.timed('grouping', estimator_module.group_with_margin)
            ),
        ):
            yield


class MapsInstead:
    """A backend that runs the network and answers with other maps."""

    def __init__(self, network: LoadedNetwork, model: ObjectModel, maps: tuple[np.ndarray, np.ndarray]):
        self.name = network.backend.name
        self.metadata = {'object': model.to_json()}
        self._backend, self._maps = network.backend, tuple(one[None] for one in maps)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._backend(images)
        return self._maps


def measure(network: LoadedNetwork, rounds: int) -> dict[str, Any]:
    """Return the times of every stage in every condition, and of the ways into and out of ROS where it is there."""
    conditions = {name: condition(network, model_name, count, rounds) for name, model_name, count in CONDITIONS}
    return {'conditions': conditions, 'image message': image_messages(rounds)}


def condition(network: LoadedNetwork, model_name: str, count: int | None, rounds: int) -> dict[str, Any]:
    """Return the times of every stage, and those of everything around the network together."""
    model = ObjectModel.load(model_name)
    frames = clip_frames(40)
    if count is not None:
        shape = input_shape(frames[0].shape, model.input_height)
        maps = maps_of(model, count, shape) if count else noise_maps(model, shape)
        network = LoadedNetwork(MapsInstead(network, model, maps))
    estimator = PoseEstimator(model, network)
    orienter = OrientationEstimator(model, clip_camera()) if model.model_points is not None else None
    publisher = Publisher.open(model)
    laps, image = [], np.empty_like(frames[0])
    for number, frame in enumerate(itertools.islice(itertools.cycle(frames), rounds + WARM_UP)):
        image[:] = frame  # a camera's image has just been written to memory as well
        watch = Stopwatch()
        with watch.inside_the_estimator(estimator):
            poses = watch.timed('rest', estimator)(image)
        if orienter:
            tracked = [pose.with_track_id(i) for i, pose in enumerate(poses)]
            watch.timed('orientation', orienter.update)(tracked, number * FRAME_S)
        if publisher:
            watch.timed('publish', publisher)(poses, image)
        laps.append({**watch.seconds, 'found': len(poses)})
    if publisher:
        publisher.close()
    return summary(laps[WARM_UP:])


def summary(laps: list[dict[str, float]]) -> dict[str, Any]:
    """Return the spread of every stage, of the frame and of what surrounds the network."""
    columns = {name: np.array([lap[name] for lap in laps]) for name in laps[0]}
    found = columns.pop('found')
    around = sum(columns[name] for name in AROUND)
    return {
        'stages': {name: spread(values) for name, values in columns.items()},
        'frame': spread(around + columns['network']),
        'around the network': spread(around),
        'share around the network': round(float(np.median(around / (around + columns['network']))), 4),
        'instances found': float(np.median(found)),
    }


class Publisher:
    """What pose_node does with the poses of a frame, into real DDS with one listener."""

    def __init__(self, model: ObjectModel):
        import rclpy
        from std_msgs.msg import Header

        from custom_pose_ros.nodes.ros import qos
        from custom_pose_ros.nodes.ros.conversions import PoseArray, poses_to_message

        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node('bench_publisher', context=self._context)
        self._publisher = self._node.create_publisher(PoseArray, 'bench_poses', qos.results())
        self._node.create_subscription(PoseArray, 'bench_poses', lambda _: None, qos.results())
        self._message = lambda poses, image: poses_to_message(poses, model, Header(), image.shape[1], image.shape[0])

    @classmethod
    def open(cls, model: ObjectModel) -> Publisher | None:
        """Return a publisher, None without ROS."""
        try:
            return cls(model)
        except ImportError:
            return None

    def __call__(self, poses: list[KeypointPose], image: np.ndarray) -> None:
        self._publisher.publish(self._message(poses, image))

    def close(self) -> None:
        import rclpy

        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


class RawMessage:
    """The fields of a sensor_msgs/Image."""

    def __init__(self, image: np.ndarray, encoding: str):
        self.height, self.width = image.shape[:2]
        self.encoding, self.step, self.is_bigendian = encoding, image[0].nbytes, 0
        self.data = image.tobytes()


class CompressedMessage:
    """The fields of a sensor_msgs/CompressedImage."""

    def __init__(self, image: np.ndarray, ending: str):
        self.format = ending
        self.data = cv2.imencode(f'.{ending}', image)[1].tobytes()


def image_messages(rounds: int) -> dict[str, Any]:
    """Return what it takes to make a BGR image of a message, by its encoding."""
    frame = clip_frames(1)[0]
    yuyv = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV)[..., :2].copy()  # any content will do
    messages = {
        'bgr8': RawMessage(frame, 'bgr8'),
        'rgb8': RawMessage(frame, 'rgb8'),
        'mono8': RawMessage(frame[..., 0].copy(), 'mono8'),
        'yuyv': RawMessage(yuyv, 'yuyv'),
        'bayer_rggb8': RawMessage(frame[..., 0].copy(), 'bayer_rggb8'),
        'jpeg': CompressedMessage(frame, 'jpeg'),
    }
    results = {}
    for name, message in messages.items():
        watch = []
        for _ in range(rounds):
            begin = time.perf_counter()
            image_to_bgr(message)
            watch.append(time.perf_counter() - begin)
        results[name] = spread(watch[1:])
    return results
