"""Tests of the parameters of running nodes over real DDS: live, read-only, and what ros2 param dump writes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.msg import Log, ParameterType
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.orientation.orientation_parameters import FilterNodeParameters, OrientationNodeParameters
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters, ThresholdParameters
from custom_pose_ros.nodes.ros.parameters import declarations

DECLARED = {
    'pose_node': {**declarations(PoseNodeParameters), **declarations(ThresholdParameters, 'thresholds.')},
    'orientation_node': {**declarations(OrientationNodeParameters), **declarations(FilterNodeParameters, 'filter.')},
}
SWITCHED = ('object', 'model')  # by a service, see test_object_switch.py


class Client:
    """What ros2 param does, by the services it calls."""

    def __init__(self, graph, node: str):
        self.graph, self.node = graph, node

    def call(self, kind: type, name: str, **fields: Any) -> Any:
        client = self.graph.tester.create_client(kind, f'{self.node}/{name}')
        self.graph.wait(client.service_is_ready, client.srv_name)
        future = client.call_async(kind.Request(**fields))
        self.graph.wait(future.done, f'the answer of {client.srv_name}')
        self.graph.tester.destroy_client(client)
        return future.result()

    def set(self, name: str, value: Any) -> tuple[bool, str]:
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        (result,) = self.call(SetParameters, 'set_parameters', parameters=parameters).results
        return result.successful, result.reason

    def values(self) -> dict[str, Any]:
        names = sorted(self.call(ListParameters, 'list_parameters').result.names)
        values = self.call(GetParameters, 'get_parameters', names=names).values
        return {name: parameter_value_to_python(value) for name, value in zip(names, values)}

    def dump(self, path: Path) -> None:
        """Write the YAML file that ros2 param dump writes."""
        nested: dict[str, Any] = {}
        for name, value in self.values().items():
            *groups, last = name.split('.')
            place = nested
            for group in groups:
                place = place.setdefault(group, {})
            place[last] = value
        full_name = f'{self.graph.namespace}/{self.node}'
        path.write_text(yaml.dump({full_name: {'ros__parameters': nested}}), encoding='utf-8')


def another(value: Any, declaration, key: str = '') -> Any:
    """Return another value that is accepted."""
    if key == 'thresholds.min_keypoints':  # of the four of the object
        return 3
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        low, high = declaration.bounds
        return type(value)(low + 0.25 * (high - low))
    return next(choice for choice in declaration.choices if choice != value)


def refused(declaration) -> Any:
    """Return a value of the right type that is out of range, or one of another type where there is no range."""
    if isinstance(declaration.default, bool):
        return 'perhaps'
    return type(declaration.default)(declaration.bounds[1] * 2 + 1)


@pytest.mark.parametrize('node_class', [PoseNode, OrientationNode])
def test_live_parameters_change_and_static_ones_are_read_only(graph, tiny_object, node_class) -> None:
    node = graph.start(node_class, object=tiny_object)
    client, name = Client(graph, node.get_name()), node.get_name()
    before = client.values()
    for key, declaration in DECLARED[name].items():
        if key in SWITCHED:
            continue
        if not declaration.live:
            successful, reason = client.set(key, before[key])
            assert (successful, 'read-only' in reason) == (False, True), (key, reason)
            continue
        value = another(before[key], declaration, key)
        assert client.set(key, value) == (True, ''), key
        successful, reason = client.set(key, refused(declaration))
        wrong_type = isinstance(value, bool)  # which ROS refuses in its own words
        assert (successful, wrong_type or key in reason) == (False, True), (key, reason)
        assert client.values()[key] == value
    groups = {'': node.settings}
    groups |= {'thresholds.': node._thresholds} if name == 'pose_node' else {'filter.': node._filter}
    after = client.values()
    for prefix, group in groups.items():
        for field, value in vars(group.values).items():
            shown = after[prefix + field]
            assert (list(value) or ['']) == shown if isinstance(value, tuple) else value == shown, field


def test_a_whole_number_will_do_for_a_number(graph, tiny_object) -> None:
    node = graph.start(PoseNode, object=tiny_object)
    client = Client(graph, 'pose_node')
    assert client.set('max_rate', 5) == (True, '')
    assert (client.values()['max_rate'], type(node.settings.values.max_rate)) == (5.0, float)
    successful, reason = client.set('max_rate', -1)
    assert (successful, 'max_rate' in reason) == (False, True)
    assert not client.set('no_such_parameter', 1)[0]


@pytest.mark.parametrize('node_class', [PoseNode, OrientationNode])
def test_what_is_dumped_starts_the_same_node(graph, tiny_object, tmp_path, node_class) -> None:
    name = 'pose_node' if node_class is PoseNode else 'orientation_node'
    changed = {
        key.replace('.', '__'): another(declaration.default, declaration, key)
        for key, declaration in DECLARED[name].items()
        if declaration.live and key not in SWITCHED
    }
    topic = 'front/image' if node_class is PoseNode else 'front/poses'
    changed[f'qos_overrides.{graph.namespace}/{topic}.subscription.depth'] = 3
    node = graph.start(node_class, object=tiny_object, cameras=['front', 'down'], **changed)
    client = Client(graph, name)
    values = client.values()
    client.dump(tmp_path / 'dump.yaml')
    graph.stop(node)

    graph.start(node_class, '--params-file', str(tmp_path / 'dump.yaml'))
    again = Client(graph, name).values()
    assert again == values
    assert again[f'qos_overrides.{graph.namespace}/{topic}.subscription.depth'] == 3


@pytest.mark.parametrize('node_class', [PoseNode, OrientationNode])
def test_the_defaults_dumped_start_a_node(graph, tiny_object, tmp_path, node_class) -> None:
    node = graph.start(node_class, object=tiny_object)
    client = Client(graph, node.get_name())
    client.dump(tmp_path / 'dump.yaml')
    values = client.values()
    graph.stop(node)
    node = graph.start(node_class, '--params-file', str(tmp_path / 'dump.yaml'))
    assert Client(graph, node.get_name()).values() == values
    assert not any('unknown' in line for line in graph.logs(Log.WARN, node.get_name()))


def test_every_parameter_is_described(graph, tiny_object) -> None:
    graph.start(PoseNode, object=tiny_object)
    client = Client(graph, 'pose_node')
    names = list(DECLARED['pose_node'])
    descriptors = client.call(DescribeParameters, 'describe_parameters', names=names).descriptors
    for key, descriptor in zip(names, descriptors):
        declaration = DECLARED['pose_node'][key]
        assert (descriptor.description, descriptor.read_only) == (declaration.description, not declaration.live)
        assert descriptor.type != ParameterType.PARAMETER_NOT_SET
