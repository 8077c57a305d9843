"""Grouping: heatmaps and part affinity fields -> instances, for any skeleton graph and any number of instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.keypoints.heatmaps import Peaks, find_peaks
from custom_pose_ros.core.keypoints.identities import (
    RIVAL_SHARE,
    any_rival,
    better_on_place,
    place_tolerance,
    places_of,
)
from custom_pose_ros.core.keypoints.pafs import SAMPLES, score_limbs
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel, Thresholds

MIN_SUPPORT = 0.8  # least share of a limb along which the field must agree with it
_JOIN_DISTANCE = 0.75  # largest distance of joined fragments without a link, as a share of the sum of their diagonals
_MANY_LIMBS = 256  # among so many good limbs some decision is always close
_MIN_CANDIDATES = 20  # candidates for each keypoint, even where fewer instances are wanted
_RIVAL_SCORE = 0.1  # lowest peak that speaks for another identity, however high peaks must be to be keypoints
_RIVAL_LIMB_SCORE = 0.06  # the same of the limbs between them
_MANY_RIVALS = 50  # the highest so many are looked at, so that pure noise stays cheap
_FULL_PEAK = 0.91  # height of a peak from which on it leaves rivals less than is negligible
_NEGLIGIBLE_RIVAL = 0.1  # ratio of scores below which another identity is none


@dataclass(frozen=True)
class Grouping:
    """
    The instances in the maps of one image, and how sure the decisions that made them were.

    Attributes:
        poses: as `group_poses` returns them.
        decision_margin: how much the height of a peak or the score of a limb or instance would have to change for the
            closest decision to go the other way: from its threshold, or from that of a limb that excludes it. At most
            the `limit` of the search; 0 where the maps leave too much open to tell.
    """

    poses: list[KeypointPose]
    decision_margin: float


def group_poses(
    heatmaps: np.ndarray, pafs: np.ndarray, model: ObjectModel, stride: int = 8, thresholds: Thresholds | None = None
) -> list[KeypointPose]:
    """
    Find every instance of the object in the maps of one image.

    The skeleton may be any graph: a tree, with cycles, in several parts, or without limbs.

    1. Peaks of the heatmaps are candidates for keypoints; pairs of candidates that a limb could join are scored by the
       line integral through its field.
    2. Limbs that are good enough are used best first. A limb joins the fragments at its ends, unless both have some
       keypoint already, or the limbs that would run between them are below the threshold on average: this is where
       the other limbs of a cycle speak for or against.
    3. Fragments that no limb could have joined are joined by nearness; see `_join_by_nearness`.
    4. Without any limb, the highest peak of each keypoint makes one instance; an object of a single keypoint has one
       instance for each peak.
    5. Instances on the same place are one object: the best stays. Peaks of other keypoints on its places make its
       `alternative`. Such peaks may be too low to be keypoints; then they count for no more than what its own lack.

    Args:
        heatmaps: (K + 1, h, w) float32, the last is the background and not used. Never changed.
        pafs: (2 L, h, w) float32. Never changed.
        model: the object.
        stride: pixels of the network input for each cell of the maps.
        thresholds: used instead of the object's. An object of fewer keypoints than `min_keypoints` must show all.

    Returns:
        Poses in pixels of the network input, best first: by score times number of visible keypoints. The score is the
        mean over the visible keypoints and the limbs between them.

    Raises:
        ValueError: the maps do not fit the object.
    """
    return group_with_margin(heatmaps, pafs, model, stride, thresholds or model.thresholds, 0.0).poses


def group_with_margin(
    heatmaps: np.ndarray, pafs: np.ndarray, model: ObjectModel, stride: int, thresholds: Thresholds, limit: float
) -> Grouping:
    """
    Find every instance as `group_poses` does, and tell how close the closest decision was.

    Args:
        heatmaps: as in `group_poses`.
        pafs: as in `group_poses`.
        model: as in `group_poses`.
        stride: as in `group_poses`.
        thresholds: as in `group_poses`.
        limit: up to which decision margin to look, in heights of peaks and scores; 0 saves the time.
    """
    count = model.keypoint_count
    _check_maps(heatmaps, pafs, model)
    graph = _graph(count, model.skeleton)
    max_peaks = max(thresholds.max_instances, _MIN_CANDIDATES)
    lowest = thresholds.keypoint_score - limit
    channels, peaks = find_peaks(heatmaps[:count], lowest, stride, max_peaks)
    links = _links(channels, peaks, pafs, graph, stride)
    wanted = min(thresholds.min_keypoints, count)
    margin = _peak_margin(peaks, links, graph, thresholds, wanted, limit) if limit else limit
    if model.limb_count:
        fragments, limb_margin = _join_by_limbs(channels, peaks, links, graph, thresholds.limb_score, limit)
        margin = min(margin, limb_margin)
        fragments = _join_by_nearness(fragments, peaks, graph)
    else:
        fragments = _without_limbs(channels, count)
    table = _table([fragment for fragment in fragments if len(fragment.peaks) >= wanted], count)
    scores = _pose_scores(table, peaks, links, graph)
    margin = min(margin, _least_distance(scores, thresholds.pose_score, limit))
    order: np.ndarray = (-scores * (table >= 0).sum(1)).argsort(kind='stable')
    order = order[scores[order] >= thresholds.pose_score]
    rows: np.ndarray = table[order]
    points = _points(rows, peaks)
    doubled: np.ndarray = np.zeros(len(rows), bool)
    if len(order) > 1:
        better = better_on_place(points, peaks.scores[rows], stride)
        worse = better >= 0
        doubled[better[worse]] = True
        if limit:
            margin = min(margin, _least_distance(scores[order[worse]], scores[order[better[worse]]], limit))
        best = (~worse).nonzero()[0][: thresholds.max_instances]
        order, rows, points, doubled = order[best], rows[best], points[best], doubled[best]
    poses = _poses(rows, points, scores[order], peaks)
    if poses:
        low = (rows >= 0) & (peaks.scores[rows] < _FULL_PEAK)
        low[low.sum(1) <= (rows >= 0).all(1)] = False  # two must be low to exchange their names
        if doubled.any() or any_rival(heatmaps[:count], points, low, stride, _RIVAL_SCORE):
            all_channels, every = find_peaks(heatmaps[:count], min(_RIVAL_SCORE, lowest), stride, max_peaks)
            all_rows = np.where(rows >= 0, (every.scores >= lowest).nonzero()[0][rows], -1)
            evidence = _Evidence(all_channels, every, pafs, graph, stride)
            contested = low | doubled[:, None] & (rows >= 0)
            poses = evidence.with_alternatives(poses, all_rows, contested, doubled)
    return Grouping(poses, margin)


@dataclass(frozen=True)
class _Graph:
    """
    The skeleton as grouping needs it; a set of keypoints is the bits of an int.

    Attributes:
        pairs: (L, 2) int, the keypoints of each limb.
        limbs_of: for each keypoint, its limbs as (limb, keypoint at the other end, whether it starts the limb).
        neighbours: for each keypoint, the set of keypoints that share a limb with it.
        parts: for each keypoint, the set of keypoints that the skeleton connects with it, itself included.
    """

    pairs: np.ndarray
    limbs_of: list[list[tuple[int, int, bool]]]
    neighbours: list[int]
    parts: list[int]


@lru_cache(maxsize=16)
def _graph(count: int, skeleton: tuple[tuple[int, int], ...]) -> _Graph:
    limbs_of: list[list[tuple[int, int, bool]]] = [[] for _ in range(count)]
    neighbours = [0] * count
    parts = [1 << k for k in range(count)]
    for limb, (a, b) in enumerate(skeleton):
        limbs_of[a].append((limb, b, True))
        limbs_of[b].append((limb, a, False))
        neighbours[a] |= 1 << b
        neighbours[b] |= 1 << a
        joined = parts[a] | parts[b]
        parts = [joined if joined >> k & 1 else part for k, part in enumerate(parts)]
    return _Graph(np.array(skeleton, int).reshape(-1, 2), limbs_of, neighbours, parts)


@dataclass(frozen=True)
class _Links:
    """
    Every pair of peaks that a limb could join, P in all.

    Attributes:
        starts: (P,) int, index of the peak where the limb starts.
        ends: (P,) int, index of the peak where the limb ends.
        scores: (P,) float32 in [-1, 1], see `score_limbs`.
        supports: (P,) float32 in [0, 1], see `score_limbs`.
        base: (L,) int; the pair of peaks a and b on limb l has the index base[l] + a * width[l] + b.
        width: (L,) int, see `base`.
    """

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray
    supports: np.ndarray
    base: np.ndarray
    width: np.ndarray


def _links(channels: np.ndarray, peaks: Peaks, pafs: np.ndarray, graph: _Graph, stride: int) -> _Links:
    """Score all pairs of the peaks, whose keypoints are `channels` (M,), ascending."""
    first = channels.searchsorted(np.arange(len(graph.parts) + 1))
    counts = first[1:] - first[:-1]
    a, b = graph.pairs[:, 0], graph.pairs[:, 1]
    width = counts[b]
    sizes = counts[a] * width
    offsets = sizes.cumsum() - sizes
    limbs = np.arange(len(sizes)).repeat(sizes)
    row, column = np.divmod(np.arange(len(limbs)) - offsets[limbs], width[limbs])
    starts, ends = first[a][limbs] + row, first[b][limbs] + column
    scores, supports = score_limbs(pafs, limbs, peaks.positions[starts], peaks.positions[ends], stride)
    scores = np.fmin(np.fmax(scores, -1), 1)  # NaN, from a network gone wrong, speaks against
    return _Links(starts, ends, scores, supports, offsets - first[a] * width - first[b], width)


class _Fragment:
    """
    Part of an instance, or all of it; a set of keypoints is the bits of an int.

    Attributes:
        peaks: the peak of each keypoint that was found.
        keypoints: the set of these keypoints.
        neighbours: the set of keypoints that share a limb with any of them.
    """

    __slots__ = ('keypoints', 'neighbours', 'peaks')

    def __init__(self, keypoint: int, peak: int, neighbours: int):
        self.peaks = {keypoint: peak}
        self.keypoints = 1 << keypoint
        self.neighbours = neighbours

    def absorb(self, other: _Fragment) -> None:
        """Take over the keypoints of another fragment."""
        self.peaks.update(other.peaks)
        self.keypoints |= other.keypoints
        self.neighbours |= other.neighbours


def _join_by_limbs(
    channels: np.ndarray, peaks: Peaks, links: _Links, graph: _Graph, threshold: float, limit: float
) -> tuple[list[_Fragment], float]:
    """
    Join single peaks to fragments by the limbs between them, best limb first.

    Returns:
        All fragments, single peaks included, and the least decision margin, see `Grouping`.
    """
    owner = [_Fragment(k, peak, graph.neighbours[k]) for peak, k in enumerate(channels.tolist())]
    good = ((links.scores >= threshold) & (links.supports >= MIN_SUPPORT)).nonzero()[0]
    # The height of the peaks counts too: of two peaks on one limb, the lower is most often a false one.
    trust = links.scores[good] * np.sqrt(peaks.scores[links.starts[good]] * peaks.scores[links.ends[good]])
    order = (-trust).argsort(kind='stable')
    good = good[order]
    margin = limit
    if limit:
        margin = min(_limb_margin(links, threshold, limit), _order_margin(channels, links, good, trust[order], limit))
    for start, end in zip(links.starts[good].tolist(), links.ends[good].tolist()):
        large, small = owner[start], owner[end]
        if large is small or large.keypoints & small.keypoints:
            continue
        if len(small.peaks) > len(large.peaks):
            large, small = small, large
        if _several_limbs(small, large):
            agreement = _agreement(small, large, links, graph)
            margin = min(margin, abs(agreement - threshold))
            if agreement < threshold:
                continue
        large.absorb(small)
        for peak in small.peaks.values():
            owner[peak] = large
    return list(dict.fromkeys(owner)), margin


def _least_distance(values: np.ndarray, threshold: float | np.ndarray, limit: float) -> float:
    """Return the least distance of any value from its threshold, `limit` at most."""
    return min(limit, float(np.fmin.reduce(np.abs(values - threshold), initial=np.inf)))


def _peak_margin(
    peaks: Peaks, links: _Links, graph: _Graph, thresholds: Thresholds, wanted: int, limit: float
) -> float:
    """Return the margin of the peaks' heights, but for peaks that would stay alone and belong to no instance."""
    scores = peaks.scores
    if wanted > 1 and graph.parts[0] == (1 << len(graph.parts)) - 1:
        possible = _possible_limbs(links, thresholds.limb_score, limit)
        scores = scores[np.concatenate([links.starts[possible], links.ends[possible]])]
    return _least_distance(scores, thresholds.keypoint_score, limit)


def _limb_margin(links: _Links, threshold: float, limit: float) -> float:
    """Return the margin of the limbs' scores; 0 where one point more or less of a limb's support would decide."""
    possible = _possible_limbs(links, threshold, limit)
    if (links.supports[possible] < MIN_SUPPORT + 0.5 / SAMPLES).any():
        return 0.0
    return _least_distance(links.scores[possible], threshold, limit)


def _possible_limbs(links: _Links, threshold: float, limit: float) -> np.ndarray:
    """Tell of each link (P,) whether it is good enough, or would be by the limit and one more point of support."""
    return (links.scores > threshold - limit) & (links.supports > MIN_SUPPORT - 1.5 / SAMPLES)


def _order_margin(channels: np.ndarray, links: _Links, good: np.ndarray, trust: np.ndarray, limit: float) -> float:
    """Return the least difference of trust between good limbs of one kind that share a peak: only one can be used."""
    if len(good) > _MANY_LIMBS:
        return 0.0
    starts, ends, count = links.starts[good], links.ends[good], len(channels)
    from_peak, to_peak = starts * count + channels[ends], ends * count + channels[starts]  # a peak, and where it leads
    if len(set(from_peak.tolist())) == len(set(to_peak.tolist())) == len(good):
        return limit
    rivals = (from_peak[:, None] == from_peak) | (to_peak[:, None] == to_peak)
    first, second = np.triu(rivals, 1).nonzero()
    return _least_distance(trust[first], trust[second], limit)


def _several_limbs(one: _Fragment, two: _Fragment) -> bool:
    """Tell whether more than one limb runs between two fragments that share at least one."""
    near, far = one.keypoints & two.neighbours, two.keypoints & one.neighbours
    return bool(near & (near - 1) or far & (far - 1))


def _agreement(small: _Fragment, large: _Fragment, links: _Links, graph: _Graph) -> float:
    """Return the mean score of all limbs that run between two fragments (at least one does)."""
    scores = []
    for keypoint, peak in small.peaks.items():
        for limb, other, is_start in graph.limbs_of[keypoint]:
            far = large.peaks.get(other)
            if far is not None:
                start, end = (peak, far) if is_start else (far, peak)
                scores.append(float(links.scores[links.base[limb] + start * links.width[limb] + end]))
    return sum(scores) / len(scores)


def _join_by_nearness(fragments: list[_Fragment], peaks: Peaks, graph: _Graph) -> list[_Fragment]:
    """
    Join fragments of one instance that no limb could have joined, nearest centres first.

    Such are fragments without a keypoint in common and without a limb between the keypoints they have, because either
    - the skeleton does not connect them at all: then at least one must be more than a single peak; or
    - the keypoint that would connect them was not found: then both must have at least three keypoints (a false pair is
      frequent in noise, a false triple rare), and their centres must be near, see _JOIN_DISTANCE.
    """
    whole = (1 << len(graph.parts)) - 1
    connected = graph.parts[0] == whole
    unfinished = [f for f in fragments if f.keypoints != whole and (len(f.peaks) > 1 or not connected)]
    if len(unfinished) < 2:
        return fragments
    went_to = list(range(len(unfinished)))
    for one, two in _near_pairs(unfinished, peaks, graph):
        i, j = went_to[one], went_to[two]
        a, b = unfinished[i], unfinished[j]
        if i != j and not (a.keypoints | a.neighbours) & b.keypoints:
            a.absorb(b)
            went_to = [i if k == j else k for k in went_to]
    absorbed = {f for i, f in zip(went_to, unfinished) if unfinished[i] is not f}
    return [fragment for fragment in fragments if fragment not in absorbed]


def _near_pairs(fragments: list[_Fragment], peaks: Peaks, graph: _Graph) -> list[tuple[int, int]]:
    """Return the pairs of fragments that may be joined by nearness, nearest first."""
    keypoints = np.array([f.keypoints for f in fragments], np.uint64)
    neighbours = np.array([f.neighbours for f in fragments], np.uint64)
    parts = np.array([graph.parts[next(iter(f.peaks))] for f in fragments], np.uint64)
    possible = ((keypoints[:, None] | neighbours[:, None]) & keypoints) == 0
    if not possible.any():
        return []
    table = _table(fragments, len(graph.parts))
    points = np.where((table >= 0)[..., None], peaks.positions[table], np.nan)
    centre = np.nanmean(points, 1)
    size = np.hypot(*(np.nanmax(points, 1) - np.nanmin(points, 1)).T)
    distance = np.hypot(*(centre[:, None] - centre).T)
    found = (table >= 0).sum(1)
    unconnected = (parts[:, None] & parts) == 0
    link_missing = (np.minimum(found[:, None], found) >= 3) & (distance <= _JOIN_DISTANCE * (size[:, None] + size))
    possible &= np.where(unconnected, np.maximum(found[:, None], found) >= 2, link_missing)
    first, second = np.triu(possible).nonzero()
    order = distance[first, second].argsort(kind='stable')
    return list(zip(first[order].tolist(), second[order].tolist()))


def _without_limbs(channels: np.ndarray, count: int) -> list[_Fragment]:
    """Make instances of an object without limbs; the peaks of each keypoint stand highest first."""
    if count == 1:
        return [_Fragment(0, peak, 0) for peak in range(len(channels))]
    highest = [_Fragment(k, peak, 0) for k, peak in zip(*(a.tolist() for a in np.unique(channels, return_index=True)))]
    for fragment in highest[1:]:
        highest[0].absorb(fragment)
    return highest[:1]


def _table(fragments: list[_Fragment], count: int) -> np.ndarray:
    """Return (F, K) int: the peak of each keypoint of each fragment, -1 where it was not found."""
    table = np.empty((len(fragments), count), int)
    table.fill(-1)
    rows = [i for i, fragment in enumerate(fragments) for _ in fragment.peaks]
    table[rows, [k for f in fragments for k in f.peaks]] = [peak for f in fragments for peak in f.peaks.values()]
    return table


def _pose_scores(table: np.ndarray, peaks: Peaks, links: _Links, graph: _Graph) -> np.ndarray:
    """Return (F,) in [0, 1]: the mean score of the keypoints of each fragment and of the limbs between them."""
    found = table >= 0
    if not len(peaks):
        return np.zeros(len(table))
    start, end = table[:, graph.pairs[:, 0]], table[:, graph.pairs[:, 1]]
    present = (start >= 0) & (end >= 0)
    total = (peaks.scores[table] * found).sum(1)
    if len(links.scores):
        index = (links.base + start * links.width + end) * present
        total += (np.maximum(links.scores[index], 0) * present).sum(1)
    return total / (found.sum(1) + present.sum(1))


def _points(table: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Return the positions (F, K, 2) [px] of a table of peaks, NaN where a keypoint was not found."""
    return np.where((table >= 0)[..., None], peaks.positions[table], np.nan)


@dataclass(frozen=True)
class _Evidence:
    """
    Everything that speaks for a keypoint or limb, also what is too weak to be one.

    Attributes:
        channels: (M,) int, the keypoint of each peak, ascending.
        peaks: M peaks.
        pafs: (2 L, h, w).
        graph: the skeleton.
        stride: pixels for each cell of the maps.
    """

    channels: np.ndarray
    peaks: Peaks
    pafs: np.ndarray
    graph: _Graph
    stride: int

    def with_alternatives(
        self, poses: list[KeypointPose], table: np.ndarray, contested: np.ndarray, doubled: np.ndarray
    ) -> list[KeypointPose]:
        """
        Return the poses, each with its alternative if it has one.

        Args:
            poses: A instances.
            table: (A, K) int, their peaks.
            contested: (A, K) bool, the keypoints that leave some belief to others.
            doubled: (A,) bool, whether another instance was found on the same place.
        """
        free = np.ones(len(self.peaks), bool)
        free[table[table >= 0]] = False
        rivals = free.nonzero()[0]
        if not len(rivals):
            return poses
        if len(rivals) > _MANY_RIVALS:
            rivals = np.sort(rivals[self.peaks.scores[rivals].argsort()[-_MANY_RIVALS:]])
        points = np.where(contested[..., None], self.peaks.positions[table], np.nan)
        tolerance = place_tolerance(_points(table, self.peaks), self.stride)
        instance, place = places_of(self.peaks.positions[rivals], self.channels[rivals], points, tolerance)
        if instance.max() < 0:
            return poses
        fragments = self._fragments(rivals)
        result = list(poses)
        for i in sorted(set(instance.tolist()) - {-1}):
            places = dict(zip(rivals[instance == i].tolist(), place[instance == i].tolist()))
            rivals_of = _rival_keypoints(fragments, places)
            result[i] = self._with_alternative(poses[i], table[i], rivals_of, bool(doubled[i]))
        return result

    def _fragments(self, rivals: np.ndarray) -> list[dict[int, int]]:
        """Return the fragments that limbs make of some peaks (R,), strongest first: the peak of each keypoint."""
        channels, peaks = self.channels[rivals], self.peaks.select(rivals)
        links = _links(channels, peaks, self.pafs, self.graph, self.stride)
        count = len(self.graph.parts)
        if len(self.graph.pairs):
            fragments, _ = _join_by_limbs(channels, peaks, links, self.graph, _RIVAL_LIMB_SCORE, 0.0)
        else:
            fragments = _without_limbs(channels, count)
        table = _table(fragments, count)
        strength = _pose_scores(table, peaks, links, self.graph) * (table >= 0).sum(1)
        order = (-strength).argsort(kind='stable').tolist()
        return [{k: int(rivals[peak]) for k, peak in fragments[i].peaks.items()} for i in order]

    def _with_alternative(self, pose: KeypointPose, row: np.ndarray, rivals: _Rivals, doubled: bool) -> KeypointPose:
        """Return a pose with peaks `row` (K,) with its alternative, unless that is negligible."""
        if not rivals.peaks:
            return pose
        rival = np.full(len(row), -1)
        rival[list(rivals.peaks)] = list(rivals.peaks.values())
        differs = rival >= 0
        differs[rivals.places] = True
        own = np.where(differs, row, -1)
        if len(rivals.peaks) == 1 and (own >= 0).sum() > 1:
            return pose  # no exchange of names, and the place where the rival name is known is another one
        own_total, own_parts = self._total(own)
        belief = self._total(rival)[0]
        if not doubled:  # it counts for no more than the others lack: high peaks leave it none
            belief = min(belief, own_parts - own_total)
        if belief < _NEGLIGIBLE_RIVAL * own_total:
            return pose
        other = np.where(differs, rival, row)
        between = (differs[self.graph.pairs].sum(1) == 1) & (other[self.graph.pairs] >= 0).all(1)
        if between.any() and self._limbs(other, between).mean() < _RIVAL_LIMB_SCORE:
            other = rival  # what both had in common does not hang together with what differs
        total, parts = self._total(other)
        (alternative,) = _poses(other[None], _points(other[None], self.peaks), np.array([total / parts]), self.peaks)
        return replace(pose, alternative=alternative, ambiguity=min(1.0, belief / own_total))

    def _total(self, row: np.ndarray) -> tuple[float, int]:
        """Return the summed scores of the peaks of a row (K,) and the limbs between them, and how many these are."""
        found = row >= 0
        limbs = found[self.graph.pairs].all(1)
        return float(self.peaks.scores[row[found]].sum() + self._limbs(row, limbs).sum()), int(
            found.sum() + limbs.sum()
        )

    def _limbs(self, row: np.ndarray, limbs: np.ndarray) -> np.ndarray:
        """Return the scores in [0, 1] of some limbs (L,) bool between the peaks of a row (K,)."""
        which = limbs.nonzero()[0]
        starts, ends = (self.peaks.positions[row[self.graph.pairs[which, end]]] for end in (0, 1))
        scores, _ = score_limbs(self.pafs, which, starts, ends, self.stride)
        return np.fmin(np.fmax(scores, 0), 1)


class _Rivals(NamedTuple):
    """
    What another identity puts on the places of an instance.

    Attributes:
        peaks: the peak of each of its keypoints.
        places: the keypoints of the instance whose places they are on.
    """

    peaks: dict[int, int]
    places: list[int]


def _rival_keypoints(fragments: list[dict[int, int]], places: dict[int, int]) -> _Rivals:
    """
    Return the keypoints of the other identity of an instance: those of the strongest fragment, then what is free.

    Args:
        fragments: strongest first, the peak of each of their keypoints.
        places: of the peaks on places of the instance, the keypoint that they are on.
    """
    peaks: dict[int, int] = {}
    taken: list[int] = []
    for fragment in fragments:
        on_place = [peak for peak in fragment.values() if peak in places]
        if len(on_place) < RIVAL_SHARE * len(fragment):
            continue  # of another instance
        for keypoint, peak in fragment.items():
            place = places.get(peak)
            if keypoint not in peaks and place not in taken:
                peaks[keypoint] = peak
                taken += [] if place is None else [place]
    return _Rivals(peaks, taken)


def _poses(table: np.ndarray, points: np.ndarray, scores: np.ndarray, peaks: Peaks) -> list[KeypointPose]:
    """Return one pose for each row of a table of peaks (F, K) with their `_points` (F, K, 2)."""
    visible = table >= 0
    covariances = np.where(visible[..., None, None], peaks.covariances[table], np.nan)
    keypoint_scores = peaks.scores[table] * visible
    return [
        KeypointPose(keypoints=k, covariances=c, scores=s, visible=v, score=score)
        for k, c, s, v, score in zip(points, covariances, keypoint_scores, visible, scores.tolist())
    ]


def _check_maps(heatmaps: np.ndarray, pafs: np.ndarray, model: ObjectModel) -> None:
    for name, maps, wanted in (('heatmaps', heatmaps, model.keypoint_count + 1), ('pafs', pafs, 2 * model.limb_count)):
        if maps.ndim != 3 or len(maps) != wanted:
            raise ValueError(f'{name} of {model.name} must have shape ({wanted}, h, w), got {maps.shape}')
    if heatmaps.shape[1:] != pafs.shape[1:]:
        raise ValueError(f'heatmaps and pafs must be of one size, got {heatmaps.shape[1:]} and {pafs.shape[1:]}')
