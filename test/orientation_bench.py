"""An orientation_node with everything around it, and one pose that its camera sees."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    rotation_between,
)
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, poses_to_message

CAMERA = CameraIntrinsics(640, 480, np.array([[500.0, 0, 330.0], [0, 510.0, 235.0], [0, 0, 1]]))
R = R_BODY_OPTICAL.T @ matrix_from_roll_pitch_yaw(np.array([0.2, -0.3, 2.5]))
T = np.array([0.1, -0.2, 3.0])
# Keypoints are exact to float64 rounding; what is left is the stop of the solver's iteration.
ANGLE_TOLERANCE_RAD, POSITION_TOLERANCE_M = 1e-4, 1e-4


def keypoints_of(
    model: ObjectModel, R: np.ndarray, t: np.ndarray, camera: CameraIntrinsics, track_id: int | None
) -> KeypointPose:
    count = model.keypoint_count
    return KeypointPose(
        keypoints=camera.project(model.model_points @ R.T + t),
        covariances=np.tile(0.25 * np.eye(2), (count, 1, 1)),
        scores=np.ones(count),
        visible=np.ones(count, bool),
        score=0.9,
        track_id=track_id,
    )


def header(seconds: int = 10) -> Header:
    return Header(stamp=Time(sec=seconds, nanosec=123), frame_id='camera_optical_frame')


def info_of(camera: CameraIntrinsics) -> CameraInfo:
    return CameraInfo(
        width=camera.width, height=camera.height, distortion_model=camera.distortion_model, d=list(camera.D),
        k=camera.K.ravel(), header=header(),
    )  # fmt: skip


class Bench:
    """An orientation_node with everything around it."""

    def __init__(self, graph, model: ObjectModel, *arguments: str, **parameters):
        self.graph, self.model = graph, model
        self.node = graph.start(OrientationNode, *arguments, **{'object': model.source, **parameters})
        self.orientations = graph.listen('orientations', OrientationArray)
        self._poses = graph.advertise('poses', PoseArray)

    def calibrate(self, camera: CameraIntrinsics | CameraInfo = CAMERA, qos: QoSProfile | int = 10) -> None:
        """Publish camera_info and wait until the node works with it."""
        info = camera if isinstance(camera, CameraInfo) else info_of(camera)
        publisher = self.graph.advertise('camera_info', CameraInfo, qos)
        source = self.node._cameras[''].source
        self.graph.wait(lambda: publisher.publish(info) or source.state.startswith('camera_info'), 'camera_info', 0.02)

    def show(self, *poses: KeypointPose, seconds: int = 10, size: tuple[int, int] = (640, 480)) -> OrientationArray:
        """Publish keypoint poses and return the answer to them."""
        message = poses_to_message(poses, self.model, header(seconds), *size)
        return self.publish(message)

    def publish(self, message: PoseArray) -> OrientationArray:
        self._poses.publish(message)
        return self.orientations.wait(lambda answer: answer.header.stamp == message.header.stamp)

    def show_one(self, R: np.ndarray = R, t: np.ndarray = T, camera: CameraIntrinsics = CAMERA, seconds: int = 10):
        pose = keypoints_of(self.model, R, t, camera, 3)
        return self.show(pose, seconds=seconds, size=(camera.width, camera.height))


def assert_pose(pose, R: np.ndarray, t: np.ndarray) -> None:
    """Compare a geometry_msgs/Pose with the truth."""
    q = pose.orientation
    assert rotation_between(matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w])), R) < ANGLE_TOLERANCE_RAD
    position = [pose.position.x, pose.position.y, pose.position.z]
    np.testing.assert_allclose(position, t, atol=POSITION_TOLERANCE_M)
