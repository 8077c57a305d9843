"""Fixtures and skip reasons for the whole suite."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.reports import CollectReport

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]  # pytest 6, of Ubuntu 22.04, has no `pythonpath`

from declared_packages import missing_extra  # noqa: E402

from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.backends.signal_stack import unchanged_signal_stack  # noqa: E402

SHARED = ROOT.parent / 'shared'

# Read when torch is imported. Threads that wait actively stand in each other's way on a busy machine: training tests
# took four times as long there.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
if 'PYTEST_XDIST_WORKER' in os.environ:  # one of two processes, which share the cores
    os.environ.setdefault('OMP_NUM_THREADS', '1')

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests that interrupt them need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> object:
    """Skip a module that needs an extra which is not installed, as after `rosdep install`; say which."""
    if not isinstance(collector, pytest.Module):
        return None
    try:
        collector.obj  # noqa: B018 - imports the module
    except (Exception, SystemExit) as error:  # the latter of commands, which say what to install
        outcome, where = 'failed', collector.repr_failure(pytest.ExceptionInfo.from_current())
        if name := missing_extra(error):
            reason = f'Skipped: {name} is missing: run `make test`, or pip install it'
            outcome, where = 'skipped', (str(Path(collector.nodeid)), None, reason)
        # Not left to pytest: its import, the second one, finds a module without tests that is left of this one.
        return CollectReport(collector.nodeid, outcome, where, [])
    except pytest.skip.Exception:
        pass  # pytest's own report says so
    return None


@pytest.fixture(autouse=True)
def signals_survive() -> Iterator[None]:
    """Undo what OpenVINO inside other libraries leaves behind, which lets the next signal end the process."""
    with unchanged_signal_stack():
        yield


@pytest.fixture(scope='session')
def root() -> Path:
    """The folder of this checkout."""
    return ROOT


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with test data that does not belong into git; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f'test data missing: {SHARED} is not beside the checkout')
    return SHARED


@pytest.fixture(scope='session')
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with object.yaml and model.onnx of the tiny object; nobody may change it."""
    from tiny_model import write_tiny_object

    return write_tiny_object(tmp_path_factory.mktemp('object') / 'tiny')


@pytest.fixture(scope='session')
def tiny_model(tiny_folder: Path) -> ObjectModel:
    return ObjectModel.load(tiny_folder)
