"""Quality of service of every topic, all of it overridable by the standard qos_overrides.* parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions

from custom_pose_ros.core.errors import ConfigError

STATIC_TF = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TF = QoSProfile(depth=100)
DIAGNOSTICS = QoSProfile(depth=10)
RESULTS = QoSProfile(depth=10)  # small messages, reliable: they match every subscriber


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


def overridable() -> QoSOverridingOptions:
    """Let qos_overrides.<topic>.<publisher|subscription>.* set history, depth, reliability and durability."""
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions(kinds)


@contextlib.contextmanager
def overrides_explained() -> Iterator[None]:
    """Turn a qos_overrides.* parameter that rclpy does not understand into a ConfigError."""
    try:
        yield
    except (RuntimeError, InvalidQosOverridesError) as error:
        if 'QoS override' not in str(error):
            raise
        raise ConfigError(f'parameters qos_overrides.*: {error}; wanted a policy of rmw, like reliable') from error
