"""Signals may come after OpenVINO was loaded in one thread and released in another: they ended the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from custom_pose_ros.inference.backends.signal_stack import LAST_AFFECTED

pytest.importorskip('openvino')
pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='sigaltstack as on Linux')

SIGNAL = """
import gc, os, signal, threading

def release_elsewhere_and_signal(networks):
    thread = threading.Thread(target=networks.clear)
    thread.start()
    thread.join()
    gc.collect()
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard
"""
OURS = """
import sys
from custom_pose_ros.inference.backends import load_network
from custom_pose_ros.inference.backends.signal_stack import signal_stack

assert signal_stack().start is None  # Python sets none
networks = [load_network(sys.argv[1], 'openvino')]
assert signal_stack().start is None
release_elsewhere_and_signal(networks)
"""
THEIRS = """
import openvino

cores = [openvino.Core()]
cores[0].get_property('CPU', 'FULL_DEVICE_NAME')
release_elsewhere_and_signal(cores)
"""


def run(code: str, root, *arguments: str) -> int:
    command = [sys.executable, '-c', SIGNAL + code, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, timeout=120).returncode


def test_a_signal_is_survived_after_a_network_was_released_in_another_thread(root):
    assert run(OURS, root, str(root / 'config' / 'submarine' / 'model.onnx')) == 0


def test_openvino_alone_still_needs_the_repair(root):
    """When this fails OpenVINO has mended it: raise the least version in setup.cfg and remove signal_stack.py."""
    import openvino

    if tuple(map(int, openvino.__version__.split('.')[:2])) > LAST_AFFECTED:
        pytest.skip(f'OpenVINO {openvino.__version__} is newer than the last one that signal_stack.py was made for')
    assert run(THEIRS, root) == -11
