"""InputWatch: a subscription that tells why messages are missing - no publisher, incompatible QoS, counted losses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from custom_pose_ros.core.errors import reason_of
from custom_pose_ros.nodes.ros import qos
from custom_pose_ros.nodes.ros.conversions import stamp_nanoseconds

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
WINDOW_S = 10.0  # the share lost is about this long
_PERIODS = 60  # steps between stamps that the period is estimated from
_FEWEST_PERIODS = 10
_SHORT_PERCENT = 5  # of the steps count as single periods, at least
_PUBLISHERS = 16  # whose last sequence number is remembered
_LONGEST_GAP_S = 10.0  # a longer pause between two stamps is a camera that stood still, not a loss


class InputWatch:
    """
    Makes one subscription and watches it; its messages have a header.

    Attributes:
        topic_name: the full name of the topic.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        loss_cure: str = LOSS_CURE,
        max_bytes: int | None = None,
        refuse: Callable[[str], None] | None = None,
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
            max_bytes: of a message; a larger one, whose conversion would block the node, is not converted.
            refuse: told of a message that is not converted.
        """
        self._max_bytes, self._refuse = max_bytes, refuse
        self._node, self._kind, self._callback, self._loss_cure = node, kind, callback, loss_cure
        self._losses = LossCounter()
        self._losing = self._overwriting = False
        self.topic_name = node.resolve_topic_name(topic)
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
                    qos_overriding_options=qos.OVERRIDABLE,
                    raw=self._max_bytes is not None,
                )
            except UnsupportedEventTypeError:  # not every middleware knows every event
                continue
        raise AssertionError('a subscription without events needs no support for them')

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self.subscription)

    def _on_informed_message(self, message: Any, info: dict[str, Any]) -> None:
        # Without the publisher (before Kilted) numbers of several publishers cannot be told apart.
        publisher = info.get('publisher_gid')
        number = None if publisher is None else info.get('publication_sequence_number')
        self._on_message(message, publisher, number)

    def _on_message(self, message: Any, publisher: Any = None, number: int | None = None) -> None:
        if self._max_bytes is not None:
            message = self._converted(message)
            if message is None:
                return
        self._losses.arrived(stamp_nanoseconds(message.header.stamp), str(publisher), number)
        self._callback(message)

    def _converted(self, data: bytes) -> Any:
        """Return the message of its bytes, None where they are too many or do not make one."""
        assert self._max_bytes is not None
        problem = f'a message of {len(data)} bytes: wanted at most {self._max_bytes}'
        if len(data) <= self._max_bytes:
            try:
                return deserialize_message(data, self._kind)
            except Exception as error:  # of the middleware; without `raw` it would drop the message itself
                problem = f'a message cannot be read ({reason_of(error)})'
        if self._refuse is not None:
            self._refuse(f'{self.topic_name}: {problem}')
        return None

    def _on_lost(self, event: Any) -> None:
        self._losses.reported_lost(event.total_count)

    def _on_incompatible(self, event: object) -> None:
        self._mismatched = True

    def rows(self) -> dict[str, str]:
        """Return the rows of diagnostics about the topic and its losses."""
        period_s = self._losses.period_s
        return {
            'topic': self.topic_name,
            'publishers': str(self._node.count_publishers(self.topic_name)),
            'lost on the way': str(self._losses.lost),
            'overwritten unread': str(self._losses.overwritten),
            'rate by the stamps [Hz]': 'unknown' if period_s is None else f'{1 / period_s:.1f}',
        }

    def problems(self) -> list[str]:
        """Return what is wrong with the topic now, a line each; to be called regularly."""
        mismatches = qos.mismatches(self._node, self.topic_name, publishes=False) if self._mismatched else []
        self._mismatched = bool(mismatches)
        lost, overwritten = self._losses.shares()
        self._losing = lost > (LOST_CLEAR if self._losing else LOST_WARNING)
        self._overwriting = overwritten > (LOST_CLEAR if self._overwriting else LOST_WARNING)
        lines = []
        if self._losing:
            share = f'{100 * lost:.0f} % of the messages'
            lines.append(f'{self.topic_name}: {share} are lost on the way; {self._loss_cure}')
        if self._overwriting:
            share = f'{100 * overwritten:.0f} % of the messages'
            lines.append(f'{self.topic_name}: {share} are overwritten before they are read; the computer is overloaded')
        return mismatches + lines

    def silence(self) -> str:
        """Return why no message comes; to be asked when none does."""
        publishers = self._node.get_publishers_info_by_topic(self.topic_name)
        if publishers:
            names = sorted({qos.node_name(publisher) for publisher in publishers})
            return f'{", ".join(names[:_LISTED])} publishes {self.topic_name}, but nothing comes'
        wanted = f'{self._kind.__module__.split(".")[0]}/msg/{self._kind.__name__}'
        topics = self._node.get_topic_names_and_types()
        others = [name for name, kinds in topics if wanted in kinds and self._may_be_meant(name)]
        meant = f' ({wanted} is on {", ".join(sorted(others)[:_LISTED])}: remap it)' if others else ''
        return f'nobody publishes {self.topic_name}{meant}'

    def _may_be_meant(self, topic: str) -> bool:
        """Whether another node publishes a topic, and no overlay: what these nodes draw is not to be subscribed to."""
        if topic.endswith('/overlay'):
            return False
        own = self._node.get_fully_qualified_name()
        return any(qos.node_name(publisher) != own for publisher in self._node.get_publishers_info_by_topic(topic))


class LossCounter:
    """
    Counts the messages that were sent and did not come.

    Exact where the middleware numbers messages and reports losses: a larger gap in the numbers than the losses reported
    means that messages came and were overwritten in the queue before the node read them. Otherwise the period of the
    publisher is estimated from the stamps, and the steps that are missing count as lost; that needs a camera of
    constant rate, and at most 8 of 10 messages lost.

    Attributes:
        reports: whether the middleware reports losses.
        received: how many messages have come.
    """

    reports = False

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self.received = self._gaps = self._by_stamps = self._reported = 0
        self._numbered = False
        self._last_numbers: dict[Hashable, int] = {}
        self._last_stamp_ns: int | None = None
        self._steps_ns: deque[int] = deque(maxlen=_PERIODS)
        self._history: deque[tuple[float, int, int, int]] = deque([(clock(), 0, 0, 0)])

    def arrived(self, stamp_ns: int, publisher: Hashable = None, number: int | None = None) -> None:
        """
        Count one message.

        Args:
            stamp_ns: the stamp of its header.
            publisher: who has sent it.
            number: its place in the sequence of this publisher; None where the middleware does not number messages.
        """
        self.received += 1
        if number is not None:
            self._numbered = True
            self._gaps += max(0, number - self._last_numbers.pop(publisher, number - 1) - 1)
            self._last_numbers[publisher] = number
            if len(self._last_numbers) > _PUBLISHERS:
                del self._last_numbers[next(iter(self._last_numbers))]
        last, self._last_stamp_ns = self._last_stamp_ns, stamp_ns
        if last is not None and 0 < stamp_ns - last < 1e9 * _LONGEST_GAP_S:
            self._step(stamp_ns - last)

    def _step(self, step_ns: int) -> None:
        self._steps_ns.append(step_ns)
        period_s = None if self._numbered or self.reports else self.period_s  # else the losses are known exactly
        if period_s is not None:
            self._by_stamps += max(0, round(1e-9 * step_ns / period_s) - 1)

    def reported_lost(self, total: int) -> None:
        """Note how many messages the middleware reports as lost since the start."""
        self._reported = max(self._reported, total)

    @property
    def period_s(self) -> float | None:
        """The time between two messages of the publisher, from the stamps; None while too few messages have come."""
        if len(self._steps_ns) < _FEWEST_PERIODS:
            return None
        steps = np.array(self._steps_ns)
        shortest = np.percentile(steps, _SHORT_PERCENT)  # losses make multiples, jitter makes shorter ones:
        single = np.median(steps[steps <= 1.5 * shortest])
        return 1e-9 * float(np.mean(steps / np.maximum(np.round(steps / single), 1)))

    @property
    def lost(self) -> int:
        """How many messages were lost on the way, since the start."""
        if self.reports:
            return self._reported
        return self._gaps if self._numbered else self._by_stamps

    @property
    def overwritten(self) -> int:
        """How many messages came and were not read before newer ones took their place, since the start."""
        return max(0, self._gaps - self._reported) if self.reports else 0

    def shares(self) -> tuple[float, float]:
        """Return the shares lost and overwritten in the last WINDOW_S, in [0, 1]; to be called regularly."""
        now = self._clock()
        while len(self._history) > 1 and self._history[0][0] < now - WINDOW_S:
            self._history.popleft()
        _, *before = self._history[0]
        totals = self.received, self.lost, self.overwritten
        self._history.append((now, *totals))
        received, lost, overwritten = (total - earlier for total, earlier in zip(totals, before))
        sent = max(received + lost + overwritten, 1)
        return lost / sent, overwritten / sent
