"""Keypoints, pose and orientation of one's own objects from camera images; the public names are loaded on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custom_pose_ros.core.errors import ConfigError, DatasetError, ModelError
    from custom_pose_ros.core.geometry.camera import CameraIntrinsics
    from custom_pose_ros.core.keypoints.poses import KeypointPose
    from custom_pose_ros.core.object_model import ObjectModel
    from custom_pose_ros.core.orientation.estimate import OrientationEstimate
    from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
    from custom_pose_ros.inference.estimator import PoseEstimator

__all__ = [
    'CameraIntrinsics', 'ConfigError', 'DatasetError', 'KeypointPose', 'ModelError', 'ObjectModel',
    'OrientationEstimate', 'OrientationEstimator', 'PoseEstimator',
]  # fmt: skip

_HOMES = {
    'CameraIntrinsics': 'core.geometry.camera',
    'ConfigError': 'core.errors',
    'DatasetError': 'core.errors',
    'KeypointPose': 'core.keypoints.poses',
    'ModelError': 'core.errors',
    'ObjectModel': 'core.object_model',
    'OrientationEstimate': 'core.orientation.estimate',
    'OrientationEstimator': 'core.orientation.orientation_estimator',
    'PoseEstimator': 'inference.estimator',
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562), so that a node loads only what it uses."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
