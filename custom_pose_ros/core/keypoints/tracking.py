"""PoseTracker: the same track id for the same instance from frame to frame; which instances are the same ones."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.keypoints.identities import corners
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel

GAP_FRAMES = 4.0  # a track also lasts through a gap of this many intervals between frames: three may be missing
_INTERVALS = 15  # the interval between frames is the median of the last so many
_LONGEST_INTERVAL_S = 5.0  # longer ones are pauses and count as this
_VELOCITY_GAIN = 0.5  # weight of the newest displacement in a track's velocity
_VELOCITY_LASTS_S = 0.5  # for longer it does not tell where an instance is
_UNFORESEEN = 1.0  # sizes per second by which an instance may besides be off from where it is expected
_UNSEEN_PENALTY = 1.5  # factor on the distance where pose and track have no keypoint in common
_CLEAR_AMBIGUITY = 0.67  # below it one identity of a pose is so much likelier that a track changes to it


class FrameInterval:
    """
    The time between the frames of a stream, and the longest gap to follow an instance through.

    Attributes:
        interval_s: median (the lower one of two) of the last intervals [s]; 0 until there is one.
    """

    def __init__(self) -> None:
        self._stamp_s = math.nan
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)
        self.interval_s = 0.0

    def add(self, stamp_s: float) -> None:
        """Learn from the time of the next frame [s]."""
        if stamp_s > self._stamp_s:
            self._intervals.append(min(stamp_s - self._stamp_s, _LONGEST_INTERVAL_S))
            self.interval_s = sorted(self._intervals)[(len(self._intervals) - 1) // 2]
        self._stamp_s = stamp_s

    def longest_gap_s(self, max_gap_s: float) -> float:
        """Return `max_gap_s` [s], or GAP_FRAMES intervals where that is longer."""
        return max(max_gap_s, GAP_FRAMES * self.interval_s)


@dataclass(eq=False)
class _Track:
    """
    The state of one instance that is followed.

    Attributes:
        keypoints: (K, 2) where each keypoint was, or would be, at `stamp_s` [px]; NaN until it was seen once.
        velocity: (2,) of the whole instance [px/s].
        size: diagonal of the box of its keypoints [px].
        stamp_s: when it was last seen [s].
        other: (K, 2) like `keypoints`, of its other identity; None while it never had one.
    """

    track_id: int
    keypoints: np.ndarray
    velocity: np.ndarray
    size: float
    stamp_s: float
    other: np.ndarray | None = None

    def predicted(self, stamp_s: float) -> np.ndarray:
        """Return where its keypoints are expected at a later time, (K, 2) px."""
        return self.keypoints + self._shift(stamp_s)

    def predicted_other(self, stamp_s: float) -> np.ndarray:
        """Return the same of its other identity, NaN without one."""
        other = np.full_like(self.keypoints, np.nan) if self.other is None else self.other
        return other + self._shift(stamp_s)

    def _shift(self, stamp_s: float) -> np.ndarray:
        return self.velocity * min(stamp_s - self.stamp_s, _VELOCITY_LASTS_S)


class PoseTracker:
    """
    Gives poses track ids by the distance of their keypoints from where each track expects them.

    The distance of a pose from a track is the root mean square over the keypoints that both have, divided by the size
    of the larger of the two (diagonal of the box of its keypoints), as OKS divides by it: near and far instances are
    treated alike. While they are not seen, tracks move on with constant velocity for half a second. Pairs are taken
    nearest first.

    An ambiguous pose belongs to a track by either of its identities. It is returned with the identity of the track,
    unless the other one is clearly likelier, so that it does not flicker between two that are alike.

    Ids count up from 0 and are never used twice by one tracker, not even after a reset.

    Args:
        model: the object; its sigmas weigh the keypoints, loose ones (hips) less than exact ones (eyes).
        max_gap_s: a track not seen for longer, nor for GAP_FRAMES intervals between frames, is over; may be changed
            between updates.
        max_distance: largest distance of a pose from its track, as a share of the size; 1 is added for each second
            since the track was seen.
        min_size_px: smaller sizes (one keypoint, far away) count as this.
    """

    def __init__(
        self, model: ObjectModel, max_gap_s: float = 0.5, max_distance: float = 0.6, min_size_px: float = 32.0
    ):
        for name, value in (('max_gap_s', max_gap_s), ('max_distance', max_distance), ('min_size_px', min_size_px)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f'{name} must be positive, got {value}')
        self.model = model
        self.max_gap_s = max_gap_s
        self._weights = 1.0 / np.square(model.sigmas)
        self._max_distance = max_distance
        self._min_size_px = min_size_px
        self._next_id = 0
        self.reset()

    def reset(self) -> None:
        """Forget all tracks; the next poses get new ids."""
        self._tracks: list[_Track] = []
        self._stamp_s = -math.inf
        self._interval = FrameInterval()

    def update(self, poses: Sequence[KeypointPose], stamp_s: float) -> list[KeypointPose]:
        """
        Return the poses of one frame, in the same order, with their track ids.

        Args:
            poses: the instances in the frame.
            stamp_s: time of the frame [s]. A stamp before the last one means that time was set back (a bag played
                again): the tracker starts anew.

        Raises:
            ValueError: the stamp is not finite or a pose has another number of keypoints than the object.
        """
        if not math.isfinite(stamp_s):
            raise ValueError(f'stamp_s must be finite, got {stamp_s}')
        for pose in poses:
            if len(pose.visible) != len(self._weights):
                raise ValueError(f'poses must have {len(self._weights)} keypoints, got {len(pose.visible)}')
        if stamp_s < self._stamp_s:
            self.reset()
        self._stamp_s = stamp_s
        self._interval.add(stamp_s)
        longest_s = self._interval.longest_gap_s(self.max_gap_s)
        self._tracks = [track for track in self._tracks if stamp_s - track.stamp_s <= longest_s]

        matched = self._match(poses, stamp_s)
        tracked = []
        for index, pose in enumerate(poses):
            track, exchanged = matched.get(index, (None, False))
            if exchanged and pose.ambiguity >= _CLEAR_AMBIGUITY:
                pose = pose.exchanged()
            elif track is not None and exchanged and track.other is not None:
                track.keypoints, track.other = track.other, track.keypoints
            keypoints = seen_points(pose)
            if track is None:
                track = self._start(keypoints, stamp_s)
            else:
                self._move(track, keypoints, stamp_s)
            if pose.alternative is not None:
                track.other = seen_points(pose.alternative)
            tracked.append(pose.with_track_id(track.track_id))
        return tracked

    def _match(self, poses: Sequence[KeypointPose], stamp_s: float) -> dict[int, tuple[_Track, bool]]:
        """Return, by the index of each pose that goes on with a track, the track and if another identity does so."""
        if not poses or not self._tracks:
            return {}
        predicted = np.stack([track.predicted(stamp_s) for track in self._tracks])
        points = np.stack([seen_points(pose) for pose in poses])
        distance, other = self._distances(predicted, points), np.full((len(predicted), len(points)), np.nan)
        if any(track.other is not None for track in self._tracks):
            other = self._distances(np.stack([track.predicted_other(stamp_s) for track in self._tracks]), points)
        ambiguous = {i: seen_points(pose.alternative) for i, pose in enumerate(poses) if pose.alternative is not None}
        if ambiguous:
            to_alternatives = self._distances(predicted, np.stack(list(ambiguous.values())))
            other[:, list(ambiguous)] = np.fmin(other[:, list(ambiguous)], to_alternatives)
        nearest = np.fmin(distance, other)
        unseen_s = np.array([[stamp_s - track.stamp_s] for track in self._tracks])
        pairs = nearest_pairs(np.where(nearest <= self._max_distance + _UNFORESEEN * unseen_s, nearest, np.inf))
        return {pose: (self._tracks[track], bool(other[track, pose] < distance[track, pose])) for track, pose in pairs}

    def _distances(self, predicted: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return (T, A) distances of A poses (A, K, 2) from T tracks expected at (T, K, 2); NaN where unknown."""
        squares = np.square(predicted[:, None] - points).sum(3)  # (T, A, K)
        weights = np.where(np.isnan(squares), 0.0, self._weights)
        total = weights.sum(2)
        common = total > 0
        rms = np.sqrt((weights * np.nan_to_num(squares)).sum(2) / np.where(common, total, 1))
        # Nothing in common (the front is seen now, the back was before): compare the centres.
        between_centres = np.hypot(*(_centres(predicted)[:, None] - _centres(points)).T).T
        size = np.array([track.size for track in self._tracks])[:, None]
        size = np.maximum(np.maximum(size, _sizes(points)), self._min_size_px)
        return np.where(common, rms, _UNSEEN_PENALTY * between_centres) / size

    def _start(self, keypoints: np.ndarray, stamp_s: float) -> _Track:
        """Begin a track with a new pose; a pose without any keypoint gets an id only."""
        track = _Track(self._next_id, keypoints, np.zeros(2), float(_sizes(keypoints[None])[0]), stamp_s)
        self._next_id += 1
        if not np.isnan(keypoints).all():
            self._tracks.append(track)
        return track

    @staticmethod
    def _move(track: _Track, keypoints: np.ndarray, stamp_s: float) -> None:
        """Continue a track with the pose of this frame."""
        gap = stamp_s - track.stamp_s
        expected = track.predicted(stamp_s)
        common = ~np.isnan(expected[:, 0]) & ~np.isnan(keypoints[:, 0])
        if common.any():
            miss = (keypoints - expected)[common].mean(0)
            if gap > 0:
                track.velocity = track.velocity + _VELOCITY_GAIN * miss / gap
            expected = expected + miss  # what is hidden moves along with what is seen
            if track.other is not None:
                track.other = track.other + (expected - track.keypoints)[common].mean(0)
        track.keypoints = np.where(np.isnan(keypoints), expected, keypoints)
        if common.sum() > 1:
            track.size = float(_sizes(keypoints[None])[0])
        track.stamp_s = stamp_s


def mean_distances(first: Sequence[np.ndarray], second: Sequence[np.ndarray], largest: Sequence[float]) -> np.ndarray:
    """
    Return the (A, B) mean distances of the keypoints that two instances both have; inf where there is none.

    Args:
        first: A instances, (K, 2) each, NaN where not known.
        second: B instances, likewise.
        largest: (A,) distance from which on another one is inf, too.
    """
    distances = np.full((len(first), len(second)), np.inf)
    for i, points in enumerate(first):
        for j, other in enumerate(second):
            apart = np.linalg.norm(points - other, axis=1)
            common = apart[~np.isnan(apart)]
            if len(common) and common.mean() <= largest[i]:
                distances[i, j] = common.mean()
    return distances


def nearest_pairs(distances: np.ndarray) -> list[tuple[int, int]]:
    """
    Return the pairs of rows and columns, nearest first, each row and each column at most once.

    Args:
        distances: (R, C); inf or NaN where row and column cannot be the same.
    """
    pairs: list[tuple[int, int]] = []
    rows, columns = set(), set()
    for flat in distances.argsort(axis=None, kind='stable').tolist():  # inf and NaN come last
        row, column = divmod(flat, distances.shape[1])
        if not math.isfinite(distances[row, column]):
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def seen_points(pose: KeypointPose) -> np.ndarray:
    """Return the (K, 2) keypoints of a pose [px], NaN where not visible."""
    return np.where(pose.visible[:, None], pose.keypoints, np.nan)


def _sizes(points: np.ndarray) -> np.ndarray:
    """Return (A,) diagonals of the boxes of (A, K, 2) points [px]; 0 where none is known."""
    low, high = corners(points)
    return np.hypot(*np.maximum(high - low, 0.0).T)


def _centres(points: np.ndarray) -> np.ndarray:
    """Return (A, 2) means of the known ones of (A, K, 2) points; NaN where none is."""
    known = ~np.isnan(points)
    count = known.sum(1)
    return np.where(known, points, 0.0).sum(1) / np.where(count, count, np.nan)
