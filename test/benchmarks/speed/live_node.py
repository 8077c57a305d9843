"""
Runs the real pose_node and writes down, for each result: stamp, time in the network and time of publication.

    LIVE_NODE_RECORD=record.jsonl python live_node.py --ros-args ...

The record is written at the end; an empty record.jsonl.started appears with the first result.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from custom_pose_ros.inference.estimator import PoseEstimator
from custom_pose_ros.nodes.pose.pose_camera import PoseCamera
from custom_pose_ros.nodes.pose.pose_node import main

RECORD = Path(os.environ['LIVE_NODE_RECORD'])
RESULTS: list[dict[str, Any]] = []
NETWORK_S = [0.0]


def watch_network() -> None:
    """Time every call of the network."""
    maps = PoseEstimator.maps

    def timed(self: PoseEstimator, inputs: Any) -> Any:
        begin = time.perf_counter()
        result = maps(self, inputs)
        NETWORK_S[0] = time.perf_counter() - begin
        return result

    PoseEstimator.maps = timed


def watch_publishing() -> None:
    """Write down every result once it is published."""
    publish = PoseCamera.publish

    def timed(self: PoseCamera, message: Any, *args: Any) -> None:
        publish(self, message, *args)
        stamp = message.header.stamp
        RESULTS.append({
            'stamp_ns': stamp.sec * 10**9 + stamp.nanosec,
            'published_ns': time.time_ns(),
            'network_s': NETWORK_S[0],
        })
        if len(RESULTS) == 1:
            Path(f'{RECORD}.started').touch()

    PoseCamera.publish = timed


if __name__ == '__main__':
    watch_network()
    watch_publishing()
    atexit.register(lambda: RECORD.write_text('\n'.join(map(json.dumps, RESULTS)) + '\n', encoding='utf-8'))
    sys.exit(main())
