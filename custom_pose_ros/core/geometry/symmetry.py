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
        """
        Multiply the symmetries out.

        Raises:
            ValueError: There is no end of the rotations, or there are more than MAX_SYMMETRIES.
        """
        self._axes = [np.array(symmetry.axis) for symmetry in symmetries if symmetry.fold == 0]
        turns = [matrix_from_rotation_vector(np.array(s.axis) * 2.0 * np.pi / s.fold) for s in symmetries if s.fold]
        elements = np.eye(3)[None]
        generators: list[np.ndarray] = []
        for turn in turns:
            if not _contains(elements, turn):
                generators.append(turn)
                elements = _multiplied_out(generators)
        self._elements = elements  # (N, 3, 3)

    @property
    def trivial(self) -> bool:
        """Whether the object has no symmetry."""
        return len(self._elements) == 1 and not self._axes

    def turn_towards(self, R: np.ndarray, R_other: np.ndarray) -> np.ndarray:
        """Return the rotation S (3, 3) of the group for which R @ S, (3, 3), is nearest to R_other."""
        candidates = self._elements
        for axis in self._axes:
            candidates = candidates @ _turns_about(axis, np.swapaxes(R @ candidates, 1, 2) @ R_other)
        traces = np.einsum('nij,ij->n', R @ candidates, R_other)
        return candidates[np.argmax(traces > traces.max() - 1e-12)]


def _multiplied_out(generators: Sequence[np.ndarray]) -> np.ndarray:
    """Return all products of the generators, (N, 3, 3), the identity first."""
    elements = np.empty((MAX_SYMMETRIES, 3, 3))
    elements[0] = np.eye(3)
    done, count = 0, 1
    while done < count:
        for generator in generators:
            product = elements[done] @ generator
            if _contains(elements[:count], product):
                continue
            if count == MAX_SYMMETRIES:
                raise ValueError(f'wanted at most {MAX_SYMMETRIES} rotations together, got more')
            elements[count] = product
            count += 1
        done += 1
    return elements[:count]


def _contains(elements: np.ndarray, R: np.ndarray) -> bool:
    """Whether R (3, 3) is one of the elements (N, 3, 3)."""
    return bool((np.abs(elements - R).max((1, 2)) < 1e-6).any())


def _turns_about(axis: np.ndarray, R: np.ndarray) -> np.ndarray:
    """Return the rotations about `axis` that are nearest to each R (N, 3, 3)."""
    cosine = np.trace(R, axis1=1, axis2=2) - axis @ R @ axis
    sine = np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1) @ axis
    return matrix_from_rotation_vector(np.arctan2(sine, cosine)[:, None] * axis)
