"""Comparing two runs: differences and intervals by value, pairing, refusals, the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.evaluation.report import comparison_report
from custom_pose_ros.evaluation.scoring.compare import FinishedRun, compare, pair
from custom_pose_ros.evaluation.scoring.conditions import Condition, Verdict
from custom_pose_ros.evaluation.scoring.frame_table import COLUMNS

FRAMES = 600
METRICS = {'schema': 'custom_pose_ros/metrics/1', 'bag': {'name': 'dive'}, 'configuration': {'backend': 'onnxruntime'}}


def run(name: str, rotation: np.ndarray, found: np.ndarray | None = None, first: int = 0) -> FinishedRun:
    """A run of 30 frames/s with these rotation errors, everything else unknown."""
    count = len(rotation)
    frames = {column: np.full(count, np.nan) for column in COLUMNS}
    numbers = np.arange(first, first + count)
    frames |= {
        'stamp_ns': numbers * 33_333_333,
        'frame': numbers.astype(float),
        'bag_time_s': numbers / 30,
        'rotation_error_deg': rotation,
        'expected': np.ones(count),
        'found': np.ones(count) if found is None else found.astype(float),
    }
    return FinishedRun(name, METRICS, frames)


def noise(seed: int, size: float = 1.0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(2.0, size, FRAMES))


def test_a_constant_difference_has_an_interval_of_no_width():
    errors = noise(0)
    result = compare(run('a', errors), run('b', errors + 0.5))
    entry = result['difference']['rotation_error_deg']
    for statistic in ('mean', 'median', 'p90'):
        item = entry[statistic]
        assert [item['value'], item['low'], item['high']] == pytest.approx([0.5] * 3)
        assert item['better'] == 'a'
    assert entry['median']['a'] == pytest.approx(np.median(errors))
    assert entry['share_of_frames_b_better'] == 0.0


def test_equal_runs_do_not_differ():
    entry = compare(run('a', noise(0)), run('b', noise(0)))['difference']
    assert entry['rotation_error_deg']['mean']['better'] is None
    assert entry['detection_rate']['mean'] == {
        'a': 1.0,
        'b': 1.0,
        'value': 0.0,
        'low': 0.0,
        'high': 0.0,
        'better': None,
    }


def test_the_interval_holds_the_true_difference_as_often_as_it_claims(monkeypatch):
    """30 pairs of runs whose true mean differs by 0.2; the 95 % interval must hold it in nearly all."""
    monkeypatch.setattr('custom_pose_ros.evaluation.scoring.compare.RESAMPLES', 200)
    inside = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        wave = np.repeat(rng.normal(0, 0.5, FRAMES // 30), 30)  # the errors of a second belong together
        a, b = 5.0 + rng.normal(0, 1, FRAMES), 5.2 + wave + rng.normal(0, 1, FRAMES)
        item = compare(run('a', a), run('b', b))['difference']['rotation_error_deg']['mean']
        inside += item['low'] <= 0.2 <= item['high']
    # 95 % of 30 are 28.5; 20 blocks make the bootstrap a little narrow. Independent frames would give about 17.
    assert inside >= 24


def test_pairs_are_made_by_stamp_and_errors_only_where_both_have_one():
    a, b = noise(1), noise(1)
    b[:100] = np.nan
    result = compare(run('a', a), run('b', b[50:] + 1.0, first=50))
    assert result['frames'] == {'a': FRAMES, 'b': FRAMES - 50, 'common': FRAMES - 50}
    assert result['difference']['rotation_error_deg']['frames'] == FRAMES - 100
    assert result['difference']['rotation_error_deg']['mean']['value'] == pytest.approx(1.0)


def test_a_higher_detection_rate_is_better():
    found = np.arange(FRAMES) % 4 > 0
    item = compare(run('a', noise(2), found), run('b', noise(2)))['difference']['detection_rate']['mean']
    assert (item['a'], item['b'], item['better']) == (0.75, 1.0, 'b')


def test_the_same_runs_give_the_same_result():
    a, b = run('a', noise(3)), run('b', noise(4))
    assert compare(a, b) == compare(a, b)


def test_runs_without_common_frames_are_refused():
    with pytest.raises(DatasetError, match='a and b have 0 frames in common, wanted at least 20'):
        pair(run('a', noise(0)), run('b', noise(0), first=5000))


def test_finished_runs_are_loaded_and_others_refused(evaluate, dive, tmp_path: Path):
    evaluation = evaluate(dive[0])
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'metrics.json').write_text(evaluation.metrics_text())
    (tmp_path / 'run' / 'frames.csv').write_text(evaluation.frames_text())
    loaded = FinishedRun.load(tmp_path / 'run')
    assert loaded.metrics['object'] == 'tiny'
    assert len(loaded.frames['stamp_ns']) == 40
    with pytest.raises(DatasetError, match='cannot be read .*; wanted a folder that evaluate_bag wrote'):
        FinishedRun.load(tmp_path)
    for text, message in (
        ('{', 'is cut off: it ends early'),
        (json.dumps({'schema': 'x'}), 'is not a metrics.json of evaluate_bag'),
    ):
        (tmp_path / 'run' / 'metrics.json').write_text(text)
        with pytest.raises(DatasetError, match=message):
            FinishedRun.load(tmp_path / 'run')
    (tmp_path / 'run' / 'metrics.json').write_text(evaluation.metrics_text())
    (tmp_path / 'run' / 'frames.csv').write_text('frame,stamp_ns\n0,x\n')
    with pytest.raises(DatasetError, match='is not a frames.csv'):
        FinishedRun.load(tmp_path / 'run')


def test_the_page_says_who_is_better_and_marks_limits():
    a, b = run('first', noise(5)), run('second', noise(5) + 0.5)
    comparison = compare(a, b)
    limits = ('difference.rotation_error_deg.median.value > 0.1', 'difference.rotation_error_deg.p90.low > 5')
    verdict = Verdict.of([Condition.parse(limit) for limit in limits], comparison)
    page = comparison_report.write(a, b, pair(a, b), comparison, verdict)
    assert verdict.failed
    assert 'A is better in rotation error (median +0.5 deg)' in page
    assert 'FAIL: difference.rotation_error_deg.median.value is 0.5 (fails if &gt; 0.1)' in page
    assert 'pass: difference.rotation_error_deg.p90.low is 0.5 (fails if &gt; 5)' in page
    assert 'first (A) against second (B)' in page and 'FAILED' in page and page.count('<svg') >= 3
    assert 'No difference beyond chance' in comparison_report.summary(compare(a, a), Verdict())
