"""
Listens to `poses`, `orientations` and `/diagnostics` and prints one line of JSON for each message.

Used by the demo: {"topic": "orientations", "stamp_ns": ..., "received_ns": ..., "instances": [...]} and
{"dropped": 0}, the frames that pose_node skipped so far because a newer one had come. Ends with SIGTERM.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from custom_pose_ros.nodes.ros.messages import Orientation, OrientationArray, Pose, PoseArray

_DEPTH = 100


class Recorder(Node):
    """Prints what the nodes publish."""

    def __init__(self) -> None:
        super().__init__('recorder')
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self.create_subscription(PoseArray, 'poses', self._on_poses, qos)
        self.create_subscription(OrientationArray, 'orientations', self._on_orientations, qos)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, qos)

    def _on_poses(self, message: PoseArray) -> None:
        _print('poses', message, [pose_fields(pose) for pose in message.poses])

    def _on_orientations(self, message: OrientationArray) -> None:
        _print('orientations', message, [orientation_fields(item) for item in message.orientations])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name.startswith('pose_node') and 'dropped' in values:
                print(json.dumps({'dropped': int(values['dropped'])}), flush=True)


def pose_fields(pose: Pose) -> dict[str, Any]:
    """Return the fields of a Pose as keywords of KeypointPose."""
    covariances = [k.covariance.tolist() for k in pose.keypoints]
    return {
        'keypoints': [[k.x, k.y] for k in pose.keypoints],
        'covariances': [[[xx, xy], [xy, yy]] for xx, xy, yy in covariances],
        'scores': [k.score for k in pose.keypoints],
        'visible': [k.visible for k in pose.keypoints],
        'score': pose.score,
        'track_id': None if pose.track_id == Pose.TRACK_ID_NOT_TRACKED else pose.track_id,
    }


def orientation_fields(item: Orientation) -> dict[str, Any]:
    """Return the fields of an Orientation under the names of OrientationEstimate, the rotation as a quaternion."""
    rigid = item.pose.pose
    position, quaternion = rigid.position, rigid.orientation
    return {
        'quaternion': [quaternion.x, quaternion.y, quaternion.z, quaternion.w],
        't_camera_object': [position.x, position.y, position.z],
        'covariance': item.pose.covariance.tolist(),
        'reprojection_error_px': item.reprojection_error_px,
        'ambiguity': item.ambiguity,
        'track_id': None if item.track_id == Orientation.TRACK_ID_NOT_TRACKED else item.track_id,
        'keypoints_used': item.keypoints_used,
        'outlier_suspected': item.outlier_suspected,
    }


def _print(topic: str, message: PoseArray | OrientationArray, instances: list[dict[str, Any]]) -> None:
    stamp = message.header.stamp
    line = {
        'topic': topic,
        'stamp_ns': stamp.sec * 10**9 + stamp.nanosec,
        'received_ns': time.time_ns(),
        'instances': instances,
    }
    print(json.dumps(line), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Record until the process is asked to end."""
    rclpy.init(args=argv)
    try:
        rclpy.spin(Recorder())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
