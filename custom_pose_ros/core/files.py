"""Files: suffixes of pictures, JSON and YAML read, and writing so that a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from custom_pose_ros.core.errors import ConfigError, DatasetError, OutputError
from custom_pose_ros.core.limits import MAX_YAML_BYTES, MAX_YAML_VALUES

# In lower case; compare with `path.suffix.lower()`.
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
_BLOCK_BYTES = 1 << 20


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


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; OutputError when it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


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
        return json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        hint = f'; {wanted}' if wanted else ''
        raise DatasetError(f'{path}: cannot be read ({error.strerror}){hint}') from error
    except ValueError as error:
        raise DatasetError(f'{path}: is not valid JSON ({error})') from error


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write a (H, W, 3) uint8 BGR image in the format of the suffix; OutputError when it cannot be written."""
    is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg')  # OpenCV warns of options that are not of the format
    try:
        data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if is_jpeg else [])[1]
    except cv2.error as error:
        raise OutputError(f'{path}: OpenCV cannot write {path.suffix!r} images; use .png or .jpg') from error
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class _Incomplete(Exception):
    """Ends `replacing` without a file."""


class VideoFile:
    """
    An MP4 video written frame by frame; the first frame fixes the size. Use as a context manager.

    At the end, also after Ctrl-C, the frames written so far are put in place. After any other exception, when there
    was no frame, or when the file is not complete (OutputError), nothing is left behind.

    Attributes:
        saved: True once the file is in its place.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, fps
        self.frames = 0
        self.saved = False
        self._temporary = path
        self._writer: cv2.VideoWriter | None = None
        self._place = contextlib.ExitStack()

    def __enter__(self) -> VideoFile:
        return self

    def write(self, image: np.ndarray) -> None:
        """Append a (H, W, 3) uint8 BGR frame; OutputError when the file cannot be written."""
        if self._writer is None:
            self._writer = self._open(image.shape[1], image.shape[0])
        self._writer.write(image)
        self.frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        with contextlib.ExitStack() as stack:
            self._temporary = stack.enter_context(replacing(self.path))
            code = cv2.VideoWriter_fourcc(*'mp4v')  # type: ignore[attr-defined]
            writer = cv2.VideoWriter(str(self._temporary), code, self.fps, (width, height))
            if not writer.isOpened():
                raise OutputError(f'{self.path}: cannot be written (is the disk full? has OpenCV an MP4 encoder?)')
            self._place = stack.pop_all()
        return writer

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        complete = kind is None or issubclass(kind, KeyboardInterrupt)
        with contextlib.suppress(_Incomplete), self._place:
            if not complete:
                raise _Incomplete
            self._check()
        self.saved = complete

    def _check(self) -> None:
        """Raise OutputError when frames are missing: an encoder that cannot write says nothing."""
        reader = cv2.VideoCapture(str(self._temporary))
        frames = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if frames < self.frames:
            raise OutputError(f'{self.path}: cannot be written completely (is the disk full?)')


def read_yaml(path: str | Path, wanted: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """
    Return what a YAML file says.

    Args:
        path: of the file.
        wanted: what the user can do about a wrong one, such as 'give a folder with an object.yaml'.
        loader: class that reads the values.

    Raises:
        ConfigError: it is no file, cannot be read, is too large or is not YAML; the text names the file.
    """
    try:
        return _parse(_read(Path(path)), loader)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read ({error.strerror}); {wanted}') from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or no date: 2020-13-45
        raise ConfigError(f'{path}: is not valid YAML: {" ".join(str(error).split())}') from error


def _read(path: Path) -> str:
    # Not blocking, since opening a pipe waits for somebody to write into it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(0, 'it is no file')
        content = stream.read(MAX_YAML_BYTES + 1)
    if len(content) > MAX_YAML_BYTES:
        raise OSError(0, f'it has more than {MAX_YAML_BYTES} bytes')
    return content.decode('utf-8')


def _parse(text: str, loader: type[yaml.SafeLoader]) -> Any:
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_YAML_VALUES:
            raise yaml.YAMLError(f'its aliases stand for more than {MAX_YAML_VALUES} values')
        return reader.construct_document(node)
    finally:
        reader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node with its aliases written out; without writing them out."""
    if id(node) not in known:
        known[id(node)] = MAX_YAML_VALUES + 1  # for an alias of itself
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_values(child, known) for child in children)
    return known[id(node)]
