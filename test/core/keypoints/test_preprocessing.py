"""Preprocessing: scaling, padding, buffers, and the exact map between image and network input."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import PixelMap, input_shape, prepare
from custom_pose_ros.core.limits import MAX_ASPECT

heights = st.sampled_from([64, 128, 192, 256])


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def dot_image(height: int, width: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    """A Gaussian dot, drawn without OpenCV so that its centre is exact."""
    x, y = np.arange(width) - centre[0], np.arange(height)[:, None] - centre[1]
    dot = 250 * np.exp(-(x**2 + y**2) / (2 * radius**2))
    return np.repeat(np.rint(dot).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize(
    ('image_shape', 'input_height', 'wanted'),
    [
        ((480, 640), 256, (256, 352)),  # 341 columns of content
        ((256, 320), 256, (256, 320)),
        ((720, 1280), 192, (192, 352)),
        ((1000, 100), 128, (128, 32)),
        ((1, 1), 64, (64, 64)),
        ((10, 800), 64, (32, 64 * MAX_ASPECT)),  # wider than the limit: width decides, 6 rows of content
    ],
)
def test_input_is_the_height_wide_by_aspect_in_whole_multiples(image_shape, input_height, wanted):
    network_input, _ = prepare(np.zeros((*image_shape, 3), np.uint8), input_height)
    assert network_input.shape == (*wanted, 3)
    assert network_input.dtype == np.uint8
    assert input_shape(image_shape, input_height) == wanted


def test_image_of_the_right_size_is_copied_and_the_map_is_the_identity():
    image = noise_image(128, 160)
    network_input, pixel_map = prepare(image, 128)
    np.testing.assert_array_equal(network_input, image)
    assert pixel_map.scale.tolist() == [1, 1]
    network_input[:] = 0
    assert image.any()


def test_padding_is_zero_even_in_a_used_buffer():
    out = np.full((256, 352, 3), 200, np.uint8)
    network_input, _ = prepare(np.full((480, 640, 3), 100, np.uint8), 256, out)
    assert network_input is out
    assert (out[:, :341] == 100).all()
    assert (out[:, 341:] == 0).all()


def test_larger_buffer_is_padded_to_its_size():
    image = noise_image(480, 640)
    small, small_map = prepare(image, 256)
    large, large_map = prepare(image, 256, np.full((288, 512, 3), 9, np.uint8))
    np.testing.assert_array_equal(large[:256, :352], small)
    assert not large[256:].any()
    assert not large[:, 352:].any()
    np.testing.assert_array_equal(large_map.scale, small_map.scale)


def test_buffer_inside_a_batch_is_filled_in_place():
    batch = np.zeros((2, 256, 352, 3), np.uint8)
    image = noise_image(480, 640)
    prepare(image, 256, batch[1])
    np.testing.assert_array_equal(batch[1], prepare(image, 256)[0])
    assert not batch[0].any()


def test_strided_views_give_what_their_copies_give():
    rgb = noise_image(300, 500)
    for view in (rgb[..., ::-1], rgb[::-1], rgb[5:200, 7:333], rgb.transpose(1, 0, 2)):
        np.testing.assert_array_equal(prepare(view, 128)[0], prepare(np.ascontiguousarray(view), 128)[0])


def test_image_is_not_changed():
    image = noise_image(700, 500)
    before = image.copy()
    prepare(image, 128)
    np.testing.assert_array_equal(image, before)


def test_shrinking_does_not_alias():
    # Stripes of one pixel must become grey, not stripes: the mean of 0 and 200.
    image = np.zeros((1024, 1024, 3), np.uint8)
    image[:, ::2] = 200
    network_input, _ = prepare(image, 128)
    assert abs(network_input.astype(int) - 100).max() <= 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(120, 500),
    width=st.integers(120, 500),
    input_height=heights,
    place=st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
)
def test_a_dot_is_where_the_map_says(height, width, input_height, place):
    centre = (place[0] * (width - 1), place[1] * (height - 1))
    network_input, pixel_map = prepare(dot_image(height, width, centre, min(height, width) / 20), input_height)
    weights = network_input[..., 0].astype(float)
    columns, rows = np.arange(weights.shape[1]), np.arange(weights.shape[0])[:, None]
    seen = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()
    # Resampling and 8-bit rounding move the centroid of such a dot by less than 0.1 input px.
    assert abs((pixel_map.to_image(seen) - np.array(centre)) * pixel_map.scale).max() < 0.1
    # An error of half a pixel centre would show: it is 0.5 * (1 - scale) of an input pixel, up to 0.46 here.


def test_odd_sides_that_are_halved_are_cut_not_stretched():
    # 1023 x 1023 is halved to 511: the last row and column are left out, which the map has to know.
    _, pixel_map = prepare(np.zeros((1023, 1023, 3), np.uint8), 256)
    np.testing.assert_allclose(pixel_map.scale, 256 / 1022)


def test_shrinking_is_close_to_the_exact_area_mean():
    image = cv2.GaussianBlur(noise_image(720, 1280), (0, 0), 6)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    network_input, _ = prepare(image, 256)
    exact = cv2.resize(image, (455, 256), interpolation=cv2.INTER_AREA)
    # Mean difference under 1 % of the range: the two low-pass filters are not the same, but nearly.
    assert cv2.absdiff(network_input[:, :455], exact).mean() < 2.5


def test_pose_to_image_scales_points_and_covariances():
    pixel_map = PixelMap(np.array([0.5, 0.25]))
    pose = KeypointPose(
        keypoints=[[9.5, 4.5], [np.nan, np.nan]],
        covariances=[[[1, 0.5], [0.5, 2]], [[np.nan] * 2] * 2],
        scores=[0.8, 0],
        visible=[True, False],
        score=0.8,
        track_id=4,
    )
    moved = pixel_map.pose_to_image(pose)
    np.testing.assert_allclose(moved.keypoints[0], [19.5, 19.5])
    np.testing.assert_allclose(moved.covariances[0], [[4, 4], [4, 32]])
    assert np.isnan(moved.keypoints[1]).all()
    assert (moved.score, moved.track_id, moved.visible.tolist()) == (0.8, 4, [True, False])


@pytest.mark.parametrize(
    ('image', 'facts'),
    [
        (np.zeros((5, 5), np.uint8), ('image', '(5, 5)')),
        (np.zeros((5, 5, 1), np.uint8), ('image', '(5, 5, 1)')),
        (np.zeros((5, 5, 4), np.uint8), ('image', '(5, 5, 4)')),
        (np.zeros(75, np.uint8), ('image', '(75,)')),
        (np.zeros((0, 5, 3), np.uint8), ('image', '(0, 5, 3)')),
        (np.zeros((5, 0, 3), np.uint8), ('image', '(5, 0, 3)')),
        (np.zeros((5, 5, 3), np.float32), ('image', 'float32')),
        (None, ('image', 'NoneType')),
    ],
)
def test_images_that_cannot_be_used(image, facts):
    with pytest.raises(ValueError) as error:
        prepare(image, 64)
    assert all(fact in str(error.value) for fact in facts)


@pytest.mark.parametrize('input_height', [0, -32, 16, 250])
def test_input_heights_that_cannot_be_used(input_height):
    with pytest.raises(ValueError, match=f'input_height must be a positive multiple of 32, got {input_height}'):
        prepare(np.zeros((5, 5, 3), np.uint8), input_height)


@pytest.mark.parametrize(
    ('out', 'got'),
    [
        (np.zeros((256, 320, 3), np.uint8), 'uint8 (256, 320, 3)'),
        (np.zeros((256, 352, 3), np.float32), 'float32 (256, 352, 3)'),
        (np.zeros((256, 352), np.uint8), 'uint8 (256, 352)'),
    ],
)
def test_buffers_that_cannot_be_used(out, got):
    with pytest.raises(ValueError) as error:
        prepare(np.zeros((480, 640, 3), np.uint8), 256, out)
    assert all(fact in str(error.value) for fact in ('(256, 352, 3)', got))


@pytest.mark.parametrize(
    ('scale', 'facts'),
    [([1.0], ('scale', '(1,)')), ([1.0, 0.0], ('scale', '[1.0, 0.0]')), ([1.0, np.nan], ('scale', '[1.0, nan]'))],
)
def test_scales_that_cannot_be_used(scale, facts):
    with pytest.raises(ValueError) as error:
        PixelMap(np.array(scale))
    assert all(fact in str(error.value) for fact in facts)
