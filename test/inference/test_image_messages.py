"""Image messages to BGR: every encoding by value, padding and byte order, and every refusal; without ROS."""

from __future__ import annotations

import array
import importlib.util
import struct
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.limits import MAX_IMAGE_PIXELS
from custom_pose_ros.inference.image_messages import (
    LAYOUTS,
    LIBRARIES,
    color_converter,
    encoded_size,
    image_to_bgr,
    looks_like_depth,
)

HEIGHT, WIDTH = 6, 8
needs_converter = pytest.mark.skipif(
    not any(importlib.util.find_spec(name) for name in LIBRARIES), reason='rosbags-image and cv_bridge are missing'
)


def raw_message(**fields: Any) -> SimpleNamespace:
    """Return a message as rclpy makes it; rosbags gives an array of numpy as data, see test/evaluation."""
    return SimpleNamespace(**fields)


def compressed_message(data: bytes, format: str = 'jpeg') -> SimpleNamespace:
    return SimpleNamespace(format=format, data=array.array('B', data))


def message_of(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> SimpleNamespace:
    """Return the message of (H, W[, C]) pixels, each row followed by `padding` bytes of rubbish."""
    height, width = pixels.shape[:2]
    pixels = pixels.astype(pixels.dtype.newbyteorder('>' if big_endian else '<'))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 0xAB, np.uint8)])
    return raw_message(
        height=height, width=width, encoding=encoding, step=rows.shape[1], is_bigendian=int(big_endian),
        data=array.array('B', rows.tobytes()),
    )  # fmt: skip


def picture(dtype: type = np.uint8) -> np.ndarray:
    """Return a seeded BGR picture that uses the whole range of the type."""
    return np.random.default_rng(7).integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, 3), dtype, endpoint=True)


def with_alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 77, image.dtype)])


def to_8_bits(image: np.ndarray) -> np.ndarray:
    return np.rint(image / 257.0).astype(np.uint8)


BGR, BGR16 = picture(), picture(np.uint16)
EXACT = {
    'bgr8': (BGR, BGR),
    '8UC3': (BGR, BGR),
    'rgb8': (BGR[..., ::-1], BGR),
    'bgra8': (with_alpha(BGR), BGR),
    '8UC4': (with_alpha(BGR), BGR),
    'rgba8': (with_alpha(BGR[..., ::-1]), BGR),
    'mono8': (BGR[..., 0], BGR[..., [0, 0, 0]]),
    '8UC1': (BGR[..., 0], BGR[..., [0, 0, 0]]),
    'mono16': (BGR16[..., 0], to_8_bits(BGR16)[..., [0, 0, 0]]),
    '16UC1': (BGR16[..., 0], to_8_bits(BGR16)[..., [0, 0, 0]]),
    'bgr16': (BGR16, to_8_bits(BGR16)),
    '16UC3': (BGR16, to_8_bits(BGR16)),
    'rgb16': (BGR16[..., ::-1], to_8_bits(BGR16)),
    'bgra16': (with_alpha(BGR16), to_8_bits(BGR16)),
    '16UC4': (with_alpha(BGR16), to_8_bits(BGR16)),
    'rgba16': (with_alpha(BGR16[..., ::-1]), to_8_bits(BGR16)),
}


@needs_converter
@pytest.mark.parametrize('padding', [0, 1, 6])  # 1 and 6: not a whole pixel of most encodings
@pytest.mark.parametrize('encoding', EXACT)
def test_encodings_without_loss_give_exactly_the_picture(encoding: str, padding: int) -> None:
    pixels, wanted = EXACT[encoding]
    np.testing.assert_array_equal(image_to_bgr(message_of(pixels, encoding, padding)), wanted)


@needs_converter
@pytest.mark.parametrize('encoding', [name for name, layout in LAYOUTS.items() if layout.depth == 2 and name in EXACT])
def test_big_endian_16_bit_images_are_the_same(encoding: str) -> None:
    pixels, wanted = EXACT[encoding]
    np.testing.assert_array_equal(image_to_bgr(message_of(pixels, encoding, 3, big_endian=True)), wanted)


def mosaic(order: str, bgr: tuple[int, int, int], dtype: type) -> np.ndarray:
    """Return the Bayer mosaic of one colour; order names the four corners of the top-left 2x2 pixels."""
    values = dict(zip('bgr', bgr))
    tile = np.array([[values[order[0]], values[order[1]]], [values[order[2]], values[order[3]]]], dtype)
    return np.tile(tile, (HEIGHT // 2, WIDTH // 2))


@needs_converter
@pytest.mark.parametrize('order', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize(('bits', 'scale'), [(8, 1), (16, 257)])
def test_a_bayer_mosaic_of_one_colour_is_that_colour(order: str, bits: int, scale: int) -> None:
    color = (200, 30, 90)
    pixels = mosaic(order, tuple(scale * value for value in color), np.uint8 if bits == 8 else np.uint16)
    bgr = image_to_bgr(message_of(pixels, f'bayer_{order}{bits}', padding=2))
    assert bgr.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(bgr, np.full_like(bgr, color))  # one colour: interpolation has nothing to change


# Full-scale red, green, blue and grey of BT.601 (limited range), rounded: Y, U, V -> BGR.
YUV_COLORS = [((81, 90, 240), (0, 0, 255)), ((145, 54, 34), (0, 255, 0)), ((41, 240, 110), (255, 0, 0))]
YUV_COLORS.append(((126, 128, 128), (128, 128, 128)))


@needs_converter
@pytest.mark.parametrize(('yuv', 'bgr'), YUV_COLORS)
@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21'])
def test_yuv_colours_are_those_of_bt601(encoding: str, yuv: tuple[int, int, int], bgr: tuple[int, int, int]) -> None:
    y, u, v = yuv
    if encoding.startswith('nv'):
        chroma = [u, v] if encoding == 'nv12' else [v, u]
        rows = np.vstack([np.full((HEIGHT, WIDTH), y), np.tile(chroma, (HEIGHT // 2, WIDTH // 2))]).astype(np.uint8)
        message = message_of(rows, encoding, padding=2)
        message.height = HEIGHT  # the brightness rows only
    else:
        pair = [[u, y], [v, y]] if encoding in ('yuv422', 'uyvy') else [[y, u], [y, v]]
        message = message_of(np.tile(np.array(pair, np.uint8), (HEIGHT, WIDTH // 2, 1)), encoding, padding=2)
    image = image_to_bgr(message)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - bgr).max() <= 2  # Y, U, V above are rounded: up to 1.2 levels each way


def test_cv_bridge_and_rosbags_image_agree_on_every_encoding() -> None:
    pytest.importorskip('cv_bridge', reason='cv_bridge comes with a ROS installation only')
    for encoding in {layout.canonical for layout in LAYOUTS.values()} - {''}:
        channels = LAYOUTS[encoding].channels
        pixels = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)
        pixels = pixels[..., 0] if channels == 1 else pixels
        results = [color_converter(encoding, (library,))(pixels) for library in LIBRARIES]
        np.testing.assert_array_equal(*results, err_msg=encoding)


@pytest.mark.skipif(importlib.util.find_spec('rosbags') is None, reason='rosbags-image is missing')
def test_a_broken_cv_bridge_is_passed_over(tmp_path) -> None:
    (tmp_path / 'cv_bridge.py').write_text("raise AttributeError('_ARRAY_API not found')\n", encoding='utf-8')
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import numpy as np
        from custom_pose_ros.inference.image_messages import color_converter
        print(color_converter('rgb8')(np.array([[[1, 2, 3]]], np.uint8)).tolist())
    """)
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, '[[[3, 2, 1]]]'), done.stderr


def test_without_any_library_the_error_names_the_packages() -> None:
    with pytest.raises(MessageError, match=r'mono8 images need cv_bridge .*pip install rosbags-image'):
        color_converter('mono8', ())


def test_bgr8_is_a_view_on_the_message_also_with_padded_rows() -> None:
    for padding in (0, 5):
        message = message_of(BGR, 'bgr8', padding)
        assert np.shares_memory(image_to_bgr(message), np.frombuffer(message.data, np.uint8))


def compressed(image: np.ndarray, extension: str, parameters: tuple[int, ...] = ()) -> SimpleNamespace:
    data = cv2.imencode(extension, image, parameters)[1].tobytes()
    return compressed_message(data, f'bgr8; {extension[1:]} compressed bgr8')


def test_png_is_decoded_exactly() -> None:
    np.testing.assert_array_equal(image_to_bgr(compressed(BGR, '.png')), BGR)


def test_a_16_bit_png_is_scaled_as_raw_images_are() -> None:
    np.testing.assert_array_equal(image_to_bgr(compressed(BGR16, '.png')), to_8_bits(BGR16))


@pytest.mark.parametrize(
    'message',
    [
        message_of(BGR16 >> 4, 'bgr16'),
        message_of(BGR16[..., 0] >> 4, 'mono16'),
        message_of(np.dstack([BGR16 >> 4, np.full((HEIGHT, WIDTH), 65535, np.uint16)]), 'bgra16'),
        compressed(BGR16 >> 4, '.png'),
        compressed(BGR16[..., 0] >> 4, '.png'),
    ],
    ids=['raw', 'grey', 'alpha', 'png', 'grey png'],
)
def test_12_bits_in_16_are_refused_instead_of_shown_nearly_black(message: Any) -> None:
    with pytest.raises(MessageError, match='image has 16 bits, but 40.. of 65535 is its largest .* publish it with 8'):
        image_to_bgr(message)


def test_distances_that_are_nearly_black_are_called_depth() -> None:
    with pytest.raises(MessageError, match='900 of 65535 is its largest value: nearly black; 16UC1 looks like depth'):
        image_to_bgr(message_of(np.full((HEIGHT, WIDTH), 900, np.uint16), '16UC1'))


def test_jpeg_is_decoded_and_keeps_the_order_of_colours() -> None:
    smooth = np.full((64, 48, 3), (200, 100, 20), np.uint8)
    image = image_to_bgr(compressed(smooth, '.jpg', (cv2.IMWRITE_JPEG_QUALITY, 95)))
    assert np.abs(image.astype(int) - smooth).max() <= 3  # quantisation of one flat colour at quality 95


def test_a_jpeg_is_never_turned_by_its_orientation_tag() -> None:
    jpeg = bytes(compressed(np.zeros((32, 64, 3), np.uint8), '.jpg').data)
    tag = struct.pack('<HHII', 0x0112, 3, 1, 6)  # EXIF orientation 6: turn by 90 degrees
    exif = b'Exif\0\0' + b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', 1) + tag + struct.pack('<I', 0)
    tagged = jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + jpeg[2:]
    message = compressed_message(tagged)
    assert cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR).shape == (64, 32, 3)  # the tag is valid
    assert image_to_bgr(message).shape == (32, 64, 3)


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'encoding': 'rgb9'}, "encoding 'rgb9' is unknown, wanted one of 16UC1, "),
        ({'encoding': ''}, "encoding '' is unknown"),
        ({'encoding': '32FC1'}, 'encoding 32FC1 looks like depth, wanted a picture'),
        ({'width': 0}, 'image of 0x6 pixels: wanted at least 1x1'),
        ({'height': 0}, 'image of 8x0 pixels: wanted at least 1x1'),
        ({'step': 23}, 'row step of 23 bytes: wanted at least 24 for 8 pixels of bgr8'),
        ({'step': 0}, 'row step of 0 bytes'),
        ({'data': array.array('B', bytes(143))}, 'data of 143 bytes: wanted 144 for 6 rows of 24 bytes'),
        ({'data': array.array('B')}, 'data of 0 bytes'),
        ({'width': 2**31, 'height': 2**31}, f'wanted at most {MAX_IMAGE_PIXELS} pixels'),
        ({'step': 2**32 - 1}, 'data of 144 bytes: wanted'),
        ({'encoding': 'yuv422', 'width': 7}, 'image of 7x6: yuv422 needs an even size'),
        ({'encoding': 'bayer_rggb8', 'height': 5}, 'image of 8x5: bayer_rggb8 needs an even size'),
    ],
)
def test_bad_raw_images_are_refused_with_what_was_wanted(fields: dict, text: str) -> None:
    message = message_of(BGR, 'bgr8')
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(MessageError, match=text):
        image_to_bgr(message)


PNG, JPEG, WEBP = (
    bytes(compressed(np.full((64, 64, 3), 90, np.uint8), extension).data) for extension in ('.png', '.jpg', '.webp')
)


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (b'', "format 'jpeg': wanted a jpeg, png or webp file"),
        (b'not an image at all', "format 'jpeg': wanted a jpeg, png or webp file"),
        (PNG[:-20], 'is cut off, wanted a complete jpeg, png or webp'),
        (WEBP[:-8], 'is cut off, wanted a complete jpeg, png or webp'),
        (JPEG[:-20], 'is cut off, wanted a complete jpeg, png or webp'),
        (PNG[:30] + bytes(len(PNG) - 50) + PNG[-20:], 'is damaged, wanted a complete jpeg, png or webp'),
        (PNG[:16] + struct.pack('>II', 1 << 20, 1 << 20) + PNG[24:], 'image of 1048576x1048576 pixels: wanted at most'),
        (PNG[:16] + struct.pack('>II', 0, 4) + PNG[24:], 'image of 0x4 pixels'),
    ],
)
def test_bad_compressed_images_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        image_to_bgr(compressed_message(data))


@pytest.mark.parametrize('quality', [90, 101])  # 101: lossless, as a chunk of another kind
def test_webp_is_read(quality: int) -> None:
    picture = cv2.resize(np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8), (80, 60))
    data = cv2.imencode('.webp', picture, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].tobytes()
    assert encoded_size(data) == (80, 60)
    difference = np.abs(image_to_bgr(compressed_message(data)).astype(int) - picture)
    assert difference.mean() < (8 if quality < 100 else 1e-9)  # lossy: colour at half the resolution
    assert encoded_size(b'RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0' + b'\x4f\0\0' + b'\x3b\0\0') == (80, 60)
    assert encoded_size(data[:12] + b'EXIF' + data[16:]) is None


@pytest.mark.parametrize(
    ('message', 'encoding'),
    [
        (raw_message(encoding='16UC1'), '16UC1'),
        (raw_message(encoding='32FC1'), '32FC1'),
        (raw_message(encoding='mono16'), ''),
        (SimpleNamespace(format='16UC1; png compressed ', data=b''), '16UC1'),
        (SimpleNamespace(format='rgb8; jpeg compressed bgr8', data=b''), ''),
    ],
)
def test_depth_is_told_by_its_encoding(message, encoding: str) -> None:
    assert looks_like_depth(message) == encoding
    if encoding == '32FC1':
        with pytest.raises(MessageError, match='32FC1 looks like depth, wanted a picture'):
            image_to_bgr(message)


def test_the_size_is_read_from_the_header_alone() -> None:
    assert encoded_size(PNG[:32]) == (64, 64)
    image = np.zeros((20, 30, 3), np.uint8)
    progressive = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes()
    assert encoded_size(progressive) == (30, 20)
    assert encoded_size(b'\xff\xd8\xff') is None


@settings(max_examples=150, deadline=None)
@given(
    encoding=st.one_of(st.sampled_from(sorted(LAYOUTS)), st.text(max_size=12)),
    width=st.integers(0, 2**32 - 1) | st.integers(0, 9),
    height=st.integers(0, 2**32 - 1) | st.integers(0, 9),
    step=st.integers(0, 2**32 - 1) | st.integers(0, 80),
    big_endian=st.integers(0, 255),
    data=st.binary(max_size=900),
)
def test_any_raw_message_gives_an_image_or_one_line(encoding, width, height, step, big_endian, data) -> None:
    message = raw_message(
        encoding=encoding, width=width, height=height, step=step, is_bigendian=big_endian, data=array.array('B', data)
    )
    try:
        image = image_to_bgr(message)
    except MessageError as error:
        assert '\n' not in str(error)
    else:
        assert (image.dtype, image.shape) == (np.uint8, (height, width, 3))


@settings(max_examples=100, deadline=None)
@given(
    source=st.sampled_from([PNG, JPEG, WEBP]),
    cut=st.integers(0, 400),
    at=st.integers(0, 400),
    noise=st.binary(max_size=30),
)
def test_any_damaged_file_gives_an_image_or_one_line(source: bytes, cut: int, at: int, noise: bytes) -> None:
    data = source[:at] + noise + source[at + len(noise) : len(source) - cut]
    try:
        image = image_to_bgr(compressed_message(data))
    except MessageError as error:
        assert '\n' not in str(error)
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
