"""Image messages: their topics, converted once for all, and handed between the nodes of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import numpy as np
from rclpy.node import Node, NodeNameNonExistentError
from sensor_msgs.msg import CompressedImage, Image

from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.nodes.ros.conversions import stamp_nanoseconds

_IMAGE_TYPES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}


def image_source(node: Node, camera: str, transport: str) -> tuple[type, str]:
    """Return class and topic of the images of a camera, whose namespace may be empty."""
    # As image_transport does: remapping the base topic moves the compressed one along.
    topic = node.resolve_topic_name(f'{camera}/image' if camera else 'image')
    return (CompressedImage, topic + '/compressed') if transport == 'compressed' else (Image, topic)


def image_topics_behind(node: Node, topic: str) -> list[str]:
    """
    Return the image topics that the publishers of a topic subscribe, as far as the middleware knows them now.

    Of a node with several cameras those in the namespace of the topic are meant, where there are any.
    """
    found = set()
    for publisher in node.get_publishers_info_by_topic(topic):
        if not publisher.node_namespace.startswith('/'):
            continue  # _NODE_NAMESPACE_UNKNOWN_: its process has just begun
        with suppress(NodeNameNonExistentError):
            subscribed = node.get_subscriber_names_and_types_by_node(publisher.node_name, publisher.node_namespace)
            found |= {name for name, kinds in subscribed if not _IMAGE_TYPES.isdisjoint(kinds)}
    beside = [name for name in found if name.startswith(topic.rpartition('/')[0] + '/')]
    return sorted(beside or found)


class ReceivedImage:
    """
    An image message.

    Attributes:
        message: as it came.
        stamp_ns: of its header.
    """

    def __init__(self, message: Image | CompressedImage):
        self.message = message
        self.stamp_ns = stamp_nanoseconds(message.header.stamp)
        self._lock = threading.Lock()  # both nodes of a process want it, each in a thread of its own
        self._bgr: np.ndarray | None = None

    @property
    def bgr(self) -> np.ndarray:
        """(H, W, 3) uint8, converted once, not to be changed. Raises MessageError when the message is no image."""
        with self._lock:
            if self._bgr is None:
                self._bgr = image_to_bgr(self.message)
            return self._bgr


class FrameExchange:
    """Hands each frame that one node receives to another node of the same process, without a copy."""

    def __init__(self) -> None:
        self._takers: dict[str, Callable[[ReceivedImage], None]] = {}

    def put(self, camera: str, frame: ReceivedImage) -> None:
        """Give a frame of a camera to the node that takes them, in the thread of the caller."""
        if take := self._takers.get(camera):
            take(frame)

    def take(self, camera: str, taker: Callable[[ReceivedImage], None], held: ExitStack) -> None:
        """Let `taker` get every frame of a camera; `held` is given the end of it."""
        self._takers[camera] = taker
        held.callback(self._takers.pop, camera, None)
