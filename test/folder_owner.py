"""A process that owns a folder, as a command does while it writes into it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_OWNER = (
    'import sys; from pathlib import Path; from custom_pose_ros.core.files import own_folder\n'
    'lock = own_folder(Path(sys.argv[1])); print("owned", flush=True); sys.stdin.read()'
)


def start_owner(folder: Path) -> subprocess.Popen:
    """Start a process that owns a folder until its stdin is closed."""
    owner = subprocess.Popen(
        [sys.executable, '-c', _OWNER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT,
    )  # fmt: skip
    assert owner.stdout.readline() == 'owned\n'
    return owner
