"""Grouping: heatmaps and part affinity fields -> instances, for any skeleton graph and any number of instances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.alternatives import Maps, with_alternatives
from custom_pose_ros.core.keypoints.fragments import (
    Graph,
    Links,
    graph_of,
    join_by_limbs,
    join_by_nearness,
    least_distance,
    links_between,
    points_of,
    pose_scores,
    poses_of,
    possible_limbs,
    table_of,
    without_limbs,
)
from custom_pose_ros.core.keypoints.heatmaps import Peaks, find_peaks
from custom_pose_ros.core.keypoints.namings import Candidates, one_object_each, without_weak_names
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.core.object_model import ObjectModel

_MIN_CANDIDATES = 20  # candidates for each keypoint, even where fewer instances are wanted


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
    3. Fragments that no limb could have joined are joined by nearness; see `join_by_nearness`.
    4. Without any limb, the highest peak of each keypoint makes one instance; an object of a single keypoint has one
       instance for each peak.
    5. Instances on the same place are one object: the best stays, its keypoints named anew where instances mix names;
       see `one_object_each`. Peaks of other keypoints on its places make its `alternative`. Such peaks may be too low
       to be keypoints; then they count for no more than what its own lack.

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

    `limit`: up to which decision margin to look, in heights of peaks and scores; 0 saves the time.
    """
    count = model.keypoint_count
    _check_maps(heatmaps, pafs, model)
    graph = graph_of(count, model.skeleton)
    max_peaks = max(thresholds.max_instances, _MIN_CANDIDATES)
    channels, peaks = find_peaks(heatmaps[:count], thresholds.keypoint_score - limit, stride, max_peaks)
    links = links_between(channels, peaks, pafs, graph, stride)
    wanted = min(thresholds.min_keypoints, count)
    margin = _peak_margin(peaks, links, graph, thresholds, wanted, limit) if limit else limit
    if model.limb_count:
        fragments, limb_margin = join_by_limbs(channels, peaks, links, graph, thresholds.limb_score, limit)
        margin = min(margin, limb_margin)
        fragments = join_by_nearness(fragments, peaks, graph)
    else:
        fragments = without_limbs(channels, count)
    table = table_of([fragment for fragment in fragments if len(fragment.peaks) >= wanted], count)
    scores = pose_scores(table, peaks, links, graph)
    margin = min(margin, least_distance(scores, thresholds.pose_score, limit))
    order: np.ndarray = (-scores * (table >= 0).sum(1)).argsort(kind='stable')
    order = order[scores[order] >= thresholds.pose_score]
    candidates = Candidates(channels, peaks, links, graph, thresholds.limb_score, wanted, stride)
    objects = one_object_each(table[order], scores[order], candidates, limit)
    objects = without_weak_names(objects, candidates, limit)
    best = slice(thresholds.max_instances)
    rows = objects.rows[best]
    points = points_of(rows, peaks)
    poses = poses_of(rows, points, objects.scores[best], peaks)
    maps = Maps(heatmaps[:count], pafs, graph, stride)
    poses = with_alternatives(poses, points, peaks.scores[rows], objects.doubled[best], maps, max_peaks)
    return Grouping(poses, min(margin, objects.margin))


def _peak_margin(peaks: Peaks, links: Links, graph: Graph, thresholds: Thresholds, wanted: int, limit: float) -> float:
    """Return the margin of the peaks' heights, but for peaks that would stay alone and belong to no instance."""
    scores = peaks.scores
    if wanted > 1 and graph.parts[0] == (1 << len(graph.parts)) - 1:
        possible = possible_limbs(links, thresholds.limb_score, limit)
        scores = scores[np.concatenate([links.starts[possible], links.ends[possible]])]
    return least_distance(scores, thresholds.keypoint_score, limit)


def _check_maps(heatmaps: np.ndarray, pafs: np.ndarray, model: ObjectModel) -> None:
    for name, maps, wanted in (('heatmaps', heatmaps, model.keypoint_count + 1), ('pafs', pafs, 2 * model.limb_count)):
        if maps.ndim != 3 or len(maps) != wanted:
            raise ValueError(f'{name} of {model.name} must have shape ({wanted}, h, w), got {maps.shape}')
    if heatmaps.shape[1:] != pafs.shape[1:]:
        raise ValueError(f'heatmaps and pafs must be of one size, got {heatmaps.shape[1:]} and {pafs.shape[1:]}')
