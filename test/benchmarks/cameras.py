"""
Print what several cameras cost one pose_node: two at half the rate against one, over real DDS.

python test/benchmarks/cameras.py                   # the submarine, 640x480, 30 images per second in all
python test/benchmarks/cameras.py --object FOLDER --rate 20 --rounds 5

Cost is processor time of the node for each image answered. Rounds alternate, and the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.tools.children import free_domain, ros_environment  # noqa: E402

# Before rclpy reads them: a domain of its own, transports that carry images.
DOMAIN = free_domain()
ENVIRONMENT = ros_environment(DOMAIN)
os.environ.update(ENVIRONMENT)

import rclpy  # noqa: E402
from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from custom_pose_ros.core.object_file import find_object_folder  # noqa: E402
from custom_pose_ros.nodes.ros.conversions import PoseArray, bgr_to_image  # noqa: E402
from custom_pose_ros.tools.media import VideoReader  # noqa: E402

SETUPS = {'one camera': [''], 'two, triggered together': ['front', 'down'], 'two, taking turns': ['front', 'down']}
WARM_UP_S, READY_S = 3.0, 60.0


def main() -> None:
    """Measure every setup in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description='Cost of several cameras for one pose_node.')
    parser.add_argument('--object', default='submarine', help='with the clip of its demo')
    parser.add_argument('--rate', type=float, default=30.0, help='images per second, of all cameras together')
    parser.add_argument('--seconds', type=float, default=10.0, help='of each measurement')
    parser.add_argument('--rounds', type=int, default=3)
    options = parser.parse_args()
    with VideoReader(find_object_folder(options.object) / 'demo/clip.mp4') as reader:
        pictures = [frame.image for frame, _ in zip(reader, range(60))]
    costs: dict[str, list[float]] = {name: [] for name in SETUPS}
    for _ in range(options.rounds):
        for name, cameras in SETUPS.items():
            cost, share = measure(options, cameras, pictures, together='together' in name)
            costs[name].append(cost)
            print(f'{name:25}{1e3 * cost:8.1f} ms of processor time per image, {share:.0%} answered', flush=True)
    base = statistics.median(costs['one camera'])
    for name, values in costs.items():
        print(f'{name:25}{statistics.median(values) / base:8.2f} x one camera')


def measure(options: argparse.Namespace, cameras: list[str], pictures: list, together: bool) -> tuple[float, float]:
    """Return processor time [s] of the node for each image answered, and the share of images answered."""
    arguments = ['-p', f'object:={options.object}', '-p', 'image_reliability:=reliable', '-p', f'cameras:={cameras}']
    command = [sys.executable, '-m', 'custom_pose_ros.nodes.pose.pose_node', '--ros-args', '--log-level', 'warn']
    node = subprocess.Popen([*command, *arguments], env=ENVIRONMENT, cwd=ROOT)
    rclpy.init()
    try:
        player = Player(cameras)
        player.wait_for_answers(pictures[0])
        player.play(pictures, options.rate, WARM_UP_S, together)
        used, answers = processor_s(node.pid), player.answers
        sent = player.play(pictures, options.rate, options.seconds, together)
        answered = player.answers - answers
        return (processor_s(node.pid) - used) / answered, answered / sent
    finally:
        rclpy.shutdown()
        node.terminate()
        node.wait()


def processor_s(pid: int) -> float:
    """Return the processor time a process has used, user and system."""
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


class Player(Node):
    """Publishes images of several cameras and counts the answers."""

    def __init__(self, cameras: list[str]):
        super().__init__('player')
        prefixes = [f'{name}/' if name else '' for name in cameras]
        self._images = [self.create_publisher(Image, f'{prefix}image', 10) for prefix in prefixes]
        self.answers = 0
        for prefix in prefixes:
            self.create_subscription(PoseArray, f'{prefix}poses', self._on_poses, 50)

    def _on_poses(self, _: PoseArray) -> None:
        self.answers += 1

    def _publish(self, camera: int, picture) -> None:
        stamp = self.get_clock().now().to_msg()
        self._images[camera].publish(bgr_to_image(picture, Header(stamp=stamp, frame_id='camera')))

    def wait_for_answers(self, picture) -> None:
        """Publish until every camera has surely been answered once."""
        deadline = time.monotonic() + READY_S
        while self.answers < 5 * len(self._images):
            assert time.monotonic() < deadline, 'pose_node does not answer'
            for camera in range(len(self._images)):
                self._publish(camera, picture)
            self.spin(0.2)

    def play(self, pictures: list, rate: float, seconds: float, together: bool) -> int:
        """Publish images at a rate, one after the other or one of each camera at a time; return how many."""
        group = len(self._images) if together else 1
        begin = time.monotonic()
        sent = 0
        while time.monotonic() < begin + seconds:
            for i in range(group):
                self._publish((sent + i) % len(self._images), pictures[(sent + i) % len(pictures)])
            sent += group
            self.spin(begin + sent / rate - time.monotonic())
        self.spin(0.3)
        return sent

    def spin(self, seconds: float) -> None:
        """Take answers for a while."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=left)


if __name__ == '__main__':
    main()
