"""Image messages of a bag -> BGR arrays: raw (every common encoding) by rosbags-image, jpeg and png by OpenCV."""

from __future__ import annotations

import struct
import sys
from typing import Any, NamedTuple

import cv2
import numpy as np
from rosbags.image import ImageError, image_to_cvimage

from custom_pose_ros.core.errors import MessageError

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
MAX_PIXELS = 1 << 26  # 8192 x 8192: more is damage, and is refused before memory is taken
_TO_8_BITS = 255 / 65535  # 16-bit images: full range to full range, as cv_bridge does
_NAMES = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8', '16UC1': 'mono16', '16UC3': 'bgr16', '16UC4': 'bgra16'}
_VALUES_PER_PIXEL = {'mono': 1, 'bayer': 1, 'nv12': 1, 'nv21': 1, 'yuv422': 2, 'uyvy': 2, 'yuyv': 2, 'bgr': 3, 'rgb': 3}
_VALUES_PER_PIXEL |= {'bgra': 4, 'rgba': 4}


class _PlainImage(NamedTuple):
    """What rosbags-image reads of a sensor_msgs/Image: rows without padding."""

    height: int
    width: int
    encoding: str
    data: np.ndarray
    is_bigendian: int = int(sys.byteorder == 'big')


def image_to_bgr(message: Any) -> np.ndarray:
    """
    Return the (H, W, 3) uint8 BGR image of a raw or compressed image message.

    16-bit images are scaled from their full range, 65535 -> 255; alpha is dropped.
    Raises MessageError for an unknown encoding, zero size, short data, more than MAX_PIXELS, damaged jpeg or png.
    """
    return _decode(message) if hasattr(message, 'format') else _convert(message)


def _convert(message: Any) -> np.ndarray:
    encoding = _NAMES.get(message.encoding, message.encoding)
    planar = encoding in ('nv12', 'nv21')
    channels = _VALUES_PER_PIXEL.get(encoding.split('_')[0].rstrip('0168') if not planar else encoding)
    if channels is None:
        raise MessageError(f'image encoding {message.encoding!r:.40} is unknown')
    _check_size(message.width, message.height)
    if (planar or encoding.startswith('bayer')) and (message.width % 2 or message.height % 2):
        raise MessageError(f'image of {message.width}x{message.height}: {encoding} needs an even size')
    depth = 2 if encoding.endswith('16') else 1
    rows, row_bytes = message.height * (3 if planar else 2) // 2, message.width * channels * depth
    if message.step < row_bytes or len(message.data) < message.step * rows:
        raise MessageError(
            f'image data of {len(message.data)} bytes, step {message.step}: '
            f'wanted {rows} rows of at least {row_bytes} bytes'
        )
    lines = np.frombuffer(message.data, np.uint8, message.step * rows).reshape(rows, message.step)[:, :row_bytes]
    if depth == 2:
        lines = np.ascontiguousarray(lines).view('>u2' if message.is_bigendian else '<u2').astype(np.uint16, copy=False)
        lines = cv2.convertScaleAbs(lines, alpha=_TO_8_BITS)
        encoding = encoding[:-2] + '8'
    if encoding == 'bgr8':
        return lines.reshape(rows, message.width, 3)
    if planar:
        return cv2.cvtColor(
            np.ascontiguousarray(lines), cv2.COLOR_YUV2BGR_NV12 if encoding == 'nv12' else cv2.COLOR_YUV2BGR_NV21
        )
    try:
        plain = _PlainImage(message.height, message.width, encoding, np.ascontiguousarray(lines).ravel())
        return image_to_cvimage(plain, 'bgr8')
    except (ImageError, cv2.error) as error:
        raise MessageError(f'image of encoding {message.encoding!r:.40} cannot be converted ({error})') from error


def _decode(message: Any) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    size = encoded_size(data[: 1 << 20].tobytes())
    if size is None:
        raise MessageError(f'compressed image of {len(data)} bytes: wanted a jpeg or png')
    _check_size(*size)
    end = data[-1024:].tobytes()
    image = None
    if b'\xff\xd9' in end or b'IEND' in end:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != (size[1], size[0]):
        raise MessageError('compressed image is damaged or cut off')
    return image


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise MessageError(f'image of {width}x{height} pixels: wanted 1 to {MAX_PIXELS} pixels')


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header of a png or jpeg without decoding it, or None when it is neither."""
    if data[:8] == b'\x89PNG\r\n\x1a\n' and len(data) >= 24:
        width, height = struct.unpack('>II', data[16:24])
        return width, height
    if data[:2] != b'\xff\xd8':
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack('>HH', data[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + length
    return None
