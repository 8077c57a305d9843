"""Handlers of signals have room, also after OpenVINO has set their stack to the least size: it crashed trainings."""

from __future__ import annotations

import subprocess
import sys

import pytest

from custom_pose_ros.inference.backends.signal_stack import SIZE, signal_stack_size, widen_signal_stack

SMALL = """
import ctypes, mmap, os, signal
from custom_pose_ros.inference.backends.signal_stack import SIZE, _Stack, signal_stack_size, widen_signal_stack

assert signal_stack_size() == 0  # Python sets none
widen_signal_stack()
assert signal_stack_size() == 0  # and what there is not, needs no room
memory = mmap.mmap(-1, 16384)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(start, 0, 16384)), None)
assert signal_stack_size() == 16384
widen_signal_stack()
assert signal_stack_size() == SIZE
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append(signal_stack_size()))
os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)
assert heard == [SIZE]
"""

OPENVINO = """
import sys
from custom_pose_ros.inference.backends import load_backend
from custom_pose_ros.inference.backends.signal_stack import SIZE, signal_stack_size

backend = load_backend(sys.argv[1], 'openvino')  # as long as it lives OpenVINO's stack would be there
assert signal_stack_size() in (0, SIZE), signal_stack_size()
"""

linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='sigaltstack as on Linux')


def run(code: str, root, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@linux
def test_a_small_stack_is_widened_and_a_missing_one_is_not_made(root):
    run(SMALL, root)


@linux
def test_openvino_leaves_room(root):
    pytest.importorskip('openvino')
    run(OPENVINO, root, str(root / 'config' / 'submarine' / 'model.onnx'))


@linux
def test_here_and_now():
    widen_signal_stack()
    assert signal_stack_size() == 0 or signal_stack_size() >= SIZE
