"""Messages of a bag <-> core dataclasses: recorded orientations, and the results that are written into a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.inference.pose_messages import keypoint_fields, orientation_fields, pose_fields, track_id_of


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
                pose=Rigid(matrix_from_quaternion(q), t),
                covariance=covariance,
                reprojection_error_px=float(item.reprojection_error_px),
                ambiguity=float(item.ambiguity),
                track_id=track_id_of(item),
                keypoints_used=int(item.keypoints_used),
                outlier_suspected=bool(item.outlier_suspected),
                model=model,
            )
        )
    return estimates


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
        keypoints = []
        for fields in keypoint_fields(pose):
            fields['covariance'] = np.array(fields['covariance'])
            keypoints.append(self._types['custom_pose_msgs/msg/Keypoint'](**fields))
        return self._types['custom_pose_msgs/msg/Pose'](keypoints=keypoints, **pose_fields(pose, self._model.name))

    def orientation_array(self, header: Any, estimates: Sequence[OrientationEstimate]) -> Any:
        """Return a custom_pose_msgs/OrientationArray of one image, in the frame of the camera."""
        orientations = [self._orientation(estimate) for estimate in estimates]
        return self._types['custom_pose_msgs/msg/OrientationArray'](header=header, orientations=orientations)

    def _orientation(self, estimate: OrientationEstimate) -> Any:
        pose = self._types['geometry_msgs/msg/PoseWithCovariance'](
            pose=self._rigid_pose(estimate), covariance=np.ascontiguousarray(estimate.covariance.ravel())
        )
        fields = orientation_fields(estimate, self._model.name)
        return self._types['custom_pose_msgs/msg/Orientation'](pose=pose, **fields)

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
