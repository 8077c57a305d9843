"""Frames of videos that label files speak of: found by the name of the video, written as pictures during the run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from custom_pose_ros.core.files import write_image
from custom_pose_ros.core.labels.raw_labels import base_name, safe_name
from training.pose_training.labels.image_files import read_frames


class VideoFrames:
    """
    Finds files that labels name without their folder, and writes frames of videos to a folder.

    Attributes:
        folders: Searched to any depth.
        folder: That frames are written to; nobody else writes there.
    """

    def __init__(self, folders: Sequence[Path], folder: Path):
        self.folders, self.folder = folders, folder

    def __str__(self) -> str:
        return ', '.join(map(str, self.folders))

    def find(self, name: str) -> Path | None:
        """Return the file with the name at the end of a path of any operating system, None when it is not there."""
        name = base_name(name)
        return next((file for file in self._files() if file.name == name), None)

    def find_stems(self, pattern: str) -> dict[str, str]:
        """Return stem -> name of the files whose name matches a pattern such as 'frame_*'."""
        return {file.stem: file.name for file in self._files(pattern)}

    def extract(self, video: Path, numbers: Collection[int]) -> dict[int, str]:
        """Write frames of a video, counted from 0; return number -> name of the picture, of those that it has."""
        return {number: self.write(video.stem, number, image) for number, image in read_frames(video, numbers)}

    def write(self, video: str, number: int, image: np.ndarray) -> str:
        """Write a frame, (H, W, 3) uint8 BGR; return the name of the picture."""
        name = f'{safe_name(video)}_{number:06d}.png'
        write_image(self.folder / name, image)
        return name

    def _files(self, pattern: str = '*') -> Iterator[Path]:
        return (file for folder in self.folders if folder.is_dir() for file in sorted(folder.rglob(pattern)))
