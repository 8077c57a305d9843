"""
Identities: instances on one place of the image are one object whose keypoints can be named in more than one way.

A network that cannot tell which of two keypoints it sees divides its belief between their heatmaps: trained by squared
error, it predicts the mean of what it holds possible, so the peaks of the two identities on one place are as high as
they are likely, and sum to about 1. Two real keypoints on one place sum to about 2. A network that is nearly sure
leaves lower peaks of other names on the places of an object, and some beside them: its rivals, no other object.
"""

from __future__ import annotations

from functools import lru_cache
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
_RESOLVED = 0.5  # largest share of topped names; with more, an instance is too small for its places to be told apart
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
    return _tolerance(np.hypot(*np.moveaxis(high - low, -1, 0)), stride)


def _tolerance(size: np.ndarray, stride: int) -> np.ndarray:
    """Return `place_tolerance` by the diagonals of the boxes [px]."""
    least, most = (cells * stride for cells in _PLACE_CELLS)
    return np.minimum(np.maximum(_PLACE_SHARE * size, least), most)


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
            and not lower, and hardly any name is clear in both: their names may be mixed up. Never of two that are so
            small that most of their own names lie on one place with others.
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
    A instances, and P pairs of them.

    Attributes:
        first: (P,) int, the better instance of each pair.
        second: (P,) int, the worse one.
        seen: (A, K) bool.
        heights: (A, K) of the peaks.
        topped: (A, K) bool, whether another name of the same instance is higher on the place.
        low: (A, 2) corner of the box.
        high: (A, 2) corner of the box.
        tolerance: (A,) see `place_tolerance`.
    """

    first: np.ndarray
    second: np.ndarray
    seen: np.ndarray
    heights: np.ndarray
    topped: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tolerance: np.ndarray


class _Near(NamedTuple):
    """
    N keypoints of the better ones of P pairs that lie near keypoints of the worse ones; all indices are flat.

    Attributes:
        pair: (N,) int, index of the pair.
        one: (N,) int, index of the better one's keypoint in arrays (A, K).
        two: (N,) int, that of the worse one's.
        in_one: (N,) int, index of the better one's keypoint in arrays (P, K).
        in_two: (N,) int, that of the worse one's.
        squared: (N,) distance between them [px^2].
    """

    pair: np.ndarray
    one: np.ndarray
    two: np.ndarray
    in_one: np.ndarray
    in_two: np.ndarray
    squared: np.ndarray

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
    low, high = corners(points)
    size = np.hypot(*(high - low).T)
    tolerance = _tolerance(size, stride)
    topped = np.zeros(heights.shape, bool)
    instance, lower, _ = names_on_one_place(points, heights, tolerance[:, None])
    topped[instance, lower] = True
    first, second = _overlapping(low, high, 0.5 * tolerance + _REACH * size * topped.any(1))
    if not len(first):
        return None
    neighbours = _neighbours(points, _PLACE_CELLS[1] * stride)
    both = _Compared(first, second, ~np.isnan(points[..., 0]), heights, topped, low, high, tolerance)
    alone = _log_odds_of_peaks(0.0, heights, topped) * both.seen
    inside = _inside(both)
    chosen = (inside | _near_or_unclear(both, neighbours, alone)).nonzero()[0]
    if not len(chosen):
        return None
    first, second, inside = first[chosen], second[chosen], inside[chosen].nonzero()[0]
    both = both._replace(first=first, second=second)
    near, lower = _near(*neighbours, both), _lower(both, inside)
    log_odds = _log_odds(both, near, alone, stride)
    log_odds[inside] += _log_odds_inside(both, inside, stride)
    one_object = log_odds >= np.where(lower, _ONE_OBJECT_LOWER, _ONE_OBJECT)
    one_place = topped.any(1) & ((both.seen & ~topped).sum(1) == 1)
    one_object |= lower & one_place[second]  # a single place is no object

    on_place = near.squared <= np.minimum(tolerance[first], tolerance[second])[near.pair] ** 2
    rivals = near.those(on_place & (near.in_one != near.in_two))
    rival_names = np.zeros((2, len(first), points.shape[1]), bool)
    rival_names[0].reshape(-1)[rivals.in_one] = rival_names[1].reshape(-1)[rivals.in_two] = True
    doubled = (rival_names.sum(2) >= 2).all(0)
    return Pairs(first, second, log_odds, lower, one_object, doubled, _mixed(both, rivals, one_object))


def _overlapping(low: np.ndarray, high: np.ndarray, beyond: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs (P,), (P,) of boxes with corners (A, 2) that meet, each taken so far beyond itself (A,) [px]."""
    begin, end = (low - beyond[:, None]).T, (high + beyond[:, None]).T
    before = (begin[0][:, None] <= end[0]) & (begin[1][:, None] <= end[1])
    first, second = (before & before.T).nonzero()
    ordered = first < second
    return first[ordered], second[ordered]


def _neighbours(points: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return each two keypoints (A, K, 2) that are at most so far apart [px].

    Returns:
        (N,) int and (N,) int, their flat indices, lower one first, and (N,) their squared distances [px^2].
    """
    x, y = points.reshape(-1, 2).T
    order = x.argsort()[: np.count_nonzero(~np.isnan(x))]
    x, y = x[order], y[order]
    rank = np.arange(len(x))
    count = x.searchsorted(x + most, 'right') - rank - 1  # of those to the right of each, within reach
    one = rank.repeat(count)
    two = np.arange(len(one)) + (rank + 1 - count.cumsum() + count)[one]
    squared = (x[one] - x[two]) ** 2 + (y[one] - y[two]) ** 2
    near = (squared <= most**2).nonzero()[0]
    one, two = order[one[near]], order[two[near]]
    return np.minimum(one, two), np.maximum(one, two), squared[near]


def names_on_one_place(
    points: np.ndarray, heights: np.ndarray, tolerance: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return each two names of instances (A, K, 2) on one place: instance, lower and higher keypoint, each (N,) int.

    Heights are (A, K), of equal ones the first counts as higher; the tolerance [px] is one for all, or (A, 1).
    """
    one, two = _two_of(points.shape[1])
    x, y = np.moveaxis(points[:, one] - points[:, two], -1, 0)
    instance, which = (x * x + y * y <= tolerance * tolerance).nonzero()
    one, two = one[which], two[which]
    rises = heights[instance, one] < heights[instance, two]
    return instance, np.where(rises, one, two), np.where(rises, two, one)


@lru_cache(maxsize=16)
def _two_of(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each two of so many indices, lower one first."""
    return np.triu_indices(count, 1)


def _near_or_unclear(
    both: _Compared, neighbours: tuple[np.ndarray, np.ndarray, np.ndarray], alone: np.ndarray
) -> np.ndarray:
    """Tell of pairs (P,) whether they could be one object or mixed, were the worse one not in the other's box."""
    count, keypoints = both.seen.shape
    near = np.zeros((count, count), bool)
    near[neighbours[0] // keypoints, neighbours[1] // keypoints] = True
    topped, clear = np.any(both.topped, axis=1), both.seen & ~both.topped
    unclear = (topped[both.first] | topped[both.second]) & ((clear[both.first] & clear[both.second]).sum(1) < 2)
    return near[both.first, both.second] | unclear | (alone.sum(1)[both.second] >= 0)


def _near(one: np.ndarray, two: np.ndarray, squared: np.ndarray, both: _Compared) -> _Near:
    """Return those `_neighbours` of instances that are of the two of a pair."""
    count, keypoints = both.seen.shape
    pair_of = np.full((count, count), -1)
    pair_of[both.first, both.second] = np.arange(len(both.first))
    (instance_one, name_one), (instance_two, name_two) = np.divmod(one, keypoints), np.divmod(two, keypoints)
    pair = pair_of[instance_one, instance_two]
    in_one = pair * keypoints
    return _Near(pair, one, two, in_one + name_one, in_one + name_two, squared).those((pair >= 0).nonzero()[0])


def _log_odds(both: _Compared, near: _Near, alone: np.ndarray, stride: int) -> np.ndarray:
    """
    Return the log odds (P,) of the peaks of the worse one being another identity of the better one.

    A peak of height h as part of another identity of one with K keypoints in a box of area F lies, with probability q,
    on one of its places, each equally likely, at a normally distributed distance d, else anywhere. Compared with that
    of a real keypoint anywhere its likelihood is ``q F / K N(d) min(1, r(m)) + (1 - q) r(h)``, with r(h) = (1 - h) / h,
    how likely a peak of this height is false, and m the lower one of both on the place: two full peaks are two real
    keypoints. Each place counts once; a name on a place where the same instance has a higher one counts as undecided.

    Args:
        both: the instances and pairs.
        near: their keypoints up to a distance beyond which N(d) is nothing.
        alone: (A, K) the log odds of the peaks that are on no place.
        stride: pixels for each cell of the maps.
    """
    heights, keypoints = both.heights.reshape(-1), both.seen.shape[1]
    area = np.prod(both.high - both.low + stride, axis=1) / both.seen.sum(1)
    variance = (_PLACE_SIGMA_CELLS * stride) ** 2
    density = np.exp(-0.5 / variance * near.squared) / (2 * np.pi * variance)
    false = np.fmin(1.0, _falseness(np.fmin(heights[near.one], heights[near.two])))
    likelihood = _ON_PLACE * area[both.first[near.pair]] * density * false
    of_place, on_place = np.zeros((2, len(both.first) * keypoints))
    np.maximum.at(of_place, near.in_one, likelihood)
    np.maximum.at(on_place, near.in_two, likelihood * (likelihood == of_place[near.in_one]))
    there = on_place.nonzero()[0]
    pair, name = np.divmod(there, keypoints)
    which = both.second[pair], name
    gained = _log_odds_of_peaks(on_place[there], both.heights[which], both.topped[which]) - alone[which]
    return alone.sum(1)[both.second] + np.bincount(pair, gained, len(both.first))


def _log_odds_of_peaks(on_place: np.ndarray | float, heights: np.ndarray, topped: np.ndarray) -> np.ndarray:
    """Return the log odds of peaks one by one, see `_log_odds`."""
    return np.log(np.where(topped, np.fmax(1.0, on_place), on_place + (1 - _ON_PLACE) * _falseness(heights)))


def _log_odds_inside(both: _Compared, inside: np.ndarray, stride: int) -> np.ndarray:
    """
    Return what (I,) it adds to the log odds of pairs that the worse one lies in the box of the better one.

    Another identity does; a real object of its size that lies anywhere on the other one seldom does. As few keypoints
    tell less of the size, it is taken times their share.

    Args:
        both: the instances and pairs.
        inside: (I,) int, those pairs.
        stride: pixels for each cell of the maps.
    """
    one, two, size = both.first[inside], both.second[inside], both.high - both.low
    chance = ((1 + 2 * _BOX_SLACK) * size[one] - size[two] + stride) / (size[one] + size[two] + stride)
    return -np.log(np.fmin(np.fmax(chance, _LEAST_CHANCE), 1.0)).sum(1) * both.seen[two].mean(1)


def _inside(both: _Compared) -> np.ndarray:
    """Tell of pairs (P,) whether the worse one is in the better one's box."""
    slack = _BOX_SLACK * (both.high - both.low)
    low, high = (both.low - slack)[both.first], (both.high + slack)[both.first]
    return np.all((both.low[both.second] >= low) & (both.high[both.second] <= high), axis=1)


def _lower(both: _Compared, inside: np.ndarray) -> np.ndarray:
    """Tell of pairs (P,) whether they are among those `inside` (I,), and the worse one lower in each keypoint."""
    one, two = both.first[inside], both.second[inside]
    lower = np.zeros(len(both.first), bool)
    lower[inside] = (~both.seen[two] | (both.seen[one] & (both.heights[two] <= _WEAKER * both.heights[one]))).all(1)
    return lower


def _mixed(both: _Compared, rivals: _Near, one_object: np.ndarray) -> np.ndarray:
    """Tell of pairs (P,) whether their names may be mixed up, see `Pairs`; `rivals` are names on one place."""
    shared = both.seen[both.first] & both.seen[both.second]
    contested_one, topped_two = both.topped[both.first], both.topped[both.second]
    contested_two, heights = topped_two.copy(), both.heights.reshape(-1)
    height_one, height_two = heights[rivals.one], heights[rivals.two]
    contested_one.reshape(-1)[rivals.in_one[height_one < height_two]] = True
    contested_two.reshape(-1)[rivals.in_two[height_two < height_one]] = True
    height_one, height_two = both.heights[both.first], both.heights[both.second]
    wrong = (contested_one & (height_one <= height_two)) | (topped_two & (height_two <= height_one))
    clear = (shared & ~(contested_one | contested_two)).sum(1)
    resolved = both.topped.sum(1) <= _RESOLVED * both.seen.sum(1)
    return (shared & wrong).any(1) & (one_object | (clear < 2)) & (resolved[both.first] | resolved[both.second])


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
    return np.fmin.reduce(points, axis=-2, initial=np.inf), np.fmax.reduce(points, axis=-2, initial=-np.inf)
