"""Quality of service of every topic; the parameters qos_overrides.* of ROS can change all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from custom_pose_ros.core.errors import ConfigError

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

_NAMES_KNOWN_S = 1.0  # discovery finds an endpoint first and the name of its node later
_UNKNOWN = '_UNKNOWN_'  # end of the name of a node that is not known (yet)

STATIC_TF = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TF = QoSProfile(depth=100)
DIAGNOSTICS = QoSProfile(depth=10)
# qos_overrides.<topic>.<publisher|subscription>.* set these:
OVERRIDABLE = QoSOverridingOptions((
    QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY,
))  # fmt: skip


# Each call makes a new profile: rclpy writes what overrides it into the one it is given.
def results() -> QoSProfile:
    """Return the profile of small messages, reliable: they match every subscriber."""
    return QoSProfile(depth=10)


def images(reliability: str = 'best_effort') -> QoSProfile:
    """
    Return the profile of image subscriptions: sensor data, best effort by default.

    Five frames fit in, so that frames the node has no time for reach it and are counted as dropped.
    """
    return QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])


def camera_info() -> QoSProfile:
    """Return the profile of camera_info: best effort and volatile, which every publisher's profile matches."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def overlay() -> QoSProfile:
    """Return the profile of the overlay image: reliable, as RViz and image viewers ask for by default; newest only."""
    return QoSProfile(depth=1)


@contextlib.contextmanager
def overrides_explained() -> Iterator[None]:
    """
    Explain a qos_overrides.* parameter that rclpy does not understand.

    Raises:
        ConfigError: in place of the errors that rclpy has for it.
    """
    try:
        yield
    except (RuntimeError, InvalidQosOverridesError) as error:
        if 'QoS override' not in str(error):
            raise
        raise ConfigError(f'parameters qos_overrides.*: {error}; wanted a policy of rmw, like reliable') from error


def publisher_options(node: Node, topic: str) -> dict[str, Any]:
    """Return the options of a publisher: an overridable profile, and a warning about incompatible subscribers."""
    events = PublisherEventCallbacks(incompatible_qos=lambda _: explain_mismatch(node, topic, publishes=True))
    return {'qos_overriding_options': OVERRIDABLE, 'event_callbacks': events}


def advertise(
    node: LifecycleNode, kind: type, topic: str, profile: QoSProfile, held: contextlib.ExitStack
) -> LifecyclePublisher:
    """Return a publisher with these options; `held` is given its release."""
    publisher = node.create_lifecycle_publisher(kind, topic, profile, **publisher_options(node, topic))
    held.callback(node.destroy_lifecycle_publisher, publisher)
    return publisher


def explain_mismatch(node: Node, topic: str, publishes: bool) -> None:
    """Log the `mismatches` of a topic in a moment, when discovery knows the name of the other node too."""

    def explain() -> None:
        node.destroy_timer(timer)
        for line in mismatches(node, topic, publishes):
            node.get_logger().warning(line)

    timer = node.create_timer(_NAMES_KNOWN_S, explain, clock=Clock(clock_type=ClockType.STEADY_TIME))


def mismatches(node: Node, topic: str, publishes: bool) -> list[str]:
    """
    Return one line for each endpoint whose profile is incompatible with this node's: both profiles and the cure.

    Args:
        node: this node.
        topic: name of the topic, before remapping.
        publishes: whether this node publishes the topic and others subscribe to it, or the other way round.
    """
    name = node.resolve_topic_name(topic)
    own = [e for e in (node.publishers if publishes else node.subscriptions) if _topic(e) == name]
    if not own:
        return []
    ours = own[0].qos_profile
    ask = node.get_subscriptions_info_by_topic if publishes else node.get_publishers_info_by_topic
    lines = []
    for other in ask(name):
        pair = (ours, other.qos_profile) if publishes else (other.qos_profile, ours)
        if qos_check_compatible(*pair)[0] == QoSCompatibility.ERROR:
            lines.append(_mismatch(name, node_name(other), *pair, publishes))
    return lines


def node_name(endpoint: TopicEndpointInfo) -> str:
    """Return the full name of the node that has this publisher or subscription."""
    if endpoint.node_name.endswith(_UNKNOWN):
        return 'another node'
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'


def _topic(endpoint: Any) -> str:
    return endpoint.topic_name if hasattr(endpoint, 'topic_name') else endpoint.topic


def _mismatch(topic: str, other: str, offered: QoSProfile, wanted: QoSProfile, publishes: bool) -> str:
    """Say that a publisher offers less than a subscriber wants, and which parameter of this node ends it."""
    profiles = f'{_short(offered)} is offered and {_short(wanted)} wanted'
    kind, changed = ('publisher', wanted) if publishes else ('subscription', offered)
    cures = [
        f'qos_overrides.{topic}.{kind}.{policy}: {getattr(changed, policy).name.lower()}'
        for policy in ('reliability', 'durability')
        if getattr(offered, policy) != getattr(wanted, policy)
    ]
    cure = f'set {" and ".join(cures)} here' if cures else 'its deadline, lifespan or liveliness has to change'
    return f'{topic}: the quality of service of {other} does not match: {profiles}; {cure}, or change {other}'


def _short(profile: QoSProfile) -> str:
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'
