"""Images lost by the default transport of DDS: told with the cure, and counted to the last one."""

from __future__ import annotations

from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray

from custom_pose_ros.nodes.ros.input_watch import IMAGE_LOSS_CURE

CONFIG = Path(__file__).resolve().parents[3] / 'config'
SENT = 60
CAMERA = f"""
import array, sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera', namespace=sys.argv[1])
publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
while not publisher.get_subscription_count():
    time.sleep(0.05)
time.sleep(1.0)
image = Image(height=480, width=640, step=1920, encoding='bgr8', data=array.array('B', bytes(640 * 480 * 3)))
for number in range({SENT}):
    image.header.stamp.sec = number
    publisher.publish(image)
    time.sleep(0.05)
sys.stdin.read()
"""


def counts(diagnostics: list, name: str) -> dict[str, int]:
    found = [s for m in list(diagnostics) for s in m.status if s.name.startswith(f'{name}: ')]
    rows = {pair.key: pair.value for pair in found[-1].values} if found else {}
    return {key: int(rows.get(key, 0)) for key in ('received', 'lost on the way', 'overwritten unread')}


def run(graph, start_process, tiny_object: str, tmp_path: Path, **environment: str) -> tuple[dict[str, int], str]:
    """Show images of 640x480 to a node, best effort; return what it has counted and written to stderr."""
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    node = start_process(
        'custom_pose_ros.nodes.pose.pose_node',
        *('--ros-args', '-p', f'object:={tiny_object}', '-r', f'__ns:={graph.namespace}'),
        **environment,
    )
    (tmp_path / 'camera_process.py').write_text(CAMERA, encoding='utf-8')
    start_process('camera_process', graph.namespace, PYTHONPATH=f'{tmp_path}:.', **environment)
    name = f'{graph.namespace[1:]}/pose_node'
    # The last one, or a few, may be on no record when they are lost: only the next one would tell.
    graph.wait(lambda: sum(counts(diagnostics, name).values()) >= SENT - 3, f'{name} to account for all', 0.1)
    node.terminate()
    return counts(diagnostics, name), node.communicate(timeout=60)[1]


def test_what_the_default_transport_loses_is_told_with_the_cure(graph, start_process, tiny_object, tmp_path) -> None:
    found, err = run(graph, start_process, tiny_object, tmp_path, FASTDDS_BUILTIN_TRANSPORTS='DEFAULT')
    assert SENT - 3 <= sum(found.values()) <= SENT, found
    if found['lost on the way'] > 0.2 * SENT:
        assert f'% of the messages are lost on the way; {IMAGE_LOSS_CURE}' in err


def test_the_cure_works(graph, start_process, tiny_object, tmp_path) -> None:
    profile = str(CONFIG / 'fastdds.xml')
    environment = {'FASTDDS_DEFAULT_PROFILES_FILE': profile, 'FASTRTPS_DEFAULT_PROFILES_FILE': profile}
    found, _ = run(graph, start_process, tiny_object, tmp_path, FASTDDS_BUILTIN_TRANSPORTS='DEFAULT', **environment)
    assert sum(found.values()) <= SENT
    assert found['received'] > 0.5 * SENT, found  # a busy machine may be late; without the profile it is about none
