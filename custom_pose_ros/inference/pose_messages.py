"""
Keypoint messages -> core dataclasses, and what the fields of pose messages are; needs no ROS.

Takes any object with the fields of the message, made by rclpy or by rosbags. Who builds a message picks the classes;
which value goes into which field stands here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from custom_pose_ros.core.errors import MessageError
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


def pose_fields(pose: KeypointPose, object_name: str) -> dict[str, Any]:
    """Return the fields of a Pose message but its keypoints and those of its alternative, see `keypoint_fields`."""
    left, top, right, bottom = (float(side) for side in pose.box)
    return {
        'object_name': object_name,
        'track_id': NOT_TRACKED if pose.track_id is None else pose.track_id,
        'score': float(pose.score),
        'box_x': left,
        'box_y': top,
        'box_width': right - left,
        'box_height': bottom - top,
        'ambiguity': float(pose.ambiguity),
        'alternative_score': 0.0 if pose.alternative is None else float(pose.alternative.score),
    }


def keypoint_fields(pose: KeypointPose | None) -> list[dict[str, Any]]:
    """Return the fields of the Keypoint messages of a pose, one for each keypoint of the object; none without one."""
    if pose is None:
        return []
    columns = (pose.keypoints.tolist(), pose.covariances.tolist(), pose.scores.tolist(), pose.visible.tolist())
    return [
        {'x': x, 'y': y, 'covariance': [xx, xy, yy], 'score': score, 'visible': visible}
        for (x, y), ((xx, xy), (_, yy)), score, visible in zip(*columns)
    ]


def orientation_fields(estimate: OrientationEstimate, object_name: str) -> dict[str, Any]:
    """Return the fields of an Orientation message but its poses; angles are about the estimate's reference frame."""
    roll, pitch, yaw = estimate.roll_pitch_yaw.tolist()
    return {
        'object_name': object_name,
        'track_id': NOT_TRACKED if estimate.track_id is None else estimate.track_id,
        'roll': roll,
        'pitch': pitch,
        'yaw': yaw,
        'reprojection_error_px': float(estimate.reprojection_error_px),
        'ambiguity': float(estimate.ambiguity),
        'keypoints_used': int(estimate.keypoints_used),
        'outlier_suspected': bool(estimate.outlier_suspected),
        'outline_agreement': float(estimate.outline_agreement),
    }
