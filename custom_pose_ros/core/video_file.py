"""VideoFile: a video that appears complete or not at all; reading videos without the lines of FFmpeg."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import OutputError
from custom_pose_ros.core.files import replacing

EARLY_SHARE = 0.95  # a video that ends before this share of its announced length ended early


def quiet_opencv() -> None:
    """Keep OpenCV and FFmpeg from printing about files that the reader reports itself; OPENCV_* variables win."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    levels = cv2 if hasattr(cv2, 'setLogLevel') else getattr(cv2.utils, 'logging', None)  # where newer ones have it
    if levels is not None and 'OPENCV_LOG_LEVEL' not in os.environ:
        levels.setLogLevel(1)  # fatal errors only


class _Incomplete(Exception):
    """Ends `replacing` without a file."""


class VideoFile:
    """
    An MP4 video written frame by frame, and behind it the mark of a command. Use as a context manager.

    The first frame fixes the size.

    At the end, also after Ctrl-C, the frames written so far are put in place. After any other exception, when there
    was no frame, or when the file is not complete (OutputError), nothing is left behind.

    Attributes:
        saved: True once the file is in its place.
    """

    def __init__(self, path: Path, fps: float, mark: bytes = b''):
        self.path, self.fps, self._mark = path, fps, mark
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
            with self._temporary.open('ab') as file:
                file.write(self._mark)
        self.saved = complete

    def _check(self) -> None:
        """Raise OutputError when frames are missing: an encoder that cannot write says nothing."""
        reader = cv2.VideoCapture(str(self._temporary))
        frames = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
        reader.release()
        if frames < self.frames:
            raise OutputError(f'{self.path}: cannot be written completely (is the disk full?)')
