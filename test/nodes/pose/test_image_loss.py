"""Images lost by the default transport of DDS: told with the cure, and counted to the last one."""

from __future__ import annotations

from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray

from custom_pose_ros.nodes.ros.input_watch import IMAGE_LOSS_CURE

CONFIG = Path(__file__).resolve().parents[3] / 'config'
IMAGES, SMALL = 60, 5
# Small images get through: until one is answered, which proves the discovery of both sides; and at the end, so that a
# loss of the last large ones is seen. Then it prints how many were sent since the answered one, and in all.
CAMERA = f"""
import array, sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from custom_pose_ros.nodes.ros.conversions import PoseArray
rclpy.init()
node = rclpy.create_node('camera', namespace=sys.argv[1])
publisher = node.create_publisher(Image, 'image', qos_profile_sensor_data)
answers, sent = [], 0
node.create_subscription(PoseArray, 'poses', answers.append, 10)

def publish(width, height):
    global sent
    sent += 1
    data = array.array('B', bytes(width * height * 3))
    image = Image(height=height, width=width, step=3 * width, encoding='bgr8', data=data)
    image.header.stamp.sec = sent
    publisher.publish(image)
    time.sleep(0.05)

while not answers:
    publish(32, 32)
    rclpy.spin_once(node, timeout_sec=0)
for _ in range({IMAGES}):
    publish(640, 480)
for _ in range({SMALL}):
    publish(32, 32)
print(sent - answers[0].header.stamp.sec, sent, flush=True)
sys.stdin.read()
"""


def counts(diagnostics: list, name: str) -> dict[str, int]:
    found = [s for m in list(diagnostics) for s in m.status if s.name.startswith(f'{name}: ')]
    rows = {pair.key: pair.value for pair in found[-1].values} if found else {}
    return {key: int(rows.get(key, 0)) for key in ('received', 'lost on the way', 'overwritten unread')}


def run(graph, start_process, tiny_object: str, tmp_path: Path, **environment: str) -> tuple[dict[str, int], str]:
    """Show images to a node, best effort; return what it has counted and written to stderr. Every image is counted."""
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    node = start_process(
        'custom_pose_ros.nodes.pose.pose_node',
        *('--ros-args', '-p', f'object:={tiny_object}', '-r', f'__ns:={graph.namespace}'),
        **environment,
    )
    (tmp_path / 'camera_process.py').write_text(CAMERA, encoding='utf-8')
    camera = start_process('camera_process', graph.namespace, PYTHONPATH=f'{tmp_path}:.', **environment)
    name = f'{graph.namespace[1:]}/pose_node'
    since_answer, sent = map(int, camera.stdout.readline().split())
    # The last one, or a few, may be on no record when they are lost: only the next one would tell.
    graph.wait(lambda: sum(counts(diagnostics, name).values()) >= since_answer - 3, f'{name} to account for all', 0.1)
    found = counts(diagnostics, name)
    assert sum(found.values()) <= sent, found
    node.terminate()
    return found, node.communicate(timeout=60)[1]


def test_what_the_default_transport_loses_is_told_with_the_cure(graph, start_process, tiny_object, tmp_path) -> None:
    found, err = run(graph, start_process, tiny_object, tmp_path, FASTDDS_BUILTIN_TRANSPORTS='DEFAULT')
    if found['lost on the way'] > 0.3 * sum(found.values()):
        assert f'% of the messages are lost on the way; {IMAGE_LOSS_CURE}' in err


def test_the_cure_works(graph, start_process, tiny_object, tmp_path) -> None:
    profile = str(CONFIG / 'fastdds.xml')
    environment = {'FASTDDS_DEFAULT_PROFILES_FILE': profile, 'FASTRTPS_DEFAULT_PROFILES_FILE': profile}
    found, _ = run(graph, start_process, tiny_object, tmp_path, FASTDDS_BUILTIN_TRANSPORTS='DEFAULT', **environment)
    assert found['lost on the way'] < 0.5 * IMAGES, found  # a busy machine loses some; without the profile about all
