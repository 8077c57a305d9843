"""Messages of a bag <-> core dataclasses: calibrations, recorded poses and orientations, and those to be written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation import OrientationEstimate
from custom_pose_ros.core.poses import KeypointPose
from custom_pose_ros.core.rotations import matrix_from_quaternion

NOT_TRACKED = -1


def camera_from_message(message: Any) -> CameraIntrinsics:
    """
    Return the intrinsics of the raw images that a CameraInfo (ROS 1 or 2) belongs to, after its region and binning.

    Raises ConfigError when it is not a calibration (an uncalibrated camera sends zeros).
    """
    K, D = (getattr(message, name, None) for name in 'kd')
    if K is None:  # ROS 1 spells them in capitals
        K, D = message.K, message.D
    camera = CameraIntrinsics.from_camera_info_fields(
        width=message.width, height=message.height, distortion_model=message.distortion_model, d=D, k=K
    )
    roi, binning = message.roi, (max(message.binning_x, 1), max(message.binning_y, 1))
    width, height = roi.width or message.width, roi.height or message.height
    if roi.x_offset + width > message.width or roi.y_offset + height > message.height:
        raise ConfigError('camera: roi: wanted a region inside the image')
    if (width, height) == (message.width, message.height) and binning == (1, 1):
        return camera
    K = camera.K.copy()
    K[:2, 2] -= roi.x_offset, roi.y_offset
    for axis in (0, 1):
        K[axis] /= binning[axis]
        K[axis, 2] += 0.5 / binning[axis] - 0.5  # (0, 0) is the centre of a pixel, also of a binned one
    return CameraIntrinsics(width // binning[0], height // binning[1], K, camera.D, camera.distortion_model)


def poses_from_message(message: Any, model: ObjectModel) -> list[KeypointPose]:
    """Return the poses of a recorded PoseArray; MessageError when it is about another object."""
    if tuple(message.keypoint_names) != model.keypoint_names:
        raise MessageError(
            f'recorded poses have the keypoints [{", ".join(message.keypoint_names):.120}], object {model.name} has '
            f'[{", ".join(model.keypoint_names)}]; give the object they were made with (--object)'
        )
    return [_pose(pose, model) for pose in message.poses]


def _pose(message: Any, model: ObjectModel) -> KeypointPose:
    if len(message.keypoints) != model.keypoint_count:
        raise MessageError(f'a recorded pose has {len(message.keypoints)} keypoints, wanted {model.keypoint_count}')
    rows = np.array([(k.x, k.y, *k.covariance, k.score) for k in message.keypoints], float)
    visible = np.array([bool(k.visible) for k in message.keypoints]) & np.isfinite(rows[:, [0, 1, 5]]).all(1)
    rows[~visible, :5], rows[~visible, 5] = np.nan, 0.0
    return KeypointPose(
        keypoints=rows[:, :2],
        covariances=rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2),
        scores=rows[:, 5],
        visible=visible,
        score=float(message.score),
        track_id=_track_id(message.track_id),
    )


def estimates_from_message(message: Any, model: ObjectModel) -> list[OrientationEstimate]:
    """Return the estimates of a recorded OrientationArray; those that are no pose (NaN, zero) are left out."""
    estimates = []
    for item in message.orientations:
        position, quaternion = item.pose.pose.position, item.pose.pose.orientation
        t = np.array([position.x, position.y, position.z])
        q = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w])
        covariance = np.asarray(item.pose.covariance, float).reshape(6, 6)
        if not (np.isfinite(t).all() and np.isfinite(q).all() and 1e-3 < np.linalg.norm(q) < 1e3):
            continue
        estimates.append(
            OrientationEstimate(
                R_camera_object=matrix_from_quaternion(q),
                t_camera_object=t,
                covariance=covariance,
                reprojection_error_px=float(item.reprojection_error_px),
                ambiguity=float(item.ambiguity),
                track_id=_track_id(item.track_id),
                keypoints_used=int(item.keypoints_used),
                outlier_suspected=bool(item.outlier_suspected),
                zero_rotation=model.zero_rotation,
            )
        )
    return estimates


def _track_id(number: int) -> int | None:
    return None if number == NOT_TRACKED else int(number)


class MessageMaker:
    """Builds the messages that the nodes would publish, as rosbags objects of a typestore with custom_pose_msgs."""

    def __init__(self, types: Typestore, model: ObjectModel):
        self._types, self._model = types.types, model

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs/Header."""
        stamp = self._types['builtin_interfaces/msg/Time'](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)

    def pose_array(self, header: Any, poses: Sequence[KeypointPose], width: int, height: int) -> Any:
        """Return a custom_pose_msgs/PoseArray of one image."""
        return self._types['custom_pose_msgs/msg/PoseArray'](
            header=header,
            image_width=width,
            image_height=height,
            keypoint_names=list(self._model.keypoint_names),
            skeleton=np.array([index for edge in self._model.skeleton for index in edge], np.uint16),
            poses=[self._pose(pose) for pose in poses],
        )

    def _pose(self, pose: KeypointPose) -> Any:
        left, top, right, bottom = pose.box
        covariances = np.ascontiguousarray(pose.covariances[:, (0, 0, 1), (0, 1, 1)])
        return self._types['custom_pose_msgs/msg/Pose'](
            object_name=self._model.name,
            track_id=NOT_TRACKED if pose.track_id is None else pose.track_id,
            score=float(pose.score),
            box_x=float(left),
            box_y=float(top),
            box_width=float(right - left),
            box_height=float(bottom - top),
            keypoints=[
                self._types['custom_pose_msgs/msg/Keypoint'](
                    x=x, y=y, covariance=covariance, score=score, visible=visible
                )
                for (x, y), covariance, score, visible in zip(
                    pose.keypoints.tolist(), covariances, pose.scores.tolist(), pose.visible.tolist()
                )
            ],
            TRACK_ID_NOT_TRACKED=NOT_TRACKED,
        )

    def orientation_array(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a custom_pose_msgs/OrientationArray of one image, in the frame of the camera."""
        orientations = [self._orientation(estimate) for estimate in estimates]
        return self._types['custom_pose_msgs/msg/OrientationArray'](header=header, orientations=orientations)

    def _orientation(self, estimate: OrientationEstimate) -> Any:
        roll, pitch, yaw = estimate.roll_pitch_yaw.tolist()
        return self._types['custom_pose_msgs/msg/Orientation'](
            object_name=self._model.name,
            track_id=NOT_TRACKED if estimate.track_id is None else estimate.track_id,
            pose=self._types['geometry_msgs/msg/PoseWithCovariance'](
                pose=self._rigid_pose(estimate), covariance=np.ascontiguousarray(estimate.covariance.ravel())
            ),
            roll=roll,
            pitch=pitch,
            yaw=yaw,
            reprojection_error_px=float(estimate.reprojection_error_px),
            ambiguity=float(estimate.ambiguity),
            keypoints_used=int(estimate.keypoints_used),
            outlier_suspected=bool(estimate.outlier_suspected),
            TRACK_ID_NOT_TRACKED=NOT_TRACKED,
        )

    def _rigid_pose(self, estimate: OrientationEstimate) -> Any:
        point = self._types['geometry_msgs/msg/Point'](*estimate.t_camera_object.tolist())
        quaternion = self._types['geometry_msgs/msg/Quaternion'](*estimate.quaternion.tolist())
        return self._types['geometry_msgs/msg/Pose'](position=point, orientation=quaternion)

    def pose_stamped(self, header: Any, estimate: OrientationEstimate) -> Any:
        """Return a geometry_msgs/PoseStamped."""
        return self._types['geometry_msgs/msg/PoseStamped'](header=header, pose=self._rigid_pose(estimate))

    def transforms(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a tf2_msgs/TFMessage: the frame of the camera to `<object>_<track id>` for each tracked instance."""
        make = self._types
        return make['tf2_msgs/msg/TFMessage'](
            transforms=[
                make['geometry_msgs/msg/TransformStamped'](
                    header=header,
                    child_frame_id=f'{self._model.name}_{estimate.track_id}',
                    transform=make['geometry_msgs/msg/Transform'](
                        translation=make['geometry_msgs/msg/Vector3'](*estimate.t_camera_object.tolist()),
                        rotation=make['geometry_msgs/msg/Quaternion'](*estimate.quaternion.tolist()),
                    ),
                )
                for estimate in estimates
                if estimate.track_id is not None
            ]
        )
