"""
Run pose_node and orientation_node as processes behind a camera, for minutes or hours, and judge what they did.

python test/benchmarks/soak.py --minutes 30        or: make soak MINUTES=30
Holds when every frame was answered or is reported as dropped, lost or refused; memory grows by 5 MB at most after the
first minute; and the p95 latency of the last minute is within 10 % of the second's. Prints a line for each minute and
the verdict; writes build/soak/soak.json. Exit status: 0 holds, 1 does not, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.core.files import write_text  # noqa: E402
from custom_pose_ros.core.object_file import find_object_folder  # noqa: E402
from custom_pose_ros.tools.children import ChildError, Children, free_domain, ros_environment  # noqa: E402
from custom_pose_ros.tools.media import Clip  # noqa: E402

NODES = ('pose_node', 'orientation_node')
MAX_GROWTH_MB, MAX_LATENCY_CHANGE = 5.0, 0.1
READY_S = 120.0
SETTLE_S = 4.0  # until the diagnostics, which come once per second, tell of the last frame
MINUTE_S = 60.0
STALL_S = 2.0
LEAST_CLOSING = 5  # slow frames in the end, the first of which may still be from the fast ones
REPORTED = ('dropped', 'skipped', 'errors', 'lost on the way', 'overwritten unread')


@dataclass
class Minute:
    """
    What happened in one minute.

    latencies_ms : from the stamp of the image to the arrival of the orientations of it.
    memory_mb : resident memory of each node without what it shares, sampled once per second.
    """

    sent: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    memory_mb: dict[str, list[float]] = field(default_factory=lambda: {node: [] for node in NODES})

    @property
    def p95_ms(self) -> float:
        return float(np.percentile(self.latencies_ms, 95)) if self.latencies_ms else float('nan')


class Record:
    """Everything that was sent and came back."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.came: dict[str, dict[int, int]] = {'poses': {}, 'orientations': {}}  # stamp -> arrival, ns
        self.counts: dict[str, dict[str, int]] = {}
        self.reports = 0
        self.warnings: dict[str, int] = {}
        self.minutes: list[Minute] = []

    def take(self, line: dict[str, Any]) -> None:
        """Note one line of the camera or the recorder."""
        if 'sent' in line:
            self.sent.append(line['sent'])
            self.minutes[-1].sent += 1
        elif 'node' in line:
            self.counts[line['node']] = line['values']
            self.reports += line['node'] == NODES[0]
            if line['level'] and self.sent:
                text = f'{line["node"]}: {line["message"]}'
                self.warnings[text] = self.warnings.get(text, 0) + 1
        for topic in ('poses', 'orientations'):
            if topic in line:
                self.came[topic][line[topic]] = line['at']
                if topic == 'orientations' and self.minutes:
                    self.minutes[-1].latencies_ms.append((line['at'] - line[topic]) / 1e6)


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=30.0, help='how long (default 30)')
    parser.add_argument('--rate', type=float, default=30.0, help='images per second (default 30)')
    parser.add_argument('--object', default='submarine', help='object whose demo clip is played (default submarine)')
    parser.add_argument('--out', type=Path, default=ROOT / 'build/soak', help='folder for soak.json and the logs')
    args = parser.parse_args()
    try:
        verdict = judge(soak(args), args)
    except ChildError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    write_text(args.out / 'soak.json', json.dumps(verdict, indent=2) + '\n')
    for name, result in verdict['checks'].items():
        print(f'{"holds" if result["holds"] else "FAILS"}  {name}: {result["text"]}')
    print(f'soak of {args.minutes:g} min {"holds" if verdict["holds"] else "FAILS"}; wrote {args.out}/soak.json')
    return 0 if verdict['holds'] else 1


def soak(args: argparse.Namespace) -> Record:
    """Run the four processes; ChildError when one dies or nothing comes back."""
    folder = find_object_folder(args.object, wanted_file=True).resolve()
    clip = Clip.find(folder.parent / 'demo')
    environment = ros_environment(free_domain())
    environment.pop('FASTDDS_BUILTIN_TRANSPORTS', None)
    generation = 'FASTRTPS' if os.environ.get('ROS_DISTRO', 'kilted') < 'kilted' else 'FASTDDS'
    environment[f'{generation}_DEFAULT_PROFILES_FILE'] = str(ROOT / 'config/fastdds.xml')  # as the launch files do
    lines: queue.Queue[dict[str, Any]] = queue.Queue()
    record = Record()
    with Children(args.out / 'log', environment) as children:

        def start(name: str, *command: str) -> None:
            children.start(name, [sys.executable, *command], lambda line: lines.put(json.loads(line)))

        for node in NODES:
            module = f'custom_pose_ros.nodes.{node.removesuffix("_node")}.{node}'
            children.start(node, [sys.executable, '-m', module, '--ros-args', '-p', f'object:={folder}'])
        ends = str(Path(__file__).with_name('soak_processes.py'))
        start('recorder', ends, 'recorder')
        start('camera', ends, 'camera', str(clip.video), str(clip.camera), str(args.rate))
        before = _warm_up(children, lines, record)
        _run(children, lines, record, args.minutes)
    for node, counts in before.items():
        record.counts[node] = {name: count - counts[name] for name, count in record.counts[node].items()}
    return record


def _warm_up(children: Children, lines: queue.Queue, record: Record) -> dict[str, dict[str, int]]:
    """Wait until images come back as orientations, then for silence; return the counts so far."""
    deadline = time.monotonic() + READY_S
    while not record.came['orientations']:
        _take(children, lines, record)
        if time.monotonic() > deadline:
            raise ChildError(f'no orientations within {READY_S:g} s{children.log_tail("pose_node")}')
    for node in NODES:  # their queues take their full size once, 5 images, which is no growth later
        os.kill(children.pid(node), signal.SIGSTOP)
        stalled_until = time.monotonic() + STALL_S
        while time.monotonic() < stalled_until:
            _take(children, lines, record)
        os.kill(children.pid(node), signal.SIGCONT)
    children.send('camera', 'rest')
    _settle(children, lines, record)
    for stamps in record.came.values():
        stamps.clear()
    return dict(record.counts)


def _run(children: Children, lines: queue.Queue, record: Record, minutes: float) -> None:
    """Let the camera play, and note what each minute brings."""
    pids = {node: children.pid(node) for node in NODES}
    begin = last_sample = time.monotonic()
    record.minutes.append(Minute())
    children.send('camera', 'go')
    while (now := time.monotonic()) < begin + MINUTE_S * minutes:
        _take(children, lines, record)
        if now >= last_sample + 1.0:
            last_sample = now
            for node, pid in pids.items():
                record.minutes[-1].memory_mb[node].append(resident_mb(pid))
        if now >= begin + MINUTE_S * len(record.minutes):
            _print_minute(record, minutes)
            record.minutes.append(Minute())
    _print_minute(record, minutes)
    children.send('camera', 'slowly')
    closing, deadline = len(record.sent), time.monotonic() + READY_S
    while not set(record.sent[closing + LEAST_CLOSING :]) & set(record.came['orientations']):
        _take(children, lines, record)
        if time.monotonic() > deadline:
            raise ChildError(f'no orientations in the end{children.log_tail("pose_node")}')
    children.send('camera', 'stop')
    _settle(children, lines, record)


def _settle(children: Children, lines: queue.Queue, record: Record) -> None:
    wanted, deadline = record.reports + 3, time.monotonic() + SETTLE_S
    while record.reports < wanted and time.monotonic() < deadline:
        _take(children, lines, record)


def _take(children: Children, lines: queue.Queue, record: Record) -> None:
    children.check()
    try:
        record.take(lines.get(timeout=0.2))
    except queue.Empty:
        return


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process [MB], without shared memory, which is the camera's."""
    lines = Path(f'/proc/{pid}/status').read_text(encoding='ascii').splitlines()
    rows = dict(line.split(':', 1) for line in lines)
    return sum(int(rows[name].split()[0]) for name in ('RssAnon', 'RssFile')) * 1024 / 1e6


def _print_minute(record: Record, minutes: float) -> None:
    minute, counts = record.minutes[-1], record.counts.get(NODES[0], {})
    memory = ', '.join(f'{node} {np.median(values):.1f} MB' for node, values in minute.memory_mb.items() if values)
    reported = ', '.join(f'{counts.get(name, 0)} {name}' for name in REPORTED)
    print(
        f'minute {len(record.minutes)}/{minutes:g}: {minute.sent} sent, {len(minute.latencies_ms)} answered, '
        f'p95 {minute.p95_ms:.0f} ms, {memory}; so far {reported}',
        flush=True,
    )


def judge(record: Record, args: argparse.Namespace) -> dict[str, Any]:
    """Return figures and verdict."""
    checks = {
        'frames': _judge_frames(record),
        'orientations': _judge_orientations(record),
        'memory': _judge_memory(record),
        'latency': _judge_latency(record),
    }
    return {
        'holds': all(check['holds'] for check in checks.values()),
        'minutes': args.minutes,
        'rate_hz': args.rate,
        'checks': checks,
        'counts': record.counts,
        'by_minute': [
            {
                'sent': minute.sent,
                'answered': len(minute.latencies_ms),
                'latency_p95_ms': minute.p95_ms,
                'memory_mb': {node: values[-1] for node, values in minute.memory_mb.items() if values},
            }
            for minute in record.minutes
        ],
        'diagnostics_other_than_ok': record.warnings,
    }


def _judge_frames(record: Record) -> dict[str, Any]:
    """Every frame was answered, or is counted as dropped, lost or refused."""
    answered = len(set(record.sent) & set(record.came['poses']))
    reported = {name: record.counts[NODES[0]][name] for name in REPORTED}
    missed = len(record.sent) - answered - sum(reported.values())
    text = f'{len(record.sent)} sent, {answered} answered, '
    text += ', '.join(f'{count} {name}' for name, count in reported.items()) + f', {missed} not accounted for'
    return {'holds': missed == 0 and answered > 0, 'text': text, 'missed': missed, 'answered': answered, **reported}


def _judge_orientations(record: Record) -> dict[str, Any]:
    """Every pose array was answered by an orientation array."""
    missed = len(set(record.came['poses']) - set(record.came['orientations']))
    text = f'{len(record.came["poses"])} pose arrays, {missed} without orientations'
    return {'holds': missed == 0, 'text': text, 'missed': missed}


def _judge_memory(record: Record) -> dict[str, Any]:
    """Memory at the end of the first minute and at the end: medians of ten seconds."""
    growth = {}
    for node in NODES:
        first, last = (np.median(record.minutes[at].memory_mb[node][-10:] or [0.0]) for at in (0, _last_full(record)))
        growth[node] = float(last - first)
    text = ', '.join(f'{node} {mb:+.2f} MB' for node, mb in growth.items())
    text += f' after the first minute (at most {MAX_GROWTH_MB:g})'
    return {'holds': max(growth.values()) <= MAX_GROWTH_MB, 'text': text, 'growth_mb': growth}


def _judge_latency(record: Record) -> dict[str, Any]:
    """The p95 of the last full minute beside that of the second."""
    last = _last_full(record)
    if last < 2:
        return {'holds': True, 'text': 'not judged: it takes 3 minutes', 'change': None}
    second, end = record.minutes[1].p95_ms, record.minutes[last].p95_ms
    text = f'p95 {second:.1f} ms in the second minute, {end:.1f} ms in the last ({end / second - 1:+.1%})'
    return {'holds': end <= second * (1 + MAX_LATENCY_CHANGE), 'text': text, 'change': end / second - 1}


def _last_full(record: Record) -> int:
    """Return the index of the last minute that is (nearly) full."""
    full = [i for i, minute in enumerate(record.minutes) if len(minute.memory_mb[NODES[0]]) >= 0.9 * MINUTE_S]
    return full[-1] if full else 0


if __name__ == '__main__':
    sys.exit(main())
