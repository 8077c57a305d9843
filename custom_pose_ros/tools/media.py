"""Pictures of the command lines: images, folders, videos, webcams, the clip of the demo; names of what is drawn."""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.command_line import output_folder
from custom_pose_ros.core.errors import ConfigError, DatasetError, MediaError, UsageError
from custom_pose_ros.core.files import (
    DRAWER,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    camera_pictures,
    check_own,
    has_mark,
    read_json,
)
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.video_file import EARLY_SHARE

FALLBACK_FPS = 30.0  # cameras and containers that do not tell theirs
_VIDEO_SUFFIX = '.mp4'


@dataclass(frozen=True)
class Input:
    """
    One thing to read pictures from.

    Attributes:
        source: Image or video file, or the index of a webcam.
        kind: 'image', 'video' or 'webcam'.
    """

    source: Path | int
    kind: str

    @property
    def name(self) -> str:
        """The name to use in messages and results."""
        return f'webcam {self.source}' if self.kind == 'webcam' else str(self.source)

    @property
    def stem(self) -> str:
        """The name to build file names from."""
        return f'webcam{self.source}' if isinstance(self.source, int) else self.source.stem


@dataclass(frozen=True, eq=False)
class Frame:
    """
    One picture of a video or webcam.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        index: Number of the frame, from 0.
        stamp_s: Time since the first frame [s].
    """

    image: np.ndarray
    index: int
    stamp_s: float


def find_inputs(argument: str) -> list[Input]:
    """
    Resolve an image file, folder of images, video file or webcam index.

    A folder gives its images by name, without what predict drew; a data set those in its `images` folder.

    Raises:
        MediaError: There is nothing to read.
    """
    path = Path(argument).expanduser()
    if path.is_dir():
        return _folder_images(path)
    if path.is_file():
        suffix = path.suffix.lower()
        for kind, suffixes in (('image', IMAGE_SUFFIXES), ('video', VIDEO_SUFFIXES)):
            if suffix in suffixes:
                return [Input(path, kind)]
        known = ' '.join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))
        raise MediaError(f'{path}: is neither an image nor a video by its suffix; wanted one of {known}')
    if argument.isdecimal():
        return [Input(int(argument), 'webcam')]
    if '://' in argument:
        raise MediaError(f'{argument}: addresses are not read; download the file, or give its path')
    raise MediaError(f'{path}: not found; give an image, a folder of images, a video or the number of a webcam')


def _folder_images(folder: Path) -> list[Input]:
    images = camera_pictures(filter(Path.is_file, folder.iterdir()))
    if not images and (folder / 'images').is_dir():
        return _folder_images(folder / 'images')
    if not images:
        known = ' '.join(IMAGE_SUFFIXES)
        raise MediaError(f'{folder}: no image in this folder; wanted files ending in {known}, not drawn by predict')
    return [Input(p, 'image') for p in images]


class VideoReader:
    """
    The frames of a video file or webcam, one after the other. Use as a context manager.

    Attributes:
        fps: Frames per second as announced, or 30.
        length: Number of frames as announced, or None when there is no end (webcam) or it is unknown.

    Raises:
        MediaError: It cannot be opened; at the end of the iteration: it ended early.
    """

    def __init__(self, source: Path | int):
        self.name = f'webcam {source}' if isinstance(source, int) else str(source)
        self.live = isinstance(source, int)
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            hint = 'is there a camera, and is it free?' if self.live else 'is it a complete video file?'
            raise MediaError(f'{self.name}: cannot be opened; {hint}')
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else FALLBACK_FPS
        length = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.length = int(length) if not self.live and math.isfinite(length) and length > 0 else None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        index, first, stamp = 0, 0.0, 0.0
        while True:
            good, image = self._capture.read()
            if not good or image is None:
                break
            now = time.monotonic() if self.live else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if index == 0:
                first = now
            else:
                stamp = now - first if now - first > stamp else stamp + 1 / self.fps
            yield Frame(image, index, stamp)
            index += 1
        self._check_end(index, stamp)

    def _check_end(self, frames: int, stamp_s: float) -> None:
        if frames == 0:
            raise MediaError(f'{self.name}: gave no frame; is it a complete video file?')
        if self.live:
            raise MediaError(f'{self.name}: stopped giving frames after {frames}')
        if self.length and (max(stamp_s * self.fps, frames - 1) + 2) < EARLY_SHARE * self.length:
            raise MediaError(f'{self.name}: ends early, {frames} of {self.length} frames; results go up to there')


def plan_outputs(inputs: Sequence[Input], out: Path | None) -> list[Path | None]:
    """
    Return the file for each input; None where there is no place for it.

    Args:
        inputs: What is read.
        out: Folder, or file for a single input; None: `NAME_pose.png` or `NAME_pose.mp4` beside each input, and nothing
            for a webcam.

    Raises:
        UsageError: `out` cannot hold the results.
        OutputError: A file is there already that predict did not draw.
    """
    outputs = _planned_outputs(inputs, out)
    for path in filter(None, outputs):
        check_own(path, DRAWER, has_mark(DRAWER))
    return outputs


def _planned_outputs(inputs: Sequence[Input], out: Path | None) -> list[Path | None]:
    taken = {item.source.resolve() for item in inputs if isinstance(item.source, Path)}
    if out is not None and not out.is_dir():
        if out.suffix.lower() in (*IMAGE_SUFFIXES, _VIDEO_SUFFIX):
            return [_single_output(inputs, out, taken)]
        try:
            output_folder(str(out))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f'--out {out}: is neither a folder nor an image or {_VIDEO_SUFFIX} file') from error
    return [_output_in_folder(item, out, taken) for item in inputs]


def _single_output(inputs: Sequence[Input], out: Path, taken: set[Path]) -> Path:
    if len(inputs) != 1:
        raise UsageError(f'--out {out}: is one file and there are {len(inputs)} inputs; give a folder')
    wanted = IMAGE_SUFFIXES if inputs[0].kind == 'image' else (_VIDEO_SUFFIX,)
    if out.suffix.lower() not in wanted:
        raise UsageError(
            f'--out {out}: for the {inputs[0].kind} {inputs[0].name} wanted a file ending in {" ".join(wanted)}'
        )
    if out.resolve() in taken:
        raise UsageError(f'--out {out}: is the input itself; give another name')
    return out


def _output_in_folder(item: Input, folder: Path | None, taken: set[Path]) -> Path | None:
    if folder is None and not isinstance(item.source, Path):
        return None
    folder = folder or Path(item.source).parent
    suffix = '.png' if item.kind == 'image' else _VIDEO_SUFFIX
    full_name = item.source.name if isinstance(item.source, Path) else item.stem
    numbered = (f'{item.stem}_{n}_pose' for n in itertools.count(2))
    for stem in itertools.chain((f'{item.stem}_pose', f'{full_name}_pose'), numbered):
        path = folder / (stem + suffix)
        if path.resolve() not in taken:
            break
    taken.add(path.resolve())
    return path


@dataclass(frozen=True)
class Clip:
    """The files of a demo clip: video, camera_calibration YAML, ground truth."""

    video: Path
    camera: Path
    truth: Path

    @classmethod
    def find(cls, folder: Path) -> Clip:
        """Return the clip in a folder; ConfigError naming the file that is missing."""
        clip = cls(folder / 'clip.mp4', folder / 'camera.yaml', folder / 'ground_truth.json')
        for path in (clip.video, clip.camera, clip.truth):
            if not path.is_file():
                raise ConfigError(
                    f'{path}: no such file; the demo wants clip.mp4, camera.yaml and ground_truth.json there'
                )
        return clip

    def true_poses(self, model: ObjectModel | None = None) -> list[Rigid]:
        """
        Read the pose `camera_object` of every frame.

        Args:
            model: The object that the file must be about.

        Raises:
            DatasetError: The file is missing, damaged or about another object.
        """
        try:
            data = read_json(self.truth)
            names, frames = tuple(data['keypoints']), data['frames']
            poses = [
                Rigid(
                    np.array(frame['R_camera_object'], float).reshape(3, 3),
                    np.array(frame['t_camera_object'], float).reshape(3),
                )
                for frame in frames
            ]
        except DatasetError:
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f'{self.truth}: is not a ground truth of the demo ({error!r})') from error
        if model is not None and names != model.keypoint_names:
            wanted = ', '.join(model.keypoint_names)
            raise DatasetError(f'{self.truth}: is about keypoints {", ".join(map(str, names))}, wanted {wanted}')
        if not poses:
            raise DatasetError(f'{self.truth}: has no frames')
        return poses
