"""Rotations: matrix <-> quaternion (x, y, z, w) <-> fixed-axis roll, pitch, yaw."""

from __future__ import annotations

import numpy as np


def matrix_from_roll_pitch_yaw(roll_pitch_yaw: np.ndarray) -> np.ndarray:
    """
    Return the (3, 3) rotation Rz(yaw) Ry(pitch) Rx(roll) of (3,) fixed-axis angles [rad] (REP 103).
    """
    (cr, cp, cy), (sr, sp, sy) = np.cos(roll_pitch_yaw), np.sin(roll_pitch_yaw)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])
