"""
Core dataclasses -> messages, and transforms back; messages with images and poses are read in inference.

The only import of custom_pose_msgs, with a hint how to build it.
"""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseWithCovariance, Quaternion, Transform, Vector3
from geometry_msgs.msg import Pose as RigidPose
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion
from custom_pose_ros.inference.pose_messages import MessageMaker

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

_CLASSES = (
    Point, Quaternion, Vector3, Transform, RigidPose, PoseWithCovariance, Keypoint, Pose, PoseArray, Orientation,
    OrientationArray,
)  # fmt: skip
_make = MessageMaker({f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}': kind for kind in _CLASSES})
poses_to_message = _make.poses
estimates_to_message = _make.orientations
rigid_pose_message = _make.rigid_pose
transform_message = _make.transform


def stamp_seconds(stamp: Time) -> float:
    """Return a message stamp in seconds; float64 keeps 0.2 us of today's dates."""
    return stamp.sec + 1e-9 * stamp.nanosec


def stamp_nanoseconds(stamp: Time) -> int:
    """Return a message stamp in nanoseconds, exactly."""
    return stamp.sec * 10**9 + stamp.nanosec


def bgr_to_image(bgr: np.ndarray, header: Header) -> Image:
    """Return a bgr8 image message of an (H, W, 3) uint8 array; the header is used as it is."""
    height, width = bgr.shape[:2]
    message = Image(header=header, height=height, width=width, encoding='bgr8', step=3 * width)
    data = array.array('B')  # rclpy checks any other type value by value
    data.frombytes(memoryview(np.ascontiguousarray(bgr)).cast('B'))
    message.data = data
    return message


def transform_from_message(message: Transform) -> Rigid:
    """Return the transform of a geometry_msgs/Transform."""
    at = message.translation
    return Rigid(rotation_from_message(message.rotation), np.array([at.x, at.y, at.z]))


def rotation_from_message(message: Quaternion) -> np.ndarray:
    """Return the (3, 3) rotation matrix of a geometry_msgs/Quaternion."""
    return matrix_from_quaternion(np.array([message.x, message.y, message.z, message.w]))
