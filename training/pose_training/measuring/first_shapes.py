"""First guesses of a rigid shape from keypoints in several views: what a camera far away would have seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import nearest_rotation
from custom_pose_ros.core.measuring.bundle import LENS, Bundle, Views

_STARTS = 12  # of the factorisation, from random shapes
_ROUNDS = 60  # of alternating least squares
_PART = 0.6  # of the views that most starts use
_DAMPING = 1e-6  # of the largest entry, where few keypoints are seen together
_CAUCHY = 0.05  # of the object's size in the picture: residuals beyond it count less and less
_NEAREST = 1.2  # of the shape's radius: the camera is outside of the object
_FLATTEST = 0.05  # lowest square of a principal stretch, of the mean


def first_bundles(views: Views, focals_px: np.ndarray, rng: np.random.Generator) -> Iterator[Bundle]:
    """
    Yield bundles to start from, for each guess of the focal length.

    The shape of a factorisation (Tomasi and Kanade 1992) and its mirror image, as a camera far away cannot tell them
    apart; and flat ones, as seen in one view, in which that shape is lost.

    Args:
        views: what was seen; at least three keypoints in each.
        focals_px: (F, C) guesses for each lens [px].
        rng: draws the starts of the factorisation.
    """
    shapes = [_affine_shape(views, rng), _largest_view(views)]
    for focals in focals_px:
        for points, R, scale, middle in shapes:
            for sign in (1.0, -1.0):
                rotation = R.copy()
                rotation[:, :2] *= sign
                focal = focals[views.lens]
                nearest = _NEAREST * np.linalg.norm(points, axis=1).max()
                depth = np.maximum(focal / np.maximum(scale, 1e-9), nearest)
                translation = np.column_stack([middle / focal[:, None] * depth[:, None], depth])
                lenses = np.zeros((len(focals), LENS))
                lenses[:, 0] = np.log(focals)
                yield Bundle(sign * points, Rigid(rotation, translation), lenses)


_Shape = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _affine_shape(views: Views, rng: np.random.Generator) -> _Shape:
    """Return shape (K, 3), rotations (V, 3, 3), scales (V,) [px] and middles (V, 2) [px] of a factorisation."""
    seen = (views.weights > 0).astype(float)
    sizes = _sizes(views)
    best, least = None, np.inf
    for start in range(_STARTS):
        # All views, then parts of them: a view in which left and right are exchanged spoils the shape of all others.
        chosen = rng.random(len(seen)) < (1.0 if start == 0 else _PART)
        points = rng.normal(size=(seen.shape[1], 3))
        weights = seen
        for _ in range(_ROUNDS):
            maps = _fit_maps(points, views.pixels, weights)
            points = _fit_points(maps, views.pixels, weights * chosen[:, None])
            ratio = _squared(maps, points, views.pixels) / (_CAUCHY * sizes[:, None]) ** 2
            weights = seen / (1.0 + ratio)
        cost = (seen * np.log1p(ratio)).sum()
        if cost < least:
            best, least = (points, maps), cost
    assert best is not None
    return _upgraded(*best)


def _sizes(views: Views) -> np.ndarray:
    """Return the (V,) root mean square distances of the keypoints from their middle [px]."""
    seen = (views.weights > 0)[..., None]
    count = seen.sum(1)
    middle = np.where(seen, views.pixels, 0.0).sum(1) / count
    spread = np.where(seen, views.pixels - middle[:, None], 0.0)
    return np.sqrt((spread**2).sum((1, 2)) / count[:, 0])


def _squared(maps: np.ndarray, points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return (V, K) squared distances of affine maps (V, 2, 4) of points (K, 3) from pixels (V, K, 2)."""
    return ((points @ maps[..., :3].transpose(0, 2, 1) + maps[:, None, :, 3] - pixels) ** 2).sum(-1)


def _fit_maps(points: np.ndarray, pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the affine maps (V, 2, 4) that bring points (K, 3) nearest to pixels (V, K, 2)."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    weighted = weights[..., None] * homogeneous
    normal = weighted.transpose(0, 2, 1) @ homogeneous
    right = weighted.transpose(0, 2, 1) @ pixels
    return _solve(normal, right).transpose(0, 2, 1)


def _fit_points(maps: np.ndarray, pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the points (K, 3) that affine maps (V, 2, 4) bring nearest to pixels (V, K, 2), of unit size."""
    linear = maps[..., :3]
    offset = pixels - maps[:, None, :, 3]
    normal = np.einsum('vk,vij->kij', weights, linear.transpose(0, 2, 1) @ linear)
    right = np.einsum('vk,vai,vka->ki', weights, linear, offset)[..., None]
    points = _solve(normal, right)[..., 0]
    points -= points.mean(0)
    return points / max(np.sqrt((points**2).mean()), 1e-12)


def _solve(normal: np.ndarray, right: np.ndarray) -> np.ndarray:
    size = normal.shape[-1]
    largest = np.einsum('nii->ni', normal).max(1)
    return np.linalg.solve(normal + (_DAMPING * largest + 1e-12)[:, None, None] * np.eye(size), right)


def _upgraded(points: np.ndarray, maps: np.ndarray) -> _Shape:
    """Return the shape whose maps are turned and scaled pictures of it, as nearly as they can be."""
    linear = maps[..., :3]
    linear_size = np.sqrt((linear**2).mean((1, 2)))
    a, b = (linear / np.maximum(linear_size, 1e-12)[:, None, None]).transpose(1, 0, 2)
    rows = np.concatenate([_products(a, a) - _products(b, b), _products(a, b)])
    _, _, directions = np.linalg.svd(rows)
    xx, xy, xz, yy, yz, zz = directions[-1]
    stretch = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    values, axes = np.linalg.eigh(stretch * np.sign(np.trace(stretch)))
    values = np.maximum(values, _FLATTEST * np.abs(values).mean())
    root = (axes * np.sqrt(values)) @ axes.T
    upgraded = points @ np.linalg.inv(root).T
    size = np.sqrt((upgraded**2).sum(1).mean())
    linear = linear @ root * size
    scale = np.sqrt((linear**2).sum((1, 2)) / 2.0)
    return upgraded / size, np.array([_rotation(rows) for rows in linear]), scale, maps[..., 3]


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return (V, 6) coefficients of a^T Q b in the entries xx, xy, xz, yy, yz, zz of a symmetric Q."""
    cross = a[:, :, None] * b[:, None, :]
    cross = cross + cross.transpose(0, 2, 1)
    return np.column_stack([
        cross[:, 0, 0] / 2, cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 1] / 2, cross[:, 1, 2], cross[:, 2, 2] / 2,
    ])  # fmt: skip


def _rotation(rows: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) whose first two rows are nearest to (2, 3)."""
    rows = rows / max(np.linalg.norm(rows) / np.sqrt(2.0), 1e-12)
    return nearest_rotation(np.vstack([rows, np.cross(rows[0], rows[1])]))


def _largest_view(views: Views) -> _Shape:
    """Return the flat shape that the view with the most keypoints, and of these the largest, shows."""
    seen = (views.weights > 0).astype(float)
    sizes = _sizes(views)
    first = max(range(len(sizes)), key=lambda v: (seen[v].sum(), sizes[v]))
    points = np.zeros((seen.shape[1], 3))
    points[:, :2] = np.where(seen[first][:, None] > 0, views.pixels[first] - views.pixels[first].mean(0), 0.0)
    points /= np.sqrt((points**2).sum(1).mean())
    maps = _fit_maps(points, views.pixels, seen)
    scale = np.sqrt((maps[..., :2] ** 2).sum((1, 2)) / 2.0)
    return points, np.array([_flat_rotation(rows) for rows in maps[..., :2]]), scale, maps[..., 3]


def _flat_rotation(rows: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) that shows the x-y plane as the map (2, 2) does, but for a scale."""
    rows = rows / max(np.linalg.svd(rows, compute_uv=False)[0], 1e-12)
    values, axes = np.linalg.eigh(np.eye(2) - rows @ rows.T)
    third = np.sqrt(max(values[-1], 0.0)) * axes[:, -1]  # what the rows lack to have unit length and a right angle
    return _rotation(np.column_stack([rows, third]))
