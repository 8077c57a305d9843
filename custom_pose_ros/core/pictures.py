"""Picture files: read whole or refused, turned as their EXIF orientation says; damage is told with the file's name."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import MediaError
from custom_pose_ros.core.files import read_bytes, stand_in_of
from custom_pose_ros.core.limits import MAX_PICTURE_BYTES

# EXIF orientation -> whether rows and columns change places, then the code of cv2.flip.
_TURNS = {
    1: (False, None), 2: (False, 1), 3: (False, -1), 4: (False, 0),
    5: (True, None), 6: (True, 1), 7: (True, -1), 8: (True, 0),
}  # fmt: skip
_ORIENTATION_TAG = 0x0112
_MAX_TAGS = 1000  # of an EXIF note; cameras write about 40
_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_EXIF = b'Exif\0\0'
TO_8_BITS = 255 / 65535  # 16-bit images: full range to full range, as cv_bridge does
_DARK = 1 << 14  # that values of 10, 12 or 14 bits do not reach, which the low bits of 16 hold
_DAMAGE = re.compile(r'corrupt|premature|inconsistent|crc|error|not yet in table', re.IGNORECASE)
_LOG_HEAD = re.compile(r'^\[.*?\] global \S+ \S+ ')  # of OpenCV
_decoding = threading.Lock()  # stderr is one for all threads


@dataclass(frozen=True, eq=False)
class Picture:
    """
    The content of a picture file.

    Attributes:
        stored: (H, W, 3) uint8 BGR pixels as the file holds them.
        orientation: EXIF orientation, 1 (as stored) to 8.
        damage: What the decoder says about damaged data; '' when it is sound.
    """

    stored: np.ndarray
    orientation: int = 1
    damage: str = ''

    @property
    def upright(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR pixels as viewers show them, turned by the EXIF orientation."""
        transposed, flip = _TURNS[self.orientation]
        pixels = cv2.transpose(self.stored) if transposed else self.stored
        return pixels if flip is None else cv2.flip(pixels, flip)


def evenly(count: int, most: int) -> list[int]:
    """Return the numbers of all of `count` pictures or, evenly spread from the first to the last, of at most `most`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def read_image(path: Path) -> np.ndarray:
    """
    Return the picture as (H, W, 3) uint8 BGR, turned upright by its EXIF orientation.

    That a file is damaged inside is said on stderr, once.

    Raises:
        MediaError: The file is missing, cut off or no picture.
    """
    return read_sound_picture(path).upright


def read_sound_picture(path: Path) -> Picture:
    """
    Read a picture file; that it is damaged inside is said on stderr, once.

    Raises:
        MediaError: The file is missing, cut off or no picture.
    """
    picture = read_picture(path)
    if picture.damage:
        _tell(path, picture.damage)
    return picture


@functools.cache
def _tell(path: Path, damage: str) -> None:
    say(f'warning: {path}: is damaged inside ({damage}); parts of the picture may be wrong')


def read_picture(path: Path) -> Picture:
    """
    Read a picture file.

    Raises:
        MediaError: The file is missing, cut off or no picture.
    """
    try:
        data = read_bytes(path, MAX_PICTURE_BYTES)
    except OSError as error:
        raise MediaError(f'{path}: cannot be read ({error.strerror})') from error
    if missing := _missing_end(data):
        raise MediaError(f'{path}: is cut off ({missing}); copy the file again')
    stored, said = _decode(data)
    if stored is None:
        raise MediaError(f'{path}: {_what_else(data)}')
    damage = _LOG_HEAD.sub('', next(filter(_DAMAGE.search, said), ''))
    return Picture(_with_8_bits(path, stored), 1 if _is_tiff(data) else _orientation(data), damage)


def _with_8_bits(path: Path, image: np.ndarray) -> np.ndarray:
    """Return decoded pixels as uint8, as image messages are scaled; MediaError where that would not show a picture."""
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        problem = f'has {image.dtype} numbers, as depth images have'
    elif (image == image[..., :1]).all():
        problem = 'has 16 bits of grey, as depth images have'
    elif not (problem := nearly_black(image)):
        return cv2.convertScaleAbs(image, alpha=TO_8_BITS)
    raise MediaError(f'{path}: {problem}; of a picture, save it with 8 bits, stretched to its range')


def nearly_black(pixels: np.ndarray) -> str:
    """Return what is wrong with uint16 pixels that hold fewer bits, so that 8 would show nothing; '' if they do not."""
    most = int(pixels.max())
    return f'has 16 bits, but {most} of 65535 is its largest value: nearly black' if most < _DARK else ''


def _decode(data: bytes) -> tuple[np.ndarray | None, list[str]]:
    """Return the pixels as stored (of TIFF: upright; OpenCV knows no other way), and what the decoder printed."""
    with _decoding, _captured_stderr() as said:
        try:
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
        except cv2.error:  # also for a header that claims more pixels than OpenCV reads
            image = None
    return image, said


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Yield a list of the lines that were printed on stderr meanwhile: libjpeg and libpng name no file in theirs."""
    said: list[str] = []
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # stderr is closed
        yield said
        return
    with open(os.memfd_create('stderr'), 'w+b') as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += file.read().decode(errors='replace').splitlines()


def _missing_end(data: bytes) -> str:
    """Return what a cut file lacks, which some decoders answer with grey rows instead of an error; '' if complete."""
    if data.startswith(_JPEG):
        scan = max((end for _, end in _jpeg_segments(data)), default=len(_JPEG))
        # Inside a scan FF is always followed by 00 or a restart marker.
        return '' if b'\xff\xd9' in data[scan:] else 'the JPEG has no end'
    if data.startswith(_PNG):
        return '' if b'IEND\xaeB`\x82' in data else 'the PNG has no end'
    if data[:4] == b'RIFF' and data[8:12] == b'WEBP' and int.from_bytes(data[4:8], 'little') + 8 > len(data):
        return f'the WebP has {len(data)} of {int.from_bytes(data[4:8], "little") + 8} bytes'
    return ''


def _what_else(data: bytes) -> str:
    """Return what a file is that is no picture."""
    if problem := stand_in_of(data):
        return problem
    if data[4:8] == b'ftyp':
        return 'is HEIC, AVIF or a video, whatever its name says: convert it to JPEG or PNG'
    return 'is damaged or not an image'


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b'II*\0', b'MM\0*')


def _orientation(data: bytes) -> int:
    """Return the EXIF orientation of a JPEG, PNG or WebP file; 1 where it says none."""
    if data.startswith(_JPEG):
        notes = (data[start + 4 : end] for start, end in _jpeg_segments(data) if data[start + 1] == 0xE1)
        return next((_orientation_in(note[len(_EXIF) :]) for note in notes if note.startswith(_EXIF)), 1)
    is_png = data.startswith(_PNG)
    if not is_png and not (data[:4] == b'RIFF' and data[8:12] == b'WEBP'):
        return 1
    at = 8 if is_png else 12
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        if is_png:  # length, name, content, check sum
            name, length = second, int.from_bytes(first, 'big')
            following = at + 12 + length
        else:  # name, length, content, padded to an even length
            name, length = first, int.from_bytes(second, 'little')
            following = at + 8 + length + length % 2
        if name == (b'eXIf' if is_png else b'EXIF'):
            return _orientation_in(data[at + 8 : at + 8 + length].removeprefix(_EXIF))
        at = following
    return 1


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each segment of a JPEG file before its first scan."""
    at = len(_JPEG)
    while data[at : at + 1] == b'\xff' and data[at + 1 : at + 2] != b'\xda':
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
        yield at, end
        at = end


def _orientation_in(exif: bytes) -> int:
    """Return the orientation in an EXIF note, which has the form of a TIFF file."""
    if not _is_tiff(exif):
        return 1

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], 'little' if exif[:2] == b'II' else 'big')

    start = number(4, 4)
    for at in range(start + 2, start + 2 + 12 * min(number(start, 2), _MAX_TAGS), 12):
        if number(at, 2) == _ORIENTATION_TAG:
            return number(at + 8, 2) if number(at + 8, 2) in _TURNS else 1
    return 1
