"""
Measure poses at the rate of the camera over DDS: the network at some images, the outline at all, as a robot runs it.

python test/benchmarks/live_outline.py --outline build/outline.npz                     # the demo clip at 60 Hz
python test/benchmarks/live_outline.py --outline build/outline.npz --clip build/clip --rate 30 --seconds 120

Prints, of the images that were sent: how many were answered, how many with a pose, how many of these the outline
measured; how late the answers came, and processor time and memory of the nodes. --clip names a folder with clip.mp4 and
camera.yaml, as training/synthesize.py writes it; what is played faster than it was filmed moves so much faster.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from soak import resident_mb  # noqa: E402
from speed import domain  # noqa: E402
from speed.live import cpu_seconds  # noqa: E402

from custom_pose_ros.core.object_file import find_object_folder  # noqa: E402
from custom_pose_ros.tools.children import ChildError, Children  # noqa: E402

READY_S, SETTLE_S = 120.0, 5.0
MODULES = {
    'pose_node': 'custom_pose_ros.nodes.pose.pose_node',
    'orientation_node': 'custom_pose_ros.nodes.orientation.orientation_node',
}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--outline', type=Path, required=True, help='outline of the object in the clip')
    parser.add_argument('--object', default='submarine', help='object (default submarine)')
    parser.add_argument('--clip', type=Path, help='folder of the clip (default: the demo clip of the object)')
    parser.add_argument('--rate', type=float, default=60.0, help='images per second (default 60)')
    parser.add_argument('--network', type=float, default=10.0, help='images per second for the network (default 10)')
    parser.add_argument('--seconds', type=float, default=60.0, help='how long (default 60)')
    parser.add_argument('--two-processes', action='store_true', help='each node in a process of its own')
    parser.add_argument('--pose-node', nargs='*', default=[], metavar='NAME:=VALUE', help='parameters of pose_node')
    options = parser.parse_args()
    try:
        report(options, *play(options))
    except ChildError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


def play(options: argparse.Namespace) -> tuple[list[int], dict[int, dict[str, Any]], list[tuple[float, float]]]:
    """Return the stamps of the images [ns], the answers by stamp, and CPU time [s] and memory [MB] once per second."""
    folder = find_object_folder(options.object, wanted_file=True).resolve()
    clip = options.clip or folder.parent / 'demo'
    ends, lines = str(Path(__file__).with_name('soak_processes.py')), queue.Queue()
    sent, answers, samples = [], {}, []

    def take(seconds: float) -> None:
        children.check()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                return
            if 'sent' in line:
                sent.append(line['sent'])
            elif 'orientations' in line:
                answers[line['orientations']] = line

    with Children(ROOT / 'build/live_outline', domain.environment()) as children:
        nodes = start_nodes(children, options, folder)
        for name, *command in (
            ('recorder', ends, 'recorder'),
            ('camera', ends, 'camera', str(clip / 'clip.mp4'), str(clip / 'camera.yaml'), str(options.rate)),
        ):
            children.start(name, [sys.executable, *command], lambda line: lines.put(json.loads(line)))
        deadline = time.monotonic() + READY_S
        while not answers:
            take(0.5)
            if time.monotonic() > deadline:
                raise ChildError(f'no orientations within {READY_S:g} s{children.log_tail(nodes[-1])}')
        children.send('camera', 'rest')
        take(1.0)
        children.send('camera', 'go')
        take(SETTLE_S)
        sent.clear()
        for _ in range(int(options.seconds) + 1):
            pids = [children.pid(name) for name in nodes]
            samples.append((sum(map(cpu_seconds, pids)), sum(map(resident_mb, pids))))
            take(1.0)
        played = list(sent)
        take(1.0)
    return played, answers, samples


def start_nodes(children: Children, options: argparse.Namespace, folder: Path) -> list[str]:
    """Start the nodes; return the names of their processes."""
    outline = [
        'refine:=outline',
        f'outline_file:={options.outline.resolve()}',
        'camera_rate:=true',
        'publish_tf:=false',
    ]
    of_nodes = {'pose_node': [f'max_rate:={options.network}', *options.pose_node], 'orientation_node': outline}
    arguments = {node: [word for each in given for word in ('-p', each)] for node, given in of_nodes.items()}
    shared = ['--ros-args', '-p', f'object:={folder}']
    if options.two_processes:
        for node, own in arguments.items():
            children.start(node, [sys.executable, '-m', MODULES[node], *shared, *own])
        return list(arguments)
    own = [word for node, given in arguments.items() for word in (f'--{node.replace("_", "-")}', *given)]
    children.start('both_nodes', [sys.executable, '-m', 'custom_pose_ros.nodes.both_nodes', *own, *shared])
    return ['both_nodes']


def report(
    options: argparse.Namespace, sent: list[int], answers: dict[int, dict[str, Any]], samples: list[tuple[float, float]]
) -> None:
    """Print the figures."""
    came = [answers[stamp] for stamp in sent if stamp in answers]
    found = [answer for answer in came if answer['instances']]
    measured = sum(answer['by_outline'] for answer in found)
    instances = sum(answer['instances'] for answer in found)
    late_ms = [1e-6 * (answer['at'] - answer['orientations']) for answer in found]
    (cpu_begin, _), (cpu_end, _) = samples[0], samples[-1]
    memory = np.array([mb for _, mb in samples])
    seconds, tenth = len(samples) - 1, max(1, len(samples) // 10)
    print(f'{len(sent)} images at {options.rate:g} Hz, network at {options.network:g} Hz, {seconds} s')
    print(f'answered {len(came) / len(sent):.1%}, with a pose {len(found) / len(sent):.1%} of the images')
    print(f'measured by the outline: {measured / max(1, instances):.1%} of {instances} poses')
    if late_ms:
        print(
            'image stamp to pose: p50 {:.1f}, p95 {:.1f}, p99 {:.1f} ms'.format(*np.percentile(late_ms, (50, 95, 99)))
        )
    cpu_s = cpu_end - cpu_begin
    print(f'processor: {cpu_s / seconds:.2f} cores, {1e3 * cpu_s / len(sent):.1f} ms an image')
    print(f'memory: {np.median(memory[:tenth]):.1f} MB at first, {np.median(memory[-tenth:]):.1f} MB at last')


if __name__ == '__main__':
    sys.exit(main())
