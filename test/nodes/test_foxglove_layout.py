"""config/foxglove.json against an mcap recorded from the running nodes: every topic is in it, of a type to be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import PoseArray, bgr_to_image

rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='writing bags needs rosbags')
STAMP = Header(stamp=Time(sec=7), frame_id='camera_optical_frame')
# Of what Foxglove's panels show, the types that this package publishes.
SHOWN = {
    'Image': {'sensor_msgs/msg/Image'},
    '3D': {'visualization_msgs/msg/MarkerArray'},
    'DiagnosticSummary': {'diagnostic_msgs/msg/DiagnosticArray'},
}


@pytest.fixture(scope='module')
def layout(root: Path) -> dict[str, Any]:
    return json.loads((root / 'config/foxglove.json').read_text(encoding='utf-8'))


def panels(tree: str | dict[str, Any]) -> Iterator[str]:
    """Yield the panels of a layout tree, from left to right and from top to bottom."""
    if isinstance(tree, str):
        yield tree
    else:
        assert tree['direction'] in ('row', 'column')
        assert 0 < tree['splitPercentage'] < 100
        yield from panels(tree['first'])
        yield from panels(tree['second'])


def topics_of(kind: str, panel: dict[str, Any]) -> list[str]:
    if kind == 'Image':
        return [panel['imageMode']['imageTopic']]
    return list(panel['topics']) if kind == '3D' else [panel['topicToRender']]


def field_type(store: Any, msgtype: str, path: list[str]) -> Any:
    """Return the type at the end of a path of fields in a message type; KeyError where there is none."""
    for name in path:
        kinds = dict(store.fielddefs[msgtype][1])
        _, description = kinds[name]
        msgtype = description if isinstance(description, str) else description[0]
    return msgtype


@pytest.fixture
def recorded(graph, tiny, tiny_object, layout, tmp_path) -> dict[str, Any]:
    """Record the topics of the layout while both nodes answer a picture; return those that have messages."""
    from custom_pose_ros.evaluation.bags.decoding import pose_types

    common = {'object': tiny_object}
    graph.start(PoseNode, threads=1, image_reliability='reliable', **common)
    graph.start(OrientationNode, **common)
    texts = json.dumps(layout)
    kinds = {
        name.removeprefix(graph.namespace): types[0]
        for name, types in graph.tester.get_topic_names_and_types()
        if name.startswith(f'{graph.namespace}/') or name == '/diagnostics'
    }
    wanted = {topic: kind for topic, kind in kinds.items() if f'"/camera{topic}' in texts or f'"{topic}"' in texts}
    received = {topic: [] for topic in wanted}
    for topic, kind in wanted.items():
        package, _, name = kind.split('/')
        message = getattr(__import__(f'{package}.msg', fromlist=[name]), name)
        full = topic if topic == '/diagnostics' else graph.namespace + topic
        graph.tester.create_subscription(message, full, received[topic].append, 10, raw=True)
    poses, images = graph.listen('poses', PoseArray), graph.advertise('image', Image)
    infos = graph.advertise('camera_info', CameraInfo)
    infos.publish(
        CameraInfo(header=STAMP, width=320, height=256, k=[300.0, 0.0, 160.0, 0.0, 300.0, 128.0, 0.0, 0.0, 1.0])
    )
    picture = bgr_to_image(tiny.draw_tiny_object(tiny.TINY_POINTS, (320, 256)), STAMP)
    graph.wait(lambda: all(received.values()) or images.publish(picture), f'messages of {set(wanted)}', period_s=0.3)
    assert poses
    types = pose_types()
    with rosbag2.Writer(tmp_path / 'bag', version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as bag:
        for topic, kind in wanted.items():
            name = topic if topic == '/diagnostics' else '/camera' + topic
            connection = bag.add_connection(name, kind, typestore=types)
            for number, data in enumerate(received[topic]):
                bag.write(connection, number, data)
    with rosbag2.Reader(tmp_path / 'bag') as bag:
        return {c.topic: c for c in bag.connections if c.msgcount}


def test_every_topic_of_the_layout_is_in_the_recording(layout, recorded) -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    names = list(panels(layout['layout']))
    assert sorted(names) == sorted(layout['configById'])
    for name in names:
        kind, panel = name.split('!')[0], layout['configById'][name]
        if kind != 'Plot':
            for topic in topics_of(kind, panel):
                assert recorded[topic].msgtype in SHOWN[kind]
            continue
        for path in panel['paths']:
            topic, *fields = path['value'].removesuffix('.@rad2deg').split('.')
            connection = recorded[topic]
            store = get_typestore(Stores.EMPTY)
            store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
            assert field_type(store, connection.msgtype, fields) == 'float64'
            assert dict(store.fielddefs[connection.msgtype][1])['header'][1] == 'std_msgs/msg/Header'  # headerStamp
