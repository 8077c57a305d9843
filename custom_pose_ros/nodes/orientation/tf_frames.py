"""Frames of the results: camera optical, camera body or any TF frame; and the objects' own frames on /tf."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL, IDENTITY, Rigid
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import transform_from_message, transform_message

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not everywhere: PyPI has no wheel of it
    TFMessage = None

CAMERA_OPTICAL, CAMERA_BODY = 'camera_optical', 'camera_body'
BODY_SUFFIX = '_body'
_NO_WAIT_S = 1.0  # after waiting in vain for the transform of one camera, so that the others are not held up


class ReferenceFrame(Protocol):
    """
    The frame that published poses are expressed in.

    Attributes:
        timeout_s: how long `locate` may wait.
    """

    timeout_s: float

    def frame_id(self, header: Header) -> str:
        """Return the name of the frame, for images with this header."""
        ...

    def locate(self, header: Header) -> Rigid:
        """
        Return what maps the optical frame of the header, at its stamp, to the reference frame.

        Raises:
            MessageError: the transform is not known.
        """
        ...

    def close(self) -> None:
        """Release what it listens with."""
        ...


def check_reference_frame(name: str) -> None:
    """
    Check the parameter reference_frame without listening to TF.

    Raises:
        ConfigError: it is empty, or a TF frame where tf2_ros is not installed.
    """
    if not name:
        raise ConfigError(
            f'parameter reference_frame: wanted {CAMERA_OPTICAL}, {CAMERA_BODY} or a TF frame, got nothing'
        )
    if name not in (CAMERA_OPTICAL, CAMERA_BODY):
        try:
            import tf2_ros  # noqa: F401
        except ImportError:
            raise ConfigError(
                f'parameter reference_frame: {name!r} is a TF frame, which needs the ROS package tf2_ros; '
                f'without it: {CAMERA_OPTICAL} or {CAMERA_BODY}'
            ) from None


def make_reference_frame(name: str, node: Node, timeout_s: float) -> ReferenceFrame:
    """Return the reference frame that `check_reference_frame` has accepted; a TF frame listens until it is closed."""
    if name == CAMERA_OPTICAL:
        return _FixedFrame('', IDENTITY)
    if name == CAMERA_BODY:
        return _FixedFrame(BODY_SUFFIX, BODY_OPTICAL)
    return _TfFrame(name, node, timeout_s)


class _FixedFrame:
    """A frame that has the camera's position and is turned by a fixed rotation."""

    timeout_s = 0.0

    def __init__(self, suffix: str, frame_optical: Rigid):
        self._suffix = suffix
        self._frame_optical = frame_optical

    def frame_id(self, header: Header) -> str:
        return header.frame_id + self._suffix

    def locate(self, header: Header) -> Rigid:
        return self._frame_optical

    def close(self) -> None:
        """Nothing to release."""


class _TfFrame:
    """A frame of the TF tree; a node of its own listens, so that waiting for a transform does not block its arrival."""

    def __init__(self, name: str, node: Node, timeout_s: float):
        import tf2_ros  # not everywhere, and C++: only where a TF frame is asked for

        self._name, self.timeout_s = name, timeout_s
        self._no_wait_until_s: dict[str, float] = {}
        self._errors = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._node = rclpy.create_node(
            f'{node.get_name()}_tf',
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,
            start_parameter_services=False,
        )
        self._listener = tf2_ros.TransformListener(self._buffer, self._node)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='tf_listener', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):  # tf2_ros's own thread would print it
            while not self._closed.is_set():
                self._executor.spin_once(timeout_sec=0.1)

    def frame_id(self, header: Header) -> str:
        return self._name

    def locate(self, header: Header) -> Rigid:
        now_s = time.monotonic()
        waits = now_s >= self._no_wait_until_s.get(header.frame_id, -math.inf)
        timeout = Duration(seconds=self.timeout_s if waits else 0.0)
        try:
            stamped = self._buffer.lookup_transform(
                self._name, header.frame_id, Time.from_msg(header.stamp), timeout=timeout
            )
        except self._errors as error:
            if waits:
                self._no_wait_until_s[header.frame_id] = now_s + _NO_WAIT_S
            raise MessageError(
                f'no transform from {header.frame_id!r} to reference_frame {self._name!r}: {error}'
            ) from error
        return transform_from_message(stamped.transform)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._executor.shutdown()
        self._listener.unregister()
        self._node.destroy_node()


class ObjectFrames:
    """Publishes camera optical frame -> object frames on /tf, and -> the camera body frame on /tf_static."""

    def __init__(self, node: LifecycleNode, prefix: str = ''):
        """Advertise; `prefix` tells the objects' frames of several cameras apart."""
        self._node, self._prefix = node, prefix
        self._body_frames: set[str] = set()
        self._publishers = []
        if self.available():
            self._publishers = [
                node.create_lifecycle_publisher(TFMessage, '/tf', qos.TF),
                node.create_lifecycle_publisher(TFMessage, '/tf_static', qos.STATIC_TF),
            ]

    @staticmethod
    def available() -> bool:
        """Whether tf2_msgs is installed; without it nothing is published."""
        return TFMessage is not None

    def publish(self, header: Header, estimates: Sequence[OrientationEstimate], object_name: str) -> None:
        """Publish one transform for each instance, from the frame of the image, at its stamp."""
        if estimates and self._publishers:
            transforms = [
                TransformStamped(
                    header=header,
                    child_frame_id=self._prefix + object_frame(object_name, estimate.track_id, index),
                    transform=transform_message(estimate.pose),
                )
                for index, estimate in enumerate(estimates)
            ]
            self._publishers[0].publish(TFMessage(transforms=transforms))

    def publish_body(self, header: Header) -> None:
        """Publish, once for each camera, where its body frame is."""
        if header.frame_id in self._body_frames or not self._publishers:
            return
        self._body_frames.add(header.frame_id)
        body_in_optical = transform_message(BODY_OPTICAL.inverse())
        transforms = [
            TransformStamped(
                header=Header(stamp=header.stamp, frame_id=optical),
                child_frame_id=optical + BODY_SUFFIX,
                transform=body_in_optical,
            )
            for optical in sorted(self._body_frames)  # a late listener gets the last message only
        ]
        self._publishers[1].publish(TFMessage(transforms=transforms))

    def close(self) -> None:
        """Stop publishing."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)


def object_frame(object_name: str, track_id: int | None, index: int) -> str:
    """Return the name of an instance's frame: by its track, or by its place in the message while nobody tracks."""
    return f'{object_name}_{index if track_id is None else track_id}'
