"""True poses over time: from pose topics and TF, interpolated to the stamps of the images."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.rigid import IDENTITY, Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion, quaternion_from_matrix

MAX_GAP_S = 0.5  # truth is not interpolated over longer holes
_NUMBERS_PER_POSE = 7


class Trajectory:
    """
    One moving pose, sampled: added in any order, interpolated linearly in position and along the great arc in rotation.

    Nothing is extrapolated.
    """

    def __init__(self, max_gap_s: float = MAX_GAP_S):
        """Begin without samples; `max_gap_s` is the longest distance of two of them to interpolate between."""
        self.max_gap_ns = round(max_gap_s * 1e9)
        self._times, self._values = array('q'), array('d')
        self._in_order: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._times)

    def add(self, stamp_ns: int, pose: Rigid) -> None:
        """Add a sample; of two with the same stamp the later one counts."""
        self._times.append(stamp_ns)
        self._values.extend([*quaternion_from_matrix(pose.rotation).tolist(), *pose.translation.tolist()])
        self._in_order = None

    def at(self, stamp_ns: int) -> Rigid | None:
        """Return the pose at a stamp [ns]; None before the first, after the last and in holes."""
        order, times = self._sorted()
        after = int(np.searchsorted(times, stamp_ns))
        if after < len(times) and times[after] == stamp_ns:
            return self._pose(order[after])
        if after in (0, len(times)) or times[after] - times[after - 1] > self.max_gap_ns:
            return None
        share = float(stamp_ns - times[after - 1]) / float(times[after] - times[after - 1])
        return interpolate(self._pose(order[after - 1]), self._pose(order[after]), share)

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples in the order of their stamps, and these; of two with the same stamp the later one."""
        if self._in_order is None:
            times = np.array(self._times, np.int64)
            stamps, from_the_end = np.unique(times[::-1], return_index=True)
            self._in_order = len(times) - 1 - from_the_end, stamps
        return self._in_order

    def _pose(self, index: int) -> Rigid:
        values = np.array(self._values[index * _NUMBERS_PER_POSE : (index + 1) * _NUMBERS_PER_POSE])
        return Rigid(matrix_from_quaternion(values[:4]), values[4:])


def interpolate(first: Rigid, second: Rigid, share: float) -> Rigid:
    """Return the pose `share` (0 to 1) of the way from first to second: constant speed and turn rate (SLERP)."""
    return first.moved(share * first.step_to(second))


class TransformTree:
    """The transforms of /tf and /tf_static: where any frame is seen from any other, interpolated edge by edge."""

    def __init__(self, max_gap_s: float = MAX_GAP_S):
        self.max_gap_s = max_gap_s
        self._parents: dict[str, str] = {}
        self._moving: dict[str, Trajectory] = {}
        self._static: dict[str, Rigid] = {}

    @property
    def frames(self) -> list[str]:
        return sorted({*self._parents, *self._parents.values()})

    def add(self, stamp_ns: int, parent: str, child: str, pose: Rigid, static: bool) -> None:
        """Add `parent_child`; a child that changes its parent keeps the new one."""
        if self._parents.get(child, parent) != parent:
            self._moving.pop(child, None)
            self._static.pop(child, None)
        self._parents[child] = parent
        if static:
            self._static[child] = pose
        else:
            self._moving.setdefault(child, Trajectory(self.max_gap_s)).add(stamp_ns, pose)

    def at(self, target: str, source: str, stamp_ns: int) -> Rigid | None:
        """Return `target_source` at a stamp [ns]; None when a transform is missing at that time."""
        root_target, root_source = self._to_root(target, stamp_ns), self._to_root(source, stamp_ns)
        if root_target is None or root_source is None or root_target[0] != root_source[0]:
            return None
        return root_target[1].inverse() @ root_source[1]

    def connected(self, first: str, second: str) -> bool:
        """Whether a chain of transforms joins two frames, at whatever time."""
        return self._root(first) == self._root(second)

    def _root(self, frame: str) -> str:
        seen = set()
        while frame in self._parents and frame not in seen:
            seen.add(frame)
            frame = self._parents[frame]
        return frame

    def _to_root(self, frame: str, stamp_ns: int) -> tuple[str, Rigid] | None:
        pose, seen = IDENTITY, set()
        while frame in self._parents and frame not in seen:
            seen.add(frame)
            step = self._static.get(frame) or (self._moving[frame].at(stamp_ns) if frame in self._moving else None)
            if step is None:
                return None
            pose, frame = step @ pose, self._parents[frame]
        return frame, pose


class StampedPose(NamedTuple):
    """A pose as it comes in a message: `frame_child`."""

    stamp_ns: int
    frame: str
    child: str
    pose: Rigid


def read_poses(message: Any) -> Iterator[StampedPose]:
    """
    Yield the poses in a PoseStamped, PoseWithCovarianceStamped, Odometry, TransformStamped or TFMessage.

    Poses that are not finite or have no direction are left out.
    """
    if hasattr(message, 'transforms'):
        for transform in message.transforms:
            yield from read_poses(transform)
        return
    if hasattr(message, 'transform'):
        orientation, position = message.transform.rotation, message.transform.translation
    else:
        pose = message.pose.pose if hasattr(message.pose, 'pose') else message.pose
        orientation, position = pose.orientation, pose.position
    rigid = rigid_of(position, orientation)
    if rigid is not None:
        child, frame = (name.lstrip('/') for name in (getattr(message, 'child_frame_id', ''), message.header.frame_id))
        yield StampedPose(stamp_ns(message.header), frame, child, rigid)


def rigid_of(position: Any, orientation: Any) -> Rigid | None:
    """Return the pose of a Point or Vector3 and a Quaternion; None where it is not finite or has no direction."""
    t = np.array([position.x, position.y, position.z])
    q = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    return Rigid(matrix_from_quaternion(q), t) if np.isfinite(t).all() and 1e-3 < np.linalg.norm(q) < 1e3 else None


def stamp_ns(header: Any) -> int:
    """Return the stamp of a std_msgs/Header in nanoseconds; 0 when it was never set."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)
