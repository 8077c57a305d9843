"""Hypothesis strategies for messages with anything in any field: half of them nearly right, so that they get far."""

from __future__ import annotations

import array
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.camera_checks import DISTORTION_MODELS
from custom_pose_ros.inference.image_messages import LAYOUTS
from custom_pose_ros.nodes.ros.conversions import Keypoint, Pose, PoseArray

UINT32, INT32 = 2**32 - 1, 2**31 - 1
# Whatever UTF-8 can carry, as bytes that are none come in as U+FFFD; control characters and right-to-left marks too.
TEXTS = st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=30) | st.sampled_from([
    '',
    ' ',
    '\ufffd' * 4,
    'a\nb',
    '../../etc/passwd',
    '%s%n',
    '\u202e',
    'x' * 5000,
])
SIZES = st.sampled_from([0, 1, 2, 3, 16, 31, 320, 2**16, 2**31, UINT32]) | st.integers(0, UINT32)
NUMBERS = st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, 1e-300, -1e300, 5e-324, np.inf, -np.inf, np.nan])
NUMBERS_32 = st.floats(width=32)
STAMPS = st.builds(Time, sec=st.integers(-INT32 - 1, INT32), nanosec=st.integers(0, UINT32))
HEADERS = st.builds(Header, stamp=STAMPS, frame_id=TEXTS)
NOISE = st.binary(max_size=300)


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Return strategies for these bytes with some overwritten, some cut off or some put behind."""
    places = st.lists(st.tuples(st.integers(0, max(len(data) - 1, 0)), st.integers(0, 255)), max_size=8)

    def spoil(arguments: tuple) -> bytes:
        changes, kept, more = arguments
        content = bytearray(data)
        for at, value in changes:
            content[at : at + 1] = bytes([value])
        return bytes(content[:kept]) + more

    return st.tuples(places, st.just(len(data)) | st.integers(0, len(data)), st.just(b'') | NOISE).map(spoil)


def png_header(width: int, height: int, rows: bytes = b'') -> bytes:
    """Return a complete small png file that claims this size: a decompression bomb for who believes it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    start = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', start) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def _files() -> tuple[list[bytes], list[bytes]]:
    """Return files of pictures, and files that claim sizes they do not have."""
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    kinds = ('.jpg', '.png', '.bmp', '.webp', '.tiff')
    files = [cv2.imencode(kind, picture)[1].tobytes() for kind in kinds]
    files.append(cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    files.append(cv2.imencode('.png', picture[..., 0].astype(np.uint16) * 256)[1].tobytes())
    bombs = [png_header(30000, 30000), png_header(UINT32, 1), png_header(0, 7), png_header(8192, 8192)]
    return files, bombs


PICTURES, BOMBS = _files()
FILES = PICTURES + BOMBS


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Return an Image: all fields at random, or one that fits its own encoding with one field or some bytes spoilt."""
    encoding = draw(st.sampled_from(sorted(LAYOUTS)) | TEXTS)
    if draw(st.booleans()):
        fields: dict[str, Any] = {'width': draw(SIZES), 'height': draw(SIZES), 'step': draw(SIZES)}
        data = draw(NOISE)
    else:
        layout = LAYOUTS.get(encoding, LAYOUTS['bgr8'])
        width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
        step = width * layout.channels * layout.depth + draw(st.integers(0, 5))
        fields = {'width': width, 'height': height, 'step': step}
        size = step * height * layout.rows // 2 + draw(st.integers(-3, 3))
        data = draw(st.integers(0, 255).map(lambda value: bytes([value]) * max(size, 0)))
        if draw(st.booleans()):
            fields[draw(st.sampled_from(sorted(fields)))] = draw(SIZES)
    return Image(
        header=draw(HEADERS),
        encoding=encoding,
        is_bigendian=draw(st.integers(0, 255)),
        data=array.array('B', data),
        **fields,
    )


_spoilt_files = NOISE | st.sampled_from(FILES) | st.sampled_from(FILES).flatmap(damaged)
compressed_images = st.one_of(
    st.builds(CompressedImage, header=HEADERS, format=formats, data=files.map(lambda data: array.array('B', data)))
    for formats, files in (
        (st.sampled_from(['jpeg', 'png']), st.sampled_from(PICTURES)),
        (st.sampled_from(['rgb8; jpeg compressed bgr8', '16UC1; compressedDepth']) | TEXTS, _spoilt_files),
    )
)

_REGIONS = st.builds(
    RegionOfInterest, x_offset=SIZES, y_offset=SIZES, width=SIZES, height=SIZES, do_rectify=st.booleans()
)


@st.composite
def camera_infos(draw: st.DrawFn) -> CameraInfo:
    """Return a CameraInfo: all fields at random, or a calibration with a few numbers spoilt."""
    if draw(st.booleans()):
        count = draw(st.sampled_from([0, 1, 4, 5, 8, 12, 14, 1000]))
        return CameraInfo(
            header=draw(HEADERS),
            width=draw(SIZES),
            height=draw(SIZES),
            distortion_model=draw(st.sampled_from(sorted(DISTORTION_MODELS)) | TEXTS),
            d=[draw(NUMBERS)] * count,
            k=draw(st.lists(NUMBERS, min_size=9, max_size=9)),
            r=draw(st.lists(NUMBERS, min_size=9, max_size=9)),
            p=draw(st.lists(NUMBERS, min_size=12, max_size=12)),
            binning_x=draw(SIZES),
            binning_y=draw(SIZES),
            roi=draw(_REGIONS),
        )
    model = draw(st.sampled_from(sorted(DISTORTION_MODELS)))
    count = draw(st.sampled_from((0, *DISTORTION_MODELS[model])))
    info = CameraInfo(
        header=draw(HEADERS),
        width=640,
        height=480,
        distortion_model=model,
        d=draw(st.lists(st.floats(-2, 2), min_size=count, max_size=count)),
        k=[500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0],
    )
    spoilt = {
        'width': SIZES, 'height': SIZES, 'binning_x': SIZES, 'binning_y': SIZES, 'roi': _REGIONS,
        'distortion_model': TEXTS, 'd': st.lists(NUMBERS, min_size=count, max_size=count),
        'k': st.lists(st.sampled_from([1.0, 500.0]) | NUMBERS, min_size=9, max_size=9),
    }  # fmt: skip
    for field in draw(st.lists(st.sampled_from(sorted(spoilt)), max_size=2)):
        setattr(info, field, draw(spoilt[field]))
    return info


def pose_arrays(
    names: tuple[str, ...], pixels: Sequence[tuple[float, float]], count_limit: int = 6
) -> st.SearchStrategy[PoseArray]:
    """
    Return PoseArrays about (mostly) these keypoints, with as many poses and keypoints as it pleases.

    pixels : where the keypoints of an instance are that can be solved.
    """
    places = st.floats(-100, 1000)
    keypoints = st.builds(
        Keypoint,
        x=places | NUMBERS,
        y=places | NUMBERS,
        covariance=st.lists(st.floats(0, 10) | NUMBERS, min_size=3, max_size=3),
        score=st.floats(0, 1, width=32) | NUMBERS_32,
        visible=st.booleans(),
    )
    good = [Keypoint(x=x, y=y, covariance=[1.0, 0.0, 1.0], score=0.5, visible=True) for x, y in pixels]
    exact = {'min_size': len(names), 'max_size': len(names)}
    lists = st.lists(keypoints, **exact) | st.just(good) | st.lists(keypoints, max_size=2 * len(names))
    poses = st.builds(
        Pose,
        object_name=TEXTS,
        track_id=st.integers(-INT32 - 1, INT32) | st.integers(-1, 2),
        score=NUMBERS_32,
        box_x=NUMBERS,
        box_width=NUMBERS,
        keypoints=lists,
        ambiguity=st.floats(0, 1, width=32) | NUMBERS_32,
        alternative=st.just([]) | lists,
        alternative_score=NUMBERS_32,
    )
    return st.builds(
        PoseArray,
        header=HEADERS,
        image_width=st.sampled_from([640, 640, 640, 320, 0, UINT32]) | SIZES,
        image_height=st.sampled_from([480, 480, 480, 240, 0, UINT32]) | SIZES,
        keypoint_names=st.just(list(names)) | st.lists(TEXTS, max_size=6),
        skeleton=st.lists(st.integers(0, 2**16 - 1), max_size=9),
        poses=st.lists(poses, max_size=count_limit),
    )
