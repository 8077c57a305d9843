"""Attitudes in words: which side is turned to the camera, and what anywhere means for a plate and for a box."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.keypoint_sites import keypoint_sites
from training.synthetic.geometry.parts import Material, Part
from training.synthetic.scenes.attitudes import DIRECTIONS, Attitudes, direction_of
from training.synthetic.settings import load_settings

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def attitudes(half: tuple[float, float, float], points: np.ndarray, **pose) -> Attitudes:
    part = Part.from_mesh('box', box(2 * np.array(half)), Material((0.5, 0.5, 0.5)))
    names = [f'p{k}' for k in range(len(points))]
    model = ObjectModel.from_dict({
        'name': 'thing',
        'keypoints': names,
        'skeleton': [[names[0], name] for name in names[1:]],
        'model_points': {name: [float(v) for v in point] for name, point in zip(names, points)},
    })
    settings = SimpleNamespace(**{**vars(load_settings().pose), 'any_attitude_probability': 0.0, **pose})
    return Attitudes(settings, model, keypoint_sites([part], points, 0.01))


def directions(drawn: Attitudes, count: int = 400) -> np.ndarray:
    """Return where the camera is, in the object frame, in attitudes that are drawn (count, 3)."""
    rng = np.random.default_rng(1)
    return np.array([-drawn.sample(rng)[2] for _ in range(count)])


PLATE = (0.13, 0.09, 0.002)
PRINT = np.array([[x, y, 0.002] for x in (-0.1, 0.1) for y in (-0.06, 0.06)])


@pytest.mark.parametrize('side', DIRECTIONS)
def test_a_side_is_turned_to_the_camera(side: str) -> None:
    drawn = attitudes((0.1, 0.1, 0.1), 0.1 * CORNERS, seen_from=(side,), tilt_deg=20)
    tilt = np.degrees(np.arccos(np.clip(directions(drawn) @ DIRECTIONS[side], -1, 1)))
    assert np.mean(tilt) == pytest.approx(20 * np.sqrt(2 / np.pi), abs=2)  # the mean of half a normal distribution


def test_anywhere_shows_the_print_of_a_plate_and_every_side_of_a_box() -> None:
    seen = directions(attitudes(PLATE, PRINT, seen_from=('anywhere',)))
    assert (seen[:, 2] > 0).all()
    assert seen[:, 2].mean() == pytest.approx(2 / 3, abs=0.05)  # as often as it is well seen: the cosine's own mean
    box_seen = directions(attitudes((0.1, 0.1, 0.1), 0.1 * CORNERS, seen_from=('anywhere',)))
    assert np.abs(box_seen.mean(0)).max() < 0.1


def test_the_front_of_a_plate_is_its_print() -> None:
    assert directions(attitudes(PLATE, PRINT, seen_from=('front',), tilt_deg=10))[:, 2].min() > 0.7


def test_the_front_is_along_x_as_long_as_there_are_no_keypoints() -> None:
    assert direction_of('front', ()).tolist() == [1, 0, 0]
    part = Part.from_mesh('box', box(2 * np.array(PLATE)), Material((0.5, 0.5, 0.5)))
    sites = keypoint_sites([part], PRINT, 0.01)
    assert direction_of('front', sites) == pytest.approx([0, 0, 1])
    assert direction_of('left', sites).tolist() == [0, 1, 0]


def test_a_side_without_keypoints_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(ConfigError, match='--seen-from below: no keypoint of thing .* wanted above, anywhere'):
        attitudes(PLATE, PRINT, seen_from=('below',))


@pytest.mark.parametrize(
    ('half', 'keypoints', 'axis'),
    [((0.1, 0.1, 0.1), 0.1 * CORNERS, 2), (PLATE, PRINT, 1)],
    ids=['z of a thing', 'y of a print, whose z comes out of it'],
)
def test_upright_objects_have_their_upper_side_up_in_the_picture(half, keypoints, axis) -> None:
    drawn = attitudes(half, keypoints, seen_from=('front',), upright_probability=1.0)
    rng = np.random.default_rng(0)
    ups = np.array([drawn.sample(rng)[:2, axis] for _ in range(100)])
    angles = np.degrees(np.arctan2(ups[:, 0], -ups[:, 1]))
    assert angles.std() == pytest.approx(15, abs=4)
    assert angles.mean() == pytest.approx(0, abs=5)
