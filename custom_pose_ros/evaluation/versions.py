"""The versions of packages that the numbers of an evaluation depend on."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata as packages

import cv2
import numpy as np

_PACKAGES = ('numpy', 'opencv-python-headless', 'onnxruntime', 'rosbags')


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    found = {'python': platform.python_version()}
    for name in ('custom_pose_ros', *_PACKAGES):
        with contextlib.suppress(packages.PackageNotFoundError):
            found[name] = packages.version(name)
    found['opencv'] = cv2.__version__
    found['numpy'] = np.__version__
    return dict(sorted(found.items()))
