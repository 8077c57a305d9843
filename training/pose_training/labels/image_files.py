"""Image files: found in folders or by the name in a label file, and sampled over folders and videos."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import cv2
import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import IMAGE_SUFFIXES, VIDEO_SUFFIXES, camera_pictures
from custom_pose_ros.core.labels.raw_labels import base_name
from custom_pose_ros.core.pictures import evenly, read_image
from custom_pose_ros.core.video_file import EARLY_SHARE, quiet_opencv
from training.pose_training.labels.recordings import UPLOAD_PREFIX

_NEARLY = 0.75  # likeness of names, as difflib counts it, of which one is offered for the other
_LABEL_SUFFIXES = ('.csv', '.json', '.txt', '.xml')  # which lie beside pictures of the same name
_ADDRESS = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*://')


def find_images(folder: Path) -> list[Path]:
    """
    Return the image files of a folder, at any depth, sorted, without what predict drew.

    Raises:
        DatasetError: There is none.
    """
    images = camera_pictures(folder.rglob('*'))
    if not images:
        known = ', '.join(IMAGE_SUFFIXES)
        raise DatasetError(f'{folder}: no images found; give a folder with {known} files, not drawn by predict')
    return images


class FoundFile(NamedTuple):
    """
    A file that belongs to a name in a label file.

    Attributes:
        path: The file.
        renamed: Whether its name differs in case, Unicode form or %-signs.
    """

    path: Path
    renamed: bool


class ImageIndex:
    """
    Finds images by the end of the path that a label file gives: container paths are resolved by file name.

    Where no file has a name, one is taken that differs only as systems and tools change names: in case, Unicode form,
    %-signs, and by what Label Studio makes of the name of an upload.
    """

    def __init__(self, folders: Sequence[Path], exclude: Path | None = None):
        """
        List the images.

        Args:
            folders: Searched to any depth.
            exclude: A folder in them that is not searched, where copies may lie.

        Raises:
            DatasetError: A folder does not exist.
        """
        self._folders = list(folders)
        self._files, self._alike, self._uploads = (defaultdict[str, list[Path]](list) for _ in range(3))
        self._others = defaultdict[str, list[Path]](list)  # everything but labels, for hints
        self._excluded: dict[str, Path] = {}
        seen = set()  # a folder may lie in another one
        for folder in folders:
            if not folder.is_dir():
                raise DatasetError(f'{folder}: no such folder with images')
            for file in sorted(folder.rglob('*')):
                if exclude is not None and exclude in file.parents:
                    self._excluded[file.name] = file
                    continue
                if (path := file.absolute()) in seen:
                    continue
                seen.add(path)
                if file.suffix.lower() not in _LABEL_SUFFIXES:
                    self._others[_numbers(file.stem)].append(file)
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    self._files[file.name].append(file)
                    self._alike[_plain(file.name)].append(file)
                    self._uploads[_upload_name(file.name)].append(file)

    def find(self, name: str) -> FoundFile:
        """
        Return the file that shares the longest end of the path `name`.

        Raises:
            DatasetError: There is none, or it is not clear which; the text lacks the name.
        """
        path = _without_address(name)
        last = base_name(path)
        known = self._files.get(last) or self._files.get(name)
        plain = _plain(base_name(unquote(path)))
        candidates = known or self._alike.get(plain) or self._uploads.get(_upload_name(last), [])
        wanted = [_plain(part) for part in path.replace('\\', '/').split('/')[:-1]]
        ends = [_common_end(wanted, [_plain(part) for part in file.parts[:-1]]) for file in candidates]
        best = [file for file, end in zip(candidates, ends) if end == max(ends)]
        if len(best) > 1:
            raise DatasetError(f'{len(best)} files match: {best[0]}, {best[1]}')
        if best:
            return FoundFile(best[0], not known and plain in self._alike)
        if last in self._excluded:
            file = self._excluded[last]
            raise DatasetError(f'{file} lies in the folder --out, which is not searched: give another --out')
        searched = [folder for folder in self._folders if any(folder.iterdir())] or self._folders
        raise DatasetError(f'no such file in {", ".join(map(str, searched))}{self._hint(last)}')

    def _hint(self, name: str) -> str:
        """Return what lies there that may be meant, and what to do."""
        stem = Path(_plain(name)).stem
        near = {_plain(file.stem): file for file in self._others.get(_numbers(stem), []) if file.is_file()}
        found = get_close_matches(stem, near, 1, _NEARLY)
        if not found:
            return ': give the folder that holds it with --images'
        file = near[found[0]]
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            return f', but {file.name}, which is no format that is read: convert it to JPEG or PNG'
        return f', but {file.name}: if it is meant, correct the name in the labels or of the file'


def _without_address(name: str) -> str:
    """Return the path in an address such as https://host/a%20b.jpg?version=1, any other name as it is."""
    if not _ADDRESS.match(name):
        return name
    return unquote(name.partition('?')[0].partition('://')[2])


def _plain(name: str) -> str:
    """Return what names have in common that differ in case, Unicode form or %-signs only."""
    return unicodedata.normalize('NFKC', unquote(name)).casefold().strip()


def _upload_name(name: str) -> str:
    """Return what Label Studio makes of a file name (blanks become '_', brackets go), without its prefix."""
    return re.sub(r'[^-\w.]', '', _plain(UPLOAD_PREFIX.sub('', name)).replace(' ', '_'))


def _numbers(name: str) -> str:
    """Return the numbers in a name: names that differ in them are names of different pictures."""
    return ' '.join(str(int(digits)) for digits in re.findall('[0-9]+', name))


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(a), reversed(b)):
        if one != other:
            break
        count += 1
    return count


def sample_images(sources: Sequence[Path], limit: int) -> list[np.ndarray]:
    """
    Return images evenly over all that the sources hold, in their order.

    Args:
        sources: Image or video files, or folders with images at any depth.
        limit: Number of images at most.

    Returns:
        (H, W, 3) uint8 BGR images.

    Raises:
        DatasetError: A source cannot be read.
        MediaError: A picture cannot be read.
    """
    frames = [frame for source in sources for frame in _frames(source)]
    chosen = {frames[i] for i in evenly(len(frames), limit)}
    videos = {path: {i for other, i in chosen if other == path} for path, i in chosen if i is not None}
    images: list[np.ndarray] = []
    for path in dict.fromkeys(path for path, _ in frames):
        if path in videos:
            images += [image for _, image in read_frames(path, videos[path])]
        elif (path, None) in chosen:
            images.append(read_image(path))
    return images


def _frames(source: Path) -> list[tuple[Path, int | None]]:
    """Return file and frame number (None for an image) of everything in one source."""
    if source.is_dir():
        return [(path, None) for path in find_images(source)]
    if not source.is_file():
        raise DatasetError(f'{source}: no such file or folder')
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return [(source, i) for i in range(frame_count(source))]
    return [(source, None)]


def open_video(video: Path) -> cv2.VideoCapture:
    """Return a reader of a video, which prints nothing itself."""
    quiet_opencv()
    return cv2.VideoCapture(str(video))


def frame_count(video: Path) -> int:
    """Return how many frames a video announces; DatasetError when it cannot be read."""
    capture = open_video(video)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if count < 1:
        raise DatasetError(f'{video}: cannot be read as a video')
    return count


def read_frames(video: Path, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and (H, W, 3) uint8 BGR image of frames, counted from 0; of a video that ends early it is told."""
    capture = open_video(video)
    for number in range(max(numbers, default=-1) + 1):
        if not capture.grab():
            _tell_early_end(video, number, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            break
        if number in numbers and (frame := capture.retrieve())[0]:
            yield number, frame[1]
    capture.release()


@functools.cache
def _tell_early_end(video: Path, frames: int, announced: int) -> None:
    """Say once where a video ends early; many containers announce a frame or two more than there are."""
    if frames < EARLY_SHARE * announced:
        say(f'warning: {video}: ends after {frames} of the {announced} frames that it announces; is it complete?')
