"""Packages that only some commands need: a missing one is named with what to install, in one line."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata

from custom_pose_ros.core.command_line import CANNOT, say

PACKAGE = 'custom_pose_ros'
_OWN = (PACKAGE, 'custom_pose_msgs', 'training')


@contextlib.contextmanager
def optional_packages(command: str, extras: Sequence[str]) -> Iterator[None]:
    """
    Import within this block what needs the packages of some extras of setup.cfg.

    Without one of them the process ends with exit code 1 and a line that names it and what to install.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = error.name or ''
        if name.partition('.')[0] in _OWN:
            raise
        say(f'error: {command} needs {name}, which is not installed: {pip_install(extras)}')
        sys.exit(CANNOT)


def pip_install(extras: Sequence[str]) -> str:
    """Return the command that installs what the extras ask for; of this checkout where it is not installed itself."""
    try:
        lines = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        lines = []
    marked = [re.split(r'\s*;\s*', line, maxsplit=1) for line in lines if ';' in line]
    found = dict.fromkeys(
        name for name, marker in marked if re.search(rf"extra == ['\"]({'|'.join(extras)})['\"]", marker)
    )  # an extra may repeat what another one has
    return 'pip install ' + ' '.join(f"'{name}'" for name in found or [f'.[{",".join(extras)}]'])
