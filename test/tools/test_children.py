"""Child processes: watched while they run, gone when the parent goes, however it goes."""

import os
import queue
import signal
import subprocess
import sys
import time

import pytest

from custom_pose_ros.tools.children import ChildError, Children

SLEEP = [sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)']
STUBBORN = [
    sys.executable, '-c',
    'import os, signal, time; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True); time.sleep(600)',
]  # fmt: skip


def is_alive(pid):
    try:
        os.kill(pid, 0)
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until_gone(pid, seconds=60.0):
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)


def check_until(children, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        children.check()
        time.sleep(0.02)


def test_lines_come_and_go(tmp_path):
    lines = queue.Queue()
    with Children(tmp_path / 'log', os.environ) as children:
        echo = 'import sys; print(sys.stdin.readline().upper(), end="", flush=True); print("noise", file=sys.stderr)'
        children.start('echo', [sys.executable, '-c', echo], lines.put)
        children.send('echo', 'hello')
        assert lines.get(timeout=60) == 'HELLO\n'
        with pytest.raises(ChildError, match='echo ended with exit status 0:\n    noise'):
            check_until(children, 60)
    assert (tmp_path / 'log' / 'echo.log').read_text() == 'noise\n'


@pytest.mark.parametrize('command', [SLEEP, STUBBORN], ids=['ends when asked', 'must be killed'])
def test_leaving_the_block_ends_all(tmp_path, command):
    lines = queue.Queue()
    with pytest.raises(KeyboardInterrupt), Children(tmp_path, os.environ) as children:
        for name in ('one', 'two'):
            children.start(name, command, lines.put)
        pids = [int(lines.get(timeout=60)) for _ in range(2)]
        assert all(is_alive(pid) for pid in pids)
        raise KeyboardInterrupt
    assert not any(is_alive(pid) for pid in pids)


def test_death_is_told_with_the_end_of_the_log(tmp_path):
    with Children(tmp_path, os.environ) as children:
        children.start('bad', [sys.executable, '-c', 'import sys; print("line 1"); sys.exit("no such model")'])
        with pytest.raises(ChildError, match=r'bad ended with exit status 1:\n    line 1\n    no such model'):
            check_until(children, 60)
    with Children(tmp_path, os.environ) as children:
        children.start('mute', [sys.executable, '-c', 'import os; os.kill(os.getpid(), 9)'])
        with pytest.raises(ChildError, match=r'mute ended with exit status -9 \(it wrote nothing\)'):
            check_until(children, 60)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='prctl is a Linux call')
def test_children_die_even_when_the_parent_is_killed(tmp_path):
    parent = f"""
import os, sys, time
from pathlib import Path
from custom_pose_ros.tools.children import Children
with Children(Path({str(tmp_path)!r}), os.environ) as children:
    children.start('sleep', {SLEEP!r}, lambda line: print(line, flush=True))
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, '-c', parent], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    assert wait_until_gone(pid)
