"""Symmetries of a surface: turns and mirror planes after which its shape, or its colours too, are the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector, rotation_vector_from_matrix
from training.synthetic.choosing.surface_views import SurfacePoints
from training.synthetic.scenes.attitudes import even_directions

SAME = 0.01  # share of the surface that may differ after a turn or a reflection that counts as a symmetry
NEARLY = 0.1  # share up to which the object is easily taken for its twin, which is worth a word
CENTRED = 0.01  # an axis that passes the origin within this share of the object's size goes through it
_MOST_FOLDS = 36
_NEAR = 0.022  # share of the object's size within which the same surface must be found again
_SAME_COLOR = 0.12  # of each of blue, green, red
_DIRECTIONS, _COARSE_POINTS, _FINE_POINTS, _TRIED = 800, 150, 1200, 30
_COARSE = 0.025  # mean distance, as a share of the object's size, up to which a direction is worth a closer look
_FOLDS = (2, 3, 5)  # every axis of symmetry with up to _MOST_FOLDS is nearly one of these, or has other hints
_SAME_AXIS_RAD, _PLAIN_RAD, _ONE_FAMILY_RAD = np.deg2rad((2.0, 5.0, 20.0))
_CLOSEST_POINTS = 30  # iterations of these: slow along flat sides


@dataclass(frozen=True, eq=False)
class Twin:
    """
    A turn or a reflection after which the object has the same shape.

    Attributes:
        axis: (3,) unit vector: of the turn, or the normal of the mirror plane.
        centre: (3,) a point of the axis or plane, object frame [m].
        fold: equal positions in one turn, 0 for every angle; 1 for a reflection.
        shape_differs: share of the surface that has no counterpart.
        colors_differ: share of the surface whose counterpart has another colour.
    """

    axis: np.ndarray
    centre: np.ndarray
    fold: int
    shape_differs: float
    colors_differ: float

    @property
    def same(self) -> bool:
        """Whether nobody can tell the object from its twin."""
        return max(self.shape_differs, self.colors_differ) <= SAME

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) of the smallest turn, or of the reflection."""
        if self.fold == 1:
            return np.eye(3) - 2 * np.outer(self.axis, self.axis)
        return matrix_from_rotation_vector(self.axis * 2 * np.pi / (self.fold or _MOST_FOLDS))

    def moved(self, places: np.ndarray) -> np.ndarray:
        """Return places (N, 3) after the smallest turn, or the reflection."""
        return (places - self.centre) @ self.matrix.T + self.centre


class SymmetryFinder:
    """
    Looks for the twins of a surface.

    Args:
        points: of the surface.
        size: of the object [m].
    """

    def __init__(self, points: SurfacePoints, size: float):
        self._points, self._size = points, size
        self._middle = points.places.mean(0)
        rng = np.random.default_rng(0)
        order = rng.permutation(len(points.places))
        self._coarse, self._fine = order[:_COARSE_POINTS], order[:_FINE_POINTS]

    def turns(self) -> list[Twin]:
        """
        Return the turns after which the shape is the same or nearly so, those with the same colours first.

        Of each axis the one with the most folds, and where the colours allow only fewer, that one as well.
        """
        found = []
        for axis, centre in self._axes(_FOLDS):
            folds = [0] if self._is_round(axis, centre) else self._possible_folds(axis, centre)
            tried = [self._twin(axis, centre, fold) for fold in folds]
            alike = [twin for twin in tried if twin.shape_differs <= NEARLY]
            if not alike:
                continue
            best = min(alike, key=lambda twin: (twin.shape_differs > SAME, -twin.fold))
            found.append(best)
            if not best.same:
                fewer = range(_MOST_FOLDS, 1, -1) if best.fold == 0 else _divisors(best.fold)
                found += [twin for twin in (self._twin(axis, centre, fold) for fold in fewer) if twin.same][:1]
        return _distinct(sorted(found, key=lambda twin: (not twin.same, -(twin.fold or np.inf), twin.shape_differs)))

    def mirrors(self) -> list[Twin]:
        """Return the mirror planes of the shape, those that keep the colours first, left and right before others."""
        twins = [self._twin(axis, centre, 1) for axis, centre in self._axes((1,))]
        twins = [twin for twin in twins if twin.shape_differs <= SAME]
        return _distinct(sorted(twins, key=lambda t: (not t.same, -np.round(np.abs(t.axis[1]), 2), t.shape_differs)))

    def _axes(self, folds: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each axis (3,) and a point (3,) on it about which one of some folds may be a symmetry."""
        places = self._points.places
        principal = np.linalg.svd(places - self._middle, full_matrices=False)[2]
        directions = np.concatenate([np.eye(3), principal, even_directions(2 * _DIRECTIONS)[:_DIRECTIONS]])
        trials = []
        tried = list(itertools.product(folds, directions))
        for fold, axis in progress_bar('turns' if max(folds) > 1 else 'mirror planes', len(tried), 'direction', tried):
            moved = Twin(axis, self._middle, fold, 1.0, 1.0).moved(places[self._coarse])
            distance = np.minimum(self._points.tree.query(moved)[0], 4 * _COARSE * self._size).mean()
            if distance < _COARSE * self._size:
                trials.append((distance, fold, axis))
        taken: list[np.ndarray] = []
        for _, fold, axis in sorted(trials, key=lambda trial: trial[0])[: 4 * _TRIED]:
            if any(_same_axis(axis, other) for other in taken) or len(taken) >= _TRIED:
                continue
            axis, centre = self._settled(axis, fold)
            if any(_same_axis(axis, other) for other in taken):
                continue
            taken.append(axis)
            yield axis, centre

    def _settled(self, axis: np.ndarray, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an axis and a point on it, moved to where the surface fits best."""
        places = self._points.places[self._fine[: 4 * _COARSE_POINTS]]
        turn, shift = Twin(axis, self._middle, fold, 1.0, 1.0).matrix, np.zeros(3)
        for _ in range(_CLOSEST_POINTS):
            moved = (places - self._middle) @ turn.T + self._middle + shift
            distance, nearest = self._points.tree.query(moved)
            close = distance <= max(np.quantile(distance, 0.8), 1e-3 * self._size)
            here, there = places[close], self._points.places[nearest[close]]
            u, _, vt = np.linalg.svd((there - there.mean(0)).T @ (here - here.mean(0)))
            turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt)) * (1 if fold > 1 else -1)]) @ vt
            shift = there.mean(0) - self._middle - turn @ (here.mean(0) - self._middle)
        if fold == 1:
            values, vectors = np.linalg.eigh((turn + turn.T) / 2)
            found = vectors[:, values.argmin()]
        else:
            vector = rotation_vector_from_matrix(turn)
            found = vector / max(float(np.linalg.norm(vector)), 1e-9)
        centre = self._middle + np.linalg.pinv(np.eye(3) - turn, rcond=0.05) @ shift
        candidates = [(found, centre), (axis, self._middle)]
        plain = min(_PLAIN, key=lambda direction: -abs(direction @ found))
        if abs(plain @ found) > np.cos(_PLAIN_RAD):
            candidates = [(plain, centre), *candidates]
        candidates = [(a, np.zeros(3)) for a, c in candidates if self._misses(a, c, fold) <= CENTRED] + candidates
        differs = [self._twin(a, c, fold).shape_differs for a, c in candidates]
        return next(pair for pair, share in zip(candidates, differs) if share <= min(differs) + SAME / 3)

    def _misses(self, axis: np.ndarray, centre: np.ndarray, fold: int) -> float:
        """Return by how much an axis, or for fold 1 a plane, misses the origin, as a share of the object's size."""
        along = axis * (axis @ centre)
        return float(np.linalg.norm(along if fold == 1 else centre - along)) / self._size

    def _is_round(self, axis: np.ndarray, centre: np.ndarray) -> bool:
        """Tell whether every angle looks the same: angles that are no share of a turn do, and so do the smallest."""
        return all(
            self._compare(self._fine, centre, turn)[0] <= NEARLY / 2
            for turn in (matrix_from_rotation_vector(axis * angle) for angle in (0.17, 0.5, 1.0, 2.3))
        )

    def _possible_folds(self, axis: np.ndarray, centre: np.ndarray) -> list[int]:
        """Return the folds of an axis, the largest first, whose prime factors are folds of it, too."""
        primes = [n for n in range(2, _MOST_FOLDS + 1) if not _divisors(n)]
        fails = [n for n in primes if self._twin(axis, centre, n).shape_differs > NEARLY]
        return [fold for fold in range(_MOST_FOLDS, 1, -1) if all(fold % prime for prime in fails)]

    def _twin(self, axis: np.ndarray, centre: np.ndarray, fold: int) -> Twin:
        """Return the twin of an axis with what differs: of a round object, at the angle at which most does."""
        angles = [2 * np.pi * k / fold for k in range(fold // 2, 0, -1)][:3] if fold else [0.17, 0.5, 1.0, 2.3, np.pi]
        turns = [matrix_from_rotation_vector(axis * angle) for angle in angles]
        if fold == 1:
            turns = [np.eye(3) - 2 * np.outer(axis, axis)]
        few = self._fine[:_COARSE_POINTS]
        if min(self._compare(few, centre, turn)[0] for turn in turns) > 2 * NEARLY:
            return Twin(axis, centre, fold, 1.0, 1.0)
        shares = [self._compare(self._fine, centre, turn) for turn in turns]
        return Twin(axis, centre, fold, *np.max(shares, 0).tolist())

    def _compare(self, which: np.ndarray, centre: np.ndarray, turn: np.ndarray) -> tuple[float, float]:
        """Return the shares of some points (indices) that, turned, find no such surface, and another colour there."""
        points = self._points
        moved = (points.places[which] - centre) @ turn.T + centre
        distance, nearest = self._points.tree.query(moved, 10, distance_upper_bound=_NEAR * self._size)
        found = np.isfinite(distance)
        nearest = np.where(found, nearest, 0)
        normals = points.normals[which] @ turn.T
        found &= (points.normals[nearest] * normals[:, None]).sum(2) > 0.4
        same = np.abs(points.colors[nearest] - points.colors[which][:, None]).max(2) <= _SAME_COLOR
        shape, colors = found.any(1), (found & same).any(1)
        return float(1 - shape.mean()), float((shape & ~colors).mean())


_PLAIN = [
    np.array(direction) / np.linalg.norm(direction)
    for direction in itertools.product((-1, 0, 1), repeat=3)
    if direction > (0, 0, 0)
]


def _distinct(twins: list[Twin]) -> list[Twin]:
    """Leave out turns and reflections beside a better one, whose surface is almost the same because it is."""
    kept: list[Twin] = []
    for twin in twins:
        limit = _SAME_AXIS_RAD if twin.same else _ONE_FAMILY_RAD
        if not any(abs(twin.axis @ other.axis) > np.cos(limit) and _nested(twin, other) for other in kept):
            kept.append(twin)
    return kept


def _nested(twin: Twin, other: Twin) -> bool:
    """Tell whether what is said of the other twin says it of this one."""
    return other.same or not twin.same


def _same_axis(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(one @ other) > np.cos(_SAME_AXIS_RAD))


def _divisors(number: int) -> list[int]:
    """Return the whole numbers from 2 up that divide a number, the largest first."""
    return [divisor for divisor in range(number - 1, 1, -1) if number % divisor == 0]
