"""
Identities: instances on one place of the image are one object whose keypoints can be named in more than one way.

A network that cannot tell which of two keypoints it sees divides its belief between their heatmaps: trained by squared
error, it predicts the mean of what it holds possible, so the peaks of the two identities on one place are as high as
they are likely, and sum to about 1. Two real keypoints on one place sum to about 2.
"""

from __future__ import annotations

import numpy as np

_PLACE_SHARE = 0.05  # distance up to which two peaks are on one place, as a share of the instance's size,
_PLACE_CELLS = (1.0, 2.0)  # and at least, at most so many cells of the maps
RIVAL_SHARE = 0.6  # least share of the keypoints of the smaller instance that lie on places of the other one
_ONE_BELIEF = 1.5  # largest sum of the heights of two peaks on one place, on average, unless there is no doubt:
_SURE_SHARE, _SURE_COUNT = 0.75, 4  # so many places in common are no chance
_INSIDE_SHARE, _WEAKER = 0.5, 0.95  # or so many of one in the other's box, its peak on each lower by this factor
_PEAK_CELLS = 3.0  # so far from its middle a peak is no longer high
_AROUND = np.array([[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)])  # cells on a place


def place_tolerance(points: np.ndarray, stride: int) -> np.ndarray:
    """
    Return (...) how far apart two peaks on one place may be [px].

    Args:
        points: (..., K, 2) keypoints of instances [px]; NaN where not visible.
        stride: pixels for each cell of the maps.
    """
    low, high = _corners(points)
    least, most = (cells * stride for cells in _PLACE_CELLS)
    return np.minimum(np.maximum(_PLACE_SHARE * np.hypot(*np.moveaxis(high - low, -1, 0)), least), most)


def better_on_place(points: np.ndarray, heights: np.ndarray, stride: int) -> np.ndarray:
    """
    Tell of each instance which better one is on the same place.

    The sets of places are compared, whatever the keypoints there are called: most of the places of the one that has
    fewer must be places of the other, and their peaks must be as high as those of one object with two identities,
    unless four or more coincide. Half of the places suffice for one within the box of the other whose peaks are lower
    on each of them. So real instances that overlap stay apart.

    Args:
        points: (A, K, 2) keypoints of instances, best first [px]; NaN where not visible.
        heights: (A, K) of their peaks; anything where not visible.
        stride: pixels for each cell of the maps.

    Returns:
        (A,) int: index of the better instance, -1 where there is none; that one is itself the best on its place.
    """
    count = len(points)
    better = np.full(count, -1)
    if count < 2:
        return better
    low, high = _corners(points)
    together = ((low[:, None] <= high) & (high[:, None] >= low)).all(2)
    if np.count_nonzero(together) <= count:  # each with itself
        return better
    first, second = np.triu(together, 1).nonzero()
    one_place = _on_one_place(points[first], points[second], heights[first], heights[second], stride)
    for i, j in zip(first[one_place].tolist(), second[one_place].tolist()):
        if better[i] < 0 and better[j] < 0:
            better[j] = i
    return better


def _on_one_place(
    one: np.ndarray, two: np.ndarray, one_heights: np.ndarray, two_heights: np.ndarray, stride: int
) -> np.ndarray:
    """Tell of P pairs of instances (P, K, 2) with peaks of heights (P, K) whether they are on one place."""
    one_seen, two_seen = ~np.isnan(one[..., 0]), ~np.isnan(two[..., 0])
    tolerance = np.minimum(place_tolerance(one, stride), place_tolerance(two, stride))
    distance = np.hypot(*np.moveaxis(one[:, :, None] - two[:, None], -1, 0))  # (P, K, K)
    near = distance <= tolerance[:, None, None]  # False where NaN
    matched = np.minimum(near.any(2).sum(1), near.any(1).sum(1))
    fewer = np.minimum(one_seen.sum(1), two_seen.sum(1))
    belief = one_heights[:, :, None] + two_heights[:, None]
    shared = (belief * near).sum((1, 2)) <= _ONE_BELIEF * near.sum((1, 2))
    sure = matched >= np.maximum(_SURE_SHARE * fewer, _SURE_COUNT)
    weaker = (~near | (two_heights[:, None] <= _WEAKER * one_heights[:, :, None])).all((1, 2)) & _inside(two, one)
    within = weaker & (matched >= np.maximum(_INSIDE_SHARE * two_seen.sum(1), 2))
    return sure | within | (shared & (matched >= np.maximum(RIVAL_SHARE * fewer, 2)))


def _inside(inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """Tell of P pairs of instances (P, K, 2) whether the box of one lies in that of the other, up to a tenth of it."""
    (inner_low, inner_high), (low, high) = _corners(inner), _corners(outer)
    slack = 0.1 * (high - low)
    return ((inner_low >= low - slack) & (inner_high <= high + slack)).all(1)


def any_rival(heatmaps: np.ndarray, points: np.ndarray, contested: np.ndarray, stride: int, least: float) -> bool:
    """
    Tell whether a map is high where another one has a contested keypoint: a quick look before peaks are searched for.

    Args:
        heatmaps: (K, h, w) of the keypoints.
        points: (A, K, 2) keypoints of instances [px]; NaN where not visible.
        contested: (A, K) bool, those to look at.
        stride: pixels for each cell of the maps.
        least: height that counts.
    """
    instances, keypoints = contested.nonzero()
    if not len(keypoints):
        return False
    _, height, width = heatmaps.shape
    places = points[instances, keypoints]
    column, row = ((places + 0.5) / stride).astype(int).T
    columns = np.minimum(np.maximum(column + _AROUND[:, :1], 0), width - 1)
    rows = np.minimum(np.maximum(row + _AROUND[:, 1:], 0), height - 1)
    heights = heatmaps[:, rows, columns].max(1)  # (K, contested)
    away = np.abs(points[instances] - places[:, None]).max(2)  # (contested, K)
    heights[(away < _PEAK_CELLS * stride).T] = 0.0  # the flank of a peak nearby, or the keypoint itself
    return bool((heights >= least).any())


def places_of(
    positions: np.ndarray, names: np.ndarray, points: np.ndarray, tolerance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return on which keypoint of which instance each of M peaks lies under another name.

    Args:
        positions: (M, 2) of the peaks [px].
        names: (M,) int, the keypoint that each is a peak of.
        points: (A, K, 2) keypoints of instances [px]; NaN for those that do not count.
        tolerance: (A,), see `place_tolerance`.

    Returns:
        (M,) int, index of the instance, -1 where there is none, and (M,) int, index of the keypoint.
    """
    away = positions[:, None, None] - points
    distance = np.fmin(np.hypot(away[..., 0], away[..., 1]) / tolerance[:, None], np.inf)  # inf for NaN
    instance, keypoint = np.divmod(distance.reshape(len(positions), -1).argmin(1), points.shape[1])
    near = distance[np.arange(len(positions)), instance, keypoint] <= 1.0
    return np.where(near & (keypoint != names), instance, -1), keypoint


def _corners(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high corners (..., 2) of the boxes of (..., K, 2) points, of the visible ones."""
    seen = ~np.isnan(points)
    return np.where(seen, points, np.inf).min(-2), np.where(seen, points, -np.inf).max(-2)
