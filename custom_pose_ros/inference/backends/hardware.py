"""The processor and the GPU of this machine: how many threads are worth having, and by what name to remember them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_MAX_DEFAULT_THREADS = 4  # beyond it the small layers of the light network gain nothing


def default_threads() -> int:
    """Return one thread per physical core that this process may use, at most 4."""
    return max(1, min(physical_cores(), _MAX_DEFAULT_THREADS))


def physical_cores() -> int:
    """Count the physical cores that this process may run on; where Linux does not tell, the logical ones."""
    allowed = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in allowed:
        text = _text(Path(f'/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list')) or str(cpu)
        siblings.add(text.strip())
    return len(siblings)


def description() -> str:
    """Return the names of the processor and of NVIDIA's GPUs and the number of cores, without asking any library."""
    cpu = re.search(r'^(?:model name|Model)\s*:\s*(.+)$', _text(Path('/proc/cpuinfo')), re.MULTILINE)
    board = _text(Path('/proc/device-tree/model')).strip('\0\n ')  # a Jetson, whose GPU is part of the chip
    gpus = [
        match.group(1)
        for path in sorted(Path('/proc/driver/nvidia/gpus').glob('*/information'))
        if (match := re.search(r'^Model:\s*(.+)$', _text(path), re.MULTILINE))
    ]
    names = [cpu.group(1) if cpu else platform.processor() or platform.machine(), board, *gpus]
    return ', '.join([*filter(None, names), f'{physical_cores()} cores'])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
