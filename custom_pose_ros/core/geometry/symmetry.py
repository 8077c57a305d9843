"""SymmetryGroup: the rotations that leave an object looking the same, and which of them is nearest to an attitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.limits import MAX_SYMMETRIES


@dataclass(frozen=True)
class Symmetry:
    """
    A rotation about an axis through the object's origin that leaves the object looking the same.

    Attributes:
        axis: unit vector in the object frame.
        fold: number of equal positions in one turn (>= 2), or 0 when every angle looks the same.
    """

    axis: tuple[float, float, float]
    fold: int


class SymmetryGroup:
    """The rotations that leave an object looking the same; without symmetries the identity alone."""

    def __init__(self, symmetries: Sequence[Symmetry]):
        self._axes = [np.array(symmetry.axis) for symmetry in symmetries if symmetry.fold == 0]
        generators = [
            matrix_from_rotation_vector(np.array(s.axis) * 2.0 * np.pi / s.fold) for s in symmetries if s.fold
        ]
        self._elements = [np.eye(3)]
        for element in self._elements:  # grows while it is walked through
            for generator in generators:
                product = element @ generator
                known = any(np.allclose(product, other, atol=1e-6) for other in self._elements)
                if not known and len(self._elements) < MAX_SYMMETRIES:
                    self._elements.append(product)

    @property
    def trivial(self) -> bool:
        """Whether the object has no symmetry."""
        return len(self._elements) == 1 and not self._axes

    def turn_towards(self, R: np.ndarray, R_other: np.ndarray) -> np.ndarray:
        """Return the rotation S (3, 3) of the group for which R @ S, (3, 3), is nearest to R_other."""
        best, best_trace = self._elements[0], -np.inf
        for element in self._elements:
            candidate = element
            for axis in self._axes:
                candidate = candidate @ _turn_about(axis, (R @ candidate).T @ R_other)
            trace = float(np.vdot(R @ candidate, R_other))
            if trace > best_trace + 1e-12:
                best, best_trace = candidate, trace
        return best


def _turn_about(axis: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Return the rotation about `axis` that is nearest to R (3, 3)."""
    cosine = np.trace(R) - axis @ R @ axis
    sine = axis @ np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    return matrix_from_rotation_vector(axis * np.arctan2(sine, cosine))
