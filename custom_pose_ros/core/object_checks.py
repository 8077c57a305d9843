"""What in an object file cannot be meant, or is most likely a mistake: named before it makes wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.errors import listed
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.geometry.symmetry import Symmetry
from custom_pose_ros.core.keypoint_names import find_sides, named_directions

_LARGEST_M = 1000.0  # nothing larger is seen whole by a camera
LARGE_M, _SMALL_M = 20.0, 0.005  # size of the objects beyond which another unit than metres was meant, most likely
_FAR_ORIGIN = 30.0  # of the object's size: an angle wrong by 2 degrees moves such an origin by the object's size
_SAME_PLACE = 0.002  # of the object's size: points so near each other are one for every camera
_TOO_NEAR = 0.01  # of the object's size: as exactly as people label
_MISFIT = 0.05  # of the object's size: by how much points measured by hand may miss a symmetry
_SIGMAS = (0.005, 0.25)  # COCO's are from 0.025 to 0.107
_NAMED = 4  # keypoints in a line
_LEFT_HANDED = -0.5  # determinant of three directions; -1 when they are at right angles


def impossible_points(names: Sequence[str], points: np.ndarray) -> str | None:
    """
    Say why model points cannot be meant, or None.

    Args:
        names: K names.
        points: (K, 3) [m], NaN where not known.
    """
    size = _size(points)
    if size > _LARGEST_M:
        return f'they are spread over {size:.4g} m; positions are in metres'
    a, b, distance = _nearest(points)
    if distance <= _SAME_PLACE * size:
        place = ', '.join(f'{value:g}' for value in points[b])
        return f'{names[a]} and {names[b]} are at the same place ({place}); leave out those whose position is not known'
    return None


def doubtful_geometry(
    names: Sequence[str], points: np.ndarray, flip_order: np.ndarray, symmetries: Sequence[Symmetry]
) -> list[str]:
    """
    Return what is most likely a mistake in model points, and in swaps and symmetries that go with them.

    Args:
        names: K names.
        points: (K, 3) [m], NaN where not known.
        flip_order: (K,) keypoint k of the mirrored object is keypoint flip_order[k] of the original.
        symmetries: Of the object.
    """
    size = _size(points)
    found = []
    if size > LARGE_M:
        found.append(
            f'model_points: are spread over {size:.4g} m; positions are in metres '
            f'(if these are millimetres, the object is {1e-3 * size:.3g} m large; if centimetres, {1e-2 * size:.3g} m)'
            f'; right if it is {size:.0f} m large'
        )
    elif 0 < size < _SMALL_M:
        found.append(f'model_points: are spread over {1e3 * size:.3g} mm only; positions are in metres')
    distances_m = np.linalg.norm(points[np.isfinite(points).all(1)], axis=1)
    if size > 0 and distances_m.min() > _FAR_ORIGIN * size:
        found.append(
            f'model_points: the nearest is {_in_metres(float(distances_m.min()))} from the origin, the object is '
            f'{_in_metres(size)} large; the pose is that of the origin: move it into the object'
        )
    a, b, distance = _nearest(points)
    if distance < _TOO_NEAR * size:
        found.append(
            f'model_points: {names[a]} and {names[b]} are so near each other that labels cannot tell them apart'
        )
    if (directions := left_handed(names, points)) and _own_sides(names, points):
        found.append(f'model_points: {directions}')
    paired = np.flatnonzero(flip_order != np.arange(len(names)))
    if misfit := _mirror_misfit(names, points, flip_order, paired):
        found.append(f'swaps: do not fit model_points: {misfit}')
    for number, symmetry in enumerate(symmetries):
        if misfit := _symmetry_misfit(names, points, symmetry):
            found.append(f'symmetries[{number}]: {misfit}')
    return found


def doubtful_sigmas(names: Sequence[str], sigmas: np.ndarray) -> list[str]:
    """Return what is most likely a mistake in the OKS sigmas (K,)."""
    low, high = _SIGMAS
    return [
        f"sigmas.{name}: {sigma:g} of the object's size; COCO has from 0.025 (eyes) to 0.107 (hips)"
        for name, sigma in zip(names, sigmas.tolist())
        if not low <= sigma <= high
    ]


def left_handed(names: Sequence[str], points: np.ndarray) -> str | None:
    """
    Say that front, left and top make a left-handed frame by the names of the points, or None.

    Where one of the three is not named, the axis of REP 103 takes its place.

    Args:
        names: K names.
        points: (K, 3) [m], NaN where not known.
    """
    named = named_directions(names, points)
    if sum(direction is not None for direction in named) < 2:
        return None
    frame = np.array([axis if direction is None else direction for direction, axis in zip(named, np.eye(3))])
    if np.linalg.det(frame) > _LEFT_HANDED:
        return None
    seen = ', '.join(
        f'{what} along {_in_axes(direction)}'
        for what, direction in zip(('front', 'left', 'top'), named)
        if direction is not None
    )
    return (
        f'by the names, {seen}: this is left-handed; wanted x forward, y left, z up, '
        "left and right being the object's own: change the sign of one axis, or the names"
    )


def mirroring(mirror: str, names: Sequence[str], points: np.ndarray, flip_order: np.ndarray) -> tuple[bool, str | None]:
    """
    Return whether training may mirror images of an object, and what to tell its user about it.

    Args:
        mirror: 'yes', 'no', or 'auto': where swaps say what a mirror does to every keypoint.
        names: K names.
        points: (K, 3) [m], NaN where not known.
        flip_order: (K,) keypoint k of the mirrored object is keypoint flip_order[k] of the original.
    """
    if mirror == 'no':
        return False, None
    sides = find_sides(names)
    unswapped = set(np.flatnonzero(flip_order == np.arange(len(names))).tolist())
    pairs = [f'{names[a]}/{names[b]}' for a, b in (*sides.pairs, *sides.likely) if unswapped >= {a, b}]
    single = [names[k] for k in sides.single if k in unswapped]
    if mirror == 'yes':
        lacking = [*pairs, *(f'a partner of {name}' for name in single)]
        return True, f'mirror: yes, but swaps lacks {listed(lacking, _NAMED)}' if lacking else None
    start = 'training does not mirror images'
    if pairs:
        way = 'add the pairs, or say mirror: yes or no where they are none'
        return False, f'{start}: swaps lacks {listed(pairs, _NAMED)}; {way}'
    if len(unswapped) == len(names):
        return False, (
            f'{start}: swaps is empty; list the keypoints that change places in a mirror, '
            'or say mirror: yes where none does, mirror: no where the mirrored object does not exist'
        )
    if single:
        return False, f'{start}: {listed(single, _NAMED)} without a partner in swaps; add it, or say mirror: yes or no'
    if misfit := _mirror_misfit(names, points, flip_order, np.arange(len(names))):
        return False, f'{start}: swaps do not fit model_points ({misfit})'
    return True, None


def connected_parts(present: np.ndarray, limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """
    Return which keypoints of objects are joined by limbs between present ones.

    Args:
        present: (N, K) bool.
        limbs: Pairs of keypoints.

    Returns:
        (N, K) the lowest index of a keypoint in the same part.
    """
    seen = np.ascontiguousarray(present.T)  # keypoints first: each limb works on two rows
    part = np.repeat(np.arange(len(seen))[:, None], len(present), 1)
    joined = [(a, b, seen[a] & seen[b]) for a, b in limbs]
    before = None
    while before is None or (part != before).any():  # the lowest index of each part spreads along its limbs
        before = part.copy()
        for a, b, both in joined:
            lower = np.minimum(part[a], part[b])
            np.copyto(part[a], lower, where=both)
            np.copyto(part[b], lower, where=both)
    return part.T


def unconnected(present: np.ndarray, limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """
    Return which present keypoints of objects no limbs between present ones join with the first of them.

    Args:
        present: (N, K) bool.
        limbs: Pairs of keypoints.

    Returns:
        (N, K) bool.
    """
    part = connected_parts(present, limbs)
    first = np.where(present, part, present.shape[1]).min(1, keepdims=True, initial=present.shape[1])
    return np.asarray(present & (part != first))


def _mirror_misfit(names: Sequence[str], points: np.ndarray, flip_order: np.ndarray, which: np.ndarray) -> str | None:
    """Say which of some keypoints (indices) misses its place when the object is mirrored as swaps say, or None."""
    known = which[np.isfinite(points[which]).all(1) & np.isfinite(points[flip_order[which]]).all(1)]
    if len(known) < 3:
        return None
    here, there = (p - p.mean(0) for p in (points[known], points[flip_order[known]]))
    u, _, vt = np.linalg.svd(there.T @ here)  # Kabsch, for the best rotation with a reflection
    mirror = u @ np.diag([1, 1, -np.sign(np.linalg.det(u @ vt))]) @ vt
    missed = np.linalg.norm(here @ mirror.T - there, axis=1)
    worst = int(missed.argmax())
    if missed[worst] <= _MISFIT * _size(points):
        return None
    a, b = names[known[worst]], names[flip_order[known[worst]]]
    place = 'off the mirror plane' if a == b else f'away from {b}'
    return f'mirrored, {a} lies {_in_metres(missed[worst])} {place}'


def _symmetry_misfit(names: Sequence[str], points: np.ndarray, symmetry: Symmetry) -> str | None:
    """Say which keypoint a symmetry moves to where none is, or None; not known where a position is missing."""
    if not np.isfinite(points).all() or len(points) < 2:
        return None
    axis = np.array(symmetry.axis)
    if symmetry.fold:
        moved = points @ matrix_from_rotation_vector(axis * 2 * np.pi / symmetry.fold).T
        missed = np.linalg.norm(moved[:, None] - points[None], axis=2).min(1)
    else:
        missed = np.linalg.norm(np.cross(points, axis), axis=1)
    worst = int(missed.argmax())
    if missed[worst] <= _MISFIT * _size(points):
        return None
    lands = 'from the nearest keypoint' if symmetry.fold else 'from the axis, on which its keypoints must lie'
    return f'turned by it about the origin, {names[worst]} lies {_in_metres(missed[worst])} {lands}'


def _own_sides(names: Sequence[str], points: np.ndarray) -> bool:
    """
    Tell whether left and right are the object's own, and not those of somebody in front of it, as on a printed box.

    Points whose front and left are named count as the object's own, unless their front is along -x.
    """
    front, left, _ = named_directions(names, points)
    return front is not None and left is not None and front[0] > _LEFT_HANDED


def _size(points: np.ndarray) -> float:
    """Return the diagonal of the box around the known ones of points (K, 3) [m]; 0 where there are less than two."""
    known = points[np.isfinite(points).all(1)]
    return float(np.linalg.norm(np.ptp(known, axis=0))) if len(known) else 0.0


def _nearest(points: np.ndarray) -> tuple[int, int, float]:
    """Return the two points (of K, 3) that are nearest to each other, and their distance [m]; inf where none are."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    distances[np.tril_indices(len(points))] = np.inf
    distances[np.isnan(distances)] = np.inf
    a, b = np.unravel_index(int(distances.argmin()), distances.shape)
    return int(a), int(b), float(distances[a, b])


def _in_axes(direction: np.ndarray) -> str:
    """Return a direction (3,) as the axis that is nearest to it."""
    axis = int(np.abs(direction).argmax())
    return ('-' if direction[axis] < 0 else '+') + 'xyz'[axis]


def _in_metres(length_m: float) -> str:
    return f'{length_m:.2g} m' if length_m < 10 else f'{length_m:.0f} m'
