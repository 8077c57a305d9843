"""The progress bar: a bar on a terminal, a line now and then elsewhere, both on stderr."""

from __future__ import annotations

import io
import sys
import types

import pytest

from custom_pose_ros.core import progress
from custom_pose_ros.core.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def replace_stderr(monkeypatch, stream: io.StringIO) -> io.StringIO:
    """Put the stream in place of stderr; not in a fixture, after which pytest sets stderr once more."""
    monkeypatch.setattr(sys, 'stderr', stream)
    return stream


@pytest.fixture
def clock(monkeypatch):
    """Stand in for the clock of the lines."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, 'time', types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def last_drawn(terminal) -> str:
    return terminal.getvalue().split('\r')[-1]


def test_the_bar_ends_with_the_last_count(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('frames', 4, 'frame') as bar:
        assert 'frames:   0%' in last_drawn(terminal)
        bar.update(4)
    assert last_drawn(terminal).startswith('frames: 100%') and '4/4' in last_drawn(terminal)
    assert last_drawn(terminal).endswith('\n')


def test_a_cleared_bar_leaves_the_line_free_and_comes_back(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('frames', None, 'frame') as bar:
        bar.clear()
        wiped, start = terminal.getvalue().split('\r')[-2:]
        assert (wiped.strip(), start) == ('', '')
        bar.update(2)
    assert 'frames: 2frame' in last_drawn(terminal)


def test_a_bar_inside_another_one_takes_its_line(monkeypatch):
    terminal = replace_stderr(monkeypatch, Terminal())
    with progress_bar('images', 3, 'image') as outer:
        outer.clear()
        with progress_bar('clip.mp4', 4, 'frame') as inner:
            inner.clear()
            assert '\n' not in terminal.getvalue()


def test_nothing_is_written_to_a_log_for_short_work(monkeypatch, capsys):
    log = replace_stderr(monkeypatch, io.StringIO())
    with progress_bar('frames', 4, 'frame') as bar:
        for _ in range(4):
            bar.update()
            bar.clear()
    assert log.getvalue() == capsys.readouterr().out == ''


def test_a_log_has_a_line_every_ten_seconds(monkeypatch, clock):
    log = replace_stderr(monkeypatch, io.StringIO())
    with progress_bar('frames', 100, 'frame') as bar:
        bar.mininterval = 0  # whatever the pace of this test
        for _ in range(25):
            clock.now += 1.0
            bar.update()
            bar.clear()
    first, second = log.getvalue().splitlines()
    assert first.startswith('frames:  10%') and '10/100' in first
    assert second.startswith('frames:  20%') and '20/100' in second
