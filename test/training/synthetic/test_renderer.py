"""Rendered positions, depths and numbers against OpenCV's projection, with and without lens distortion."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip('vtk', reason='vtk is not installed')
pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.parts import Material, Part
from training.synthetic.geometry.shapes import blob, plate
from training.synthetic.rendering.gl_probe import missing_requirement

MISSING = missing_requirement()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope='module')
def views():
    from training.synthetic.rendering.renderer import CameraViews

    return CameraViews(WIDTH, HEIGHT)


def flat_lighting():
    from training.synthetic.rendering.shading import Lighting

    return Lighting(np.array([[0, 0, -1.0]]), np.ones((1, 3)), np.array([0.0]), ambient=1.0, diffuse=0.0)


def sphere_at(radius: float, color=(1.0, 1.0, 1.0)) -> Part:
    return Part.from_mesh('marker', blob((radius,) * 3, 0.0, np.random.default_rng(0), 40, 24), Material(color))


def place_and_render(views, part: Part, position, camera):
    from training.synthetic.rendering.body import Body

    body = Body([part])
    body.place(Rigid(np.eye(3), np.asarray(position, float)))
    return views.render([body], flat_lighting(), camera)


def random_camera(rng, distorted: bool) -> CameraIntrinsics:
    K = [
        [rng.uniform(200, 460), 0, WIDTH / 2 + rng.uniform(-20, 20)],
        [0, rng.uniform(200, 460), HEIGHT / 2 + rng.uniform(-20, 20)],
        [0, 0, 1],
    ]
    D = [rng.uniform(-0.3, 0.15), rng.uniform(-0.05, 0.08), *rng.uniform(-0.003, 0.003, 2), 0.0] if distorted else []
    return CameraIntrinsics(WIDTH, HEIGHT, np.array(K), D)


def centroid_errors(views, count: int, distorted: bool) -> np.ndarray:
    """
    Return the distances [px] between a small sphere's centroid in the picture and where OpenCV projects it.

    The outline of a sphere of radius r at depth z is an ellipse centred at direction / (1 - (r / z)^2).
    """
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    errors = []
    while len(errors) < count:
        camera = random_camera(rng, distorted)
        pixel = rng.uniform((12, 12), (WIDTH - 12, HEIGHT - 12))
        depth = rng.uniform(0.5, 3)
        direction = camera.undistort(pixel[None])[0]
        if np.isnan(direction).any():
            continue
        centre = depth * np.array([*direction, 1.0])
        radius = 4 * depth / camera.K[0, 0]
        coverage = place_and_render(views, sphere_at(radius), centre, camera).coverage
        seen = np.array([(columns * coverage).sum(), (rows * coverage).sum()]) / coverage.sum()
        outline = np.array([*direction / (1 - (radius / depth) ** 2), 1.0])
        expected = cv2.projectPoints(outline[None], np.zeros(3), np.zeros(3), camera.K, np.array(camera.D, float))[
            0
        ].ravel()
        errors.append(np.linalg.norm(seen - expected))
    return np.array(errors)


def test_projection_agrees_with_opencv(views) -> None:
    # at most 0.1 px: the coverage of a sphere 8 px wide, drawn at 2x, places its centroid to about 0.05 px
    assert centroid_errors(views, 100, distorted=False).max() <= 0.1


def test_projection_with_distortion_agrees_with_opencv(views) -> None:
    # at most 0.15 px: resampling adds to the error of the pinhole image
    assert centroid_errors(views, 40, distorted=True).max() <= 0.15


def test_depth_is_along_the_optical_axis(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    depth = place_and_render(
        views, Part.from_mesh('wall', box((4, 4, 0.2)), Material((1, 1, 1))), (0, 0, 2.1), camera
    ).surfaces.depth
    assert np.abs(depth - 2.0).max() < 0.001  # a 24 bit depth buffer from 0.05 to 20 m resolves 5 um at 2 m


def test_numbers_follow_the_order_of_the_bodies_and_the_nearer_one_wins(views) -> None:
    from training.synthetic.rendering.body import Body

    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    bodies = [
        Body([Part.from_mesh('far', box((1, 1, 0.1)), Material((1, 0, 0)))]),
        Body([Part.from_mesh('near', box((0.1, 0.1, 0.1)), Material((0, 1, 0)))]),
    ]
    bodies[0].place(Rigid(np.eye(3), np.array([0, 0, 2.0])))
    bodies[1].place(Rigid(np.eye(3), np.array([0, 0, 1.0])))
    rendering = views.render(bodies, flat_lighting(), camera)
    assert set(np.unique(rendering.surfaces.instance)) == {0, 1, 2}
    assert rendering.surfaces.instance[HEIGHT // 2, WIDTH // 2] == 2
    blue, green, red = rendering.color[HEIGHT // 2, WIDTH // 2]
    assert (blue, green, red) == pytest.approx((0, 1, 0), abs=0.01)


def test_bodies_leave_no_trace_in_the_next_picture(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    lens = CameraIntrinsics(WIDTH, HEIGHT, camera.K, [-0.1, 0, 0, 0, 0])
    for each in (camera, lens, camera):
        assert place_and_render(views, sphere_at(0.1), (0, 0, 1), each).coverage.max() > 0.9
        assert views.render([], flat_lighting(), each).coverage.max() == 0


def test_glass_is_drawn_but_hides_nothing(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    pane = Part.from_mesh('pane', box((1, 1, 0.01)), Material((1, 1, 1), opacity=0.3))
    rendering = place_and_render(views, pane, (0, 0, 1), camera)
    assert rendering.coverage[HEIGHT // 2, WIDTH // 2] == pytest.approx(0.3, abs=0.02)
    assert rendering.surfaces.instance.max() == 0
    assert np.isinf(rendering.surfaces.depth).all()


def test_vertex_colors_show(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    mesh = plate([(-1, -1), (1, -1), (1, 1), (-1, 1)], 0.01)
    colors = np.where(mesh.vertices[:, :1] < 0, [[1.0, 0, 0]], [[0, 0, 1.0]])
    part = Part('plate', mesh.vertices, mesh.faces, Material((0.5, 0.01, 0.5)), two_sided=True, vertex_colors=colors)
    color = place_and_render(views, part, (0, 0, 2.5), camera).color
    red, blue = color[HEIGHT // 2, 60], color[HEIGHT // 2, WIDTH - 60]
    assert blue[0] > 0.8 > 0.2 > blue[2]
    assert red[2] > 0.8 > 0.2 > red[0]


def test_inner_sides_of_closed_meshes_change_nothing(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    closed = sphere_at(0.3, (0.8, 0.5, 0.2))
    one, both = (place_and_render(views, replace(closed, two_sided=two), (0, 0, 1), camera) for two in (False, True))
    assert (one.surfaces.instance == both.surfaces.instance).all()
    assert (one.surfaces.depth == both.surfaces.depth).all()
    assert np.abs(one.color - both.color).max() <= 2 / 255  # of the outermost pixels, where both sides meet


def test_surfaces_that_mirror_next_to_nothing_look_like_those_that_do_not_mirror(views) -> None:
    camera = CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0)
    ball = sphere_at(0.3, (0.8, 0.5, 0.2))
    shaders = [ball.with_material(replace(ball.material, reflectivity=share)) for share in (0.0, 1e-6)]
    first, second = (place_and_render(views, part, (0, 0, 1), camera).color for part in shaders)
    assert first.max() > 0.7
    assert np.abs(first - second).max() < 1.5 / 255  # rounding


def test_more_bodies_than_numbers_are_refused(views) -> None:
    from training.synthetic.rendering.body import Body

    body = Body([sphere_at(0.1)])
    with pytest.raises(ValueError, match='bodies must be at most 255, got 256'):
        views.render([body] * 256, flat_lighting(), CameraIntrinsics.from_fov(WIDTH, HEIGHT, 1.0))


def test_missing_gl_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('__EGL_VENDOR_LIBRARY_DIRS', '/nonexistent')  # libEGL finds no driver: as on a bare machine
    monkeypatch.setenv('VTK_DEFAULT_OPENGL_WINDOW', 'vtkEGLRenderWindow')
    line = missing_requirement()
    assert line is not None
    assert '\n' not in line
    assert 'libegl1 libgl1-mesa-dri, or libosmesa6' in line
