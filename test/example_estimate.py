"""An orientation estimate in which every number is another one, for tests of what messages carry."""

from __future__ import annotations

from typing import Any

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.orientation.estimate import OrientationEstimate


def an_estimate(**changes: Any) -> OrientationEstimate:
    """Return the estimate, with some of its fields changed."""
    fields = {
        'pose': Rigid(matrix_from_roll_pitch_yaw(np.array([0.1, -0.2, 0.3])), np.array([0.5, -0.25, 2.0])),
        'covariance': np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        'reprojection_error_px': 0.75,
        'ambiguity': 0.125,
        'track_id': 3,
        'keypoints_used': 4,
    }
    return OrientationEstimate(**{**fields, **changes})
