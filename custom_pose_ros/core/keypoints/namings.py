"""Namings: instances on one place become one object, and where they mix names, all of these are given out anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.keypoints.fragments import MIN_SUPPORT, Graph, Links, least_distance, points_of, pose_scores
from custom_pose_ros.core.keypoints.heatmaps import Peaks
from custom_pose_ros.core.keypoints.identities import Pairs, compare, corners, names_on_one_place, place_tolerance

_ONE_PLACE_CELLS = 0.5  # up to which two names of an instance are on one place, though it may be small, and
_WEAK = 0.5  # the lower one is dropped that has less than this share of the other one's height
_MANY_PAIRS = 10  # so many are looked at in an image, and of each
_MANY_PEAKS = 100  # so many of the highest, so that pure noise stays cheap


class Candidates(NamedTuple):
    """
    What instances of an image are made of.

    Attributes:
        channels: (M,) int, the keypoint of each peak, ascending.
        peaks: M peaks.
        links: between them.
        graph: the skeleton.
        limb_score: least score of a limb.
        wanted: keypoints that an instance must have.
        stride: pixels for each cell of the maps.
    """

    channels: np.ndarray
    peaks: Peaks
    links: Links
    graph: Graph
    limb_score: float
    wanted: int
    stride: int


class Objects(NamedTuple):
    """
    Instances, no two on one place.

    Attributes:
        rows: (B, K) int, the peak of each keypoint, -1 where there is none; best first.
        scores: (B,) as from `pose_scores`.
        doubled: (B,) bool, whether another one was found on the same place.
        margin: see `Grouping`.
    """

    rows: np.ndarray
    scores: np.ndarray
    doubled: np.ndarray
    margin: float


def one_object_each(rows: np.ndarray, scores: np.ndarray, candidates: Candidates, limit: float) -> Objects:
    """
    Make one object of instances on the same place.

    Args:
        rows: (A, K) int, the peaks of instances, best first.
        scores: (A,) of these, as from `pose_scores`.
        candidates: what they are made of.
        limit: as in `group_with_margin`.
    """
    objects = Objects(rows, scores, np.zeros(len(rows), bool), limit)
    while (pairs := _pairs(objects.rows, candidates)) is not None:
        unmixed = _unmixed(objects, pairs, candidates)
        if unmixed is None:
            return _without_rivals(objects, pairs)
        objects = unmixed
    return objects


def without_weak_names(objects: Objects, candidates: Candidates, limit: float) -> Objects:
    """
    Drop what an instance names twice: a name on the place of another one that is at least twice as high.

    So it is where the network takes a keypoint for its twin and does not find the twin itself. Real keypoints on one
    place, as of an object seen edge-on, are about as high as each other.

    Args:
        objects: instances.
        candidates: what they are made of.
        limit: as in `group_with_margin`.
    """
    rows, heights = objects.rows, candidates.peaks.scores[objects.rows]
    if not len(rows) or heights.min() >= _WEAK * heights.max() + limit:  # by far the most
        return objects
    points, tolerance = points_of(rows, candidates.peaks), _ONE_PLACE_CELLS * candidates.stride
    instance, lower, higher = names_on_one_place(points, heights, tolerance)
    above = heights[instance, lower] - _WEAK * heights[instance, higher]
    rest = rows.copy()
    rest[instance[above < 0], lower[above < 0]] = -1
    enough = (rest >= 0).sum(1) >= candidates.wanted
    rows = np.where(enough[:, None], rest, rows)
    return objects._replace(rows=rows, margin=min(objects.margin, least_distance(above, 0.0, limit)))


def _pairs(rows: np.ndarray, candidates: Candidates) -> Pairs | None:
    peaks = candidates.peaks
    return compare(points_of(rows, peaks), peaks.scores[rows], candidates.stride) if len(rows) > 1 else None


def _without_rivals(objects: Objects, pairs: Pairs) -> Objects:
    """Return the best instance on each place."""
    if not (pairs.one_object.any() or objects.doubled.any()):
        return objects
    better, doubled, margin = np.full(len(objects.rows), -1), objects.doubled.copy(), objects.margin
    evidence, named = np.zeros(len(objects.rows)), objects.rows >= 0
    rival_names = np.zeros_like(named)
    for rival_known in (False, True):
        for p in (doubled[pairs.first] if rival_known else pairs.one_object).nonzero()[0].tolist():
            i, j = int(pairs.first[p]), int(pairs.second[p])
            log_odds = pairs.log_odds[p]
            if rival_known and pairs.lower[p] and not (named[j] & rival_names[i]).any():
                log_odds += evidence[i]  # another part of the same rival
            if better[i] < 0 and better[j] < 0 and (log_odds >= 0 or not rival_known):
                better[j] = i
                doubled[i] |= pairs.doubled[p]
                evidence[i] = log_odds
                rival_names[i] |= named[j]
                margin = min(margin, float(abs(objects.scores[i] - objects.scores[j])))
    best = better < 0
    return Objects(objects.rows[best], objects.scores[best], doubled[best], margin)


def _unmixed(objects: Objects, pairs: Pairs, candidates: Candidates) -> Objects | None:
    """Return the instances after the names of one pair that mixes them were given out anew; None if no pair does."""
    mixed = pairs.mixed.nonzero()[0][:_MANY_PAIRS]
    if not len(mixed):
        return None
    one, two = objects.rows[pairs.first[mixed]], objects.rows[pairs.second[mixed]]
    mixed = mixed[pairs.one_object[mixed] | _hang_together(one, two, candidates)]
    for i, j in zip(pairs.first[mixed].tolist(), pairs.second[mixed].tolist()):
        members = objects.rows[[i, j]]
        named = _named_anew(members, _peaks_of_one(members, objects.rows, candidates), candidates)
        if (named != members[0]).any() and all(_explained(row, named, candidates) for row in members):
            rows = np.delete(objects.rows, j, 0)
            rows[i] = named
            doubled = np.delete(objects.doubled, j)
            doubled[i] = True
            scores = pose_scores(rows, candidates.peaks, candidates.links, candidates.graph)
            order = (-scores * (rows >= 0).sum(1)).argsort(kind='stable')
            return Objects(rows[order], scores[order], doubled[order], 0.0)
    return None


def _hang_together(one: np.ndarray, two: np.ndarray, candidates: Candidates) -> np.ndarray:
    """Tell of pairs of instances (P, K) and (P, K) whether (P,) a good limb runs from one of them to the other."""
    links, (a, b) = candidates.links, candidates.graph.pairs.T
    starts, ends = np.stack([one[:, a], two[:, a]]), np.stack([two[:, b], one[:, b]])
    _, pair, limb = known = ((starts >= 0) & (ends >= 0)).nonzero()
    index = links.base[limb] + starts[known] * links.width[limb] + ends[known]
    good = (links.scores[index] >= candidates.limb_score) & (links.supports[index] >= MIN_SUPPORT)
    return np.bincount(pair[good], minlength=len(one)) > 0


def _explained(row: np.ndarray, named: np.ndarray, candidates: Candidates) -> bool:
    """Tell whether an instance (K,) is no object of its own beside a better one (K,): what else it has is a rival."""
    rest = np.where(row == named, -1, row)
    if (rest < 0).all():
        return True
    pairs = _pairs(np.stack([named, rest]), candidates)
    return pairs is not None and bool(pairs.log_odds[0] >= 0)


def _peaks_of_one(members: np.ndarray, rows: np.ndarray, candidates: Candidates) -> np.ndarray:
    """
    Return (N,) int: the peaks of which the object may be made that instances on one place are.

    Args:
        members: (2, K) int, the peaks of these instances, better one first.
        rows: (A, K) int, those of all instances; peaks of none of them, in the box of the members, may be part of it.
        candidates: what they are made of.
    """
    peaks = candidates.peaks
    low, high = corners(peaks.positions[members[members >= 0]])
    usable = np.all((peaks.positions >= low) & (peaks.positions <= high), axis=1)
    usable[rows[rows >= 0]] = False
    usable[members[members >= 0]] = True
    among = usable.nonzero()[0]
    return among[np.argsort(-peaks.scores[among], kind='stable')[:_MANY_PEAKS]]


def _named_anew(members: np.ndarray, among: np.ndarray, candidates: Candidates) -> np.ndarray:
    """
    Return the best object that can be made of instances on one place: each name once, each place once.

    From every peak an object grows: the peak that adds most, its height and the limbs to those before, comes next, if
    these limbs are good enough on average. So a naming is followed through from each of its keypoints, however many
    namings there are (a cube has 24), and the one with the largest sum of heights and limbs is the best.

    Args:
        members: (2, K) int, their peaks, better instance first.
        among: (N,) int, the peaks that may be part of it.
        candidates: what they are made of.
    """
    peaks, links, graph = candidates.peaks, candidates.links, candidates.graph
    names, heights, positions = candidates.channels[among], peaks.scores[among], peaks.positions[among]
    between = np.zeros((4, len(among), len(among)))  # of each two peaks:
    agreement, limbs, rivals, connected = between
    limb = graph.limb_between[names[:, None], names]
    joined = limb >= 0
    starts, ends = joined.nonzero()
    limb = limb[joined]
    agreement[joined] = links.scores[links.base[limb] + among[starts] * links.width[limb] + among[ends]]
    agreement += agreement.T
    limbs[:] = joined | joined.T
    x, y = np.moveaxis(positions[:, None] - positions, -1, 0)
    near = x * x + y * y <= place_tolerance(points_of(members[0], peaks), candidates.stride) ** 2
    rivals[:] = near | (names[:, None] == names)
    connected[:] = graph.connected[names[:, None], names]

    grown, own = np.eye(len(among), dtype=bool), members[0][names] == among
    met = between.copy()  # by each grown object, of each peak
    if rivals[own][:, own].sum() == own.sum():
        grown = np.vstack([own, grown])
        met = np.concatenate([between[:, own].sum(1, keepdims=True), between], axis=1)
    support, count, rivals, connected = met
    while True:
        hangs = np.where(count > 0, support >= candidates.limb_score * count, connected == 0)
        gain = np.where(hangs & (rivals == 0), heights + support, -np.inf)
        best = gain.argmax(1)
        grows = (gain.max(1) > -np.inf).nonzero()[0]
        if not len(grows):
            break
        grown[grows, best[grows]] = True
        met[:, grows] += between[:, best[grows]]
    whole = grown[(grown * (heights + 0.5 * support)).sum(1).argmax()]
    if whole.sum() < candidates.wanted:
        return members[0]
    named = np.full(members.shape[1], -1)
    named[names[whole]] = among[whole]
    return named
