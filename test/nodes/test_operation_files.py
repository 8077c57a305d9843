"""Tests of the files in config/ for operators, against what the running nodes have: SROS 2 policy, aggregator."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode

CONFIG = Path(__file__).resolve().parents[2] / 'config'
# Elements of policy.xsd 0.2.0 of sros2: children, attributes.
SCHEMA = {
    'policy': ({'enclaves'}, {'version'}),
    'enclaves': ({'enclave'}, set()),
    'enclave': ({'profiles'}, {'path'}),
    'profiles': ({'profile'}, {'type'}),
    'profile': ({'topics', 'services', 'actions'}, {'ns', 'node'}),
    'topics': ({'topic'}, {'publish', 'subscribe'}),
    'services': ({'service'}, {'reply', 'request'}),
    'topic': (set(), set()),
    'service': (set(), set()),
}
# Topics that a node has only with use_sim_time, image_transport: compressed, and refine: outline.
NOT_ALWAYS = {
    PoseNode: {'/clock', 'image/compressed'},
    OrientationNode: {'/clock', 'image', 'image/compressed', '~/overlay'},
}


@pytest.fixture(scope='module')
def policy() -> ET.Element:
    return ET.parse(CONFIG / 'sros2_policy.xml').getroot()


def test_the_policy_keeps_to_the_schema(policy: ET.Element) -> None:
    assert (policy.tag, policy.get('version')) == ('policy', '0.2.0')
    for element in policy.iter():
        children, attributes = SCHEMA[element.tag]
        assert {child.tag for child in element} <= children, element.tag
        assert set(element.attrib) <= attributes, element.tag
        assert bool(children) == (len(element) > 0), f'{element.tag} is empty or has to be'
        for name in attributes & {'publish', 'subscribe', 'reply', 'request'}:
            assert element.get(name) in (None, 'ALLOW', 'DENY')


@pytest.mark.parametrize('kind', [PoseNode, OrientationNode])
def test_the_policy_allows_what_a_node_has_and_nothing_else(graph, tiny_object, policy: ET.Element, kind) -> None:
    node = graph.start(kind, object=tiny_object)
    own = node.get_name(), graph.namespace
    graph.wait(lambda: node.get_publisher_names_and_types_by_node(*own), 'the node to see itself')
    profile = policy.find(f"enclaves/enclave[@path='/custom_pose/{node.get_name()}']/profiles/profile")
    assert (profile.get('ns'), profile.get('node')) == ('/', node.get_name())
    for has, path in [
        (node.get_publisher_names_and_types_by_node, "topics[@publish='ALLOW']/topic"),
        (node.get_subscriber_names_and_types_by_node, "topics[@subscribe='ALLOW']/topic"),
        (node.get_service_names_and_types_by_node, "services[@reply='ALLOW']/service"),
        (node.get_client_names_and_types_by_node, "services[@request='ALLOW']/service"),
    ]:
        allowed = {qualified(node, element.text) for element in profile.iterfind(path)}
        found = {name for name, _ in has(*own)}
        optional = {qualified(node, name) for name in NOT_ALWAYS[kind]} | {
            f'{node.get_fully_qualified_name()}/get_type_description'  # not in Humble
        }
        assert found <= allowed
        assert allowed - found <= optional


def qualified(node: Node, name: str) -> str:
    """Return the name as if the policy were for the namespace of the test."""
    name = name.replace('~', node.get_fully_qualified_name())
    return name if name.startswith('/') else f'{node.get_namespace()}/{name}'


def test_every_status_has_its_group_in_the_aggregator(graph, tiny_object) -> None:
    groups = yaml.safe_load((CONFIG / 'diagnostic_aggregator.yaml').read_text(encoding='utf-8'))['/**']
    words = [g['contains'] for g in groups['ros__parameters'].values() if isinstance(g, dict)]
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    graph.start(PoseNode, object=tiny_object, cameras=['front', 'down'])
    graph.start(OrientationNode, object=tiny_object)

    def names() -> set[str]:
        mine = (s.name for message in list(diagnostics) for s in message.status)
        return {name for name in mine if name.startswith(f'{graph.namespace[1:]}/')}

    graph.wait(lambda: len(names()) == 3, 'the statuses of both nodes')
    assert [sum(word in name for (word,) in words) for name in names()] == [1, 1, 1]
