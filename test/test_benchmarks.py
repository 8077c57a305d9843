"""The benchmark of `make bench`: it runs, its figures belong to what they say, and it writes what it promises."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'test/benchmarks'))

from speed import heights, scenes, stages, timing  # noqa: E402

from custom_pose_ros.core.keypoints.grouping import group_poses  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402


def test_stages_are_written_drawn_and_printed(tmp_path):
    command = ['test/benchmarks/bench.py', '--parts', 'stages', '--rounds', '2', '--threads', '1', '--out', tmp_path]
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'bench.json').read_text())
    conditions = results['stages']['conditions']
    found = {name: condition['instances found'] for name, condition in conditions.items()}
    noise = found.pop('18 keypoints, noise')
    assert list(found.values()) == [1, 1, 5, 1, 5, 20]
    assert noise == ObjectModel.load('human18').thresholds.max_instances
    for condition in conditions.values():
        names = {'pre-process', 'network', 'decode', 'grouping', 'rest'}
        assert names <= set(condition['stages'])
        assert all(times['count'] == 2 and times['median_ms'] > 0 for times in condition['stages'].values())
    assert (tmp_path / 'stages.png').read_bytes().startswith(b'\x89PNG')
    assert '| 4 keypoints, 5 instances |' in done.stdout


def test_a_stage_does_not_count_what_runs_inside_it():
    watch = stages.Stopwatch()
    inner = watch.timed('inner', lambda: time.sleep(0.05))
    watch.timed('outer', lambda: (inner(), inner()))()
    assert watch.seconds['inner'] >= 0.1
    assert watch.seconds['outer'] < watch.seconds['inner']


def test_works_run_in_turns_and_the_first_of_a_row_does_not_count(monkeypatch):
    calls, clock = [], iter(range(100))
    monkeypatch.setattr(timing, 'seconds_of', lambda work: (work(), next(clock))[1])
    times = timing.interleaved({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=2)
    row = 1 + timing.IN_A_ROW
    assert calls == (['a'] * row + ['b'] * row) * 2
    assert {name: seconds.tolist() for name, seconds in times.items()} == {'a': [1, 7], 'b': [4, 10]}


def test_ratios_are_taken_round_by_round():
    ours, theirs = np.array([1.0, 2.0, 4.0]), np.array([10.0, 10.0, 60.0])
    assert timing.ratio(ours, theirs)['median'] == 10.0
    assert timing.spread([0.001, 0.002, 0.003])['median_ms'] == 2.0


@pytest.mark.parametrize('name', ['submarine', 'human18'])
@pytest.mark.parametrize('count', [1, 5, 20])
def test_made_up_instances_are_all_found(name, count):
    model = ObjectModel.load(name)
    assert len(group_poses(*scenes.maps_of(model, count, (256, 352)), model)) == count


def test_smaller_images_show_the_keypoints_where_their_truth_says():
    image = np.zeros((480, 640, 3), np.uint8)
    image[300:303, 200:203] = 255
    (small,), truth = heights.smaller([image], np.array([[[201.0, 301.0]]]))
    sharp = small[..., 0].astype(float) * (small[..., 0] > 60)
    rows, columns = np.indices(sharp.shape)
    centre = (columns * sharp).sum() / sharp.sum(), (rows * sharp).sum() / sharp.sum()
    np.testing.assert_allclose(centre, truth[0, 0], atol=0.3)
