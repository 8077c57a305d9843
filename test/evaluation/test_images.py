"""Image messages to BGR: encodings by value, padding, byte order; damaged ones refused before memory is taken."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.evaluation.images import encoded_size, image_to_bgr

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GRAY = cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)


def message(pixels: np.ndarray, encoding: str, width: int = 8, height: int = 6, **changes) -> SimpleNamespace:
    rows = pixels.reshape(len(pixels), -1)
    fields = {'encoding': encoding, 'width': width, 'height': height, 'step': rows[0].nbytes, 'is_bigendian': 0}
    return SimpleNamespace(**(fields | {'data': np.ascontiguousarray(rows).view(np.uint8).ravel()} | changes))


@pytest.mark.parametrize(
    ('encoding', 'pixels', 'wanted'),
    [
        ('bgr8', BGR, BGR),
        ('8UC3', BGR, BGR),
        ('rgb8', BGR[..., ::-1], BGR),
        ('bgra8', np.dstack([BGR, BGR[..., 0]]), BGR),
        ('rgba8', np.dstack([BGR[..., ::-1], BGR[..., 0]]), BGR),
        ('mono8', GRAY, np.dstack([GRAY] * 3)),
        ('mono16', GRAY.astype(np.uint16) * 257, np.dstack([GRAY] * 3)),
        ('bgr16', BGR.astype(np.uint16) * 257, BGR),
    ],
)
def test_encodings_by_value(encoding, pixels, wanted):
    np.testing.assert_array_equal(image_to_bgr(message(pixels, encoding)), wanted)


def test_yuv_and_bayer_give_the_colours_of_opencv():
    planes = np.random.default_rng(1).integers(0, 256, (9, 8), np.uint8)
    np.testing.assert_array_equal(image_to_bgr(message(planes, 'nv12')), cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_NV12))
    pairs = np.random.default_rng(2).integers(0, 256, (6, 8, 2), np.uint8)
    np.testing.assert_array_equal(
        image_to_bgr(message(pairs, 'yuv422_yuy2')), cv2.cvtColor(pairs, cv2.COLOR_YUV2BGR_YUY2)
    )
    np.testing.assert_array_equal(image_to_bgr(message(GRAY, 'bayer_rggb8')), cv2.cvtColor(GRAY, cv2.COLOR_BayerBG2BGR))


def test_row_padding_and_byte_order_are_respected():
    padded = np.zeros((6, 29), np.uint8)
    padded[:, :24] = BGR.reshape(6, 24)
    np.testing.assert_array_equal(image_to_bgr(message(padded, 'bgr8')), BGR)
    swapped = (GRAY.astype(np.uint16) * 257 - 5).byteswap()
    gray = image_to_bgr(message(swapped, 'mono16', is_bigendian=1))[..., 0]
    np.testing.assert_allclose(gray.astype(int), GRAY, atol=1)  # the 5 of 65535 taken off can round down by one


def test_compressed_images_are_decoded():
    smooth = cv2.resize(BGR, (64, 48), interpolation=cv2.INTER_CUBIC)
    for suffix, tolerance in (('.png', 0), ('.jpg', 25)):  # jpeg halves the resolution of colours
        data = cv2.imencode(suffix, smooth)[1].ravel()
        image = image_to_bgr(SimpleNamespace(format=suffix, data=data))
        assert np.percentile(np.abs(image.astype(int) - smooth), 99) <= tolerance


@pytest.mark.parametrize(
    ('bad', 'text'),
    [
        (message(BGR, 'cmyk'), "encoding 'cmyk' is unknown"),
        (message(BGR, 'bgr8', width=0), 'image of 0x6 pixels'),
        (message(BGR, 'bgr8', width=1 << 20, height=1 << 20), 'wanted 1 to 67108864 pixels'),
        (message(BGR[:3], 'bgr8'), 'image data of 72 bytes, step 24: wanted 6 rows of at least 24 bytes'),
        (message(BGR, 'bgr8', step=10), 'step 10: wanted 6 rows of at least 24 bytes'),
        (message(GRAY[:5], 'bayer_rggb8', height=5), 'needs an even size'),
        (SimpleNamespace(format='jpeg', data=np.zeros(50, np.uint8)), 'wanted a jpeg or png'),
        (SimpleNamespace(format='png', data=cv2.imencode('.png', BGR)[1].ravel()[:-30]), 'damaged or cut off'),
    ],
)
def test_images_that_cannot_be_used_are_refused(bad, text):
    with pytest.raises(MessageError, match=text):
        image_to_bgr(bad)


def test_the_size_is_known_before_anything_is_decoded():
    for suffix in ('.png', '.jpg'):
        assert encoded_size(cv2.imencode(suffix, BGR)[1].tobytes()) == (8, 6)
    huge = bytearray(cv2.imencode('.png', BGR)[1].tobytes())
    huge[16:24] = b'\x00\x01\x00\x00' * 2
    with pytest.raises(MessageError, match='image of 65536x65536 pixels'):
        image_to_bgr(SimpleNamespace(format='png', data=np.frombuffer(bytes(huge), np.uint8)))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), magic=st.sampled_from([b'', b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n']))
def test_wild_bytes_give_an_image_or_a_refusal(data, magic):
    try:
        assert image_to_bgr(SimpleNamespace(format='', data=np.frombuffer(magic + data, np.uint8))).ndim == 3
    except MessageError:
        pass
