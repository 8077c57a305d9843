"""Files that appear complete or not at all: written beside their place and renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import OutputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """
    Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    Makes the folder. Raises OutputError when the place cannot be written to.
    """
    temporary = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; OutputError when it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a (H, W, 3) uint8 BGR image in the format of the suffix; OutputError when it cannot be written."""
    try:
        data = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        raise OutputError(f'{path}: OpenCV cannot write {path.suffix!r} images; use .png or .jpg') from error
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


class VideoFile:
    """
    An MP4 video written frame by frame; the first frame fixes the size. Use as a context manager.

    At the end, also after Ctrl-C, the frames written so far are renamed into place. After any other exception, when
    there was no frame, or when the file is not complete (OutputError), nothing is left behind.

    saved : True once the file is in its place.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.fps = path, fps
        self.frames = 0
        self.saved = False
        self._temporary = _partial(path)
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoFile:
        return self

    def write(self, image: np.ndarray) -> None:
        """Append a (H, W, 3) uint8 BGR frame; OutputError when the file cannot be written."""
        if self._writer is None:
            self._writer = self._open(image.shape[1], image.shape[0])
        self._writer.write(image)
        self.frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f'{self.path}: cannot be written ({error.strerror})') from error
        writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter_fourcc(*'mp4v'), self.fps, (width, height))
        if not writer.isOpened():
            raise OutputError(f'{self.path}: cannot be written (folder not writable, or OpenCV without an MP4 encoder)')
        return writer

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if self._writer is not None:
            self._writer.release()
        try:
            if self.frames and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._check()
                os.replace(self._temporary, self.path)
                self.saved = True
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def _check(self) -> None:
        """Raise OutputError when frames are missing: an encoder that cannot write says nothing."""
        reader = cv2.VideoCapture(str(self._temporary))
        frames = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if frames < self.frames:
            raise OutputError(f'{self.path}: cannot be written completely (is the disk full?)')


def _partial(path: Path) -> Path:
    return path.with_name(f'.{path.stem}.{os.getpid()}.partial{path.suffix}')
