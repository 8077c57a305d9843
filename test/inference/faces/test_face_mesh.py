"""Tests of inference.faces.face_mesh: crops and landmarks in the pixels of the image."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.faces.face_mesh import LANDMARKS, Crop, FaceShape, LandmarkReader

EYES = ('right_eye_outer_corner', 'left_eye_outer_corner')


def face(angle: float, presence: float = 1.0) -> FaceShape:
    """Return a face of 100 px, turned by an angle about (300, 200); eyes level, the chin's neighbours on its axis."""
    upright = np.zeros((468, 2))
    upright[[33, 263, 152, 199]] = [[-50, -50], [50, -50], [0, 50], [0, 40]]
    c, s = np.cos(angle), np.sin(angle)
    return FaceShape(upright @ np.array([[c, s], [-s, c]]) + (300, 200), presence, angle)


@pytest.mark.parametrize('angle', [0.0, 0.7, -2.5])
def test_a_crop_is_centred_on_the_face_and_as_much_larger_as_the_mesh_wants(angle):
    crop = face(angle).crop()
    np.testing.assert_allclose(crop.center, (300, 200), atol=1e-9)
    assert crop.side_px == pytest.approx(150)
    assert crop.angle == angle


def test_the_middle_of_a_crop_is_the_middle_of_the_network_input():
    """Pixel centres are whole numbers: the middle of 192 pixels is 95.5."""
    crop = Crop(np.array([40.0, 30.0]), 96.0, 0.0)
    to_image = crop.to_image()
    np.testing.assert_allclose(to_image @ [95.5, 95.5, 1], [40, 30])
    np.testing.assert_allclose(to_image @ [97.5, 95.5, 1], [41, 30])


def test_a_turned_crop_reads_along_the_face():
    """A face that leans by a quarter turn clockwise: its horizontal runs downwards in the image."""
    to_image = Crop(np.array([40.0, 30.0]), 192.0, np.pi / 2).to_image()
    np.testing.assert_allclose(to_image @ [105.5, 95.5, 1], [40, 40], atol=1e-9)


def test_left_and_right_are_the_persons_own():
    """In the image of an upright face the person's left eye is on the right."""
    keypoints, _ = LandmarkReader(EYES)(face(0.0))
    np.testing.assert_allclose(keypoints, [[250, 150], [350, 150]])


def test_the_chin_lies_below_the_mesh():
    (chin,), _ = LandmarkReader(('chin',))(face(0.0))
    np.testing.assert_allclose(chin, [300, 256])  # 0.6 of the 10 px from point 199 to 152, further down


def test_covariances_turn_with_the_face_and_grow_with_its_size(monkeypatch):
    monkeypatch.setitem(LANDMARKS, 'chin', LANDMARKS['chin'].__class__({152: 1.0}, (0.01, 0.03)))
    read = LandmarkReader(('chin',))
    _, upright = read(face(0.0))
    _, turned = read(face(np.pi / 2))
    np.testing.assert_allclose(upright[0], [[1.0, 0], [0, 9.0]], atol=1e-9)  # (1 and 3 % of 100 px)^2
    np.testing.assert_allclose(turned[0], [[9.0, 0], [0, 1.0]], atol=1e-9)


def test_the_object_file_of_the_face_is_served():
    names = ObjectModel.load('face').keypoint_names
    assert set(names) <= set(LANDMARKS)
    for name in names:
        assert sum(LANDMARKS[name].weights.values()) == pytest.approx(1)


def test_an_unknown_keypoint_is_named_with_those_that_are_known():
    with pytest.raises(ConfigError, match=r'left_ear.*nose_tip'):
        LandmarkReader(('nose_tip', 'left_ear'))
