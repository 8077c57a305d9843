"""ReferenceFrame: the frame that results are published in - camera optical, camera body or any frame of TF."""

from __future__ import annotations

import contextlib
import math
import threading
import time

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL, IDENTITY, Rigid
from custom_pose_ros.nodes.ros.conversions import transform_from_message

CAMERA_OPTICAL, CAMERA_BODY = 'camera_optical', 'camera_body'
BODY_SUFFIX = '_body'
_NO_WAIT_S = 1.0  # after waiting in vain for the transform of one camera, so that the others are not held up


class ReferenceFrame:
    """
    The frame that published poses are expressed in: at the place of the camera, turned by a fixed rotation.

    Attributes:
        timeout_s: how long `locate` may wait.
    """

    timeout_s = 0.0

    def __init__(self, suffix: str, frame_optical: Rigid):
        self._suffix, self._frame_optical = suffix, frame_optical

    def frame_id(self, header: Header) -> str:
        """Return the name of the frame, for images with this header."""
        return header.frame_id + self._suffix

    def locate(self, header: Header) -> Rigid:
        """
        Return what maps the optical frame of the header, at its stamp, to the reference frame.

        Raises:
            MessageError: the transform is not known.
        """
        return self._frame_optical

    def close(self) -> None:
        """Release what it listens with."""


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
        return ReferenceFrame('', IDENTITY)
    if name == CAMERA_BODY:
        return ReferenceFrame(BODY_SUFFIX, BODY_OPTICAL)
    return _TfFrame(name, node, timeout_s)


class _TfFrame(ReferenceFrame):
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
