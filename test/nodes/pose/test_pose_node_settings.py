"""Tests of pose_node's settings over real DDS: quality of service, overrides, unknown parameters."""

from __future__ import annotations

import threading

import pytest
from rcl_interfaces.msg import Log
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.nodes.pose.pose_node import PoseNode

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


@pytest.mark.parametrize(
    ('parameters', 'publisher', 'wanted'),
    [
        ({}, qos_profile_sensor_data, ReliabilityPolicy.BEST_EFFORT),
        ({'image_reliability': 'reliable'}, RELIABLE, ReliabilityPolicy.RELIABLE),
    ],
)
def test_images_are_subscribed_with_the_reliability_asked_for(
    graph, tiny_object, parameters, publisher, wanted
) -> None:
    graph.start(PoseNode, object=tiny_object, threads=1, **parameters)
    camera = graph.advertise('image', Image, publisher)
    (found,) = graph.tester.get_subscriptions_info_by_topic(camera.topic_name)
    assert found.qos_profile.reliability == wanted


def test_quality_of_service_can_be_overridden(graph, tiny_object) -> None:
    topic = f'{graph.namespace}/image'
    override = {f'qos_overrides.{topic}.subscription.reliability': 'reliable'}
    graph.start(PoseNode, object=tiny_object, threads=1, **override)
    graph.wait(lambda: graph.tester.get_subscriptions_info_by_topic(topic), 'the subscription')
    (found,) = graph.tester.get_subscriptions_info_by_topic(topic)
    assert found.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_an_override_changes_its_own_topic_only(graph, tiny_object) -> None:
    override = {f'qos_overrides.{graph.namespace}/front/poses.publisher.reliability': 'best_effort'}
    node = graph.start(PoseNode, object=tiny_object, threads=1, cameras=['front', 'down'], **override)
    topics = {publisher.topic_name: publisher.qos_profile.reliability for publisher in node.publishers}
    assert topics[f'{graph.namespace}/front/poses'] == ReliabilityPolicy.BEST_EFFORT
    assert topics[f'{graph.namespace}/down/poses'] == ReliabilityPolicy.RELIABLE


def test_an_unknown_quality_of_service_is_refused(graph, tiny_object) -> None:
    override = {f'qos_overrides.{graph.namespace}/image.subscription.reliability': 'perhaps'}
    with pytest.raises(
        ConfigError, match=r'qos_overrides\.\*: Unexpected QoS override for policy `reliability`: `perhaps`'
    ):
        graph.start(PoseNode, object=tiny_object, threads=1, **override)


def test_a_misspelt_parameter_is_warned_about(graph, tiny_object) -> None:
    graph.start(PoseNode, object=tiny_object, threads=1, treads=3)
    line = graph.wait_for_log(Log.WARN, 'pose_node', 'treads')
    assert line == 'parameter treads: unknown, ignored (did you mean threads?)'


def test_ending_leaves_no_thread(graph, tiny_object) -> None:
    before = set(threading.enumerate())
    node = graph.start(PoseNode, object=tiny_object, threads=1)
    assert any(thread.name == 'pose_worker' for thread in threading.enumerate())
    graph.stop(node)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ('parameters', 'text'),
    [
        ({'object': 'nothing_like_it'}, "object 'nothing_like_it' not found"),
        ({'backend': 'quantum'}, "backend 'quantum' is unknown, wanted one of auto, "),
        ({'input_height': 100}, 'input_height: wanted a multiple of 32'),
        ({'image_transport': 'pigeon'}, "image_transport: wanted one of raw, compressed, got 'pigeon'"),
        ({'thresholds__pose_score': 3.0}, 'thresholds.pose_score: wanted a number from 0 to 1, got 3.0'),
    ],
)
def test_unknown_parameter_values_are_refused_at_the_start(graph, tiny_object, parameters: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        graph.start(PoseNode, **{'object': tiny_object, 'threads': 1, **parameters})
