"""The frame of a measured shape: forward, left and up, its origin and its size in metres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.errors import UsageError, listed
from custom_pose_ros.core.keypoint_names import named_directions
from custom_pose_ros.core.object_checks import left_handed

_STEP = 1e-5  # of the object's size, of numeric derivatives
_ALONG = 0.98  # cosine between two directions that are one

Pair = tuple[str, str]


@dataclass(frozen=True)
class FrameChoice:
    """
    What a user says of the object's frame.

    Attributes:
        forward: keypoints from the first of which to the second x points; None where the names are to tell.
        left: the same for y.
        length: two keypoints and their distance [m]; None where nobody measured.
    """

    forward: Pair | None = None
    left: Pair | None = None
    length: tuple[str, str, float] | None = None

    def check(self, names: Sequence[str]) -> None:
        """Raise UsageError unless all that is named are keypoints, of the K names, and two different ones each."""
        given = (('--length', self.length and self.length[:2]), ('--forward', self.forward), ('--left', self.left))
        for option, pair in given:
            for name in pair or ():
                if name not in names:
                    raise UsageError(f'{option}: no keypoint {name!r}; wanted two of {", ".join(names)}')
            if pair and pair[0] == pair[1]:
                raise UsageError(f'{option}: wanted two different keypoints, got {pair[0]} twice')


class ObjectFrame:
    """
    Brings a shape into the object's frame: origin in the middle of its keypoints, x forward, y left, z up.

    Directions are those that were given; the normal of the mirror plane that exchanges left and right; what the names
    say; or else the longest extents.

    Attributes:
        notes: what a user should know of the choice.
    """

    def __init__(self, names: Sequence[str], points: np.ndarray, swaps: Sequence[tuple[int, int]], choice: FrameChoice):
        """
        Choose how the directions are found.

        Args:
            names: of the K keypoints.
            points: (K, 3) of any size, place and attitude, NaN where not known.
            swaps: pairs that a mirror exchanges.
            choice: what the user says.

        Raises:
            UsageError: keypoints that are given were not measured or are the same.
        """
        choice.check(names)
        self._names, self.notes = list(names), list[str]()
        known = np.isfinite(points).all(1)
        self._length = None
        if choice.length is not None:
            self._length = (*self._indices('--length', choice.length[:2], known), choice.length[2])
        pairs = [pair for pair in swaps if known[list(pair)].all()]
        self._directions = self._sources(choice, pairs, points)
        size = np.linalg.norm(np.ptp(points[known], axis=0))
        for one, (axis, source) in enumerate(self._directions):
            for other, by in self._directions[:one]:
                a, b = (
                    direction / max(np.linalg.norm(direction), 1e-12 * size)
                    for direction in (source(points), by(points))
                )
                if abs(a @ b) > _ALONG:
                    raise UsageError(f'{_AXES[other]} and {_AXES[axis]} are one direction: name other keypoints')
        self._say_what_is_left(points)

    def _indices(self, option: str, names: Sequence[str], known: np.ndarray) -> tuple[int, int]:
        for name in names:
            if not known[self._names.index(name)]:
                raise UsageError(f'{option}: {name} was not measured: label it in more pictures, or name another one')
        return self._names.index(names[0]), self._names.index(names[1])

    def _sources(
        self, choice: FrameChoice, pairs: Sequence[tuple[int, int]], points: np.ndarray
    ) -> list[tuple[int, Callable[[np.ndarray], np.ndarray]]]:
        """Return the axes whose direction is known, and what tells it, the surest first; two at most."""
        known, found = np.isfinite(points).all(1), list[tuple[int, Callable[[np.ndarray], np.ndarray]]]()
        for axis, option, names in ((0, '--forward', choice.forward), (1, '--left', choice.left)):
            if names is not None:
                a, b = self._indices(option, names, known)
                found.append((axis, lambda p, a=a, b=b: p[b] - p[a]))
        given = {axis for axis, _ in found}
        by_name = [direction is not None for direction in named_directions(self._names, points)]
        if 1 not in given and len(pairs) > 1 and by_name[1]:
            found.append((1, lambda p: _mirror_normal(p, pairs, named_directions(self._names, p)[1])))
            given.add(1)
        for axis in (2, 0, 1):
            if axis not in given and by_name[axis]:
                found.append((axis, lambda p, axis=axis: _named(self._names, p, axis)))
        if not choice.forward and not choice.left and left_handed(self._names, points):
            self.notes.append(
                'by the names of the keypoints, front, left and top make a left-handed frame. Here left and up are as '
                'named, and forward is to the back: right where left and right are those of somebody in front of the '
                'object. If they are its own, some names are wrong'
            )
            found.sort(key=lambda entry: entry[0] == 0)
        return found[:2]

    def _say_what_is_left(self, points: np.ndarray) -> None:
        if len(self._directions) < 2:
            what = listed([_AXES[axis] for axis in range(3) if axis not in [a for a, _ in self._directions]])
            self.notes.append(
                f'nothing says where {what} is: taken along its longest extents; give --forward and --left'
            )
        if self._length is None:
            self.notes.append(
                'nothing says how large it is: its longest distance between keypoints is called 1 m. Orientations are '
                'right, distances are not metres; give --length A B METRES'
            )

    def place(self, points: np.ndarray) -> np.ndarray:
        """Return the shape (K, 3) in the object's frame [m], whatever size, place and attitude `points` have."""
        known = points[np.isfinite(points).all(1)]
        axes = np.zeros((3, 3))
        chosen: list[int] = []
        extents = np.linalg.svd(known - known.mean(0), full_matrices=True)[2]
        sources = [(axis, source(points)) for axis, source in self._directions]
        sources += [(axis, extent) for axis, extent in zip((a for a in range(3) if a not in dict(sources)), extents)]
        for axis, direction in sources[:2]:
            rest = direction - sum((axes[a] * (axes[a] @ direction) for a in chosen), np.zeros(3))
            if np.linalg.norm(rest) < 0.1 * np.linalg.norm(direction):
                rest = extents[1] - sum((axes[a] * (axes[a] @ extents[1]) for a in chosen), np.zeros(3))
            axes[axis] = rest / np.linalg.norm(rest)
            chosen.append(axis)
        last = 3 - sum(chosen)
        axes[last] = np.cross(axes[(last + 1) % 3], axes[(last + 2) % 3])
        placed = (points - known.mean(0)) @ axes.T
        if self._length is None:
            scale = 1.0 / np.nanmax(np.linalg.norm(placed[:, None] - placed, axis=2))
        else:
            a, b, metres = self._length
            scale = metres / np.linalg.norm(placed[a] - placed[b])
        return placed * scale

    def deviations(self, points: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return (K, 3) standard deviations [m] of `place`, of points with the covariance (3 K, 3 K)."""
        step = _STEP * np.nanmax(np.abs(points))
        columns = []
        for i in range(points.size):
            moved = points.copy()
            moved.flat[i] += step
            back = points.copy()
            back.flat[i] -= step
            columns.append((self.place(moved) - self.place(back)).ravel() / (2 * step))
        jacobian = np.nan_to_num(np.column_stack(columns))
        deviations = np.sqrt(np.einsum('ij,jk,ik->i', jacobian, covariance, jacobian)).reshape(-1, 3)
        deviations[np.isnan(points)] = np.nan
        return deviations


_AXES = ('forward (x)', 'left (y)', 'up (z)')


def _mirror_normal(points: np.ndarray, pairs: Sequence[tuple[int, int]], side: np.ndarray | None) -> np.ndarray:
    """Return the direction along which most of the pairs lie apart, towards `side`."""
    apart = np.array([points[a] - points[b] for a, b in pairs])
    normal = np.linalg.svd(apart)[2][0]
    return normal * (np.sign(normal @ side) if side is not None else 1.0)


def _named(names: Sequence[str], points: np.ndarray, axis: int) -> np.ndarray:
    direction = named_directions(names, points)[axis]
    assert direction is not None
    return direction
