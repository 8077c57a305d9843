"""
Keep OpenVINO from changing where signal handlers run.

When its CPU plugin is loaded OpenVINO gives the thread a stack for signal handlers (sigaltstack(2)), and gives that
memory back wherever the plugin is unloaded. Unloaded in another thread, as when one network is exchanged for another,
the loading thread keeps the address, and its next signal, whatever the handler is, ends the process by SIGSEGV.

It came with https://github.com/openvinotoolkit/openvino/pull/11894 (SigAltStackSetup) and is so in all versions up to
LAST_AFFECTED. When test_signal_stack.py finds a version that no longer does it, this module can go.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

LAST_AFFECTED = (2026, 4)  # of openvino
_DISABLED = 2  # SS_DISABLE of <signal.h>


class SignalStack(ctypes.Structure):
    """stack_t of sigaltstack(2) on Linux."""

    _fields_ = (('start', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t))


@contextlib.contextmanager
def unchanged_signal_stack() -> Iterator[None]:
    """Set this thread's stack for signal handlers back to what it was before the block; Linux only."""
    if not sys.platform.startswith('linux'):
        yield
        return
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def signal_stack() -> SignalStack:
    """Return this thread's stack for signal handlers; without one, `start` is None and handlers run on its own."""
    current = SignalStack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(current))
    if current.flags & _DISABLED:
        current.start = None
    return current
