"""
Image messages -> BGR arrays: every common encoding, row padding, byte order, jpeg, png and webp; bad ones refused.

Takes any object with the fields of sensor_msgs/Image or CompressedImage, made by rclpy or by rosbags; needs no ROS.
"""

from __future__ import annotations

import functools
import logging
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.limits import MAX_IMAGE_HEADER_BYTES, MAX_IMAGE_PIXELS
from custom_pose_ros.core.pictures import TO_8_BITS, nearly_black

Converter = Callable[[np.ndarray], np.ndarray]

LIBRARIES = ('cv_bridge', 'rosbags')  # colour conversion, the first that works is used
_JPEG_END, _PNG_END, _RIFF = b'\xff\xd9', b'IEND', b'RIFF'
_DEPTH_ENCODINGS = ('16UC1', '32FC1')


@dataclass(frozen=True)
class Layout:
    """
    How the pixels of one encoding lie in memory.

    Attributes:
        canonical: 8-bit encoding, as cv_bridge and rosbags-image both name it; '' for planar formats, which they lack.
        channels: Values per pixel in one row.
        depth: Bytes per value (1 or 2).
        rows: Rows of the buffer for 2 rows of the image (3 where colour planes follow the brightness).
        even: Image sides must be multiples of (columns, rows).
    """

    canonical: str
    channels: int
    depth: int = 1
    rows: int = 2
    even: tuple[int, int] = (1, 1)


def _layouts() -> dict[str, Layout]:
    table = {
        '8UC1': Layout('mono8', 1),
        '8UC3': Layout('bgr8', 3),
        '8UC4': Layout('bgra8', 4),
        '16UC1': Layout('mono8', 1, 2),
        '16UC3': Layout('bgr8', 3, 2),
        '16UC4': Layout('bgra8', 4, 2),
        'nv12': Layout('', 1, rows=3, even=(2, 2)),
        'nv21': Layout('', 1, rows=3, even=(2, 2)),
    }
    for name, channels in (('mono', 1), ('bgr', 3), ('rgb', 3), ('bgra', 4), ('rgba', 4)):
        table[f'{name}8'] = Layout(f'{name}8', channels)
        table[f'{name}16'] = Layout(f'{name}8', channels, 2)
    for order in ('rggb', 'bggr', 'gbrg', 'grbg'):
        table[f'bayer_{order}8'] = Layout(f'bayer_{order}8', 1, even=(2, 2))
        table[f'bayer_{order}16'] = Layout(f'bayer_{order}8', 1, 2, even=(2, 2))
    for name in ('yuv422', 'uyvy'):
        table[name] = Layout('yuv422', 2, even=(2, 1))
    for name in ('yuv422_yuy2', 'yuyv'):
        table[name] = Layout('yuv422_yuy2', 2, even=(2, 1))
    return table


LAYOUTS = _layouts()


def image_to_bgr(message: Any) -> np.ndarray:
    """
    Return the (H, W, 3) uint8 BGR image of a raw or compressed image message.

    bgr8 (and 8UC3) is a view on the message's data, not a copy. 16-bit images (mono16, 16UC1, ...) are scaled from
    their full range, 65535 -> 255. Alpha is dropped.

    Raises:
        MessageError: Unknown encoding, zero size, short rows or data, more than MAX_IMAGE_PIXELS, 16 bits of which only
            the low ones are filled, or a compressed image that is damaged or cut off.
    """
    if hasattr(message, 'format'):
        return _decode(message)
    layout = LAYOUTS.get(message.encoding)
    if layout is None and looks_like_depth(message):
        raise MessageError(f'image encoding {message.encoding} looks like depth, wanted a picture')
    if layout is None:
        raise MessageError(
            f'image encoding {message.encoding!r:.80} is unknown, wanted one of {", ".join(sorted(LAYOUTS))}'
        )
    pixels = _pixels(message, layout)
    if layout.depth == 2:
        pixels = _with_8_bits(pixels, message)
    if layout.canonical == 'bgr8':
        return pixels
    if not layout.canonical:
        code = cv2.COLOR_YUV2BGR_NV12 if message.encoding == 'nv12' else cv2.COLOR_YUV2BGR_NV21
        return cv2.cvtColor(pixels, code)
    return color_converter(layout.canonical)(pixels)


def _with_8_bits(pixels: np.ndarray, message: Any) -> np.ndarray:
    if problem := nearly_black(pixels[..., :3] if pixels.ndim == 3 else pixels):
        depth = looks_like_depth(message)
        advice = f'{depth} looks like depth' if depth else 'publish it with 8 bits, stretched to its range'
        raise MessageError(f'image {problem}; {advice}')
    return cv2.convertScaleAbs(pixels, alpha=TO_8_BITS).reshape(pixels.shape)


def _pixels(message: Any, layout: Layout) -> np.ndarray:
    """Return the values as (rows, width) or (rows, width, channels) in native byte order; a view where possible."""
    width, height = message.width, message.height
    _check_size(width, height)
    if width % layout.even[0] or height % layout.even[1]:
        raise MessageError(f'image of {width}x{height}: {message.encoding} needs an even size')
    rows, row_bytes = height * layout.rows // 2, width * layout.channels * layout.depth
    if message.step < row_bytes:
        raise MessageError(
            f'image row step of {message.step} bytes: wanted at least {row_bytes} '
            f'for {width} pixels of {message.encoding}'
        )
    if len(message.data) < message.step * rows:
        raise MessageError(
            f'image data of {len(message.data)} bytes: wanted {message.step * rows} '
            f'for {rows} rows of {message.step} bytes'
        )
    lines = np.frombuffer(message.data, np.uint8, message.step * rows).reshape(rows, message.step)[:, :row_bytes]
    if layout.depth == 2:
        lines = np.ascontiguousarray(lines).view('>u2' if message.is_bigendian else '<u2').astype(np.uint16, copy=False)
    return lines if layout.channels == 1 else lines.reshape(rows, width, layout.channels)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise MessageError(f'image of {width}x{height} pixels: wanted at least 1x1')
    if width * height > MAX_IMAGE_PIXELS:
        raise MessageError(f'image of {width}x{height} pixels: wanted at most {MAX_IMAGE_PIXELS} pixels')


def looks_like_depth(message: Any) -> str:
    """Return the encoding of an Image or CompressedImage that is one of distances (REP 118), else an empty text."""
    encoding = message.format.split(';')[0].strip() if hasattr(message, 'format') else message.encoding
    return encoding if encoding in _DEPTH_ENCODINGS else ''


def _decode(message: Any) -> np.ndarray:
    """Return the BGR image of a compressed message; an orientation tag is ignored, as a calibration knows none."""
    data = np.frombuffer(message.data, np.uint8)
    head = data[:MAX_IMAGE_HEADER_BYTES].tobytes()
    size = encoded_size(head)
    if size is None:
        raise MessageError(f'compressed image of format {message.format!r:.80}: wanted a jpeg, png or webp file')
    _check_size(*size)
    if not _is_complete(head, data[-1024:].tobytes(), len(data)):
        raise MessageError('compressed image: is cut off, wanted a complete jpeg, png or webp')
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.shape[:2] != (size[1], size[0]):
        raise MessageError('compressed image: is damaged, wanted a complete jpeg, png or webp')
    return bgr if bgr.dtype == np.uint8 else _with_8_bits(bgr, message)


def _is_complete(head: bytes, end: bytes, length: int) -> bool:
    if head[:4] == _RIFF:
        return length >= 8 + int.from_bytes(head[4:8], 'little')
    return _JPEG_END in end or _PNG_END in end


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the header of a png, webp or jpeg without decoding it, or None for others."""
    if data[:8] == b'\x89PNG\r\n\x1a\n' and len(data) >= 24:
        width, height = struct.unpack('>II', data[16:24])
        return width, height
    if data[:4] == _RIFF and data[8:12] == b'WEBP' and len(data) >= 30:
        return _webp_size(data)
    if data[:2] != b'\xff\xd8':
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], 'big')
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack('>HH', data[at + 5 : at + 9])
            return width, height
        at += 1 if marker == 0xFF else 2 + length  # fill byte, or a segment
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of a webp; its first chunk is VP8 (lossy), VP8L (lossless) or VP8X (extended)."""
    if data[12:16] == b'VP8 ':
        width, height = struct.unpack('<HH', data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if data[12:16] == b'VP8L':
        bits = int.from_bytes(data[21:25], 'little')
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if data[12:16] == b'VP8X':
        return int.from_bytes(data[24:27], 'little') + 1, int.from_bytes(data[27:30], 'little') + 1
    return None


@dataclass(frozen=True)
class _PlainImage:
    """What both libraries read of a sensor_msgs/Image: 8 bits, no row padding."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = int(sys.byteorder == 'big')


def _converter_of(library: str, encoding: str) -> Converter:
    if library == 'cv_bridge':
        from cv_bridge import CvBridge

        convert = CvBridge().imgmsg_to_cv2
    else:
        from rosbags.image import image_to_cvimage as convert
    return lambda pixels: convert(_plain(pixels, encoding), 'bgr8')


def _plain(pixels: np.ndarray, encoding: str) -> _PlainImage:
    pixels = np.ascontiguousarray(pixels)
    return _PlainImage(pixels.shape[0], pixels.shape[1], encoding, pixels[0].nbytes, pixels)


@functools.cache
def color_converter(encoding: str, libraries: tuple[str, ...] = LIBRARIES) -> Converter:
    """
    Return the function that makes BGR of uint8 pixels: that of cv_bridge where it works, or of rosbags-image.

    Both get 8-bit pixels without padding, so that both give the same result (cv_bridge misreads rows whose padding is
    not a whole pixel, rosbags-image ignores padding, and they round 16 bits differently).

    Raises:
        MessageError: There is neither; the text names the packages.
    """
    channels = LAYOUTS[encoding].channels
    probe = np.zeros((2, 2) if channels == 1 else (2, 2, channels), np.uint8)
    for library in libraries:
        try:
            convert = _converter_of(library, encoding)
            if convert(probe).shape == (2, 2, 3):
                return convert
        except Exception as error:  # absent, built for another numpy, or without this encoding: it fails in many ways
            logging.getLogger(__name__).debug('%s does not convert %s: %r', library, encoding, error)
    raise MessageError(f'{encoding} images need cv_bridge (ROS package) or rosbags-image: pip install rosbags-image')
