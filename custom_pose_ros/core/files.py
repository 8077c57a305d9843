"""Files: suffixes of pictures, JSON and YAML read, and writing so that a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import yaml

from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError, OutputError, one_line, reason_of
from custom_pose_ros.core.limits import (
    MAX_JSON_BYTES,
    MAX_JSON_VALUES,
    MAX_NETWORK_BYTES,
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    MAX_YAML_SCALAR,
    MAX_YAML_VALUES,
)

try:
    from yaml import CSafeLoader as YamlLoader  # ten times as fast
except ImportError:
    from yaml import SafeLoader as YamlLoader  # type: ignore[assignment]

# In lower case; compare with `path.suffix.lower()`.
IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')
_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 256
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
    if problem := _stand_in_of(content):
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
        raise DatasetError(f'{path}: is not valid JSON ({reason_of(error)})') from error


def check_json_extent(text: str) -> None:
    """Raise ValueError for more values than a file has that a person or program made; before they are built."""
    if sum(text.count(mark) for mark in ',[{') > MAX_JSON_VALUES:
        raise ValueError(f'it has more than {MAX_JSON_VALUES} values')


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write a (H, W, 3) uint8 BGR image in the format of the suffix; OutputError when it cannot be written."""
    is_jpeg = path.suffix.lower() in ('.jpg', '.jpeg')  # OpenCV warns of options that are not of the format
    try:
        data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if is_jpeg else [])[1]
    except cv2.error as error:
        raise OutputError(f'{path}: OpenCV cannot write {path.suffix!r} images; use .png or .jpg') from error
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def stand_in(path: Path) -> str:
    """Say what lies in the place of a file ('is a git-lfs pointer: run ...'); '' where it is no known stand-in."""
    with path.open('rb') as file:
        return _stand_in_of(file.read(_HEAD_BYTES))


def _stand_in_of(content: bytes) -> str:
    head = content[:_HEAD_BYTES]
    return next((text for start, text in _STAND_INS.items() if re.match(start, head, re.IGNORECASE)), '')


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; OSError for what is larger than any network."""
    digest = hashlib.sha256()
    with open_file(path, MAX_NETWORK_BYTES) as file:
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


class UniqueKeyLoader(YamlLoader):
    """Plain values only, and a key that stands twice in one mapping is an error instead of overwriting the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                text = f'the key {key.value!r} stands twice'
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, wanted: str, loader: type[YamlLoader] = YamlLoader) -> Any:
    """
    Return what a YAML file says.

    Args:
        path: of the file.
        wanted: what the user can do about a wrong one, such as 'give a folder with an object.yaml'.
        loader: class that reads the values.

    Raises:
        ConfigError: it is no file, cannot be read, is too large or is not YAML; the text names the file.
    """
    documents = read_yaml_documents(path, wanted, loader)
    if len(documents) > 1:
        raise ConfigError(f'{path}: is not valid YAML: it has {len(documents)} documents, wanted one')
    return documents[0] if documents else None


def read_yaml_documents(path: str | Path, wanted: str, loader: type[YamlLoader] = YamlLoader) -> list[Any]:
    """Return what each document of a YAML file says, those between lines of `---`; see `read_yaml`."""
    try:
        return parse_yaml(read_bytes(Path(path), MAX_YAML_BYTES), loader)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read ({error.strerror}); {wanted}') from error
    except ValueError as error:
        text = str(error).replace('in "<unicode string>", ', 'in ')  # the name that PyYAML gives to text in memory
        raise ConfigError(f'{path}: is not valid YAML: {text}') from error


def parse_yaml(content: bytes, loader: type[YamlLoader] = YamlLoader) -> list[Any]:
    """
    Return the values of the YAML documents in a UTF-8 content.

    Raises:
        ValueError: It is not YAML, or more than it may be (core/limits.py); the text is one line.
    """
    try:
        text = content.decode('utf-8')
        _check_extent(text, loader)
        reader = loader(text)
        try:
            documents, values = [], 0
            while reader.check_node():
                node = reader.get_node()
                values += _values(node, {}) if node else 0
                if values > MAX_YAML_VALUES:
                    raise ValueError(f'its aliases stand for more than {MAX_YAML_VALUES} values')
                documents.append(reader.construct_document(node))
            return documents
        finally:
            reader.dispose()
    # PyYAML itself does not catch what a tag makes of a wrong value: !!int '', !!bool x, !!timestamp x, 1:1e999.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f'{one_line(error):.300}') from error


def _check_extent(text: str, loader: type[YamlLoader]) -> None:
    """Raise ValueError for more, deeper or longer values than a file has that somebody wrote; before they are built."""
    depth = values = 0
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.NodeEvent):
            values += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_YAML_SCALAR:
            raise ValueError(f'a value has {len(event.value)} characters; at most {MAX_YAML_SCALAR} are read')
        if depth > MAX_YAML_DEPTH:
            raise ValueError(f'it is nested more than {MAX_YAML_DEPTH} levels deep')
        if values > MAX_YAML_VALUES:
            raise ValueError(f'it has more than {MAX_YAML_VALUES} values')


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
