"""
The stack that signal handlers run on, made large enough again.

On processors with AMX OpenVINO gives the thread that loads its CPU plugin a stack for signals of the least size that
Linux allows (11.5 kB). A handler that has to look up a function saves as many bytes of registers there, and the process
ends by SIGSEGV: on SIGCHLD of a data loader's worker, on SIGINT, whatever the handler is.
"""

from __future__ import annotations

import ctypes
import mmap
import sys

SIZE = 256 * 1024
_DISABLED = 2  # SS_DISABLE of <signal.h>
_stacks: list[mmap.mmap] = []  # kept for good: a signal may come until the very end of a thread


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2) on Linux."""

    _fields_ = (('start', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t))


def widen_signal_stack() -> None:
    """Replace this thread's stack for signals, if it has one, by one of SIZE where it is smaller; Linux only."""
    if not sys.platform.startswith('linux'):
        return
    if not 0 < signal_stack_size() < SIZE:
        return  # handlers run on the thread's own stack, or have room
    _stacks.append(mmap.mmap(-1, SIZE))
    start = ctypes.addressof(ctypes.c_char.from_buffer(_stacks[-1]))
    ctypes.CDLL(None).sigaltstack(ctypes.byref(_Stack(start, 0, SIZE)), None)


def signal_stack_size() -> int:
    """Return the size of this thread's stack for signals in bytes; 0 when they run on its own."""
    current = _signal_stack()
    return 0 if current.flags & _DISABLED else current.size


def _signal_stack() -> _Stack:
    current = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(current))
    return current
