"""AprilTags as truth: rendered tags give the pose they were rendered with, in the frame of the AprilTag library."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from bag_maker import draw_tag

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import IDENTITY, Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_between
from custom_pose_ros.evaluation.truth.apriltag import Tag, TagTruth, read_tags

CAMERA = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
SIZE_M = 0.2
ON_OBJECT = Rigid(matrix_from_rotation_vector(np.array([0.3, -0.4, 2.0])), np.array([0.1, 0.02, -0.05]))


def render(camera_tag: Rigid) -> np.ndarray:
    """Return a noisy picture (480, 640, 3) of tag 0 at a pose in the camera."""
    picture = draw_tag(
        np.full((480, 640, 3), 190, np.uint8), CAMERA, camera_tag.rotation, camera_tag.translation, SIZE_M
    )
    noise = np.random.default_rng(0).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def facing(distance: float, *turn: float) -> Rigid:
    """A tag in front of the camera; upright and facing it for no turn: x right, y down, z into the tag."""
    return Rigid(matrix_from_rotation_vector(np.array(turn or (0.0, 0.0, 0.0))), np.array([0.05, -0.03, distance]))


@pytest.mark.parametrize('turn', [(0.5, 0.2, 0.3), (-0.4, 0.5, 2.9), (0.6, -0.3, -1.2)])
def test_the_object_is_found_where_the_tag_says(turn):
    camera_tag = facing(0.9, *turn)
    truth = TagTruth([Tag(0, SIZE_M, ON_OBJECT)])

    found = truth(render(camera_tag), CAMERA)

    wanted = camera_tag @ ON_OBJECT.inverse()
    # Corners are good to about 0.1 px: 0.1 px of 120 px is 0.05 deg of skew, a few times that in tilt.
    assert np.rad2deg(rotation_between(found.rotation, wanted.rotation)) < 0.8
    assert np.linalg.norm(found.translation - wanted.translation) < 0.01


def test_corners_are_those_of_the_upright_tag_without_bias():
    camera_tag = facing(0.7)
    corners = TagTruth([Tag(0, SIZE_M, IDENTITY)]).find_corners(cv2.cvtColor(render(camera_tag), cv2.COLOR_BGR2GRAY))
    half = SIZE_M / 2
    points = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
    np.testing.assert_allclose(
        corners, CAMERA.project(points @ camera_tag.rotation.T + camera_tag.translation), atol=0.25
    )


def test_what_does_not_fix_the_pose_gives_no_truth():
    truth = TagTruth([Tag(0, SIZE_M, ON_OBJECT)])
    assert truth(np.full((480, 640, 3), 128, np.uint8), CAMERA) is None
    assert truth(render(facing(4.5)), CAMERA) is None  # 20 px, facing: both tilts explain it
    assert TagTruth([Tag(7, SIZE_M, ON_OBJECT)])(render(facing(0.9, 0.5, 0.2, 0.3)), CAMERA) is None


def test_the_file_of_tags_is_read(tmp_path):
    file = tmp_path / 'tags.yaml'
    file.write_text('tags:\n  - {id: 3, size_m: 0.08, object_from_tag: {xyz_m: [0.1, 0, 0.2], rpy_deg: [0, 0, 90]}}\n')
    (tag,) = read_tags(file)
    assert (tag.number, tag.size_m) == (3, 0.08)
    np.testing.assert_allclose(tag.corners[0], [0.1 + 0.04, -0.04, 0.2], atol=1e-12)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('tags: []', 'tags: wanted a list of 1 to 15 tags'),
        (
            'tags: [{id: 600, size_m: 0.1, object_from_tag: {}}]',
            r'tags\[0\].id: wanted a tag36h11 id from 0 to 586, got 600',
        ),
        (
            'tags: [{id: 1, size_m: 80, object_from_tag: {}}]',
            r'tags\[0\].size_m: wanted metres from 0.001 to 10, got 80',
        ),
        ('tags: [{id: 1, size_m: 0.1}]', r'tags\[0\]: wanted the keys id, object_from_tag, size_m'),
        (
            'tags: [{id: 1, size_m: 1, object_from_tag: {}}, {id: 1, size_m: 1, object_from_tag: {}}]',
            'wanted every id once',
        ),
        ('tags: [', 'is not valid YAML'),
    ],
)
def test_wrong_files_of_tags_are_refused(tmp_path, text, message):
    file = tmp_path / 'tags.yaml'
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_tags(file)
