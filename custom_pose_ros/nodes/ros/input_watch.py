"""InputWatch: a subscription that tells why messages are missing - no publisher, incompatible QoS, losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.loss_counter import LossCounter

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

LOST_WARNING, LOST_CLEAR = 0.1, 0.05  # share of messages lost from which, and until which, it is a problem
_LISTED = 5  # names in one line
IMAGE_LOSS_CURE = (
    'large images need more than the default transport: where the camera driver is started, export '
    'FASTDDS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix --share custom_pose_ros)/config/fastdds.xml (FASTRTPS_... before '
    'Kilted), or set image_reliability: reliable here if the driver is reliable, or take image_transport: compressed'
)
LOSS_CURE = 'the network or the computer is overloaded'


class InputWatch:
    """Makes one subscription and watches it; its messages have a header."""

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        loss_cure: str = LOSS_CURE,
    ):
        """
        Subscribe; the quality of service can be overridden.

        Args:
            node: the node that subscribes.
            kind: message class.
            topic: name of the topic, before remapping.
            callback: gets every message.
            profile: quality of service, where it is not overridden.
            loss_cure: what to do when messages are lost.
        """
        self._node, self._kind, self._callback, self._loss_cure = node, kind, callback, loss_cure
        self._losses = LossCounter()
        self._losing = self._overwriting = False
        self._topic = node.resolve_topic_name(topic)
        self._mismatched = False
        self.subscription = self._subscribe(topic, profile)

    def _subscribe(self, topic: str, profile: QoSProfile) -> Subscription:
        # Where rclpy has information about a message (not in Humble), it passes it to callbacks of two arguments.
        informed = hasattr(Subscription, 'CallbackType')
        on_message = self._on_informed_message if informed else self._on_message
        reports = {'incompatible_qos': self._on_incompatible, 'message_lost': self._on_lost}
        for events in (reports, {'incompatible_qos': self._on_incompatible}, {}):
            self._losses.reports = 'message_lost' in events
            try:
                return self._node.create_subscription(
                    self._kind,
                    topic,
                    on_message,
                    profile,
                    event_callbacks=SubscriptionEventCallbacks(**events),
                    qos_overriding_options=qos.overridable(),
                )
            except UnsupportedEventTypeError:  # not every middleware knows every event
                continue
        raise AssertionError('a subscription without events needs no support for them')

    @property
    def topic_name(self) -> str:
        return self._topic

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self.subscription)

    def _on_informed_message(self, message: Any, info: dict[str, Any]) -> None:
        # Without the publisher (before Kilted) numbers of several publishers cannot be told apart.
        publisher = info.get('publisher_gid')
        number = None if publisher is None else info.get('publication_sequence_number')
        self._count(message, str(publisher), number)
        self._callback(message)

    def _on_message(self, message: Any) -> None:
        self._count(message, None, None)
        self._callback(message)

    def _count(self, message: Any, publisher: str | None, number: int | None) -> None:
        stamp = message.header.stamp
        self._losses.arrived(stamp.sec * 10**9 + stamp.nanosec, publisher, number)

    def _on_lost(self, event: Any) -> None:
        self._losses.reported_lost(event.total_count)

    def _on_incompatible(self, event: object) -> None:
        self._mismatched = True

    def rows(self) -> dict[str, str]:
        """Return the rows of diagnostics about the topic and its losses."""
        period_s = self._losses.period_s
        return {
            'topic': self._topic,
            'publishers': str(self._node.count_publishers(self._topic)),
            'lost on the way': str(self._losses.lost),
            'overwritten unread': str(self._losses.overwritten),
            'rate by the stamps [Hz]': 'unknown' if period_s is None else f'{1 / period_s:.1f}',
        }

    def problems(self) -> list[str]:
        """Return what is wrong with the topic now, a line each; to be called regularly."""
        mismatches = qos.mismatches(self._node, self._topic, publishes=False) if self._mismatched else []
        self._mismatched = bool(mismatches)
        lost, overwritten = self._losses.shares()
        self._losing = lost > (LOST_CLEAR if self._losing else LOST_WARNING)
        self._overwriting = overwritten > (LOST_CLEAR if self._overwriting else LOST_WARNING)
        lines = []
        if self._losing:
            lines.append(f'{self._topic}: {100 * lost:.0f} % of the messages are lost on the way; {self._loss_cure}')
        if self._overwriting:
            share = f'{100 * overwritten:.0f} % of the messages'
            lines.append(f'{self._topic}: {share} are overwritten before they are read; the computer is overloaded')
        return mismatches + lines

    def silence(self) -> str:
        """Return why no message comes; to be asked when none does."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        if publishers:
            names = sorted({qos.node_name(publisher) for publisher in publishers})
            return f'{", ".join(names[:_LISTED])} publishes {self._topic}, but nothing comes'
        wanted = f'{self._kind.__module__.split(".")[0]}/msg/{self._kind.__name__}'
        topics = self._node.get_topic_names_and_types()
        others = [name for name, kinds in topics if wanted in kinds and self._from_others(name)]
        meant = f' ({wanted} is on {", ".join(sorted(others)[:_LISTED])}: remap it)' if others else ''
        return f'nobody publishes {self._topic}{meant}'

    def _from_others(self, topic: str) -> bool:
        """Whether another node publishes a topic: what this one publishes itself is not to be subscribed to."""
        own = self._node.get_fully_qualified_name()
        return any(qos.node_name(publisher) != own for publisher in self._node.get_publishers_info_by_topic(topic))
