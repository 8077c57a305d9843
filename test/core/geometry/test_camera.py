"""CameraIntrinsics: each lens by its published formula and back, sizes, files, and every refusal by text."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from known_lenses import EQUIDISTANT, PLUMB_BOB, RATIONAL, K, refusal

from custom_pose_ros.core.geometry.camera import CameraIntrinsics

LENSES = {'plumb_bob': PLUMB_BOB, 'rational_polynomial': RATIONAL, 'equidistant': EQUIDISTANT}
GRID = np.stack(np.meshgrid(np.linspace(0, 639, 9), np.linspace(0, 479, 7)), -1).reshape(-1, 2)
CALIBRATION = {
    'image_width': 640,
    'image_height': 480,
    'camera_name': 'front',
    'camera_matrix': {'rows': 3, 'cols': 3, 'data': np.ravel(K).tolist()},
    'distortion_model': 'plumb_bob',
    'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': PLUMB_BOB},
}


def camera_with(lens: str | None = None, matrix=K) -> CameraIntrinsics:
    return (
        CameraIntrinsics(640, 480, np.array(matrix), LENSES[lens], lens) if lens else CameraIntrinsics(640, 480, matrix)
    )


def distort_by_formula(lens: str, x: float, y: float) -> tuple[float, float]:
    """The lens models as the documentation of OpenCV writes them."""
    r2 = x * x + y * y
    if lens == 'equidistant':
        k1, k2, k3, k4 = EQUIDISTANT
        theta = np.arctan(np.sqrt(r2))
        bent = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
        return x * bent / np.sqrt(r2), y * bent / np.sqrt(r2)
    k1, k2, p1, p2, k3, k4, k5, k6 = (*LENSES[lens], 0, 0, 0)[:8]
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y)


@pytest.mark.parametrize(
    ('model', 'D'),
    [
        ('plumb_bob', PLUMB_BOB),
        ('plumb_bob', [*PLUMB_BOB, 0, 0, 0]),  # Orbbec
        ('rational_polynomial', [*RATIONAL, 0.01, -0.002, 0.005, 0.001]),  # thin prism
        ('rational_polynomial', [4.65, 1.34, -1e-4, 2e-4, 0.05, 5.0, 2.7, 0.3, 0, 0, 0, 0, 0.001, -0.002]),  # OAK-D
        ('rational_polynomial', [*RATIONAL, 0, 0, 0, 0, 0, 0]),
        ('equidistant', EQUIDISTANT),
        ('equidistant', [*EQUIDISTANT, 0]),  # T265
        ('equidistant', [0, 0, 0, 0]),
    ],
)
def test_lenses_are_those_of_opencv(model, D):
    camera = CameraIntrinsics(640, 480, np.array(K), D, model)
    directions = np.array([[0.1, 0.05], [-0.3, 0.2], [0.45, -0.35], [0.0, 0.0], [-0.01, -0.4]])
    points, zero = np.column_stack([directions, np.ones(5)]), np.zeros(3)
    project = cv2.fisheye.projectPoints if model == 'equidistant' else cv2.projectPoints
    coefficients = np.array(D[:4] if model == 'equidistant' else D, float)
    wanted = project(points.reshape(-1, 1, 3), zero, zero, np.array(K), coefficients)[0].reshape(-1, 2)
    np.testing.assert_allclose(camera.project(points), wanted, atol=1e-9)
    np.testing.assert_allclose(camera.undistort(wanted), directions, atol=1e-8)


def test_zeros_mean_no_distortion_but_of_a_fisheye():
    """Its radius is f theta then, not f tan(theta): 0.6 * 610 instead of 0.684 * 610 px."""
    point = [[np.tan(0.6), 0.0, 1.0]]
    for model, D in [('plumb_bob', [0.0] * 5), ('plumb_bob', [0.0] * 8), ('rational_polynomial', [0.0] * 5)]:
        camera = CameraIntrinsics(640, 480, np.array(K), D, model)
        assert not camera.has_distortion
        assert camera.project(point)[0, 0] == pytest.approx(322 + 610 * np.tan(0.6))
    fisheye = CameraIntrinsics(640, 480, np.array(K), [0.0] * 4, 'equidistant')
    assert fisheye.has_distortion
    assert fisheye.project(point)[0, 0] == pytest.approx(322 + 610 * 0.6)


def test_pinhole_by_value():
    camera = camera_with()
    got = camera.project([[0, 0, 2.0], [0.4, -0.2, 2.0], [0.4, -0.2, 4.0]])
    np.testing.assert_allclose(got, [[322, 238], [322 + 122, 238 - 60.5], [322 + 61, 238 - 30.25]], atol=1e-9)
    np.testing.assert_allclose(camera.undistort(got), [[0, 0], [0.2, -0.1], [0.1, -0.05]], atol=1e-12)
    assert not camera.has_distortion


@pytest.mark.parametrize('lens', LENSES)
@pytest.mark.parametrize('skew', [0.0, 12.5])
def test_lens_projects_by_its_formula(lens, skew):
    camera = camera_with(lens, [[610.0, skew, 322.0], [0.0, 605.0, 238.0], [0.0, 0.0, 1.0]])
    for x, y in [(0.1, 0.05), (-0.3, 0.2), (0.45, -0.35), (-0.01, -0.4)]:
        a, b = distort_by_formula(lens, x, y)
        expected = [[610 * a + skew * b + 322, 605 * b + 238]]
        np.testing.assert_allclose(camera.project([[x * 3, y * 3, 3.0]]), expected, atol=1e-9)


@pytest.mark.parametrize('lens', LENSES)
def test_many_directions_are_distorted_as_a_few_are(lens):
    """There are formulas of our own for many, since OpenCV takes longer."""
    camera = camera_with(lens, [[610.0, 12.5, 322.0], [0.0, 605.0, 238.0], [0.0, 0.0, 1.0]])
    directions = np.random.default_rng(0).uniform(-0.5, 0.5, (100, 2))
    few = [camera.distort_with_jacobian(part) for part in np.split(directions, 10)]
    for many, each in zip(camera.distort_with_jacobian(directions), map(np.concatenate, zip(*few))):
        np.testing.assert_allclose(many, each, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('lens', [None, *LENSES])
@pytest.mark.parametrize('skew', [0.0, 12.5])
def test_every_pixel_comes_back(lens, skew):
    camera = camera_with(lens, [[610.0, skew, 322.0], [0.0, 605.0, 238.0], [0.0, 0.0, 1.0]])
    directions = camera.undistort(GRID)
    again = camera.project(np.column_stack([directions, np.ones(len(GRID))]))
    np.testing.assert_allclose(again, GRID, atol=1e-6)  # the iteration stops at 1e-7 px


@pytest.mark.parametrize('lens', [None, *LENSES])
def test_jacobian_is_the_derivative_of_undistort(lens):
    camera, h = camera_with(lens), 0.01
    _, jacobians = camera.undistort_with_jacobian(GRID)
    for axis in range(2):
        step = h * np.eye(2)[axis]
        numeric = (camera.undistort(GRID + step) - camera.undistort(GRID - step)) / (2 * h)
        # derivatives are about 1 / 600; second-order rest and 1e-7 px / 0.02 px of the iteration: 1e-5 of that
        np.testing.assert_allclose(jacobians[:, :, axis], numeric, atol=5e-8)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(LENSES)), st.floats(-0.5, 0.5), st.floats(-0.38, 0.38), st.floats(0.05, 100))
def test_directions_in_the_image_round_trip(lens, x, y, depth):
    camera = camera_with(lens)
    pixel = camera.project([[x * depth, y * depth, depth]])
    np.testing.assert_allclose(camera.undistort(pixel), [[x, y]], atol=1e-8)


def test_points_behind_the_camera_have_no_pixel():
    for lens in (None, *LENSES):
        got = camera_with(lens).project([[0.1, 0.1, -1.0], [0, 0, 0], [0, 0, 1.0]])
        assert np.isnan(got[:2]).all()
        assert np.isfinite(got[2]).all()


def test_pixels_beyond_the_reach_of_the_lens_have_no_direction():
    # barrel k1 = -0.28 alone turns back at r = 1 / sqrt(3 * 0.28) = 1.09, where r' = 0.73, which is 444 px
    camera = CameraIntrinsics(640, 480, np.array(K), [-0.28, 0, 0, 0], 'plumb_bob')
    got = camera.undistort([[322 + 440.0, 238], [322 + 450.0, 238], [5000, 238], [np.nan, 238], [np.inf, 0]])
    assert 0.9 < got[0, 0] < 1.09
    assert np.isnan(got[1:]).all()


def test_fisheye_sees_far_to_the_side():
    camera = CameraIntrinsics(640, 640, [[200, 0, 320], [0, 200, 320], [0, 0, 1]], [0, 0.001, 0, 0], 'equidistant')
    theta = np.deg2rad(80)
    pixel = camera.project([[np.sin(theta), 0, np.cos(theta)]])
    np.testing.assert_allclose(pixel, [[320 + 200 * (theta + 0.001 * theta**5), 320]], atol=1e-9)
    np.testing.assert_allclose(camera.undistort(pixel), [[np.tan(theta), 0]], rtol=1e-7, atol=1e-9)


def test_inputs_are_not_changed_and_no_points_are_fine():
    points = GRID.copy()
    camera_with('plumb_bob').undistort(points)
    np.testing.assert_array_equal(points, GRID)
    for lens in (None, *LENSES):
        assert camera_with(lens).project(np.empty((0, 3))).shape == (0, 2)
        assert camera_with(lens).undistort(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(('call', 'columns'), [('project', 3), ('undistort', 2)])
def test_wrong_shapes_are_refused(call, columns):
    with pytest.raises(ValueError, match=rf'points must have shape \(N, {columns}\), got \(4, 5\)'):
        getattr(camera_with(), call)(np.zeros((4, 5)))


def test_from_fov_reaches_the_outer_edges_of_the_image():
    camera = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
    assert camera.K[0, 0] == pytest.approx(320 / np.tan(np.deg2rad(30)))
    assert camera.K[1, 1] == camera.K[0, 0]
    assert camera.K[:2, 2].tolist() == [319.5, 239.5]
    half = np.tan(np.deg2rad(30))  # the edge is half a pixel outside of the outermost centres
    np.testing.assert_allclose(
        camera.project([[-half, 0, 1], [half, 0, 1]]), [[-0.5, 239.5], [639.5, 239.5]], atol=1e-9
    )


@pytest.mark.parametrize('fov', [0.0, -1.0, np.pi, 60, np.nan, np.inf, '1', None, True])
def test_impossible_fields_of_view(fov):
    text = refusal(CameraIntrinsics.from_fov, 640, 480, fov)
    assert text == f'camera: horizontal field of view: wanted radians between 0 and pi, got {fov!r}'


@pytest.mark.parametrize('lens', [None, *LENSES])
def test_scaled_camera_sees_the_same(lens):
    camera = camera_with(lens)
    half = camera.scaled_to(320, 240)
    assert (half.width, half.height) == (320, 240)
    points = np.array([[0.3, 0.2, 1.0], [-0.4, 0.1, 1.0]])
    # an image scaled by 1/2 has the edge of pixel 0 in the same place: (u + 0.5) / 2 - 0.5
    np.testing.assert_allclose(half.project(points), (camera.project(points) + 0.5) / 2 - 0.5, atol=1e-9)
    np.testing.assert_allclose(half.scaled_to(640, 480).K, camera.K, atol=1e-12)
    assert camera.scaled_to(640, 480) is camera


def test_scaling_allows_a_rounded_pixel_and_refuses_another_shape():
    assert camera_with().scaled_to(321, 240).height == 240
    for size in [(640, 360), (480, 640), (0, 0), (-640, -480), (324, 240)]:
        text = refusal(camera_with().scaled_to, *size)
        wanted = f'the calibration is for 640x480 and the image has {size[0]}x{size[1]}: wanted the same shape'
        assert wanted in text
        assert text.endswith('calibrate as it is' if size == (480, 640) else 'calibrate at the resolution in use')


def test_fields_of_camera_info():
    camera = CameraIntrinsics.from_camera_info_fields(
        width=640, height=480, distortion_model='rational_polynomial', d=RATIONAL, k=np.ravel(K)
    )
    np.testing.assert_array_equal(camera.K, K)
    assert (camera.distortion_model, camera.D.tolist(), camera.has_distortion) == (
        'rational_polynomial',
        RATIONAL,
        True,
    )


def test_camera_info_without_a_lens_model():
    bare = {'width': 640, 'height': 480, 'distortion_model': '', 'k': np.ravel(K)}
    for d in ([], [0.0] * 5):
        camera = CameraIntrinsics.from_camera_info_fields(**bare, d=d)
        assert (camera.distortion_model, camera.has_distortion) == ('plumb_bob', False)
    text = refusal(CameraIntrinsics.from_camera_info_fields, **bare, d=[0.1, 0, 0, 0])
    assert (
        'distortion_model: wanted one of plumb_bob, rational_polynomial, equidistant for the 4 coefficients, got none'
        in text
    )


@pytest.mark.parametrize('lens', LENSES)
def test_yaml_round_trip(tmp_path, lens):
    camera = camera_with(lens)
    file = tmp_path / 'camera.yaml'
    file.write_text(yaml.safe_dump(camera.to_yaml_dict('front')))
    read = CameraIntrinsics.from_yaml(file)
    assert (read.width, read.height, read.distortion_model) == (640, 480, lens)
    np.testing.assert_array_equal(read.K, camera.K)
    np.testing.assert_array_equal(read.D, camera.D)


def test_yaml_as_camera_calibration_writes_it(tmp_path):
    file = tmp_path / 'ost.yaml'
    file.write_text(yaml.safe_dump(CALIBRATION))
    camera = CameraIntrinsics.from_yaml(str(file))
    np.testing.assert_array_equal(camera.K, K)
    assert camera.D.tolist() == PLUMB_BOB


@pytest.mark.parametrize('key', sorted(set(CALIBRATION) - {'camera_name'}))
@pytest.mark.parametrize('missing', ['absent', 'empty'])
def test_yaml_without_a_key(tmp_path, key, missing):
    data = {k: v for k, v in CALIBRATION.items() if k != key}
    if missing == 'empty':
        data[key] = None
    file = tmp_path / 'camera.yaml'
    file.write_text(yaml.safe_dump(data))
    assert (
        refusal(CameraIntrinsics.from_yaml, file)
        == f'{file}: {key}: is missing, wanted as written by camera_calibration'
    )


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'camera_matrix': [1, 2, 3]}, 'camera: K: wanted 9 numbers (3x3 camera matrix), got [1, 2, 3]'),
        ({'camera_matrix': {'data': 5}}, 'camera_matrix: wanted "data" with a list of numbers'),
        ({'camera_matrix': {'data': [1.0] * 8}}, 'camera: K: wanted 9 numbers'),
        ({'camera_matrix': {'data': [None] * 9}}, 'camera: K: wanted finite numbers'),
        ({'distortion_coefficients': {'rows': 1}}, 'distortion_coefficients: wanted "data" with a list of numbers'),
        (
            {'distortion_coefficients': {'data': [0.1, 0.2]}},
            'wanted 4 or 5 coefficients for plumb_bob (or none), got 2',
        ),
        (
            {'distortion_model': 'thin_prism'},
            "distortion_model: wanted one of plumb_bob, rational_polynomial, equidistant, got 'thin_prism'",
        ),
        ({'distortion_model': ['plumb_bob']}, 'distortion_model: wanted one of'),
        ({'image_width': 640.0}, 'width: wanted a whole number of pixels'),
        ({'image_height': 0}, 'height: wanted a whole number of pixels'),
    ],
)
def test_yaml_with_a_wrong_value_names_the_file(tmp_path, changes, text):
    file = tmp_path / 'camera.yaml'
    file.write_text(yaml.safe_dump({**CALIBRATION, **changes}))
    got = refusal(CameraIntrinsics.from_yaml, file)
    assert got.startswith(f'{file}: ')
    assert text in got


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'a: [1, 2', 'is not valid YAML: while parsing a flow sequence'),
        (b'\xff\xfe\x00a', 'is not valid YAML: '),
        (b'day: 2020-13-45', 'is not valid YAML: month must be in 1..12'),
        (b'[' * 1000, 'is not valid YAML: '),
        (b'', 'wanted a camera_calibration YAML with image_width, image_height, ..., got an empty file'),
        (b'- 1\n- 2\n', 'wanted a camera_calibration YAML with image_width, image_height, ..., got [1, 2]'),
        (b'!!python/object/apply:os.getcwd []', 'is not valid YAML: could not determine a constructor'),
    ],
)
def test_files_that_are_no_calibration(tmp_path, content, text):
    file = tmp_path / 'camera.yaml'
    file.write_bytes(content)
    got = refusal(CameraIntrinsics.from_yaml, file)
    assert got.startswith(f'{file}: ')
    assert text in got


def test_files_that_cannot_be_read(tmp_path):
    text = refusal(CameraIntrinsics.from_yaml, tmp_path / 'no.yaml')
    assert 'no.yaml: cannot be read (No such file or directory); give a camera_calibration YAML' in text
    assert 'cannot be read (Is a directory)' in refusal(CameraIntrinsics.from_yaml, tmp_path)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('size', [1e30, 1e60, 1e200, math.inf, math.nan])
def test_points_far_outside_are_no_reason_to_warn(size):
    """So many of them that the formulas written out are used."""
    D = np.array([-0.3, 0.1, 0.001, 0.001, -0.02, 0.1, 0.01, 0.0])
    camera = CameraIntrinsics(640, 480, np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), D, 'rational_polynomial')
    directions = np.tile([[0.1, -0.2], [size, -size]], (1000, 1))
    pixels, jacobians = camera.distort_with_jacobian(directions)
    alone, alone_jacobian = camera.distort_with_jacobian(directions[:1])
    np.testing.assert_allclose(pixels[0], alone[0], rtol=1e-9)
    np.testing.assert_allclose(jacobians[0], alone_jacobian[0], rtol=1e-9)
    assert size < 1e50 or not np.isfinite(pixels[1]).any()
