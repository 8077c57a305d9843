"""Rigid: a rotation and a translation from one frame to another, that can be chained, inverted and applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.rotations import (
    R_BODY_OPTICAL,
    matrix_from_rotation_vector,
    rotation_vector_from_matrix,
)


class Rigid(NamedTuple):
    """
    A rigid transform from one frame to another: `point_to = rotation @ point_from + translation`.

    A variable that holds one is named `to_from`: `camera_object` maps the object frame to the camera frame, and is the
    pose of the object in the camera frame. A named tuple, because a filter makes thousands of them in a second.

    Attributes:
        rotation: (3, 3), or (B, 3, 3) for a stack of transforms.
        translation: (3,) [m], or (B, 3).
    """

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def stack(cls, transforms: Iterable[Rigid]) -> Rigid:
        """Return one or more transforms as a stack."""
        return cls(*map(np.array, zip(*transforms)))

    def __matmul__(self, other: Rigid) -> Rigid:  # type: ignore[override]
        """Return the transform that applies `other` first: `a_c = a_b @ b_c`. Not for stacks."""
        return Rigid(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def inverse(self) -> Rigid:
        """Return the transform `from_to`. Not for stacks."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.translation)

    def at(self, index: int | list[int] | np.ndarray) -> Rigid:
        """Return one transform of a stack, or several as a stack."""
        return Rigid(self.rotation[index], self.translation[index])

    def moved(self, step: np.ndarray) -> Rigid:
        """
        Return the transform moved by a small step.

        Args:
            step: (6,), or (B, 6) for a stack: x, y, z [m] and a rotation vector [rad], about the axes of frame `to`.
        """
        rotation = matrix_from_rotation_vector(step[..., 3:]) @ self.rotation
        return Rigid(rotation, self.translation + step[..., :3])

    def step_to(self, other: Rigid) -> np.ndarray:
        """Return the (6,) step that moves this transform to another one, see `moved`. Not for stacks."""
        turn = rotation_vector_from_matrix(other.rotation @ self.rotation.T)
        return np.concatenate([other.translation - self.translation, turn])

    def apply(self, points: np.ndarray) -> np.ndarray:
        """
        Return points of the frame `from` in the frame `to`.

        Args:
            points: (N, 3) [m], or (3,) for a single transform.

        Returns:
            As `points`; (B, N, 3) for a stack of B transforms.
        """
        if self.translation.ndim == 1:
            return points @ self.rotation.T + self.translation
        return points @ self.rotation.transpose(0, 2, 1) + self.translation[:, None]


IDENTITY = Rigid(np.eye(3), np.zeros(3))
BODY_OPTICAL = Rigid(R_BODY_OPTICAL, np.zeros(3))  # camera optical frame -> camera body frame
