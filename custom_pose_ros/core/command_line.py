"""What all commands share: exit codes, one line on stderr for each error, kinds of arguments, optional packages."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

from custom_pose_ros.core.errors import CustomPoseError, UsageError

_PACKAGE = 'custom_pose_ros'
_OWN = (_PACKAGE, 'custom_pose_msgs', 'training')
DONE = 0
CANNOT = 1  # the last line on stderr says why
WRONG_USE = 2  # options that argparse refuses, that contradict each other or that do not fit the inputs
PARTLY = 3  # done, without parts that are damaged or missing
INTERRUPTED = 130  # by Ctrl-C; what was finished before is kept

Main = Callable[[Sequence[str] | None], int]


def command(main: Main) -> Main:
    """
    Wrap the `main(arguments)` of a command, which returns one of the codes above.

    An error that a user is meant to read becomes one line on stderr and the code; any other exception is a fault of
    the program and keeps its traceback. A reader of the output that closed it early, such as `head`, is no fault.
    """

    @functools.wraps(main)
    def wrapped(arguments: Sequence[str] | None = None) -> int:
        try:
            return main(arguments)
        except UsageError as error:
            say(f'error: {error}')
            return WRONG_USE
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that flushing stdout at exit does not fail as well
            return CANNOT
        except CustomPoseError as error:
            say(f'error: {error}')
            return CANNOT
        except OSError as error:
            say(f'error: {error.filename}: {error.strerror}' if error.filename else f'error: {error}')
            return CANNOT

    return wrapped


def say(text: str) -> None:
    """Print a line on stderr, where results do not get mixed with it."""
    print(text, file=sys.stderr, flush=True)


def positive_integer(text: str) -> int:
    """Return an argument that is a whole number from 1 up (for `type` of argparse)."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'wanted a whole number from 1 up, got {text!r}')
    return int(text)


def field_of_view_deg(text: str) -> float:
    """Return an argument that is an angle between 0 and 180 degrees (for `type` of argparse)."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 180:
            return float(text)
    raise argparse.ArgumentTypeError(f'wanted degrees between 0 and 180, got {text!r}')


def image_size(text: str) -> tuple[int, int]:
    """Return width and height [px] of an argument such as 640x480 (for `type` of argparse)."""
    width, _, height = text.lower().partition('x')
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'wanted WIDTHxHEIGHT such as 640x480, got {text!r}')
    return int(width), int(height)


@contextlib.contextmanager
def optional_packages(program: str, extras: Sequence[str]) -> Iterator[None]:
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
        say(f'error: {program} needs {name}, which is not installed: {pip_install(extras)}')
        sys.exit(CANNOT)


def pip_install(extras: Sequence[str]) -> str:
    """Return the command that installs what the extras ask for; of this checkout where it is not installed itself."""
    try:
        lines = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        lines = []
    marked = [re.split(r'\s*;\s*', line, maxsplit=1) for line in lines if ';' in line]
    found = dict.fromkeys(
        name for name, marker in marked if re.search(rf"extra == ['\"]({'|'.join(extras)})['\"]", marker)
    )  # an extra may repeat what another one has
    return 'pip install ' + ' '.join(f"'{name}'" for name in found or [f'.[{",".join(extras)}]'])
