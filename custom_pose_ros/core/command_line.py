"""What all commands share: parser, exit codes, a line on stderr for each error, arguments, packages, progress bar."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from custom_pose_ros.core.errors import CustomPoseError, UsageError, printable, reason_of
from custom_pose_ros.core.limits import MAX_IMAGE_SIDE_PX, MAX_KEYPOINTS, MIN_FOV_DEG

if TYPE_CHECKING:
    from tqdm import tqdm

_PACKAGE = 'custom_pose_ros'
_OWN = (_PACKAGE, 'custom_pose_msgs', 'training')
DONE = 0
CANNOT = 1  # the last line on stderr says why
WRONG_USE = 2  # options that argparse refuses, that contradict each other or that do not fit the inputs
PARTLY = 3  # done, without parts that are damaged or missing
INTERRUPTED = 130  # by Ctrl-C; what was finished before is kept
_DEBUG = '--debug'
_DEFAULT_FOV_DEG = 60.0
ANYWHERE = 'anywhere'
SIDES = ('above', 'below', 'front', 'back', 'left', 'right')  # of an object, which cameras see
_LINE_PERIOD_S = 5.0  # of progress in a log file
# Of files: a folder of such a name was meant to be one.
_FILE_ENDINGS = frozenset('.csv .html .jpeg .jpg .json .md .mp4 .npz .onnx .pdf .png .pth .txt .xml .yaml .yml'.split())
_WHOLE_NUMBER = re.compile('[+-]?[0-9]{1,18}')  # neither the digits of other scripts nor ones such as \u00b2

Main = Callable[[Sequence[str] | None], int]


def command_parser(description: str | None, name: str | None = None) -> argparse.ArgumentParser:
    """
    Return a parser with the option --debug, which `command` obeys; options are not to be abbreviated.

    `type=int` takes decimal digits only, `type=float` finite numbers only, and `type=Path` knows `~`, which the shell
    leaves as it is in --out=~/x.
    """
    parser = _Parser(
        name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for kind, reader in ((int, _integer), (float, _number), (Path, _path)):
        parser.register('type', kind, reader)
    parser.add_argument(_DEBUG, action='store_true', help='show where in the program an error occurred')
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the options; argparse prints the usage of all of them in front of it."""

    def error(self, message: str) -> NoReturn:
        say(f'error: {message}; --help lists the options')
        self.exit(WRONG_USE)


def command(main: Main) -> Main:
    """
    Wrap the `main(arguments)` of a command, which returns one of the codes above.

    Every error becomes one line on stderr and a code. What is printed has no control characters and can be encoded.
    A reader of the output that closed it early, such as `head`, is no fault.
    """

    @functools.wraps(main)
    def wrapped(arguments: Sequence[str] | None = None) -> int:
        given = sys.argv[1:] if arguments is None else arguments
        for folder in ('XDG_CACHE_HOME', 'XDG_CONFIG_HOME'):  # relative ones are to be ignored, says their standard;
            if not os.path.isabs(os.environ.get(folder, '')):  # Matplotlib makes a folder named ~ instead
                os.environ.pop(folder, None)
        try:
            with contextlib.redirect_stdout(_Printable(sys.stdout)):
                return main(arguments)
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that flushing stdout at exit does not fail as well
            return CANNOT
        except Exception as error:
            return report(error, _DEBUG in given)

    return wrapped


def report(error: Exception, debug: bool = False) -> int:
    """Say on stderr in one line what ended a command, under `debug` behind the traceback; return the exit code."""
    if debug:
        traceback.print_exception(type(error), error, error.__traceback__)
    if isinstance(error, CustomPoseError):
        text = str(error)
    elif isinstance(error, OSError):
        text = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    elif isinstance(error, MemoryError):
        text = 'there is not enough memory'
    else:
        text = f'this was not foreseen: {type(error).__name__}: {reason_of(error)}'
        text += '' if debug else f'; {_DEBUG} shows where, please report it with that'
    say(f'error: {text}')
    return WRONG_USE if isinstance(error, UsageError) else CANNOT


class _Printable:
    """A text stream that writes out what would steer the terminal or cannot be encoded."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = getattr(self._stream, 'encoding', None) or 'utf-8'
        return self._stream.write(printable(text).encode(encoding, 'backslashreplace').decode(encoding))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: str) -> None:
    """Print a line on stderr, where results do not get mixed with it."""
    print(printable(text), file=sys.stderr, flush=True)


def _integer(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f'wanted a whole number, got {text!r}')
    return int(text)


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads an argument that is a whole number from `least` to `most`, if there is one, for argparse."""
    wanted = f'from {least} up' if most is None else f'from {least} to {most}'

    def read(text: str) -> int:
        if not _WHOLE_NUMBER.fullmatch(text) or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f'wanted a whole number {wanted}, got {text!r}')
        return int(text)

    return read


positive_integer = whole_number(1)
seed_number = whole_number(0)  # which chooses a series of random numbers
keypoint_number = whole_number(4, MAX_KEYPOINTS)  # from which a pose can be told


def _number(text: str) -> float:
    with contextlib.suppress(ValueError):
        if text.isascii() and math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f'wanted a number, got {text!r}')


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f'{text}: {error}') from error


def output_folder(text: str) -> Path:
    """Return an argument that is a folder to write into, made when it is not there (for `type` of argparse)."""
    path = _path(text)
    try:
        there = next(part for part in (path.absolute(), *path.absolute().parents) if os.path.lexists(part))
        if not there.is_dir():
            raise argparse.ArgumentTypeError(f'wanted a folder to write into, and {there} is none')
        if there != path.absolute() and path.suffix.lower() in _FILE_ENDINGS:
            raise argparse.ArgumentTypeError(f'wanted a folder to write into, and {path} has the name of a file')
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text}: {error.strerror}') from error
    if not os.access(there, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f'{there}: cannot be written to')
    return path


def output_file(ending: str) -> Callable[[str], Path]:
    """Return what reads an argument that is a file to write, whose name has an ending, in a folder as above."""

    def read(text: str) -> Path:
        path = _path(text)
        if path.is_dir():
            raise argparse.ArgumentTypeError(f'wanted a file to write, and {path} is a folder')
        if not path.name.lower().endswith(ending):
            raise argparse.ArgumentTypeError(f'wanted a file to write whose name ends in {ending}, got {path}')
        output_folder(str(path.absolute().parent))
        return path

    return read


def check_output(parser: argparse.ArgumentParser, out: Path, kind: Callable[[str], Path]) -> None:
    """End the command where `out` is not what it must be as other options say: an output_folder or output_file."""
    try:
        kind(str(out))
    except argparse.ArgumentTypeError as error:
        parser.error(f'argument --out: {error}')


def is_path(text: str) -> bool:
    """Return whether an argument is a file or folder, there or not, and not the misspelt name of something else."""
    return os.sep in text or bool(Path(text).suffix) or os.path.exists(os.path.expanduser(text))


def name_or_file(*names: str) -> Callable[[str], str]:
    """Return what reads an argument that is one of some names or a file, which need not be there, for argparse."""

    def read(text: str) -> str:
        if text not in names and not is_path(text):
            raise argparse.ArgumentTypeError(f'wanted {", ".join(names)} or a file, got {text!r}')
        return text

    return read


def check_range(option: str, low_name: str, high_name: str, pair: Sequence[float], most: float = math.inf) -> None:
    """Raise UsageError unless an option has two numbers above 0, the smaller one first and none above `most`."""
    low, high = pair
    if not 0.0 < low <= high <= most:
        limit = '' if math.isinf(most) else f' <= {most:g}'
        raise UsageError(f'{option}: wanted 0 < {low_name} <= {high_name}{limit}, got {low:g} {high:g}')


def _number_that(holds: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """Return what reads an argument that is a finite number for which something holds, for argparse."""

    def read(text: str) -> float:
        with contextlib.suppress(argparse.ArgumentTypeError):
            if holds(number := _number(text)):
                return number
        raise argparse.ArgumentTypeError(f'wanted {wanted}, got {text!r}')

    return read


def bounded_number(least: float, most: float) -> Callable[[str], float]:
    """Return what reads an argument that is a number from `least` to `most`, for argparse."""
    return _number_that(lambda number: least <= number <= most, f'a number from {least:g} to {most:g}')


positive_number = _number_that(lambda number: number > 0, 'a number above 0')
field_of_view_deg = _number_that(
    lambda angle: MIN_FOV_DEG <= angle < 180, f'degrees, not radians, from {MIN_FOV_DEG} to below 180'
)
share_set_aside = bounded_number(0, 0.99)  # something is left to train on


def add_outline_option(parser: argparse._ActionsContainer) -> None:
    """Add --outline."""
    parser.add_argument(
        '--outline', type=name_or_file('auto', 'off'), default='auto', metavar='auto|off|FILE',
        help='measure poses by the outline.npz of training/outline.py (default: auto, the one beside the object file)',
    )  # fmt: skip


def add_lens_options(parser: argparse._ActionsContainer) -> None:
    """Add --camera and --fov-deg, of which one is given."""
    lens = parser.add_mutually_exclusive_group()
    lens.add_argument(
        '--camera', type=Path, metavar='YAML', help='calibration: camera_calibration, Kalibr, OpenCV, camera_info'
    )
    lens.add_argument(
        '--fov-deg', type=field_of_view_deg, metavar='DEG', default=_DEFAULT_FOV_DEG,
        help=f'horizontal field of view assumed without --camera, at least {MIN_FOV_DEG} '
        f'(default: {_DEFAULT_FOV_DEG:g})',
    )  # fmt: skip


def image_size(text: str) -> tuple[int, int]:
    """Return width and height [px] of an argument such as 640x480 (for `type` of argparse)."""
    sides = text.lower().split('x')
    if len(sides) != 2 or not all(
        _WHOLE_NUMBER.fullmatch(side) and 0 < int(side) <= MAX_IMAGE_SIDE_PX for side in sides
    ):
        raise argparse.ArgumentTypeError(f'wanted WIDTHxHEIGHT such as 640x480, got {text!r}')
    return int(sides[0]), int(sides[1])


@contextlib.contextmanager
def optional_packages(program: str, extras: Sequence[str]) -> Iterator[None]:
    """
    Import within this block what needs the packages of some extras of setup.cfg.

    Without one of them the process ends with exit code 1 and a line that names it and what to install.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or '').partition('.')[0] in _OWN:
            raise
        text = f'needs {error.name}, which is not installed: {pip_install(extras)}'
        if not isinstance(error, ModuleNotFoundError):  # a library of the system is missing or of another version
            text = f'cannot load {error.name or "a package"}: {reason_of(error)}'
        say(f'error: {program} {text}')
        sys.exit(CANNOT)


def pip_install(extras: Sequence[str]) -> str:
    """Return the command that installs what the extras ask for; of this checkout where it is not installed itself."""
    from importlib import metadata  # here, since it loads long, while Ctrl-C is not handled yet

    try:
        lines = metadata.requires(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        lines = []
    marked = [re.split(r'\s*;\s*', line, maxsplit=1) for line in lines if ';' in line]
    found = dict.fromkeys(
        name for name, marker in marked if re.search(rf"extra == ['\"]({'|'.join(extras)})['\"]", marker)
    )  # an extra may repeat what another one has
    return 'pip install ' + ' '.join(f"'{name}'" for name in found or [f'.[{",".join(extras)}]'])


def progress_bar(title: str, total: int | None, unit: str, iterable: Iterable | None = None) -> tqdm:
    """
    Return a bar on a terminal; in a log file it becomes a line every five seconds, and none for shorter work.

    Use it as a context manager and count with `update()`, or iterate over it. Call `clear()` before printing
    something else.

    Args:
        title: Written in front of the bar.
        total: Number of steps, or None when it is not known.
        unit: What one step is, in the singular.
        iterable: What to yield and count, instead of `update()`.
    """
    from tqdm import tqdm  # not at the top: a command that shows no bar starts sooner

    file = sys.stderr if sys.stderr.isatty() else _LogLines(sys.stderr)
    # position=0: a bar inside another one takes its place, so that only one line has to be cleared
    return tqdm(iterable, title, total, unit=unit, file=file, miniters=1, dynamic_ncols=True, position=0)


class _LogLines:
    """What tqdm draws on a terminal, as lines of a file."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._next = time.monotonic() + _LINE_PERIOD_S

    def write(self, text: str) -> None:
        line = text.strip()  # of carriage returns, and of the spaces that wipe what was drawn before
        if line and time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_PERIOD_S
            self._stream.write(line + '\n')

    def flush(self) -> None:
        self._stream.flush()


def _without_interrupts(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show an error that ends the process, but for Ctrl-C: while a command is imported nothing else catches that."""
    if issubclass(kind, KeyboardInterrupt) and not hasattr(sys, 'ps1'):
        sys.exit(INTERRUPTED)
    _shown(kind, error, trace)


_shown, sys.excepthook = sys.excepthook, _without_interrupts
