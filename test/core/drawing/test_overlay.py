"""Overlay: what is drawn where, and that the caller's image is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.drawing.overlay import PALETTE, draw_poses
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate

GREY = 90


@pytest.fixture(scope='module')
def submarine() -> ObjectModel:
    return ObjectModel.load('submarine')


def canvas(height: int = 480, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def pose_of(points, visible=(True, True, True, True), track_id=None) -> KeypointPose:
    return KeypointPose(
        keypoints=np.array(points, float),
        covariances=np.tile(4.0 * np.eye(2), (4, 1, 1)),
        scores=np.full(4, 0.9),
        visible=np.array(visible),
        score=0.87,
        track_id=track_id,
    )


def estimate_of(R=None, t=(0, 0, 2), ambiguity=0.0) -> OrientationEstimate:
    return OrientationEstimate(
        pose=Rigid(np.eye(3) if R is None else R, np.array(t, float)),
        covariance=np.eye(6),
        reprojection_error_px=1.0,
        ambiguity=ambiguity,
        keypoints_used=4,
    )


CROSS = [[320, 240], [420, 160], [420, 320], [200, 240]]


def changed(image: np.ndarray, background: int = GREY) -> np.ndarray:
    return (image != background).any(2)


def test_keypoints_and_limbs_have_their_colours(submarine):
    image = draw_poses(canvas(), [pose_of(CROSS)], submarine, labels=False)
    for k, (x, y) in enumerate(CROSS):
        assert tuple(image[y, x].tolist()) == PALETTE[k]
    for limb, (a, b) in enumerate(submarine.skeleton):
        x, y = (np.array(CROSS[a]) + CROSS[b]) // 2
        assert tuple(image[y, x].tolist()) == PALETTE[limb]


def test_only_the_pose_is_touched_and_never_the_given_image(submarine):
    background = canvas()
    image = draw_poses(background, [pose_of(CROSS)], submarine, labels=False)
    assert (background == GREY).all()
    assert image is not background
    rows, columns = np.nonzero(changed(image))
    assert (rows.min(), rows.max()) == (pytest.approx(155, abs=2), pytest.approx(325, abs=2))
    assert (columns.min(), columns.max()) == (pytest.approx(195, abs=2), pytest.approx(425, abs=2))


def test_without_poses_the_image_is_the_same_and_its_own(submarine):
    background = canvas()
    image = draw_poses(background, [], submarine)
    np.testing.assert_array_equal(image, background)
    assert not np.shares_memory(image, background)


def test_positions_are_drawn_with_sub_pixels(submarine):
    # The weighted centre of a dot must follow a shift of 0.3 px (OpenCV's circles are 0.1 px off).
    def centre(x):
        pose = pose_of([[x, 200.6]] * 4, (True, False, False, False))
        weight = np.abs(draw_poses(canvas(), [pose], submarine, labels=False).astype(int) - GREY).sum(2)
        rows, columns = np.indices(weight.shape)
        return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()

    for x in (300.0, 300.3, 300.6):
        assert centre(x) == (pytest.approx(x, abs=0.15), pytest.approx(200.6, abs=0.15))


def test_hidden_keypoints_take_their_limbs_with_them(submarine):
    points = np.array(CROSS, float)
    points[0] = np.nan  # the head joins all limbs
    image = draw_poses(canvas(), [pose_of(points, (False, True, True, True))], submarine, labels=False)
    drawn = changed(image)
    assert not drawn[200, 370]
    assert drawn[160, 420]
    nothing = pose_of(np.full((4, 2), np.nan), (False,) * 4)
    assert not changed(draw_poses(canvas(), [nothing], submarine)).any()


def test_lines_grow_with_the_image(submarine):
    def share(scale):
        pose = pose_of(np.array(CROSS) * scale)
        return changed(draw_poses(canvas(480 * scale, 640 * scale), [pose], submarine, labels=False)).mean()

    # Anti-aliased fringes stay one pixel wide, so the share falls a little; with fixed lines it would fall to a third.
    assert share(3) == pytest.approx(share(1), rel=0.3)


def test_label_is_above_the_pose_and_inside_the_image(submarine):
    def label_rows(points):
        with_label = draw_poses(canvas(), [pose_of(points, track_id=3)], submarine)
        without = draw_poses(canvas(), [pose_of(points)], submarine, labels=False)
        rows, columns = np.nonzero((with_label != without).any(2))
        assert len(rows) > 300
        return rows.min(), rows.max(), columns.min(), columns.max()

    top, bottom, left, right = label_rows(CROSS)
    assert bottom < 160
    assert (left, right) == (pytest.approx(200, abs=3), pytest.approx(350, abs=40))
    top, bottom, left, right = label_rows(np.array(CROSS) * 0.2 + [550, -30])  # at the upper right corner
    assert (top, right) == (0, 639)


def test_names_are_drawn_on_demand(submarine):
    plain = draw_poses(canvas(), [pose_of(CROSS)], submarine, labels=False)
    named = draw_poses(canvas(), [pose_of(CROSS)], submarine, labels=False, names=True)
    assert (named != plain).any(2).sum() > 1000


def test_axes_go_where_the_camera_projects_them(submarine):
    camera = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
    length = 0.53 / 2
    f = 320 / np.tan(np.deg2rad(30))
    image = draw_poses(canvas(), [], submarine, [estimate_of(t=(0.1, -0.1, 2))], camera)
    origin = np.array([319.5 + f * 0.05, 239.5 - f * 0.05])
    for axis, colour in (((1, 0), (0, 94, 213)), ((0, 1), (115, 158, 0))):
        x, y = np.rint(origin + f * length / 2 * np.array(axis) * 0.5).astype(int)
        assert tuple(image[y, x].tolist()) == colour
        x, y = np.rint(origin + f * length / 2 * np.array(axis) * 1.5).astype(int)
        assert (image[y, x] == GREY).all()


def test_the_letters_of_the_axes_cover_no_text(submarine):
    """The letter x stands where the name of a keypoint and the label of the pose are written: these are on top."""
    camera = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
    tip = camera.project(np.array([[0.53 / 2, 0.0, 2.0]]))[0]
    pose = pose_of([tip, tip + [0, 60], tip + [60, 0], tip + [60, 60]])
    alone, with_axes = (
        draw_poses(canvas(), [pose], submarine, orientations, camera, names=True, labels=False)
        for orientations in ([], [estimate_of()])
    )
    x, y = np.rint(tip).astype(int)
    text = (slice(y - 14, y - 4), slice(x + 8, x + 30))  # of the keypoint's name
    bright = (alone[text] > 200).all(axis=2)
    assert bright.sum() > 10 and (with_axes[text] > 150).all(axis=2)[bright].all()


def test_a_camera_of_another_size_is_scaled(submarine):
    small = CameraIntrinsics.from_fov(320, 240, np.deg2rad(60))
    same = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
    images = [draw_poses(canvas(), [], submarine, [estimate_of()], camera) for camera in (small, same)]
    # Scaling keeps pixel centres within half a pixel.
    assert np.abs(images[0].astype(int) - images[1]).mean() < 0.5
    assert changed(images[0]).any()


def test_behind_the_camera_nothing_is_drawn(submarine):
    camera = CameraIntrinsics.from_fov(640, 480, 1.0)
    for t in ((0, 0, -2), (np.nan, 0, 2)):
        assert not changed(draw_poses(canvas(), [], submarine, [estimate_of(t=t)], camera)).any()


def test_an_ambiguous_attitude_says_so(submarine):
    camera = CameraIntrinsics.from_fov(640, 480, 1.0)
    sure, unsure = (
        changed(draw_poses(canvas(), [], submarine, [estimate_of(ambiguity=a)], camera)).sum() for a in (0.0, 0.9)
    )
    assert unsure > sure + 1000  # a longer text on a longer box
    bare = changed(draw_poses(canvas(), [], submarine, [estimate_of()], camera, labels=False)).sum()
    assert bare < sure - 1000  # the axes alone


def test_an_object_without_model_points_has_axes_of_ten_centimetres():
    human = ObjectModel.load('human18')
    camera = CameraIntrinsics.from_fov(640, 480, np.deg2rad(60))
    drawn = changed(draw_poses(canvas(), [], human, [estimate_of(t=(0, 0, 1))], camera))
    f = 320 / np.tan(np.deg2rad(30))
    assert drawn[240, int(320 + 0.09 * f)]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=4, max_size=4),
    st.sampled_from([(1, 1), (4, 300), (60, 80)]),
)
def test_any_position_and_size_is_survived(points, shape):
    submarine = ObjectModel.load('submarine')
    pose = pose_of(points, track_id=2**31 - 1)
    image = draw_poses(canvas(*shape), [pose], submarine, names=True)
    assert image.shape == (*shape, 3)


@pytest.mark.parametrize(
    ('image', 'facts'),
    [(np.zeros((4, 4), np.uint8), ('image', 'uint8 (4, 4)')), (np.zeros((4, 4, 3)), ('image', 'float64 (4, 4, 3)'))],
)
def test_images_that_cannot_be_drawn_on(submarine, image, facts):
    with pytest.raises(ValueError) as error:
        draw_poses(image, [], submarine)
    assert all(fact in str(error.value) for fact in facts)


def test_other_refusals(submarine):
    with pytest.raises(ValueError, match='orientations need a camera to be drawn, got None'):
        draw_poses(canvas(), [], submarine, [estimate_of()])
    with pytest.raises(ValueError, match='poses of human18 must have 18 keypoints, got 4'):
        draw_poses(canvas(), [pose_of(CROSS)], ObjectModel.load('human18'))
