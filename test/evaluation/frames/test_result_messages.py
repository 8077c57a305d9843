"""Messages as they come out of bags: pictures, calibrations and results of ROS 1 and ROS 2, written and read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bag_maker import CAMERA, ROS1, ROS2, START_NS, Messages

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.bags.decoding import pose_types
from custom_pose_ros.evaluation.frames.result_messages import MessageMaker, estimates_from_message
from custom_pose_ros.inference.camera_calibration import camera_from_message
from custom_pose_ros.inference.image_messages import image_to_bgr
from custom_pose_ros.inference.pose_messages import message_to_poses

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def through_a_bag(store: Any, message: Any, msgtype: str) -> Any:
    """Return what is read after a message was written."""
    if store is ROS1:
        return store.deserialize_ros1(bytes(store.serialize_ros1(message, msgtype)), msgtype)
    return store.deserialize_cdr(bytes(store.serialize_cdr(message, msgtype)), msgtype)


@pytest.mark.parametrize('store', [ROS1, ROS2])
def test_pictures_of_a_bag_are_read(store):
    make = Messages(store)
    raw = through_a_bag(store, make.image(START_NS, BGR), 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(image_to_bgr(raw), BGR)
    packed = through_a_bag(store, make.compressed(START_NS, BGR), 'sensor_msgs/msg/CompressedImage')
    np.testing.assert_array_equal(image_to_bgr(packed), BGR)
    raw.encoding = 'rgb8'
    np.testing.assert_array_equal(image_to_bgr(raw), BGR[..., ::-1])


@pytest.mark.parametrize('store', [ROS1, ROS2])
def test_calibrations_of_a_bag_are_read(store):
    """ROS 1 spells K, D, P in capitals."""
    message = through_a_bag(store, Messages(store).camera_info(START_NS), 'sensor_msgs/msg/CameraInfo')
    for rectified in (False, True):
        camera = camera_from_message(message, rectified)
        assert (camera.width, camera.height) == (CAMERA.width, CAMERA.height)
        np.testing.assert_array_equal(camera.K, CAMERA.K)


@pytest.fixture
def make(tiny_model) -> MessageMaker:
    return MessageMaker(pose_types(), tiny_model)


def a_pose(**changes: Any) -> KeypointPose:
    fields = {
        'keypoints': np.array([[10.5, 20.25], [30.0, 40.0], [np.nan, np.nan], [5.0, 60.0]]),
        'covariances': np.array([[[1.0, 0.25], [0.25, 2.0]], np.eye(2), np.full((2, 2), np.nan), 4 * np.eye(2)]),
        'scores': np.array([0.5, 0.75, 0.0, 1.0]),
        'visible': np.array([True, True, False, True]),
        'score': 0.625,
        'track_id': 7,
    }
    return KeypointPose(**{**fields, **changes})


def test_recorded_poses_are_those_that_were_written(make, tiny_model):
    poses = [a_pose(), a_pose(track_id=None)]
    message = make.pose_array(make.header(START_NS, 'camera'), poses, 320, 256)
    read = message_to_poses(through_a_bag(pose_types(), message, 'custom_pose_msgs/msg/PoseArray'), tiny_model)
    for before, after in zip(poses, read, strict=True):
        for name in ('keypoints', 'covariances', 'scores', 'visible', 'score', 'track_id'):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), name)


def test_recorded_poses_of_another_object_are_refused(make, tiny_model):
    message = make.pose_array(make.header(START_NS, 'camera'), [a_pose()], 320, 256)
    message.keypoint_names = ['nose', 'tail']
    with pytest.raises(MessageError, match=r"keypoints 'nose, tail': wanted those of tiny: \[front, left"):
        message_to_poses(message, tiny_model)


def an_estimate(**changes: Any) -> OrientationEstimate:
    fields = {
        'pose': Rigid(matrix_from_roll_pitch_yaw(np.array([0.1, -0.2, 0.3])), np.array([0.5, -0.25, 2.0])),
        'covariance': np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        'reprojection_error_px': 0.75,
        'ambiguity': 0.125,
        'track_id': 3,
        'keypoints_used': 4,
    }
    return OrientationEstimate(**{**fields, **changes})


def test_recorded_orientations_are_those_that_were_written_and_bad_ones_are_left_out(make, tiny_model):
    estimates = [an_estimate(), an_estimate(track_id=None, outlier_suspected=True, keypoints_used=0)]
    message = make.orientation_array(make.header(START_NS, 'camera'), [*estimates, an_estimate()])
    message.orientations[2].pose.pose.position.x = np.nan
    message = through_a_bag(pose_types(), message, 'custom_pose_msgs/msg/OrientationArray')
    assert [round(o.roll, 12) for o in message.orientations] == [0.1, 0.1, 0.1]
    for before, after in zip(estimates, estimates_from_message(message, tiny_model), strict=True):
        np.testing.assert_allclose(after.R_camera_object, before.R_camera_object, atol=1e-15)
        for name in ('t_camera_object', 'covariance', 'reprojection_error_px', 'ambiguity', 'track_id', 'coasting'):
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name), name)
        assert after.outlier_suspected == before.outlier_suspected
