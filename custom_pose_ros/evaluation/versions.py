"""What the numbers of an evaluation depend on besides the bag: versions of packages, and the network file."""

from __future__ import annotations

import contextlib
import hashlib
import platform
from importlib import metadata as packages
from pathlib import Path

import cv2
import numpy as np

_PACKAGES = ('numpy', 'opencv-python-headless', 'onnxruntime', 'rosbags')
_HASH_BLOCK = 1 << 20


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    found = {'python': platform.python_version()}
    for name in ('custom_pose_ros', *_PACKAGES):
        with contextlib.suppress(packages.PackageNotFoundError):
            found[name] = packages.version(name)
    found['opencv'] = cv2.__version__
    found['numpy'] = np.__version__
    return dict(sorted(found.items()))


def sha256(path: Path | None) -> str | None:
    """Return the checksum of a file, read in blocks; None without one."""
    if path is None:
        return None
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
