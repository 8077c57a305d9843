"""
Core dataclasses -> messages, and transforms back; messages with images and poses are read in inference.

The only import of custom_pose_msgs, with a hint how to build it.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseWithCovariance, Quaternion, Transform, Vector3
from geometry_msgs.msg import Pose as RigidPose
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion, quaternion_from_matrix
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.inference.pose_messages import keypoint_fields, orientation_fields, pose_fields

try:
    from custom_pose_msgs.msg import Keypoint, Orientation, OrientationArray, Pose, PoseArray
    from custom_pose_msgs.srv import SwitchObject  # noqa: F401 - of object_switch

    if not hasattr(Orientation, 'outline_agreement'):
        raise ImportError('it was built from an older version')
except ImportError as error:
    raise ImportError(
        'custom_pose_msgs is not built or not sourced (plain "colcon build" does not find the nested package). '
        'With ROS 2: "colcon build --base-paths . custom_pose_msgs" in the repository, then source install/setup.bash. '
        f'Without ROS 2: "make demo" builds it into .venv. ({error})'
    ) from error

_NO_POSE = RigidPose(
    position=Point(x=math.nan, y=math.nan, z=math.nan),
    orientation=Quaternion(x=math.nan, y=math.nan, z=math.nan, w=math.nan),
)


def stamp_seconds(stamp: Time) -> float:
    """Return a message stamp in seconds; float64 keeps 0.2 us of today's dates."""
    return stamp.sec + 1e-9 * stamp.nanosec


def stamp_nanoseconds(stamp: Time) -> int:
    """Return a message stamp in nanoseconds, exactly."""
    return stamp.sec * 10**9 + stamp.nanosec


def poses_to_message(
    poses: Sequence[KeypointPose], model: ObjectModel, header: Header, width: int, height: int
) -> PoseArray:
    """Return the PoseArray of one image; the header is used as it is, an empty list gives an empty array."""
    return PoseArray(
        header=header,
        image_width=width,
        image_height=height,
        keypoint_names=list(model.keypoint_names),
        skeleton=[index for edge in model.skeleton for index in edge],
        poses=[
            Pose(
                keypoints=_keypoint_messages(pose),
                alternative=_keypoint_messages(pose.alternative),
                **pose_fields(pose, model.name),
            )
            for pose in poses
        ],
    )


def _keypoint_messages(pose: KeypointPose | None) -> list[Keypoint]:
    return [Keypoint(**fields) for fields in keypoint_fields(pose)]


def estimates_to_message(
    estimates: Sequence[OrientationEstimate], object_name: str, header: Header
) -> OrientationArray:
    """Return the OrientationArray of one image; the header is used as it is and names the frame of the estimates."""
    orientations = [
        Orientation(
            pose=PoseWithCovariance(pose=rigid_pose_message(estimate.pose), covariance=estimate.covariance.ravel()),
            alternative=_NO_POSE if estimate.alternative is None else rigid_pose_message(estimate.alternative),
            **orientation_fields(estimate, object_name),
        )
        for estimate in estimates
    ]
    return OrientationArray(header=header, orientations=orientations)


def bgr_to_image(bgr: np.ndarray, header: Header) -> Image:
    """Return a bgr8 image message of an (H, W, 3) uint8 array; the header is used as it is."""
    height, width = bgr.shape[:2]
    message = Image(header=header, height=height, width=width, encoding='bgr8', step=3 * width)
    data = array.array('B')  # rclpy checks any other type value by value
    data.frombytes(memoryview(np.ascontiguousarray(bgr)).cast('B'))
    message.data = data
    return message


def rigid_pose_message(pose: Rigid) -> RigidPose:
    """Return the geometry_msgs/Pose of a transform."""
    x, y, z = pose.translation.tolist()
    return RigidPose(position=Point(x=x, y=y, z=z), orientation=_quaternion_message(pose.rotation))


def transform_message(transform: Rigid) -> Transform:
    """Return the geometry_msgs/Transform of a transform."""
    x, y, z = transform.translation.tolist()
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion_message(transform.rotation))


def transform_from_message(message: Transform) -> Rigid:
    """Return the transform of a geometry_msgs/Transform."""
    at = message.translation
    return Rigid(rotation_from_message(message.rotation), np.array([at.x, at.y, at.z]))


def rotation_from_message(message: Quaternion) -> np.ndarray:
    """Return the (3, 3) rotation matrix of a geometry_msgs/Quaternion."""
    return matrix_from_quaternion(np.array([message.x, message.y, message.z, message.w]))


def _quaternion_message(R: np.ndarray) -> Quaternion:
    x, y, z, w = quaternion_from_matrix(R).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)
