"""Small real bags with exactly known truth: the tiny object moving before a camera, in every format that is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Qos
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny_model import draw_tiny_object

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, quaternion_from_matrix

START_NS = 1_700_000_000_123_456_789
FRAME_NS = 33_000_000
SIZE = (320, 256)
CAMERA_FRAME = 'camera_optical_frame'
IMAGE, CAMERA_INFO, TRUTH = '/camera/image', '/camera/camera_info', '/truth/pose'
# Model points of the tiny object [m]: front, left, right, top.
POINTS = np.array([[0.5, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, -0.3, 0.0], [0.0, 0.0, 0.3]])
CAMERA = CameraIntrinsics.from_fov(*SIZE, math.radians(60.0))
TAG_0 = ('110101', '011101', '011000', '101000', '010110', '000100')  # white cells of tag36h11 number 0, upright
_TAG_CELL_PX, _TAG_SUPERSAMPLING = 24, 4
ROS2, ROS1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)


@dataclass(frozen=True, eq=False)
class Truth:
    """Pose of the object in the camera at a stamp [ns]: R (3, 3), t (3,) m."""

    stamp_ns: int
    R: np.ndarray
    t: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """(4, 2) keypoints in the image [px]."""
        return CAMERA.project(POINTS @ self.R.T + self.t)


def trajectory(frames: int, step_ns: int = FRAME_NS, start_ns: int = START_NS) -> list[Truth]:
    """Return a smooth swaying motion, always in view and seen from above at an angle."""
    base = matrix_from_rotation_vector(np.array([1.9, 0.2, -0.3]))
    poses = []
    for i in range(frames):
        s = i * step_ns * 1e-9
        turn = np.array([0.25 * math.sin(1.1 * s), 0.3 * math.cos(0.8 * s), 0.35 * math.sin(0.7 * s)])
        t = np.array([0.12 * math.sin(0.9 * s), 0.08 * math.cos(1.3 * s), 1.6 + 0.25 * math.sin(0.5 * s)])
        poses.append(Truth(start_ns + i * step_ns, matrix_from_rotation_vector(turn) @ base, t))
    return poses


class Messages:
    """Builds messages of a typestore; `ros1` for ROS 1 field names."""

    def __init__(self, types: Any = ROS2):
        self.store, self.types = types, types.types
        self.ros1 = types is ROS1

    def header(self, stamp_ns: int, frame: str = CAMERA_FRAME) -> Any:
        stamp = self.types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
        make = self.types['std_msgs/msg/Header']
        return make(0, stamp, frame) if self.ros1 else make(stamp, frame)

    def image(self, stamp_ns: int, bgr: np.ndarray, frame: str = CAMERA_FRAME) -> Any:
        height, width = bgr.shape[:2]
        data = np.ascontiguousarray(bgr).ravel()
        return self.types['sensor_msgs/msg/Image'](
            self.header(stamp_ns, frame), height, width, 'bgr8', 0, 3 * width, data
        )

    def compressed(self, stamp_ns: int, bgr: np.ndarray, suffix: str = '.png') -> Any:
        data = cv2.imencode(suffix, bgr)[1].ravel()
        return self.types['sensor_msgs/msg/CompressedImage'](self.header(stamp_ns), suffix[1:], data)

    def camera_info(self, stamp_ns: int, camera: CameraIntrinsics = CAMERA) -> Any:
        roi = self.types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
        projection = np.hstack([camera.K, np.zeros((3, 1))]).ravel()
        return self.types['sensor_msgs/msg/CameraInfo'](
            self.header(stamp_ns), camera.height, camera.width, camera.distortion_model, np.asarray(camera.D, float),
            camera.K.ravel(), np.eye(3).ravel(), projection, 0, 0, roi,
        )  # fmt: skip

    def pose_stamped(self, truth: Truth, frame: str = CAMERA_FRAME) -> Any:
        return self.types['geometry_msgs/msg/PoseStamped'](self.header(truth.stamp_ns, frame), self.pose(truth))

    def pose(self, truth: Truth) -> Any:
        point = self.types['geometry_msgs/msg/Point'](*truth.t.tolist())
        quaternion = self.types['geometry_msgs/msg/Quaternion'](*quaternion_from_matrix(truth.R).tolist())
        return self.types['geometry_msgs/msg/Pose'](point, quaternion)

    def transform(self, truth: Truth, parent: str, child: str) -> Any:
        vector = self.types['geometry_msgs/msg/Vector3'](*truth.t.tolist())
        quaternion = self.types['geometry_msgs/msg/Quaternion'](*quaternion_from_matrix(truth.R).tolist())
        transform = self.types['geometry_msgs/msg/Transform'](vector, quaternion)
        return self.types['geometry_msgs/msg/TransformStamped'](self.header(truth.stamp_ns, parent), child, transform)


def draw_tag(image: np.ndarray, camera: CameraIntrinsics, R: np.ndarray, t: np.ndarray, size_m: float) -> np.ndarray:
    """
    Return a copy of an image with tag 0 of tag36h11, upright as the AprilTag library prints it, on a white sheet.

    R, t : its pose in the camera; seen from the front x right, y down, z into the tag.
    size_m : edge of the black square.
    """
    cells = np.zeros((8, 8), np.uint8)
    cells[1:7, 1:7] = [[255 * int(cell) for cell in row] for row in TAG_0]
    sheet = np.pad(np.kron(cells, np.ones((_TAG_CELL_PX, _TAG_CELL_PX), np.uint8)), _TAG_CELL_PX, constant_values=255)
    metres = size_m / (8 * _TAG_CELL_PX)
    middle = (0.5 - 5 * _TAG_CELL_PX) * metres
    tag_from_sheet = np.array([[metres, 0, middle], [0, metres, middle], [0, 0, 1]])
    fine = _TAG_SUPERSAMPLING
    finer = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    H = finer @ camera.K @ np.column_stack([R[:, 0], R[:, 1], t]) @ tag_from_sheet
    size = (fine * camera.width, fine * camera.height)
    paper = cv2.warpPerspective(np.full_like(sheet, 255), H, size, flags=cv2.INTER_AREA)
    print_ = cv2.warpPerspective(sheet, H, size, flags=cv2.INTER_AREA)
    share, gray = (
        cv2.resize(part, (camera.width, camera.height), interpolation=cv2.INTER_AREA)[..., None]
        for part in (paper, print_)
    )
    return (image * (1.0 - share / 255.0) + gray).round().clip(0, 255).astype(np.uint8)


Entry = tuple[str, str, int, Any]  # topic, type, time of recording [ns], message


def tiny_entries(
    poses: Sequence[Truth],
    messages: Messages | None = None,
    compressed: str = '',
    truth_topic: str = TRUTH,
    truth_step_ns: int = 10_000_000,
) -> list[Entry]:
    """
    Return the messages of a dive: images (raw, or compressed as '.png' / '.jpg'), camera_info and true poses.

    The truth has its own rate, so that scoring has to interpolate.
    """
    make = messages or Messages()
    entries: list[Entry] = []
    kind = 'CompressedImage' if compressed else 'Image'
    for truth in poses:
        bgr = draw_tiny_object(truth.pixels, SIZE)
        image = make.compressed(truth.stamp_ns, bgr, compressed) if compressed else make.image(truth.stamp_ns, bgr)
        topic = IMAGE + '/compressed' if compressed else IMAGE
        entries.append((
            CAMERA_INFO,
            'sensor_msgs/msg/CameraInfo',
            truth.stamp_ns + 4_000_000,
            make.camera_info(truth.stamp_ns),
        ))
        entries.append((topic, f'sensor_msgs/msg/{kind}', truth.stamp_ns + 5_000_000, image))
    if truth_topic and poses:
        count = (poses[-1].stamp_ns - poses[0].stamp_ns) // truth_step_ns + 3
        for truth in trajectory(count, truth_step_ns, poses[0].stamp_ns):
            message = make.pose_stamped(truth)
            entries.append((truth_topic, 'geometry_msgs/msg/PoseStamped', truth.stamp_ns + 1_000_000, message))
    return sorted(entries, key=lambda entry: entry[2])


def write_bag(
    path: Path,
    entries: Iterable[Entry],
    storage: str = 'mcap',
    compression: str = 'none',
    store: Any = ROS2,
    empty_topics: Sequence[tuple[str, str]] = (),
    qos: Mapping[str, Qos] | None = None,
) -> Path:
    """Write a rosbag2 folder; storage mcap | sqlite3, compression none | file | message | storage; qos by topic."""
    writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
    writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, msgtype in empty_topics:
            connections[topic] = writer.add_connection(topic, msgtype, typestore=store)
        for topic, msgtype, time_ns, message in entries:
            if topic not in connections:
                profiles = [qos[topic]] if qos and topic in qos else []
                connections[topic] = writer.add_connection(
                    topic, msgtype, typestore=store, offered_qos_profiles=profiles
                )
            writer.write(connections[topic], time_ns, bytes(store.serialize_cdr(message, msgtype)))
    return path


def write_ros1_bag(path: Path, entries: Iterable[Entry], compressed: bool = False) -> Path:
    """Write a ROS 1 bag file from messages of the ROS1 store."""
    writer = Ros1Writer(path)
    if compressed:
        writer.set_compression(Ros1Writer.CompressionFormat.BZ2)
    with writer:
        connections = {}
        for topic, msgtype, time_ns, message in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=ROS1)
            writer.write(connections[topic], time_ns, bytes(ROS1.serialize_ros1(message, msgtype)))
    return path


def tiny_bag(path: Path, frames: int = 30, **options: Any) -> tuple[Path, list[Truth]]:
    """Write the usual bag; returns it and the true pose of each frame."""
    poses = trajectory(frames)
    return write_bag(path, tiny_entries(poses), **options), poses
