"""The camera of the images that a CameraInfo says that it belongs to, after its region and binning."""

from __future__ import annotations

from typing import Any

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.inference.camera_calibration import CameraCalibration


def stated_camera(message: Any, rectified: bool = False) -> CameraIntrinsics:
    calibration = CameraCalibration(rectified=rectified)
    calibration.accept(message)
    width, height = message.roi.width or message.width, message.roi.height or message.height
    return calibration.for_size(width // max(message.binning_x, 1), height // max(message.binning_y, 1))
