"""Writes the files of a clip: clip.mp4, camera.yaml, ground_truth.json, and a rosbag2."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from custom_pose_ros.core.command_line import optional_packages
from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.files import holds_entries, not_own, replacing, write_json, write_text
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.core.yaml_files import read_yaml
from training.synthetic.output.clip import ClipFrame

CLIP, CALIBRATION, TRUTH, BAG = 'clip.mp4', 'camera.yaml', 'ground_truth.json', 'bag'
_METADATA, _MARK = 'metadata.yaml', ('written_by', 'training/synthesize.py of custom_pose_ros')  # of a bag
CAMERA_NAME = 'camera'
CAMERA_FRAME = 'camera_optical_frame'
JPEG_QUALITY = 90
is_truth = holds_entries('camera_name', 'frames')  # of a file

DOCUMENTATION = {
    'stamp_s': 'time of the frame from the start of the clip [s]; frame n of the video is frames[n]',
    'keypoints_px': 'x, y of each keypoint [px], in the order of `keypoints`; (0, 0): centre of the top-left pixel',
    'visible': 'true where nothing hides the keypoint',
    'R_camera_object': 'rotation matrix, row by row: object frame (x forward, y left, z up) to camera optical frame '
    '(x right, y down, z forward)',
    't_camera_object': 'origin of the object frame in the camera optical frame [m]',
}


def write_clip(
    folder: Path, frames: Iterable[ClipFrame], camera: CameraIntrinsics, model: ObjectModel, rate_hz: float, bag: bool
) -> None:
    """
    Write clip.mp4, camera.yaml and ground_truth.json, and with `bag` also the rosbag2 folder `bag` (mcap).

    Raises:
        OutputError: when the folder cannot take them.
    """
    truth = []
    with contextlib.ExitStack() as outputs:
        # By way of `replacing`, because a video that Ctrl-C ends would be kept without its ground truth.
        video_path = outputs.enter_context(replacing(folder / CLIP))
        video = outputs.enter_context(VideoFile(video_path, rate_hz))
        recorder = outputs.enter_context(record_bag(folder / BAG, camera, model)) if bag else None
        for frame in frames:
            video.write(frame.image)
            if recorder is not None:
                recorder.write(frame)
            truth.append(_truth(frame))
    calibration = camera.to_yaml_dict(CAMERA_NAME)
    write_text(folder / CALIBRATION, yaml.safe_dump(calibration, sort_keys=False, default_flow_style=None))
    content = {
        'object': model.name,
        'keypoints': list(model.keypoint_names),
        'camera_name': CAMERA_NAME,
        'camera_frame': CAMERA_FRAME,
        'rate_hz': rate_hz,
        'fields': DOCUMENTATION,
        'frames': truth,
    }
    write_json(folder / TRUTH, content, indent=None)


def check_bag(folder: Path, author: str) -> None:
    """Raise OutputError where a bag would replace anything but a bag that `record_bag` wrote."""
    if os.path.lexists(folder):
        own = {folder / _METADATA, folder / f'{folder.name}.mcap'}
        others = sorted(set(folder.iterdir()) - own) if folder.is_dir() else []
        if others or not _has_mark(folder / _METADATA):
            raise not_own([*others, folder][0], author)


def _has_mark(metadata: Path) -> bool:
    try:
        return dict([_MARK]) == read_yaml(metadata, '')['rosbag2_bagfile_information']['custom_data']
    except (ConfigError, KeyError, TypeError):
        return False


def _truth(frame: ClipFrame) -> dict[str, Any]:
    return {
        'stamp_s': round(frame.stamp_s, 6),
        'keypoints_px': [[round(float(v), 3) for v in pixel] for pixel in frame.pixels],
        'visible': [bool(flag == 2) for flag in frame.flags],
        'R_camera_object': [round(float(v), 9) for v in frame.camera_object.rotation.ravel()],
        't_camera_object': [round(float(v), 6) for v in frame.camera_object.translation],
    }


@contextlib.contextmanager
def record_bag(folder: Path, camera: CameraIntrinsics, model: ObjectModel) -> Iterator[BagRecorder]:
    """Yield a recorder; its bag takes the place of `folder` when the block ends well."""
    with optional_packages('synthesize', ['bags']):
        from rosbags.rosbag2 import StoragePlugin, Writer
    with replacing(folder) as temporary, Writer(temporary, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.set_custom_data(*_MARK)
        yield BagRecorder(writer, camera, f'{model.name}_ground_truth')


class BagRecorder:
    """
    Writes the image (JPEG), its CameraInfo, and the true pose on /tf and as PoseStamped into a bag.

    Topics: camera/image/compressed, camera/camera_info, /tf (camera optical frame -> object), ground_truth/pose.
    """

    def __init__(self, writer: Any, camera: CameraIntrinsics, child_frame: str):
        from rosbags.typesys import Stores, get_typestore

        self._writer, self._camera, self._child = writer, camera, child_frame
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        types = {
            '/camera/image/compressed': 'sensor_msgs/msg/CompressedImage',
            '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
            '/tf': 'tf2_msgs/msg/TFMessage',
            '/ground_truth/pose': 'geometry_msgs/msg/PoseStamped',
        }
        self._topics = {
            topic: self._writer.add_connection(topic, name, typestore=self._store) for topic, name in types.items()
        }

    def write(self, frame: ClipFrame) -> None:
        """Add one frame: image, camera, transform and pose, all with the frame's stamp."""
        header = self._header(frame.stamp_s)
        x_y_z_w = map(float, quaternion_from_matrix(frame.camera_object.rotation))
        quaternion = self._message('geometry_msgs/msg/Quaternion', *x_y_z_w)
        position = tuple(map(float, frame.camera_object.translation))
        pose = self._message('geometry_msgs/msg/Pose', self._message('geometry_msgs/msg/Point', *position), quaternion)
        vector = self._message('geometry_msgs/msg/Vector3', *position)
        transform = self._message('geometry_msgs/msg/Transform', vector, quaternion)
        stamped = self._message('geometry_msgs/msg/TransformStamped', header, self._child, transform)
        self._add('/camera/image/compressed', frame.stamp_s, self._image(header, frame.image))
        self._add('/camera/camera_info', frame.stamp_s, self._camera_info(header))
        self._add('/tf', frame.stamp_s, self._message('tf2_msgs/msg/TFMessage', [stamped]))
        self._add('/ground_truth/pose', frame.stamp_s, self._message('geometry_msgs/msg/PoseStamped', header, pose))

    def _message(self, name: str, *fields: Any) -> Any:
        return self._store.types[name](*fields)

    def _add(self, topic: str, stamp_s: float, message: Any) -> None:
        connection = self._topics[topic]
        self._writer.write(connection, _nanoseconds(stamp_s), self._store.serialize_cdr(message, connection.msgtype))

    def _header(self, stamp_s: float) -> Any:
        seconds, nanoseconds = divmod(_nanoseconds(stamp_s), 10**9)
        stamp = self._message('builtin_interfaces/msg/Time', seconds, nanoseconds)
        return self._message('std_msgs/msg/Header', stamp, CAMERA_FRAME)

    def _image(self, header: Any, image: np.ndarray) -> Any:
        jpeg = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        return self._message('sensor_msgs/msg/CompressedImage', header, 'bgr8; jpeg compressed bgr8', jpeg.ravel())

    def _camera_info(self, header: Any) -> Any:
        camera = self._camera
        K = np.ascontiguousarray(camera.K, float)
        projection = np.hstack([K, np.zeros((3, 1))]).ravel()
        region = self._message('sensor_msgs/msg/RegionOfInterest', 0, 0, 0, 0, False)
        lens = (camera.height, camera.width, camera.distortion_model, np.array(camera.D, float))
        matrices = (K.ravel(), np.eye(3).ravel(), projection)
        return self._message('sensor_msgs/msg/CameraInfo', header, *lens, *matrices, 0, 0, region)


def _nanoseconds(stamp_s: float) -> int:
    """Return the bag time of a stamp; bags begin at 1 s, because 0 means 'no time' in ROS."""
    return round(stamp_s * 1e9) + 10**9
