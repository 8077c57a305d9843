"""Places that slide: on a rim or a straight edge the surface looks the same a little farther along it."""

from __future__ import annotations

import numpy as np

from training.synthetic.choosing.surface_views import SurfacePoints

_AROUND = 0.07  # of the surface that is looked at, as a share of the object's size
_PRINT = 0.035  # a step from black to white counts as much as a step in the surface of this height, likewise
_NEIGHBOURS = 9  # from which the slope of a colour is told
_LEAST_RATIO = 0.1  # of what holds a place in the two directions in which it is held least
_TURN = 6.5e-4  # what a turn costs, so that rims of less than 0.03 of the size, which are points, do not slide
_FLOOR = 0.003  # of what holds a place: normals and colours of pictures are as exact as this


class Sliding:
    """
    Tells on which places of a surface nothing can be found again, because they lie on an edge without an end nearby.

    The surface around a place, moved by a small shift and any small turn, departs from itself by n.u at a point with
    the normal n that moves by u, and in its colours by their slope along u (slippable motions: Gelfand and Guibas
    2004). Of all turns the best is taken: along a rim a turn about its axis undoes every departure.

    Args:
        points: of the surface.
        size: of the object [m].
    """

    def __init__(self, points: SurfacePoints, size: float):
        self._points, self._size = points, size
        _, near = points.tree.query(points.places, min(_NEIGHBOURS, len(points.places)))
        apart = points.places[near] - points.places[:, None]
        change = points.colors[near] - points.colors[:, None]
        across = apart.transpose(0, 2, 1)
        spread = across @ apart + 1e-6 * size**2 * np.eye(3)
        slopes = np.linalg.solve(spread, across @ change).transpose(0, 2, 1)  # (N, colours, 3) for each metre
        self._slopes = slopes * _PRINT * size / np.sqrt(3)

    def holds(self, place: np.ndarray) -> np.ndarray:
        """Return how firmly (3,) the surface around a place (3,) holds it, in three directions, the least first."""
        around = self._points.tree.query_ball_point(place, _AROUND * self._size)
        if not around:
            return np.zeros(3)
        apart = (self._points.places[around] - place) / (_AROUND * self._size)
        directions = np.concatenate([self._points.normals[around][:, None], self._slopes[around]], 1)
        rows = np.concatenate([directions, np.cross(apart[:, None], directions)], 2).reshape(-1, 6)
        squares = rows.T @ rows / len(around)
        turns = squares[3:, 3:] + _TURN * np.eye(3)
        return np.linalg.eigvalsh(squares[:3, :3] - squares[:3, 3:] @ np.linalg.solve(turns, squares[3:, :3]))

    def along_an_edge(self, place: np.ndarray) -> bool:
        """Tell whether a place (3,) slides in one direction; one on a plain face or a dome slides in two."""
        least, second, _ = self.holds(place)
        return bool(least + _FLOOR < _LEAST_RATIO * (second + _FLOOR))
