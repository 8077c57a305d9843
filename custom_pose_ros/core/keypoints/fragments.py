"""Fragments: peaks of keypoints joined to instances, by the limbs between them and by nearness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from custom_pose_ros.core.keypoints.heatmaps import Peaks
from custom_pose_ros.core.keypoints.pafs import SAMPLES, score_limbs
from custom_pose_ros.core.keypoints.poses import KeypointPose

MIN_SUPPORT = 0.8  # least share of a limb along which the field must agree with it
_JOIN_DISTANCE = 0.75  # largest distance of joined fragments without a link, as a share of the sum of their diagonals
_MANY_LIMBS = 256  # among so many good limbs some decision is always close


@dataclass(frozen=True)
class Graph:
    """
    The skeleton as grouping needs it; a set of keypoints is the bits of an int.

    Attributes:
        pairs: (L, 2) int, the keypoints of each limb.
        limbs_of: for each keypoint, its limbs as (limb, keypoint at the other end, whether it starts the limb).
        neighbours: for each keypoint, the set of keypoints that share a limb with it.
        parts: for each keypoint, the set of keypoints that the skeleton connects with it, itself included.
        limb_between: (K, K) int, the limb that starts at one keypoint and ends at another one, -1 where there is none.
        connected: (K, K) bool, `parts` as a table.
    """

    pairs: np.ndarray
    limbs_of: list[list[tuple[int, int, bool]]]
    neighbours: list[int]
    parts: list[int]
    limb_between: np.ndarray
    connected: np.ndarray


@lru_cache(maxsize=16)
def graph_of(count: int, skeleton: tuple[tuple[int, int], ...]) -> Graph:
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
    pairs = np.array(skeleton, int).reshape(-1, 2)
    limb_between = np.full((count, count), -1)
    limb_between[pairs[:, 0], pairs[:, 1]] = np.arange(len(pairs))
    connected = np.array([[part >> k & 1 for k in range(count)] for part in parts], bool).reshape(count, count)
    return Graph(pairs, limbs_of, neighbours, parts, limb_between, connected)


@dataclass(frozen=True)
class Links:
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


def links_between(channels: np.ndarray, peaks: Peaks, pafs: np.ndarray, graph: Graph, stride: int) -> Links:
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
    scores, supports = score_limbs(pafs, limbs, peaks.positions, starts, ends, stride)
    scores = np.fmin(np.fmax(scores, -1), 1)  # NaN, from a network gone wrong, speaks against
    return Links(starts, ends, scores, supports, offsets - first[a] * width - first[b], width)


class Fragment:
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

    def absorb(self, other: Fragment) -> None:
        """Take over the keypoints of another fragment."""
        self.peaks.update(other.peaks)
        self.keypoints |= other.keypoints
        self.neighbours |= other.neighbours


def join_by_limbs(
    channels: np.ndarray, peaks: Peaks, links: Links, graph: Graph, threshold: float, limit: float
) -> tuple[list[Fragment], float]:
    """
    Join single peaks to fragments by the limbs between them, best limb first.

    Returns:
        All fragments, single peaks included, and the least decision margin, see `Grouping`.
    """
    owner = [Fragment(k, peak, graph.neighbours[k]) for peak, k in enumerate(channels.tolist())]
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
        near, far = small.keypoints & large.neighbours, large.keypoints & small.neighbours
        if near & (near - 1) or far & (far - 1):  # more than one limb between them
            agreement = _agreement(small, large, links, graph)
            margin = min(margin, abs(agreement - threshold))
            if agreement < threshold:
                continue
        large.absorb(small)
        for peak in small.peaks.values():
            owner[peak] = large
    return list(dict.fromkeys(owner)), margin


def least_distance(values: np.ndarray, threshold: float | np.ndarray, limit: float) -> float:
    """Return the least distance of any value from its threshold, `limit` at most."""
    return min(limit, float(np.fmin.reduce(np.abs(values - threshold), initial=np.inf)))


def _limb_margin(links: Links, threshold: float, limit: float) -> float:
    """Return the margin of the limbs' scores; 0 where one point more or less of a limb's support would decide."""
    possible = possible_limbs(links, threshold, limit)
    if (links.supports[possible] < MIN_SUPPORT + 0.5 / SAMPLES).any():
        return 0.0
    return least_distance(links.scores[possible], threshold, limit)


def possible_limbs(links: Links, threshold: float, limit: float) -> np.ndarray:
    """Tell of each link (P,) whether it is good enough, or would be by the limit and one more point of support."""
    return (links.scores > threshold - limit) & (links.supports > MIN_SUPPORT - 1.5 / SAMPLES)


def _order_margin(channels: np.ndarray, links: Links, good: np.ndarray, trust: np.ndarray, limit: float) -> float:
    """Return the least difference of trust between good limbs of one kind that share a peak: only one can be used."""
    if len(good) > _MANY_LIMBS:
        return 0.0
    starts, ends, count = links.starts[good], links.ends[good], len(channels)
    from_peak, to_peak = starts * count + channels[ends], ends * count + channels[starts]  # a peak, and where it leads
    if len(set(from_peak.tolist())) == len(set(to_peak.tolist())) == len(good):
        return limit
    rivals = (from_peak[:, None] == from_peak) | (to_peak[:, None] == to_peak)
    first, second = np.triu(rivals, 1).nonzero()
    return least_distance(trust[first], trust[second], limit)


def _agreement(small: Fragment, large: Fragment, links: Links, graph: Graph) -> float:
    """Return the mean score of all limbs that run between two fragments (at least one does)."""
    scores = []
    for keypoint, peak in small.peaks.items():
        for limb, other, is_start in graph.limbs_of[keypoint]:
            far = large.peaks.get(other)
            if far is not None:
                start, end = (peak, far) if is_start else (far, peak)
                scores.append(links.scores.item(links.base.item(limb) + start * links.width.item(limb) + end))
    return sum(scores) / len(scores)


def join_by_nearness(fragments: list[Fragment], peaks: Peaks, graph: Graph) -> list[Fragment]:
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


def _near_pairs(fragments: list[Fragment], peaks: Peaks, graph: Graph) -> list[tuple[int, int]]:
    """Return the pairs of fragments that may be joined by nearness, nearest first."""
    keypoints = np.array([f.keypoints for f in fragments], np.uint64)
    neighbours = np.array([f.neighbours for f in fragments], np.uint64)
    possible = ((keypoints[:, None] | neighbours[:, None]) & keypoints) == 0
    first, second = np.triu(possible).nonzero()
    if not len(first):
        return []
    parts = np.array([graph.parts[next(iter(f.peaks))] for f in fragments], np.uint64)
    table = table_of(fragments, len(graph.parts))
    seen, points = (table >= 0)[..., None], peaks.positions[table]
    found = (table >= 0).sum(1)
    centre = np.where(seen, points, 0.0).sum(1) / found[:, None]
    size = np.hypot(*(np.where(seen, points, -np.inf).max(1) - np.where(seen, points, np.inf).min(1)).T)
    distance = np.hypot(*(centre[first] - centre[second]).T)
    unconnected = (parts[first] & parts[second]) == 0
    fewer, more = np.minimum(found[first], found[second]), np.maximum(found[first], found[second])
    link_missing = (fewer >= 3) & (distance <= _JOIN_DISTANCE * (size[first] + size[second]))
    joined = np.where(unconnected, more >= 2, link_missing)
    first, second, distance = first[joined], second[joined], distance[joined]
    order = distance.argsort(kind='stable')
    return list(zip(first[order].tolist(), second[order].tolist()))


def without_limbs(channels: np.ndarray, count: int) -> list[Fragment]:
    """Make instances of an object without limbs; the peaks of each keypoint stand highest first."""
    if count == 1:
        return [Fragment(0, peak, 0) for peak in range(len(channels))]
    highest = [Fragment(k, peak, 0) for k, peak in zip(*(a.tolist() for a in np.unique(channels, return_index=True)))]
    for fragment in highest[1:]:
        highest[0].absorb(fragment)
    return highest[:1]


def table_of(fragments: list[Fragment], count: int) -> np.ndarray:
    """Return (F, K) int: the peak of each keypoint of each fragment, -1 where it was not found."""
    table = np.empty((len(fragments), count), int)
    table.fill(-1)
    rows = [i for i, fragment in enumerate(fragments) for _ in fragment.peaks]
    table[rows, [k for f in fragments for k in f.peaks]] = [peak for f in fragments for peak in f.peaks.values()]
    return table


def pose_scores(table: np.ndarray, peaks: Peaks, links: Links, graph: Graph) -> np.ndarray:
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


def points_of(table: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Return the positions (F, K, 2) [px] of a table of peaks, NaN where a keypoint was not found."""
    return np.where((table >= 0)[..., None], peaks.positions[table], np.nan)


def poses_of(table: np.ndarray, points: np.ndarray, scores: np.ndarray, peaks: Peaks) -> list[KeypointPose]:
    """Return one pose for each row of a table of peaks (F, K) with their `points_of` (F, K, 2)."""
    visible = table >= 0
    covariances = np.where(visible[..., None, None], peaks.covariances[table], np.nan)
    keypoint_scores = peaks.scores[table] * visible
    return [
        KeypointPose(keypoints=k, covariances=c, scores=s, visible=v, score=score)
        for k, c, s, v, score in zip(points, covariances, keypoint_scores, visible, scores.tolist())
    ]
