"""
Messages with poses -> core dataclasses, and the other way round; needs no ROS.

Takes any object with the fields of the message, made by rclpy or by rosbags, and builds those of either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.limits import MAX_POSES
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate

NOT_TRACKED = -1  # TRACK_ID_NOT_TRACKED of Pose.msg and Orientation.msg


def message_to_poses(message: Any, model: ObjectModel) -> list[KeypointPose]:
    """
    Return the keypoint poses of a PoseArray of this object, in its order.

    A covariance may be NaN: then the orientation uses its default.

    Raises:
        MessageError: It is about other keypoints, has no image size, too many poses, or a pose whose visible keypoints
            are incomplete or not finite.
    """
    if tuple(message.keypoint_names) != model.keypoint_names:
        raise MessageError(
            f'poses with keypoints {", ".join(message.keypoint_names)[:200]!r}: wanted those of {model.name}: '
            f'[{", ".join(model.keypoint_names)}]; both sides need the same object'
        )
    if not (message.image_width and message.image_height):
        raise MessageError(f'poses of an image of {message.image_width}x{message.image_height} pixels: wanted its size')
    if len(message.poses) > MAX_POSES:
        raise MessageError(f'{len(message.poses)} poses in one message: wanted at most {MAX_POSES}')
    return [_message_to_pose(pose, i, model) for i, pose in enumerate(message.poses)]


def _message_to_pose(message: Any, index: int, model: ObjectModel) -> KeypointPose:
    """Return a pose; the fields of its alternative are absent in older recordings."""
    fields = _keypoints(message.keypoints, f'poses[{index}]', model)
    score, track_id = float(message.score), track_id_of(message)
    other = getattr(message, 'alternative', ())
    if not len(other):
        return KeypointPose(**fields, score=score, track_id=track_id)
    ambiguity = float(message.ambiguity)
    if not 0.0 <= ambiguity <= 1.0:
        raise MessageError(f'poses[{index}] has an alternative with ambiguity {ambiguity}: wanted 0 to 1')
    other_fields = _keypoints(other, f'the alternative of poses[{index}]', model)
    alternative = KeypointPose(**other_fields, score=float(message.alternative_score))
    return KeypointPose(**fields, score=score, track_id=track_id, alternative=alternative, ambiguity=ambiguity)


def _keypoints(messages: Any, place: str, model: ObjectModel) -> dict[str, np.ndarray]:
    """Return the arrays of a KeypointPose from the Keypoint messages at a place."""
    if len(messages) != model.keypoint_count:
        raise MessageError(f'{place} has {len(messages)} keypoints: wanted {model.keypoint_count}')
    rows = np.array([(k.x, k.y, *k.covariance, k.score) for k in messages])
    visible = np.array([bool(k.visible) for k in messages])
    if not np.isfinite(rows[visible][:, [0, 1, 5]]).all():
        raise MessageError(f'{place} has a visible keypoint whose position or score is not finite')
    rows[~visible, :5] = np.nan
    rows[~visible, 5] = 0.0
    covariances = rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
    return {'keypoints': rows[:, :2], 'covariances': covariances, 'scores': rows[:, 5], 'visible': visible}


def track_id_of(message: Any) -> int | None:
    """Return the track id of a Pose or Orientation message; None when nobody tracks."""
    return None if message.track_id == NOT_TRACKED else int(message.track_id)


class MessageMaker:
    """Builds the messages of poses, of the classes that rclpy or rosbags have for them."""

    def __init__(self, classes: Mapping[str, Callable[..., Any]], indices: Callable[[list[int]], Any] = list):
        """
        Remember the classes.

        Args:
            classes: By their full names, such as 'geometry_msgs/msg/Pose'.
            indices: Makes of a list what the class has in its place.
        """
        self._make, self._indices = classes, indices
        nan = math.nan
        self._no_pose = self._make['geometry_msgs/msg/Pose'](
            position=self._make['geometry_msgs/msg/Point'](x=nan, y=nan, z=nan),
            orientation=self._make['geometry_msgs/msg/Quaternion'](x=nan, y=nan, z=nan, w=nan),
        )

    def poses(self, poses: Sequence[KeypointPose], model: ObjectModel, header: Any, width: int, height: int) -> Any:
        """Return the PoseArray of one image; the header is used as it is, an empty list gives an empty array."""
        return self._make['custom_pose_msgs/msg/PoseArray'](
            header=header,
            image_width=width,
            image_height=height,
            keypoint_names=list(model.keypoint_names),
            skeleton=self._indices([index for edge in model.skeleton for index in edge]),
            poses=[self._pose(pose, model.name) for pose in poses],
        )

    def _pose(self, pose: KeypointPose, object_name: str) -> Any:
        left, top, right, bottom = (float(side) for side in pose.box)
        return self._make['custom_pose_msgs/msg/Pose'](
            object_name=object_name,
            track_id=NOT_TRACKED if pose.track_id is None else pose.track_id,
            score=float(pose.score),
            box_x=left,
            box_y=top,
            box_width=right - left,
            box_height=bottom - top,
            keypoints=self._keypoints(pose),
            alternative=[] if pose.alternative is None else self._keypoints(pose.alternative),
            ambiguity=float(pose.ambiguity),
            alternative_score=0.0 if pose.alternative is None else float(pose.alternative.score),
        )

    def _keypoints(self, pose: KeypointPose) -> list[Any]:
        make = self._make['custom_pose_msgs/msg/Keypoint']
        covariances = np.ascontiguousarray(pose.covariances.reshape(-1, 4)[:, [0, 1, 3]])  # rclpy copies bytes
        columns = (pose.keypoints.tolist(), covariances, pose.scores.tolist(), pose.visible.tolist())
        return [
            make(x=x, y=y, covariance=covariance, score=score, visible=visible)
            for (x, y), covariance, score, visible in zip(*columns)
        ]

    def orientations(self, estimates: Sequence[OrientationEstimate], object_name: str, header: Any) -> Any:
        """Return the OrientationArray of one image; the header is used as it is and names the estimates' frame."""
        orientations = [self._orientation(estimate, object_name) for estimate in estimates]
        return self._make['custom_pose_msgs/msg/OrientationArray'](header=header, orientations=orientations)

    def _orientation(self, estimate: OrientationEstimate, object_name: str) -> Any:
        roll, pitch, yaw = estimate.roll_pitch_yaw.tolist()
        return self._make['custom_pose_msgs/msg/Orientation'](
            object_name=object_name,
            track_id=NOT_TRACKED if estimate.track_id is None else estimate.track_id,
            pose=self._make['geometry_msgs/msg/PoseWithCovariance'](
                pose=self.rigid_pose(estimate.pose), covariance=estimate.covariance.ravel()
            ),
            roll=roll,
            pitch=pitch,
            yaw=yaw,
            reprojection_error_px=float(estimate.reprojection_error_px),
            ambiguity=float(estimate.ambiguity),
            alternative=self._no_pose if estimate.alternative is None else self.rigid_pose(estimate.alternative),
            keypoints_used=int(estimate.keypoints_used),
            outlier_suspected=bool(estimate.outlier_suspected),
            outline_agreement=float(estimate.outline_agreement),
        )

    def rigid_pose(self, pose: Rigid) -> Any:
        """Return the geometry_msgs/Pose of a transform."""
        x, y, z = pose.translation.tolist()
        at = self._make['geometry_msgs/msg/Point'](x=x, y=y, z=z)
        return self._make['geometry_msgs/msg/Pose'](position=at, orientation=self._quaternion(pose.rotation))

    def transform(self, transform: Rigid) -> Any:
        """Return the geometry_msgs/Transform of a transform."""
        x, y, z = transform.translation.tolist()
        at = self._make['geometry_msgs/msg/Vector3'](x=x, y=y, z=z)
        turned = self._quaternion(transform.rotation)
        return self._make['geometry_msgs/msg/Transform'](translation=at, rotation=turned)

    def _quaternion(self, R: np.ndarray) -> Any:
        x, y, z, w = quaternion_from_matrix(R).tolist()
        return self._make['geometry_msgs/msg/Quaternion'](x=x, y=y, z=z, w=w)
