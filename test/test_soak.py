"""Tests of test/benchmarks/soak.py: every check of its verdict can fail; and a short soak for real."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.soak import NODES, REPORTED, Minute, Record, judge

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = argparse.Namespace(minutes=3.0, rate=30.0)
COUNTS = dict.fromkeys(['received', 'processed', *REPORTED], 0)


def record(minutes: int = 3) -> Record:
    """Return a soak without any fault: 1800 frames a minute, all answered after 40 ms, constant memory."""
    made = Record()
    for minute in range(minutes):
        made.minutes.append(Minute(memory_mb={node: [200.0] * 60 for node in NODES}))
        for frame in range(1800):
            stamp = (minute * 1800 + frame) * 33_333_333
            made.take({'sent': stamp})
            made.take({'poses': stamp, 'at': stamp + 30_000_000})
            made.take({'orientations': stamp, 'at': stamp + 40_000_000})
    for node in NODES:
        made.take({'node': node, 'level': 0, 'message': 'running', 'values': dict(COUNTS)})
    return made


def lose_answer(made: Record) -> None:
    del made.came['poses'][made.sent[100]]


def lose_and_report(made: Record) -> None:
    lose_answer(made)
    made.counts[NODES[0]]['dropped'] += 1


def lose_orientation(made: Record) -> None:
    del made.came['orientations'][made.sent[100]]


def grow(made: Record) -> None:
    made.minutes[-1].memory_mb[NODES[1]] = [205.5] * 60


def grow_at_first(made: Record) -> None:
    made.minutes[0].memory_mb[NODES[1]][:40] = [100.0] * 40


def slow_down(made: Record) -> None:
    made.minutes[-1].latencies_ms = [45.0] * 1800


@pytest.mark.parametrize(
    ('spoil', 'failing'),
    [
        (lambda made: None, set()),
        (lose_answer, {'frames'}),
        (lose_and_report, set()),
        (lose_orientation, {'orientations'}),
        (grow, {'memory'}),
        (grow_at_first, set()),
        (slow_down, {'latency'}),
    ],
)
def test_each_fault_fails_its_check_alone(spoil, failing: set[str]) -> None:
    made = record()
    spoil(made)
    verdict = judge(made, OPTIONS)
    assert {name for name, check in verdict['checks'].items() if not check['holds']} == failing
    assert verdict['holds'] == (not failing)


def test_a_short_soak_runs_and_accounts_for_every_frame(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    process = subprocess.run(
        [sys.executable, 'test/benchmarks/soak.py', '--minutes', '0.1', '--rate', '10', '--out', str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    verdict = json.loads((tmp_path / 'soak.json').read_text(encoding='utf-8'))
    frames = verdict['checks']['frames']
    assert frames['missed'] == 0
    assert frames['answered'] > 0
    assert process.stdout.splitlines()[-1].startswith('soak of 0.1 min holds; wrote ')
