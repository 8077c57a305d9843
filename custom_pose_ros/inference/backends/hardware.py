"""The processor and the GPU of this machine, as far as threads and the choice of a backend depend on them."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

_MAX_DEFAULT_THREADS = 4  # beyond it the small layers of the light network gain nothing
_GPU_FILES = ('/dev/nvidia[0-9]*', '/dev/dxg', '/dev/nvhost-gpu')  # of graphics cards, the same under WSL, a Jetson
_INT8_FLAGS = {'avx512_vnni', 'avx_vnni', 'amx_int8', 'asimddp'}  # dot products of int8 in one instruction


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


def has_nvidia_gpu() -> bool:
    """Tell whether Linux has an NVIDIA GPU for this process, without asking any library."""
    return any(glob.glob(pattern) for pattern in _GPU_FILES)


def has_fast_int8() -> bool:
    """Tell whether the processor multiplies int8 faster than float32 (VNNI, AMX, or dot products of ARM)."""
    flags = re.search(r'^(?:flags|Features)\s*:(.*)$', _text(Path('/proc/cpuinfo')), re.MULTILINE)
    return flags is not None and not _INT8_FLAGS.isdisjoint(flags.group(1).split())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''
