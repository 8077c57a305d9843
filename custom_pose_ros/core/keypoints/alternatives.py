"""Alternatives: the other identity of an instance, from peaks of other keypoints on its places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.keypoints.fragments import (
    Graph,
    join_by_limbs,
    links_between,
    points_of,
    pose_scores,
    poses_of,
    table_of,
    without_limbs,
)
from custom_pose_ros.core.keypoints.heatmaps import Peaks, find_peaks
from custom_pose_ros.core.keypoints.identities import RIVAL_SHARE, any_rival, place_tolerance, places_of
from custom_pose_ros.core.keypoints.pafs import score_limbs
from custom_pose_ros.core.keypoints.poses import KeypointPose

_RIVAL_SCORE = 0.1  # lowest peak that speaks for another identity, however high peaks must be to be keypoints
_RIVAL_LIMB_SCORE = 0.06  # the same of the limbs between them
_MANY_RIVALS = 50  # the highest so many are looked at, so that pure noise stays cheap
_FULL_PEAK = 0.91  # height of a peak from which on it leaves rivals less than is negligible
_NEGLIGIBLE_RIVAL = 0.1  # ratio of scores below which another identity is none


class Maps(NamedTuple):
    """
    What a network gives for one image.

    Attributes:
        heatmaps: (K, h, w), without the background.
        pafs: (2 L, h, w).
        graph: the skeleton.
        stride: pixels for each cell of the maps.
    """

    heatmaps: np.ndarray
    pafs: np.ndarray
    graph: Graph
    stride: int


def with_alternatives(
    poses: list[KeypointPose], points: np.ndarray, heights: np.ndarray, doubled: np.ndarray, maps: Maps, max_peaks: int
) -> list[KeypointPose]:
    """
    Return the instances of an image, each with its alternative if it has one.

    Args:
        poses: A instances.
        points: (A, K, 2) their keypoints [px]; NaN where not visible.
        heights: (A, K) of their peaks; anything where not visible.
        doubled: (A,) bool, whether another instance was found on the same place.
        maps: in which they were found.
        max_peaks: of each heatmap, as they were found.
    """
    if not poses:
        return poses
    seen = ~np.isnan(points[..., 0])
    low = seen & (heights < _FULL_PEAK)
    low[low.sum(1) <= seen.all(1)] = False  # two must be low to exchange their names
    if not (doubled.any() or any_rival(maps.heatmaps, points, low, maps.stride, _RIVAL_SCORE)):
        return poses
    least = min(_RIVAL_SCORE, float(heights[seen].min()))
    channels, peaks = find_peaks(maps.heatmaps, least, maps.stride, max_peaks)
    index = {(k, x, y): i for i, (k, (x, y)) in enumerate(zip(channels.tolist(), peaks.positions.tolist()))}
    rows = np.array([[index.get((k, x, y), -1) for k, (x, y) in enumerate(pose)] for pose in points.tolist()])
    contested = (low | doubled[:, None]) & (rows >= 0)
    return _Evidence(channels, peaks, maps).with_alternatives(poses, rows, contested, doubled)


@dataclass(frozen=True)
class _Evidence:
    """
    Everything that speaks for a keypoint or limb, also what is too weak to be one.

    Attributes:
        channels: (M,) int, the keypoint of each peak, ascending.
        peaks: M peaks.
        maps: in which they were found.
    """

    channels: np.ndarray
    peaks: Peaks
    maps: Maps

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
        tolerance = place_tolerance(points_of(table, self.peaks), self.maps.stride)
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
        graph, count = self.maps.graph, len(self.maps.graph.parts)
        links = links_between(channels, peaks, self.maps.pafs, graph, self.maps.stride)
        if len(graph.pairs):
            fragments, _ = join_by_limbs(channels, peaks, links, graph, _RIVAL_LIMB_SCORE, 0.0)
        else:
            fragments = without_limbs(channels, count)
        table = table_of(fragments, count)
        strength = pose_scores(table, peaks, links, graph) * (table >= 0).sum(1)
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
        between = (differs[self.maps.graph.pairs].sum(1) == 1) & (other[self.maps.graph.pairs] >= 0).all(1)
        if between.any() and self._limbs(other, between).mean() < _RIVAL_LIMB_SCORE:
            other = rival  # what both had in common does not hang together with what differs
        total, parts = self._total(other)
        rows = other[None]
        (alternative,) = poses_of(rows, points_of(rows, self.peaks), np.array([total / parts]), self.peaks)
        return replace(pose, alternative=alternative, ambiguity=min(1.0, belief / own_total))

    def _total(self, row: np.ndarray) -> tuple[float, int]:
        """Return the summed scores of the peaks of a row (K,) and the limbs between them, and how many these are."""
        found = row >= 0
        limbs = found[self.maps.graph.pairs].all(1)
        total = self.peaks.scores[row[found]].sum() + self._limbs(row, limbs).sum()
        return float(total), int(found.sum() + limbs.sum())

    def _limbs(self, row: np.ndarray, limbs: np.ndarray) -> np.ndarray:
        """Return the scores in [0, 1] of some limbs (L,) bool between the peaks of a row (K,)."""
        which = limbs.nonzero()[0]
        starts, ends = row[self.maps.graph.pairs[which]].T
        scores, _ = score_limbs(self.maps.pafs, which, self.peaks.positions, starts, ends, self.maps.stride)
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
