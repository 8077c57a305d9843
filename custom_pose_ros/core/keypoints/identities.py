"""
Identities: instances on one place of the image are one object whose keypoints can be named in more than one way.

A network that cannot tell which of two keypoints it sees divides its belief between their heatmaps: trained by squared
error, it predicts the mean of what it holds possible, so the peaks of the two identities on one place are as high as
they are likely, and sum to about 1. Two real keypoints on one place sum to about 2. A network that is nearly sure
leaves lower peaks of other names on the places of an object, and some beside them: its rivals, no other object.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_PLACE_SHARE = 0.05  # distance up to which two peaks are on one place, as a share of the instance's size,
_PLACE_CELLS = (1.0, 2.0)  # and at least, at most so many cells of the maps
RIVAL_SHARE = 0.6  # least share of the keypoints of another identity that lie on places of an instance
_ON_PLACE = 0.5  # share of the keypoints of another identity that lie on places of the first one, as far as is known
_PLACE_SIGMA_CELLS = 0.3  # of the distance of two peaks on one place along each axis
_LEAST_PEAK, _SUREST_PEAK = 0.05, 0.95  # lower and higher peaks tell no more than these
_BOX_SLACK = 0.1  # another identity reaches as far beyond the box of the first one, as a share of its size
_LEAST_CHANCE = 0.05  # of a real object to lie in another one's box, along each axis
_ONE_OBJECT = 3.0  # log odds from which on two instances are one object,
_ONE_OBJECT_LOWER = 0.0  # and where one is in the other's box, and lower in every keypoint,
_WEAKER = 0.95  # by this factor at least
_REACH = 0.5  # so far beyond their boxes, as a share of their size, parts of one object may be
_PEAK_CELLS = 3.0  # so far from its middle a peak is no longer high
_AROUND = np.array([[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)])  # cells on a place


def place_tolerance(points: np.ndarray, stride: int) -> np.ndarray:
    """
    Return (...) how far apart two peaks on one place may be [px].

    Args:
        points: (..., K, 2) keypoints of instances [px]; NaN where not visible.
        stride: pixels for each cell of the maps.
    """
    low, high = corners(points)
    least, most = (cells * stride for cells in _PLACE_CELLS)
    return np.minimum(np.maximum(_PLACE_SHARE * np.hypot(*np.moveaxis(high - low, -1, 0)), least), most)


class Pairs(NamedTuple):
    """
    P pairs of instances that are near each other, and what speaks for each being one object.

    Attributes:
        first: (P,) int, the better instance of each pair.
        second: (P,) int, the other one.
        log_odds: (P,) of being one object.
        lower: (P,) bool, whether the worse one is in the other's box and lower in every keypoint.
        one_object: (P,) bool, whether they are one.
        doubled: (P,) bool, whether at least two places of the better one have another name in the other one.
        mixed: (P,) bool, whether one of them has a name where another one is higher, and the other one has it elsewhere
            and not lower, and hardly any name is clear in both: their names may be mixed up.
    """

    first: np.ndarray
    second: np.ndarray
    log_odds: np.ndarray
    lower: np.ndarray
    one_object: np.ndarray
    doubled: np.ndarray
    mixed: np.ndarray


class _Compared(NamedTuple):
    """
    The better or the worse ones of P pairs.

    Attributes:
        points: (P, K, 2) [px]; NaN where not visible.
        seen: (P, K) bool.
        heights: (P, K) of the peaks.
        topped: (P, K) bool, whether another name of the same instance is higher on the place.
        low: (P, 2) corner of the box.
        high: (P, 2) corner of the box.
        tolerance: (P,) see `place_tolerance`.
    """

    points: np.ndarray
    seen: np.ndarray
    heights: np.ndarray
    topped: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tolerance: np.ndarray


class _Near(NamedTuple):
    """
    N keypoints of the better ones that lie near keypoints of the worse ones.

    Attributes:
        pair: (N,) int, index of the pair.
        name_one: (N,) int, the keypoint of the better one.
        name_two: (N,) int, that of the worse one.
        squared: (N,) distance between them [px^2].
    """

    pair: np.ndarray
    name_one: np.ndarray
    name_two: np.ndarray
    squared: np.ndarray

    @property
    def in_one(self) -> tuple[np.ndarray, np.ndarray]:
        """Index of arrays (P, K) about the better ones."""
        return self.pair, self.name_one

    @property
    def in_two(self) -> tuple[np.ndarray, np.ndarray]:
        """Index of arrays (P, K) about the worse ones."""
        return self.pair, self.name_two

    def those(self, chosen: np.ndarray) -> _Near:
        """Return those of which `chosen` (N,) is true."""
        return _Near(*(column[chosen] for column in self))


def compare(points: np.ndarray, heights: np.ndarray, stride: int) -> Pairs | None:
    """
    Compare each two instances that are near each other; None where there are no such.

    Args:
        points: (A, K, 2) keypoints of instances, best first [px]; NaN where not visible.
        heights: (A, K) of their peaks; anything where not visible.
        stride: pixels for each cell of the maps.
    """
    tolerance, (low, high) = place_tolerance(points, stride), corners(points)
    within = _squared_distances(points) <= tolerance[:, None, None] ** 2
    topped = (within & _above(heights)).any(2)
    reach = 0.5 * tolerance + _REACH * np.hypot(*(high - low).T) * topped.any(1)  # mixed names may be a part's
    reach = (reach[:, None] + reach)[..., None]
    first, second = np.triu(((low[:, None] - reach <= high) & (high[:, None] + reach >= low)).all(2), 1).nonzero()
    if not len(first):
        return None
    columns = (points, ~np.isnan(points[..., 0]), heights, topped, low, high, tolerance)
    one, two = (_Compared(*(column[index] for column in columns)) for index in (first, second))
    near = _near(points, first, second, _PLACE_CELLS[1] * stride)
    inside, lower = _inside(one, two)
    log_odds = _log_odds(one, two, near, stride) + inside * _log_odds_inside(one, two, stride)
    one_object = log_odds >= np.where(lower, _ONE_OBJECT_LOWER, _ONE_OBJECT)
    one_object |= lower & two.topped.any(1) & ((two.seen & ~two.topped).sum(1) == 1)  # a single place is no object

    on_place = near.squared <= np.minimum(one.tolerance, two.tolerance)[near.pair] ** 2
    rivals = near.those(on_place & (near.name_one != near.name_two))
    rival_one, rival_two = np.zeros((2, *one.seen.shape), bool)
    rival_one[rivals.in_one] = rival_two[rivals.in_two] = True
    doubled = np.minimum(rival_one.sum(1), rival_two.sum(1)) >= 2
    return Pairs(first, second, log_odds, lower, one_object, doubled, _mixed(one, two, rivals, one_object))


def _near(points: np.ndarray, first: np.ndarray, second: np.ndarray, most: float) -> _Near:
    """Return which keypoints (A, K, 2) of pairs `first`, `second` (P,) are at most so far [px] from each other."""
    pair_of = np.full((len(points), len(points)), -1)
    pair_of[first, second] = np.arange(len(first))
    instance, name = (~np.isnan(points[..., 0])).nonzero()
    squared = _squared_distances(points[instance, name])
    one, two = (squared <= most**2).nonzero()
    pair = pair_of[instance[one], instance[two]]
    return _Near(pair, name[one], name[two], squared[one, two]).those(pair >= 0)


def _squared_distances(points: np.ndarray) -> np.ndarray:
    """Return (..., N, N) between points (..., N, 2)."""
    x, y = points[..., 0], points[..., 1]
    return (x[..., :, None] - x[..., None, :]) ** 2 + (y[..., :, None] - y[..., None, :]) ** 2


def _log_odds(one: _Compared, two: _Compared, near: _Near, stride: int) -> np.ndarray:
    """
    Return the log odds (P,) of the peaks of the worse one being another identity of the better one.

    A peak of height h as part of another identity of one with K keypoints in a box of area F lies, with probability q,
    on one of its places, each equally likely, at a normally distributed distance d, else anywhere. Compared with that
    of a real keypoint anywhere its likelihood is ``q F / K N(d) min(1, r(m)) + (1 - q) r(h)``, with r(h) = (1 - h) / h,
    how likely a peak of this height is false, and m the lower one of both on the place: two full peaks are two real
    keypoints. Each place counts once; a name on a place where the same instance has a higher one counts as undecided.

    Args:
        one: the better ones.
        two: the worse ones.
        near: their keypoints up to a distance beyond which N(d) is nothing.
        stride: pixels for each cell of the maps.
    """
    variance = (_PLACE_SIGMA_CELLS * stride) ** 2
    area = np.prod(one.high - one.low + stride, axis=1) / one.seen.sum(1)
    density = np.exp(-0.5 / variance * near.squared) / (2 * np.pi * variance)
    false = np.fmin(1.0, _falseness(np.fmin(one.heights[near.in_one], two.heights[near.in_two])))
    likelihood = _ON_PLACE * area[near.pair] * density * false
    of_place, on_place = np.zeros((2, *one.seen.shape))
    np.maximum.at(of_place, near.in_one, likelihood)
    np.maximum.at(on_place, near.in_two, likelihood * (likelihood == of_place[near.in_one]))
    beside = (1 - _ON_PLACE) * _falseness(two.heights)
    return (np.log(np.where(two.topped, np.fmax(1.0, on_place), on_place + beside)) * two.seen).sum(1)


def _log_odds_inside(one: _Compared, two: _Compared, stride: int) -> np.ndarray:
    """
    Return what (P,) it adds to the log odds that the worse one lies in the box of the better one.

    Another identity does; a real object of its size that lies anywhere on the other one seldom does. As few keypoints
    tell less of the size, it is taken times their share.
    """
    size_one, size_two = one.high - one.low, two.high - two.low
    chance = ((1 + 2 * _BOX_SLACK) * size_one - size_two + stride) / (size_one + size_two + stride)
    return -np.log(np.fmin(np.fmax(chance, _LEAST_CHANCE), 1.0)).sum(1) * two.seen.mean(1)


def _inside(one: _Compared, two: _Compared) -> tuple[np.ndarray, np.ndarray]:
    """Tell of pairs whether (P,) the worse one is in the better one's box, and also lower in each keypoint (P,)."""
    slack = _BOX_SLACK * (one.high - one.low)
    inside = ((two.low >= one.low - slack) & (two.high <= one.high + slack)).all(1)
    return inside, inside & (~two.seen | (one.seen & (two.heights <= _WEAKER * one.heights))).all(1)


def _mixed(one: _Compared, two: _Compared, rivals: _Near, one_object: np.ndarray) -> np.ndarray:
    """Tell of pairs (P,) whether their names may be mixed up, see `Pairs`; `rivals` are names on one place."""
    shared = one.seen & two.seen
    height_one, height_two = one.heights[rivals.in_one], two.heights[rivals.in_two]
    contested_one, contested_two = one.topped.copy(), two.topped.copy()
    contested_one[rivals.those(height_one < height_two).in_one] = True
    contested_two[rivals.those(height_two < height_one).in_two] = True
    wrong_one, wrong_two = contested_one & (one.heights <= two.heights), two.topped & (two.heights <= one.heights)
    clear = (shared & ~contested_one & ~contested_two).sum(1)
    return (shared & (wrong_one | wrong_two)).any(1) & (one_object | (clear < 2))


def _above(heights: np.ndarray) -> np.ndarray:
    """Return (A, K, K) whether the second of two peaks of an instance is higher, or as high and comes first."""
    first = np.tri(heights.shape[1], k=-1, dtype=bool)
    return (heights[:, None] > heights[:, :, None]) | ((heights[:, None] == heights[:, :, None]) & first)


def _falseness(heights: np.ndarray) -> np.ndarray:
    """Return how likely peaks are false, compared with real ones."""
    heights = np.fmin(np.fmax(heights, _LEAST_PEAK), _SUREST_PEAK)
    return (1.0 - heights) / heights


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


def corners(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the low and high corners (..., 2) of the boxes of (..., K, 2) points, of the visible ones."""
    seen = ~np.isnan(points)
    return np.where(seen, points, np.inf).min(-2), np.where(seen, points, -np.inf).max(-2)
