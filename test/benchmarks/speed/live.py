"""pose_node as a process over real DDS: latency, dropped frames, CPU time, memory, time until the first result."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.backends import Backend
from speed.domain import environment

HERE = Path(__file__).resolve().parent
SETTLE_S = 3.0  # of playing before anything counts
READY_DEADLINE_S = 60.0
TICKS_PER_S = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class Scenario:
    """
    Cameras and what they do.

    cameras : namespaces; ('',) is one without.
    in_step : whether they publish at the same moments.
    """

    name: str
    rate_hz: float
    cameras: tuple[str, ...] = ('',)
    in_step: bool = False


SCENARIOS = (
    Scenario('one camera, 30 Hz', 30),
    Scenario('one camera, 120 Hz', 120),
    Scenario('two cameras, 15 Hz each, in turn', 15, ('left', 'right')),
    Scenario('two cameras, 15 Hz each, in step', 15, ('left', 'right'), in_step=True),
)


def measure(seconds: float, backend: Backend, threads: int) -> dict[str, Any]:
    """Return the figures of every scenario, each played for so long, with a backend as this one."""
    parameters = [f'threads:={threads}', f'backend:={backend.name}', f'precision:={backend.precision}']
    return {scenario.name: play(scenario, seconds, parameters) for scenario in SCENARIOS}


def play(scenario: Scenario, seconds: float, parameters: list[str]) -> dict[str, Any]:
    """Run the node, then the cameras; return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / 'record.jsonl'
        variables = {**environment(), 'LIVE_NODE_RECORD': str(record)}
        total_s = READY_DEADLINE_S + SETTLE_S + seconds
        player = [HERE / 'live_player.py', scenario.rate_hz, total_s, *scenario.cameras]
        several = [f'cameras:=[{", ".join(scenario.cameras)}]'] if len(scenario.cameras) > 1 else []
        options = [word for parameter in (*parameters, *several) for word in ('-p', parameter)]
        node = [HERE / 'live_node.py', '--ros-args', *options]
        with process([*player, *(['--in-step'] * scenario.in_step)], variables):
            time.sleep(1.0)  # the cameras play before the node starts
            begin = time.time()
            with process(node, variables) as pid:
                watched = watch(pid, Path(f'{record}.started'), seconds)
        if not record.is_file():
            raise ConfigError('pose_node has published nothing: what it said stands above')
        results = [json.loads(line) for line in record.read_text(encoding='utf-8').splitlines() if line]
    return summary(results, watched, begin, scenario)


def watch(pid: int, started: Path, seconds: float) -> list[dict[str, float]]:
    """Return time, CPU time and memory of the node, twice a second, from a while after its first result."""
    deadline = time.monotonic() + READY_DEADLINE_S
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(SETTLE_S)
    samples = []
    end = time.monotonic() + seconds
    while True:
        samples.append({'time': time.time(), 'cpu_s': cpu_seconds(pid), 'memory_mb': memory_mb(pid)})
        if time.monotonic() >= end:
            return samples
        time.sleep(0.5)


def summary(
    results: list[dict[str, float]], watched: list[dict[str, float]], begin: float, scenario: Scenario
) -> dict[str, Any]:
    """Return figures of the frames that were published while the node was watched."""
    first, last = watched[0], watched[-1]
    duration = last['time'] - first['time']
    counted = [r for r in results if first['time'] <= 1e-9 * r['published_ns'] <= last['time']]
    latency = np.array([1e-6 * (r['published_ns'] - r['stamp_ns']) for r in counted])
    network = np.array([1e3 * r['network_s'] for r in counted])
    cpu_s = last['cpu_s'] - first['cpu_s']
    memory = np.array([sample['memory_mb'] for sample in watched])
    return {
        'offered_hz': scenario.rate_hz * len(scenario.cameras),
        'published_hz': round(len(counted) / duration, 2),
        'latency_p50_ms': round(float(np.percentile(latency, 50)), 2),
        'latency_p95_ms': round(float(np.percentile(latency, 95)), 2),
        'network_p50_ms': round(float(np.percentile(network, 50)), 2),
        'around_network_p50_ms': round(float(np.percentile(latency - network, 50)), 2),
        'around_network_p95_ms': round(float(np.percentile(latency - network, 95)), 2),
        'cpu_ms_per_frame': round(1e3 * cpu_s / len(counted), 2),
        'cpu_share': round(cpu_s / duration, 3),
        'memory_mb': round(float(memory.max()), 1),
        'memory_growth_mb': round(float(memory[-1] - memory[0]), 2),
        'watched_s': round(duration, 1),
        'ready_s': round(1e-9 * min(r['published_ns'] for r in results) - begin, 2),
    }


@contextlib.contextmanager
def process(arguments: list[Any], variables: dict[str, str]) -> Iterator[int]:
    """Run a Python script; end it as Ctrl-C does."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL) as child:
        try:
            yield child.pid
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, all threads (proc(5))."""
    fields = Path(f'/proc/{pid}/stat').read_text(encoding='ascii', errors='replace').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process [MB]."""
    for line in Path(f'/proc/{pid}/status').read_text(encoding='utf-8').splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
