"""Files: opened only where they are files, JSON, writing all of one or nothing, a folder for one process alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError, OutputError, reason_of
from custom_pose_ros.core.limits import MAX_JSON_BYTES, MAX_JSON_VALUES, MAX_NETWORK_BYTES

# In lower case; compare with `path.suffix.lower()`.
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
DRAWER = 'predict'  # the command whose drawings are never taken for pictures of a camera
_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 256
LOCK = '.lock'  # in a folder that one process owns; stays there, which means nothing
_LONGEST_NUMBER = 20  # of a process
_log = logging.getLogger(__name__)
# What downloads and checkouts leave in the place of a file, by how it begins; and what to do.
_STAND_INS = {
    rb'version https://(git-lfs|hawser)\.github\.com/spec/': 'is a git-lfs pointer: run git lfs pull in its repository',
    rb'(\.git)?/annex/objects/': 'is a git-annex pointer: run git annex get in its repository',
    rb'(\xef\xbb\xbf)?\s*<(!doctype html|html)\b': 'is a web page, saved under this name: download the file itself',
    rb'\s*\Z': 'is empty',
}


def open_file(path: Path, limit: int) -> BinaryIO:
    """
    Open a regular file to read it, and nothing else: opening a pipe would wait for somebody to write into it.

    Raises:
        OSError: It cannot be opened, is a folder, pipe, socket or device, or has more bytes than `limit`.
    """
    file = open(path, 'rb', opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    status = os.fstat(file.fileno())
    problem = ''
    if not stat.S_ISREG(status.st_mode):
        problem = 'it is no regular file'
    elif status.st_size > limit:
        problem = f'it has {status.st_size} bytes; at most {limit} are read'
    if problem:
        file.close()
        raise OSError(errno.EINVAL, problem, str(path))
    return file


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; OSError as from `open_file`."""
    with open_file(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # a file that grows, or one of /proc, which states no size
        raise OSError(errno.EFBIG, f'it has more than {limit} bytes', str(path))
    return content


def read_own_bytes(path: Path, limit: int) -> bytes:
    """
    Return the content of a regular file that holds what its name says.

    Raises:
        DatasetError: It cannot be read, is larger than `limit`, or a stand-in lies in its place; the text names it.
    """
    try:
        content = read_bytes(path, limit)
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read ({error.strerror})') from error
    if problem := stand_in_of(content):
        raise DatasetError(f'{path}: {problem}')
    return content


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """
    Yield a temporary path to write a file or a folder to; it takes the place of `path` when the block ends well.

    The temporary path has the name of `path` and lies in a new hidden folder beside it, which is removed in any case.
    Folders above `path` are made. A folder at `path` is replaced as a whole, by another folder only.

    Raises:
        OutputError: The place cannot be written to, or the block raised OSError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f'.{path.name}.', suffix='.partial', dir=path.parent, ignore_cleanup_errors=True
        ) as folder:
            temporary = Path(folder, path.name)
            yield temporary
            if temporary.is_dir() and path.is_dir():
                os.replace(path, Path(folder, 'replaced'))
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from error


def check_own(path: Path, author: str, is_own: Callable[[Path], bool], others: Sequence[str] = ()) -> None:
    """
    Raise OutputError where a command would replace what it did not write itself; to be called before any work.

    Args:
        path: What it is going to write, the first of its files where it writes several into a folder.
        author: The command.
        is_own: Whether a file at `path` has the form that the command writes.
        others: Names of what it writes beside `path` and after it; without `path` they are of somebody else.
    """
    if os.path.lexists(path):
        foreign = [] if path.is_file() and is_own(path) else [path]
    else:
        foreign = [other for name in others if os.path.lexists(other := path.with_name(name))]
    if foreign:
        raise not_own(foreign[0], author)


def not_own(path: Path, author: str) -> OutputError:
    """Return what to raise where a command would replace what it did not write itself."""
    return OutputError(
        f'{path}: is there already and was not written by {author}: move it away, or write to another place'
    )


def holds_json(is_own: Callable[[Any], bool]) -> Callable[[Path], bool]:
    """Return what tells whether a file holds JSON of a form, for `check_own`."""

    def holds(path: Path) -> bool:
        try:
            return is_own(read_json(path))
        except DatasetError:
            return False

    return holds


def holds_entries(*names: str) -> Callable[[Path], bool]:
    """Return what tells whether a file holds a JSON object with such entries, for `check_own`."""
    return holds_json(lambda content: isinstance(content, dict) and set(names) <= set(content))


def mark_of(author: str) -> bytes:
    """Return what a command appends to a picture or an MP4 video to know it again: a box that viewers pass over."""
    text = f'written by {author} of custom_pose_ros'.encode()
    return struct.pack('>I4s', 8 + len(text), b'free') + text


def has_mark(author: str) -> Callable[[Path], bool]:
    """Return what tells whether a file ends with the mark of a command, for `check_own`."""
    mark = mark_of(author)

    def ends(path: Path) -> bool:
        with path.open('rb') as file:
            file.seek(max(path.stat().st_size - len(mark), 0))
            return file.read(len(mark)) == mark

    return ends


def camera_pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the image files among some paths, sorted, without what predict drew, which may lie beside them."""
    return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and not _is_drawn(path))


def _is_drawn(path: Path) -> bool:
    try:
        return path.is_file() and has_mark(DRAWER)(path)
    except OSError:  # told by whoever reads it
        return False


def check_network_file(path: Path) -> None:
    """
    Raise ModelError unless a file may hold a network; to be called before any library opens it.

    A library would read on and on in a pipe or a sparse file, and print lines of its own about a git-lfs pointer.
    """
    try:
        open_file(path, MAX_NETWORK_BYTES).close()
        problem = stand_in(path)
    except OSError as error:
        problem = f'cannot be read ({error.strerror})'
    if problem:
        raise ModelError(f'{path}: {problem}')


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text, the bytes of names that are no UTF-8 as \udcff; OutputError when it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='backslashreplace')


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """
    Write a JSON file.

    Args:
        path: Where to write it.
        content: Plain values; write None for a number that is not known, since JSON has no NaN.
        indent: Spaces for each level; None writes a large file in one line.

    Raises:
        OutputError: The file cannot be written.
        ValueError: A number is not finite.
    """
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + '\n')


def read_json(path: Path, wanted: str = '') -> Any:
    """
    Return the content of a JSON file.

    Args:
        path: The file.
        wanted: Said when it cannot be read, such as 'wanted a folder that evaluate_bag wrote'.

    Raises:
        DatasetError: Naming the file, when it cannot be read or is no JSON.
    """
    try:
        content = read_bytes(path, MAX_JSON_BYTES)
        text = content.decode(json.detect_encoding(content))
    except OSError as error:
        hint = f'; {wanted}' if wanted else ''
        raise DatasetError(f'{path}: cannot be read ({error.strerror}){hint}') from error
    except ValueError as error:
        raise DatasetError(f'{path}: is not valid JSON ({reason_of(error)})') from error
    return parse_json(path, text)


def parse_json(path: Path, text: str) -> Any:
    """Return the content of JSON that was read from a file; DatasetError, naming it, when it is none."""
    try:
        check_json_extent(text)
        value = json.loads(text)
        if re.search(r'\\u[dD][89a-fA-F]', text):
            json.dumps(value, ensure_ascii=False).encode()  # half a character, like "\ud800", reads but never prints
        return value
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and _ends_early(text, error):
            raise DatasetError(f'{path}: is cut off: it ends early ({error}); copy or export it again') from error
        raise DatasetError(f'{path}: is not valid JSON ({reason_of(error)})') from error


def _ends_early(text: str, error: json.JSONDecodeError) -> bool:
    """Return whether all is well with the text of a JSON file but that there is more to come."""
    rest = text[error.pos :].strip()
    inside_a_word = any(word.startswith(rest) for word in ('true', 'false', 'null', '-', '.', 'e', 'E'))
    return bool(text.strip()) and (inside_a_word or error.msg.startswith('Unterminated string'))


def check_json_extent(text: str) -> None:
    """Raise ValueError for more values than a file has that a person or program made; before they are built."""
    if sum(text.count(mark) for mark in ',[{') > MAX_JSON_VALUES:
        raise ValueError(f'it has more than {MAX_JSON_VALUES} values')


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95, mark: bytes = b'') -> None:
    """
    Write a (H, W, 3) uint8 BGR image in the format of the suffix, and behind it the mark of a command.

    Raises:
        OutputError: It cannot be written.
    """
    is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg')  # OpenCV warns of options that are not of the format
    try:
        data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if is_jpeg else [])[1]
    except cv2.error as error:
        raise OutputError(f'{path}: OpenCV cannot write {path.suffix!r} images; use .png or .jpg') from error
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes() + mark)


def stand_in(path: Path) -> str:
    """Say what lies in the place of a file ('is a git-lfs pointer: run ...'); '' where it is no known stand-in."""
    with path.open('rb') as file:
        return stand_in_of(file.read(_HEAD_BYTES))


def stand_in_of(content: bytes) -> str:
    """Say the same of a content, of which the beginning is enough."""
    head = content[:_HEAD_BYTES]
    return next((text for start, text in _STAND_INS.items() if re.match(start, head, re.IGNORECASE)), '')


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; OSError for what is larger than any network."""
    digest = hashlib.sha256()
    with open_file(path, MAX_NETWORK_BYTES) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class FolderLock:
    """
    What makes this process the only one that writes into a folder, until it is closed.

    As a context manager it leaves nothing behind of a run that is refused before it has written anything.
    """

    def __init__(self, file: IO[str], made: Sequence[Path]):
        """Keep the locked file, and what was made for it: the file or not, and folders, the innermost first."""
        self._file, self._made = file, made
        self._before = sorted(os.listdir(made[0].parent)) if made else []

    def close(self) -> None:
        """Let other processes write into the folder."""
        self._file.close()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and self._made:
            with contextlib.suppress(OSError):  # it is gone, or something else lies in a folder above meanwhile
                if sorted(os.listdir(self._made[0].parent)) == self._before:
                    for path in self._made:
                        path.rmdir() if path.is_dir() else path.unlink()
        self.close()


def own_folder(folder: Path) -> FolderLock:
    """
    Make this process the only one that writes into a folder, which is made; return what must be kept meanwhile.

    The lock is one of the process, on a hidden file in the folder, and ends with the process, however that ends.

    Raises:
        ConfigError: Another process owns the folder; the text has its number.
        OutputError: The folder cannot be written to.
    """
    path = folder / LOCK
    made = [place for place in (path, folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not blocking, and no link: what lies there may be anything.
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), 'r+')
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, 'it is no file')
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, processes that are forked do not hold it
    except BlockingIOError as error:
        owner = file.read(_LONGEST_NUMBER).strip()
        file.close()
        raise ConfigError(
            f'{folder}: process {owner if owner.isdecimal() else "of another computer"} writes into it: wait until it '
            'ends, or give another --out'
        ) from error
    except OSError as error:
        _log.warning('%s: cannot be locked (%s): let one process at a time write into it', folder, error.strerror)
    if not _is_at(path, file):  # a process that was refused meanwhile has removed it, and a third may have made another
        file.close()
        return own_folder(folder)
    file.truncate(0)
    file.write(f'{os.getpid()}\n')
    file.flush()
    return FolderLock(file, made)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Return whether an open file is the one that has this name now."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    return False
