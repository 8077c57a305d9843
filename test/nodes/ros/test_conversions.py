"""Tests of custom_pose_ros.nodes.ros.conversions: values both ways, and every refusal."""

from __future__ import annotations

import array
import copy

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from example_estimate import an_estimate
from geometry_msgs.msg import Quaternion, Transform, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from printed_board import CAMERA, found, truth
from printed_board import MODEL as BOARD
from sensor_msgs.msg import CameraInfo, CompressedImage, RegionOfInterest
from stated_camera import stated_camera
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL, Rigid
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    rotation_between,
)
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.inference.pose_messages import message_to_poses
from custom_pose_ros.nodes.ros.conversions import (
    Keypoint,
    Orientation,
    Pose,
    PoseArray,
    bgr_to_image,
    estimates_to_message,
    poses_to_message,
    stamp_seconds,
    transform_from_message,
    transform_message,
)

MODEL = ObjectModel.load('submarine')
HEADER = Header(stamp=Time(sec=12, nanosec=500_000_000), frame_id='front_optical')


def a_pose(track_id: int | None = 7) -> KeypointPose:
    """Return a pose with three visible keypoints and one that was not found."""
    return KeypointPose(
        keypoints=np.array([[10.5, 20.25], [30.0, 40.0], [np.nan, np.nan], [5.0, 60.0]]),
        covariances=np.array([[[1.0, 0.25], [0.25, 2.0]], np.eye(2), np.full((2, 2), np.nan), 4 * np.eye(2)]),
        scores=np.array([0.5, 0.75, 0.0, 1.0]),
        visible=np.array([True, True, False, True]),
        score=0.625,
        track_id=track_id,
    )


def test_poses_become_a_message_with_every_value_in_its_place() -> None:
    message = poses_to_message([a_pose()], MODEL, HEADER, 640, 480)
    assert message.header == HEADER
    assert (message.image_width, message.image_height) == (640, 480)
    assert message.keypoint_names == ['head', 'left_engine', 'right_engine', 'bottom_engine']
    assert message.skeleton.tolist() == [0, 1, 0, 2, 0, 3, 1, 3, 2, 3]
    (pose,) = message.poses
    assert (pose.object_name, pose.track_id, pose.score) == ('submarine', 7, 0.625)
    assert (pose.box_x, pose.box_y, pose.box_width, pose.box_height) == (5.0, 20.25, 25.0, 39.75)
    first, _, missing, _ = pose.keypoints
    assert (first.x, first.y, first.score, first.visible) == (10.5, 20.25, 0.5, True)
    assert first.covariance.tolist() == [1.0, 0.25, 2.0]
    assert (missing.score, missing.visible) == (0.0, False)
    assert np.isnan([missing.x, missing.y, *missing.covariance]).all()


def test_poses_survive_the_way_there_and_back() -> None:
    original = [a_pose(), a_pose(track_id=None)]
    message = poses_to_message(original, MODEL, HEADER, 640, 480)
    assert [pose.track_id for pose in message.poses] == [7, Pose.TRACK_ID_NOT_TRACKED]
    for before, after in zip(original, message_to_poses(message, MODEL)):
        for name in ('keypoints', 'covariances', 'scores', 'visible', 'score', 'track_id'):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), name)


def test_a_board_that_may_be_turned_keeps_both_identities_to_the_orientation_array() -> None:
    """From the maps of a network to the published message, through the message between the two nodes."""
    poses = found(truth(), 0.49, 0.47)
    message = poses_to_message(poses, BOARD, HEADER, CAMERA.width, CAMERA.height)
    (sent,) = message.poses
    assert sent.ambiguity == pytest.approx(0.96, abs=0.01)
    assert len(sent.alternative) == len(sent.keypoints) == 8
    assert sent.alternative_score == pytest.approx(0.96 * sent.score, abs=0.01)
    estimates = OrientationEstimator(BOARD, CAMERA).update(message_to_poses(message, BOARD), 1.0)
    (orientation,) = estimates_to_message(estimates, 'board', HEADER).orientations
    assert orientation.ambiguity == pytest.approx(0.96, abs=0.1)
    turns = [matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])) @ np.diag([1.0, -1.0, -1.0]) for q in
             (orientation.pose.pose.orientation, orientation.alternative.orientation)]  # fmt: skip
    assert np.rad2deg(rotation_between(*turns)) > 175.0


def test_without_an_alternative_its_fields_are_empty_and_nan() -> None:
    (pose,) = poses_to_message([a_pose()], MODEL, HEADER, 640, 480).poses
    assert (pose.ambiguity, pose.alternative, pose.alternative_score) == (0.0, [], 0.0)
    (orientation,) = estimates_to_message([an_estimate()], 'thing', HEADER).orientations
    other = orientation.alternative
    assert np.isnan([other.position.x, other.orientation.x, other.orientation.w]).all()


def test_no_instance_is_an_empty_array_and_not_nothing() -> None:
    message = poses_to_message([], MODEL, HEADER, 640, 480)
    assert message.poses == []
    assert message.header == HEADER
    assert message_to_poses(message, MODEL) == []


def test_a_pose_without_visible_keypoints_has_no_box() -> None:
    nothing = KeypointPose(
        keypoints=np.full((4, 2), np.nan), covariances=np.full((4, 2, 2), np.nan), scores=np.zeros(4),
        visible=np.zeros(4, bool), score=0.0,
    )  # fmt: skip
    (pose,) = poses_to_message([nothing], MODEL, HEADER, 640, 480).poses
    assert np.isnan([pose.box_x, pose.box_y, pose.box_width, pose.box_height]).all()


def test_a_visible_keypoint_without_covariance_is_accepted() -> None:
    message = poses_to_message([a_pose()], MODEL, HEADER, 640, 480)
    message.poses[0].keypoints[1].covariance = np.full(3, np.nan)
    (pose,) = message_to_poses(message, MODEL)
    assert np.isnan(pose.covariances[1]).all()


def other_keypoints(message: PoseArray) -> None:
    message.keypoint_names = ['nose', 'tail']


def no_size(message: PoseArray) -> None:
    message.image_height = 0


def a_keypoint_too_few(message: PoseArray) -> None:
    del message.poses[0].keypoints[0]


def position_not_finite(message: PoseArray) -> None:
    message.poses[0].keypoints[3].y = float('inf')


def score_not_finite(message: PoseArray) -> None:
    message.poses[0].keypoints[0].score = float('nan')


def too_many(message: PoseArray) -> None:
    message.poses = message.poses * 1001


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (other_keypoints, r"keypoints 'nose, tail': wanted those of submarine: \[head, left_engine, .*same object"),
        (no_size, 'poses of an image of 640x0 pixels'),
        (a_keypoint_too_few, r'poses\[0\] has 3 keypoints: wanted 4'),
        (position_not_finite, r'poses\[0\] has a visible keypoint whose position or score is not finite'),
        (score_not_finite, 'position or score is not finite'),
        (too_many, '1001 poses in one message: wanted at most 1000'),
    ],
)
def test_bad_pose_arrays_are_refused(spoil, text: str) -> None:
    message = poses_to_message([a_pose()], MODEL, HEADER, 640, 480)
    spoil(message)
    with pytest.raises(MessageError, match=text):
        message_to_poses(message, MODEL)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
KEYPOINTS = st.builds(
    Keypoint, x=NUMBERS, y=NUMBERS, covariance=st.lists(NUMBERS, min_size=3, max_size=3),
    score=st.floats(width=32), visible=st.booleans(),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    names=st.sampled_from([list(MODEL.keypoint_names), [], ['head']]),
    size=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    poses=st.lists(
        st.builds(Pose, keypoints=st.lists(KEYPOINTS, max_size=5), track_id=st.integers(-(2**31), 2**31 - 1)),
        max_size=2,
    ),
)
def test_any_pose_array_gives_poses_or_one_line(names, size, poses) -> None:
    message = PoseArray(keypoint_names=names, image_width=size[0], image_height=size[1], poses=poses)
    try:
        read = message_to_poses(message, MODEL)
    except MessageError as error:
        assert '\n' not in str(error)
    else:
        for pose in read:
            assert np.isfinite(pose.keypoints[pose.visible]).all()
            assert np.isnan(pose.keypoints[~pose.visible]).all()


def test_an_estimate_in_the_optical_frame_keeps_its_values() -> None:
    message = estimates_to_message([an_estimate()], 'submarine', HEADER)
    assert message.header == HEADER
    (result,) = message.orientations
    position, rotation = result.pose.pose.position, result.pose.pose.orientation
    assert (position.x, position.y, position.z) == (0.5, -0.25, 2.0)
    np.testing.assert_allclose([rotation.x, rotation.y, rotation.z, rotation.w], an_estimate().quaternion, atol=1e-15)
    np.testing.assert_allclose([result.roll, result.pitch, result.yaw], [0.1, -0.2, 0.3], atol=1e-12)  # rounding
    np.testing.assert_array_equal(result.pose.covariance.reshape(6, 6), np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert (result.object_name, result.track_id, result.keypoints_used) == ('submarine', 3, 4)
    assert (result.reprojection_error_px, result.ambiguity, result.outlier_suspected) == (0.75, 0.125, False)
    assert np.isnan(result.outline_agreement)


def test_the_body_frame_turns_position_rotation_and_covariance() -> None:
    ahead = an_estimate(pose=Rigid(R_BODY_OPTICAL.T, np.array([0.5, -0.25, 2.0])))
    located = ahead.in_frame('camera_body', BODY_OPTICAL)
    (result,) = estimates_to_message([located], 'submarine', HEADER).orientations
    position, rotation = result.pose.pose.position, result.pose.pose.orientation
    assert (position.x, position.y, position.z) == (
        2.0,
        -0.5,
        0.25,
    )  # optical (right, down, ahead) -> (ahead, left, up)
    np.testing.assert_allclose([rotation.x, rotation.y, rotation.z, rotation.w], [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose([result.roll, result.pitch, result.yaw], 0.0, atol=1e-12)
    # variances follow their axes: ahead was optical z, left -x, up -y
    assert np.diag(result.pose.covariance.reshape(6, 6)).tolist() == [3.0, 1.0, 2.0, 6.0, 4.0, 5.0]


def test_a_reference_frame_elsewhere_adds_its_translation() -> None:
    R = matrix_from_roll_pitch_yaw(np.array([0.0, 0.0, np.pi / 2]))
    located = an_estimate().in_frame('map', Rigid(R, np.array([10.0, 20.0, 30.0])))
    (result,) = estimates_to_message([located], 'submarine', HEADER).orientations
    position = result.pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [10.25, 20.5, 32.0], atol=1e-12)
    np.testing.assert_allclose([result.roll, result.pitch, result.yaw - np.pi / 2], [0.1, -0.2, 0.3], atol=1e-12)


def test_a_pose_that_the_outline_has_measured_says_so() -> None:
    (result,) = estimates_to_message([an_estimate(outline_agreement=0.75)], 'submarine', HEADER).orientations
    assert result.outline_agreement == 0.75


def test_an_untracked_coasting_estimate_says_so() -> None:
    coasting = an_estimate(track_id=None, keypoints_used=0, reprojection_error_px=np.nan, outlier_suspected=True)
    (result,) = estimates_to_message([coasting], 'submarine', HEADER).orientations
    assert (result.track_id, result.keypoints_used) == (Orientation.TRACK_ID_NOT_TRACKED, 0)
    assert np.isnan(result.reprojection_error_px)
    assert result.outlier_suspected


def test_transforms_survive_the_way_there_and_back() -> None:
    R, t = matrix_from_roll_pitch_yaw(np.array([0.3, 1.0, -2.0])), np.array([1.0, 2.0, 3.0])
    R_back, t_back = transform_from_message(transform_message(Rigid(R, t)))
    np.testing.assert_allclose(R_back, R, atol=1e-15)
    np.testing.assert_array_equal(t_back, t)
    with pytest.raises(ValueError, match='not all zero'):
        transform_from_message(Transform(translation=Vector3(), rotation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


def test_stamps_keep_microseconds_of_todays_dates() -> None:
    assert stamp_seconds(Time(sec=1_800_000_000, nanosec=123_456_789)) == pytest.approx(
        1_800_000_000.123456789, abs=1e-6
    )


def test_an_image_survives_the_way_there_and_back_and_keeps_its_header() -> None:
    picture = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    message = bgr_to_image(picture[:, ::2], HEADER)  # not contiguous
    assert (message.header, message.encoding, message.step) == (HEADER, 'bgr8', 12)
    assert (message.width, message.height) == (4, 6)
    assert isinstance(message.data, array.array)
    np.testing.assert_array_equal(image_to_bgr(message), picture[:, ::2])


def test_compressed_images_of_rclpy_are_read() -> None:
    picture = np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)
    message = CompressedImage(format='png', data=array.array('B', cv2.imencode('.png', picture)[1].tobytes()))
    np.testing.assert_array_equal(image_to_bgr(message), picture)


INFO = CameraInfo(
    width=640, height=480, distortion_model='plumb_bob', d=[0.1, -0.05, 0.001, 0.002, 0.0],
    k=[500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0],
    p=[480.0, 0.0, 310.0, 0.0, 0.0, 490.0, 230.0, 0.0, 0.0, 0.0, 1.0, 0.0],
)  # fmt: skip


def info(**changes) -> CameraInfo:
    message = copy.deepcopy(INFO)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def test_camera_info_of_a_raw_image_gives_k_and_d() -> None:
    camera = stated_camera(info())
    assert (camera.width, camera.height, camera.distortion_model) == (640, 480, 'plumb_bob')
    np.testing.assert_array_equal(camera.K, [[500, 0, 319.5], [0, 510, 239.5], [0, 0, 1]])
    np.testing.assert_array_equal(camera.D, [0.1, -0.05, 0.001, 0.002, 0.0])


def test_camera_info_of_a_rectified_image_gives_p_without_distortion() -> None:
    camera = stated_camera(info(), rectified=True)
    np.testing.assert_array_equal(camera.K, [[480, 0, 310], [0, 490, 230], [0, 0, 1]])
    assert not camera.has_distortion


def test_region_of_interest_and_binning_give_the_camera_of_the_delivered_image() -> None:
    roi = RegionOfInterest(x_offset=100, y_offset=40, width=320, height=240)
    camera = stated_camera(info(roi=roi, binning_x=2, binning_y=4))
    assert (camera.width, camera.height) == (160, 60)
    full = stated_camera(info())
    point = np.array([[0.05, -0.1, 1.0]])
    x, y = full.project(point)[0]
    # the centre of full-resolution pixel i lies at (i + 0.5) / binning - 0.5 of the binned image
    wanted = [(x - 100 + 0.5) / 2 - 0.5, (y - 40 + 0.5) / 4 - 0.5]
    np.testing.assert_allclose(camera.project(point)[0], wanted, atol=1e-9)


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (info(k=[0.0] * 9), 'focal lengths above 0 px, got fx = 0, fy = 0; an uncalibrated camera sends zeros'),
        (info(k=[np.nan] * 9), 'K: wanted finite numbers'),
        (info(d=[np.nan] * 5), 'D: wanted finite numbers'),
        (info(d=[0.1, 0.2]), 'D: wanted 4 or 5 coefficients for plumb_bob'),
        (info(width=0), 'width: wanted a whole number of pixels from 1 to'),
        (info(distortion_model='magic'), 'distortion_model: wanted one of plumb_bob, .*, got .magic.'),
        (
            info(roi=RegionOfInterest(x_offset=600, width=100, height=100)),
            r'roi: wanted a region inside 640x480, got 100x100 at \(600, 0\)',
        ),
        (info(binning_x=1000), 'binning: wanted images of a pixel or more, got 1000x1 for 640x480'),
    ],
)
def test_camera_info_that_is_no_calibration_is_refused(message: CameraInfo, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        stated_camera(message)


def test_a_rectified_camera_without_p_is_refused() -> None:
    with pytest.raises(ConfigError, match='P: is missing, and the images are rectified'):
        stated_camera(info(p=[0.0] * 12), rectified=True)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 700), min_size=8, max_size=8),
    k=st.lists(NUMBERS, min_size=9, max_size=9),
    d=st.lists(NUMBERS, max_size=9),
    model=st.sampled_from(['', 'plumb_bob', 'equidistant', 'rational_polynomial', 'x']),
    rectified=st.booleans(),
)
def test_any_camera_info_gives_a_camera_or_one_line(sizes, k, d, model, rectified) -> None:
    roi = RegionOfInterest(x_offset=sizes[2], y_offset=sizes[3], width=sizes[4], height=sizes[5])
    message = CameraInfo(width=sizes[0], height=sizes[1], roi=roi, binning_x=sizes[6], binning_y=sizes[7])
    message.k, message.d, message.p, message.distortion_model = k, d, [*k, *k[:3]], model
    try:
        camera = stated_camera(message, rectified)
    except ConfigError as error:
        assert '\n' not in str(error)
    else:
        assert np.isfinite(camera.K).all()
