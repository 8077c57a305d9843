"""Damaged bags of every kind end evaluate_bag in a score or one line, and long ones do not fill the memory."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bag_maker
import pytest
from bag_maker import (
    CAMERA_INFO,
    IMAGE,
    ROS1,
    ROS2,
    TRUTH,
    Messages,
    tiny_entries,
    trajectory,
    write_bag,
    write_ros1_bag,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from custom_pose_ros.core.command_line import DONE
from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluation_settings import Settings
from custom_pose_ros.evaluation.evaluator import Evaluator
from custom_pose_ros.evaluation.report import bag_report
from custom_pose_ros.evaluation.scoring.conditions import Verdict
from custom_pose_ros.evaluation.truth.source import TruthSettings
from custom_pose_ros.inference.estimator import PoseEstimator

MUTATIONS = int(os.environ.get('EVALUATE_BAG_MUTATIONS', '50'))  # 200 for the full form
LONG_BAG_FRAMES = int(os.environ.get('EVALUATE_BAG_FRAMES', '1000'))  # 20000 for the full form
MEMORY_MB = 400.0
MEMORY_GROWTH_MB = 150
LONGEST_CPU_S = 20.0  # of one damaged bag of six frames; a whole one takes 0.1


def peak_memory_mb(bag: Path, tiny_folder: Path, out: Path, root: Path) -> float:
    """Evaluate in a fresh process with a small network input and return its peak memory, report included."""
    code = (
        'import sys; from custom_pose_ros.tools.evaluate_bag import main; '
        f'status = main([{str(bag)!r}, "--object", {str(tiny_folder)!r}, "--out", {str(out)!r}, '
        f'"--truth", {TRUTH!r}, "--input-height", "128", "--threads", "1"]); '
        'print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]); sys.exit(status)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, timeout=3000)
    assert done.returncode == DONE, done.stderr
    return float(done.stdout.splitlines()[-1]) / 1024


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_bag(tiny_folder, tmp_path, root):
    """Each frame is 246 kB of pixels, of which 7 kB of results may stay in memory; and charts have more points."""
    peaks = []
    for frames in (100, LONG_BAG_FRAMES):
        bag = write_bag(tmp_path / f'bag{frames}', tiny_entries(trajectory(frames, 5_000_000), compressed='.jpg'))
        peaks.append(peak_memory_mb(bag, tiny_folder, tmp_path / 'out', root))
    assert peaks[1] - peaks[0] < 35.0 + 0.007 * LONG_BAG_FRAMES, peaks
    assert peaks[1] < MEMORY_MB, peaks


def mutate(path: Path, rng: random.Random) -> None:
    """Damage a bag in one way: cut, flipped bits, zeros, doubled parts, exchanged names, lost or damaged metadata."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    largest = max(files, key=lambda f: f.stat().st_size)
    data = bytearray(largest.read_bytes())
    metadata = next((f for f in files if f.name == 'metadata.yaml'), None)
    kind = rng.choice(['cut', 'flip', 'flips', 'head', 'zeros', 'doubled', 'names', 'metadata', 'no metadata'])
    place = rng.randrange(len(data))
    if kind == 'cut':
        del data[place:]
    elif kind in ('flip', 'flips', 'head'):
        for _ in range({'flip': 1, 'flips': rng.randrange(2, 400), 'head': rng.randrange(1, 6)}[kind]):
            data[rng.randrange(min(len(data), 6000) if kind == 'head' else len(data))] ^= 1 << rng.randrange(8)
    elif kind == 'zeros':
        data[place : place + rng.randrange(1, 5000)] = bytes(10)
    elif kind == 'doubled':
        data[place:place] = data[max(0, place - rng.randrange(3000)) : place]
    elif kind == 'names':
        names = [
            b'/camera/image', b'/truth/pose', b'/camera/camera_info', b'sensor_msgs/msg/Image', b'float64', b'uint8[]',
            b'geometry_msgs/msg/PoseStamped', b'cdr', b'string ', b'builtin_interfaces',
        ]  # fmt: skip
        old, new = rng.sample(names, 2)
        data = bytearray(bytes(data).replace(old, (new + b' ' * 40)[: len(old)]))
    elif metadata is not None and kind == 'metadata':
        text = bytearray(metadata.read_bytes())
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(30)] = b'\xff\x00{'
        metadata.write_bytes(text)
    elif metadata is not None:
        metadata.unlink()
    largest.write_bytes(data)


def write_swapped_bag(path: Path, entries: Sequence[bag_maker.Entry], rng: random.Random) -> Path:
    """Write a bag in which two topics are exchanged for a while: bytes of one under name and type of the other."""
    first, second = rng.sample([IMAGE, CAMERA_INFO, TRUTH], 2)
    start, stop = sorted(rng.choices(range(len(entries)), k=2))
    swapped = {first: second, second: first}
    storage = rng.choice([StoragePlugin.MCAP, StoragePlugin.SQLITE3])
    with Writer(path, version=8, storage_plugin=storage) as writer:
        connections = {}
        for topic, msgtype, _, _ in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=ROS2)
        for number, (topic, msgtype, time_ns, message) in enumerate(entries):
            name = swapped.get(topic, topic) if start <= number <= stop else topic
            writer.write(connections[name], time_ns, bytes(ROS2.serialize_cdr(message, msgtype)))
    return path


@pytest.mark.timeout(3600)
def test_damaged_bags_give_a_score_or_one_line(tiny_folder, tmp_path, monkeypatch):
    """Of every format, damaged in ten ways: no other exception, no hang, no memory taken."""
    poses = trajectory(6)
    raw, packed = tiny_entries(poses), tiny_entries(poses, compressed='.jpg')
    old = tiny_entries(poses, Messages(ROS1))
    originals = [
        write_bag(tmp_path / 'raw', raw),
        write_bag(tmp_path / 'chunks', raw, compression='storage'),
        write_bag(tmp_path / 'file', packed, compression='file'),
        write_bag(tmp_path / 'message', packed, compression='message'),
        write_bag(tmp_path / 'sqlite', packed, 'sqlite3'),
        write_bag(tmp_path / 'sqlite_message', packed, 'sqlite3', 'message'),
        write_ros1_bag(tmp_path / 'old.bag', old),
        write_ros1_bag(tmp_path / 'old_packed.bag', old, compressed=True),
        None,  # swapped topics
    ]
    estimator = PoseEstimator.load(tiny_folder, threads=1)  # once: it is not what is tested
    monkeypatch.setattr(PoseEstimator, 'load', classmethod(lambda cls, *args, **options: estimator))
    outcomes = {'scored': 0, 'damage scored': 0, 'refused': 0}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(MUTATIONS):
        original, rng = originals[seed % len(originals)], random.Random(seed)
        if original is None:
            bag = write_swapped_bag(tmp_path / 'mutated', raw, rng)
        else:
            bag = tmp_path / f'mutated{original.suffix}'
            shutil.copytree(original, bag) if original.is_dir() else shutil.copy(original, bag)
            mutate(bag, rng)
        started = time.process_time()
        try:
            settings = Settings((bag,), object=str(tiny_folder), truth=TruthSettings(topic=TRUTH))
            with Bag([bag]) as opened:
                evaluation = Evaluator(settings).evaluate(opened)
                assert evaluation.metrics_text() and evaluation.frames_text()
                if seed % 5 == 0:
                    assert bag_report.write(evaluation, Verdict())
            outcomes['damage scored' if evaluation.damaged else 'scored'] += 1
        except CustomPoseError as error:
            assert '\n' not in str(error)
            outcomes['refused'] += 1
        assert time.process_time() - started < LONGEST_CPU_S, seed
        shutil.rmtree(bag) if bag.is_dir() else bag.unlink()
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < MEMORY_GROWTH_MB
    # Bags of six frames lie in one chunk, so that much damage takes everything; most must still be scored.
    assert outcomes['scored'] + outcomes['damage scored'] > 0.6 * MUTATIONS, outcomes
