"""Messages <-> core dataclasses: images, keypoint poses, camera intrinsics, orientations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseWithCovariance, Quaternion, Transform, Vector3
from geometry_msgs.msg import Pose as RigidPose
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation import OrientationEstimate
from custom_pose_ros.core.poses import KeypointPose
from custom_pose_ros.core.rotations import matrix_from_quaternion, quaternion_from_matrix
from custom_pose_ros.nodes.images import bgr_to_image, image_to_bgr
from custom_pose_ros.nodes.messages import Keypoint, Orientation, OrientationArray, Pose, PoseArray

__all__ = [
    'bgr_to_image',
    'camera_from_message',
    'estimates_to_message',
    'image_to_bgr',
    'message_to_poses',
    'poses_to_message',
    'rigid_pose_message',
    'stamp_seconds',
    'transform_from_message',
    'transform_message',
]

MAX_POSES = 1000  # as many instances as an object file may allow


def stamp_seconds(stamp: Time) -> float:
    """Return a message stamp in seconds; float64 keeps 0.2 us of today's dates."""
    return stamp.sec + 1e-9 * stamp.nanosec


def poses_to_message(
    poses: Sequence[KeypointPose], model: ObjectModel, header: Header, width: int, height: int
) -> PoseArray:
    """Return the PoseArray of one image; the header is taken as it is, an empty list gives an empty array."""
    return PoseArray(
        header=header,
        image_width=width,
        image_height=height,
        keypoint_names=list(model.keypoint_names),
        skeleton=[index for edge in model.skeleton for index in edge],
        poses=[_pose_to_message(pose, model.name) for pose in poses],
    )


def _pose_to_message(pose: KeypointPose, object_name: str) -> Pose:
    left, top, right, bottom = pose.box
    return Pose(
        object_name=object_name,
        track_id=Pose.TRACK_ID_NOT_TRACKED if pose.track_id is None else pose.track_id,
        score=float(pose.score),
        box_x=left,
        box_y=top,
        box_width=right - left,
        box_height=bottom - top,
        keypoints=[
            Keypoint(x=x, y=y, covariance=[xx, xy, yy], score=score, visible=visible)
            for (x, y), ((xx, xy), (_, yy)), score, visible in zip(
                pose.keypoints.tolist(), pose.covariances.tolist(), pose.scores.tolist(), pose.visible.tolist()
            )
        ],
    )


def message_to_poses(message: PoseArray, model: ObjectModel) -> list[KeypointPose]:
    """
    Return the keypoint poses of a PoseArray of this object, in its order.

    Raises MessageError when it is about other keypoints, has no image size, too many poses, or a pose whose visible
    keypoints are incomplete or not finite. A covariance may be NaN: then the orientation uses its default.
    """
    if tuple(message.keypoint_names) != model.keypoint_names:
        raise MessageError(
            f'poses with keypoints [{", ".join(message.keypoint_names):.200}]: wanted those of {model.name}: '
            f'[{", ".join(model.keypoint_names)}]; give both nodes the same object'
        )
    if not (message.image_width and message.image_height):
        raise MessageError(f'poses of an image of {message.image_width}x{message.image_height} pixels: wanted its size')
    if len(message.poses) > MAX_POSES:
        raise MessageError(f'{len(message.poses)} poses in one message: wanted at most {MAX_POSES}')
    return [_message_to_pose(pose, i, model) for i, pose in enumerate(message.poses)]


def _message_to_pose(message: Pose, index: int, model: ObjectModel) -> KeypointPose:
    if len(message.keypoints) != model.keypoint_count:
        raise MessageError(f'poses[{index}] has {len(message.keypoints)} keypoints: wanted {model.keypoint_count}')
    rows = np.array([(k.x, k.y, *k.covariance, k.score) for k in message.keypoints])
    visible = np.array([k.visible for k in message.keypoints])
    if not np.isfinite(rows[visible][:, [0, 1, 5]]).all():
        raise MessageError(f'poses[{index}] has a visible keypoint whose position or score is not finite')
    rows[~visible, :5] = np.nan
    rows[~visible, 5] = 0.0
    return KeypointPose(
        keypoints=rows[:, :2],
        covariances=rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2),
        scores=rows[:, 5],
        visible=visible,
        score=message.score,
        track_id=None if message.track_id == Pose.TRACK_ID_NOT_TRACKED else message.track_id,
    )


def camera_from_message(message: CameraInfo, rectified: bool = False) -> CameraIntrinsics:
    """
    Return the intrinsics of the images that a CameraInfo belongs to, after its region of interest and binning.

    rectified : False for raw images: K and D; True for rectified images: P, without distortion.
    Raises ConfigError when it is not a calibration (an uncalibrated camera sends zeros).
    """
    if rectified:
        projection = np.reshape(message.p, (3, 4))
        camera = CameraIntrinsics(message.width, message.height, projection[:, :3])
    else:
        camera = CameraIntrinsics.from_camera_info_fields(
            width=message.width,
            height=message.height,
            distortion_model=message.distortion_model,
            d=message.d,
            k=message.k,
        )
    roi, binning = message.roi, (max(message.binning_x, 1), max(message.binning_y, 1))
    width, height = roi.width or message.width, roi.height or message.height
    if roi.x_offset + width > message.width or roi.y_offset + height > message.height:
        raise ConfigError(
            f'camera: roi: wanted a region inside {message.width}x{message.height}, '
            f'got {width}x{height} at ({roi.x_offset}, {roi.y_offset})'
        )
    if (width, height) == (message.width, message.height) and binning == (1, 1):
        return camera
    K = camera.K.copy()
    K[:2, 2] -= roi.x_offset, roi.y_offset
    for axis in (0, 1):
        K[axis] /= binning[axis]
        K[axis, 2] += 0.5 / binning[axis] - 0.5  # (0, 0) is the centre of a pixel, also of a binned one
    return CameraIntrinsics(width // binning[0], height // binning[1], K, camera.D, camera.distortion_model)


def estimates_to_message(
    estimates: Sequence[OrientationEstimate], object_name: str, header: Header, R: np.ndarray, t: np.ndarray
) -> OrientationArray:
    """
    Return the OrientationArray of one image in a reference frame; the header is taken as it is and names that frame.

    R, t : (3, 3) and (3,) m, map the camera optical frame to the reference frame; identity and zeros to stay in it.
    """
    orientations = [_estimate_to_message(estimate, object_name, R, t) for estimate in estimates]
    return OrientationArray(header=header, orientations=orientations)


def _estimate_to_message(estimate: OrientationEstimate, object_name: str, R: np.ndarray, t: np.ndarray) -> Orientation:
    turn = np.kron(np.eye(2), R)  # position and rotation errors are both about the axes of the frame
    roll, pitch, yaw = dataclasses.replace(estimate, R_reference_camera=R).roll_pitch_yaw.tolist()
    return Orientation(
        object_name=object_name,
        track_id=Orientation.TRACK_ID_NOT_TRACKED if estimate.track_id is None else estimate.track_id,
        pose=PoseWithCovariance(
            pose=rigid_pose_message(R @ estimate.R_camera_object, R @ estimate.t_camera_object + t),
            covariance=(turn @ estimate.covariance @ turn.T).ravel(),
        ),
        roll=roll,
        pitch=pitch,
        yaw=yaw,
        reprojection_error_px=float(estimate.reprojection_error_px),
        ambiguity=float(estimate.ambiguity),
        keypoints_used=int(estimate.keypoints_used),
        outlier_suspected=bool(estimate.outlier_suspected),
    )


def rigid_pose_message(R: np.ndarray, t: np.ndarray) -> RigidPose:
    """Return the geometry_msgs/Pose of a (3, 3) rotation and a (3,) position [m]."""
    x, y, z = t.tolist()
    return RigidPose(position=Point(x=x, y=y, z=z), orientation=_quaternion_message(R))


def transform_message(R: np.ndarray, t: np.ndarray) -> Transform:
    """Return the geometry_msgs/Transform of a (3, 3) rotation and a (3,) translation [m]."""
    x, y, z = t.tolist()
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion_message(R))


def transform_from_message(message: Transform) -> tuple[np.ndarray, np.ndarray]:
    """Return (R (3, 3), t (3,) m) of a geometry_msgs/Transform."""
    rotation, translation = message.rotation, message.translation
    R = matrix_from_quaternion(np.array([rotation.x, rotation.y, rotation.z, rotation.w]))
    return R, np.array([translation.x, translation.y, translation.z])


def _quaternion_message(R: np.ndarray) -> Quaternion:
    x, y, z, w = quaternion_from_matrix(R).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)
