"""SurfaceViews: pictures of a mesh from all sides, and what they show of its surface: places, colours, corners."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.spatial import cKDTree

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.parts import Part, merge_by_material
from training.synthetic.rendering.mesh_views import MeshViews
from training.synthetic.scenes.attitudes import even_directions, looking_along

VIEWS = 120  # directions
IMAGE_PX = 320
_DISTANCE = 4.0  # of the camera from the middle, in sizes of the object
_FILLED = 0.9  # share of the picture that the object's size takes
_SPACING = 0.012  # of the points of the surface, in sizes of the object
_DEPTH_SLACK = 0.006  # a point this much behind what is drawn is still seen, in sizes of the object
_CORNER_SIGMA = 0.015  # of the window in which a corner is judged, in sizes of the object
_NORMAL_WEIGHT = 0.25  # contrast of two faces at right angles, beside that of black and white
_OUTLINE_WEIGHT = 0.5  # contrast of the object and what is behind it
_LEAST_TOWARDS = 0.15  # cosine: what is seen more askew tells nothing of its slope
_SHARPENED_IN = 5  # pictures
_SLOPE = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]], np.float32) / 32  # Scharr, per pixel


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """
    N points spread evenly over what can be seen of an object from outside.

    Attributes:
        places: (N, 3) in the object frame [m].
        normals: (N, 3) unit vectors, outwards.
        colors: (N, 3) blue, green, red in [0, 1].
    """

    places: np.ndarray
    normals: np.ndarray
    colors: np.ndarray

    @cached_property
    def tree(self) -> cKDTree:
        """Of the places."""
        return cKDTree(self.places)


class SurfaceViews:
    """
    Pictures of an object from VIEWS directions, its colours without light and shade.

    Args:
        parts: of the object; those that only hang on it are left out.

    Raises:
        DatasetError: when nothing of it is solid.
    """

    def __init__(self, parts: list[Part]):
        parts = [part for part in parts if part.belongs]
        self._pictures = MeshViews(merge_by_material(parts), IMAGE_PX, IMAGE_PX)
        self.middle, self.size = self._pictures.centre, self._pictures.size
        field_of_view = 2 * np.arctan(0.5 / _FILLED / np.sqrt(_DISTANCE**2 - 0.25))
        self._camera = CameraIntrinsics.from_fov(IMAGE_PX, IMAGE_PX, field_of_view)
        self.K = self._camera.K
        attitudes = [looking_along(-outward, np.eye(3)[2]) for outward in even_directions(VIEWS)]
        self.poses = [Rigid(R, np.array([0, 0, _DISTANCE * self.size]) - R @ self.middle) for R in attitudes]
        self.colors, self.depths, self._nearest, self._edges, self._corners = [], [], [], [], []
        for pose in progress_bar('views of the mesh', VIEWS, 'view', self.poses):
            drawn = self._pictures.render(self._camera, pose)
            color, depth = drawn.color.astype(np.float32), drawn.surfaces.depth
            edges = _products(_features(color, depth, self.K))
            self.colors.append(color)
            self.depths.append(depth)
            self._nearest.append(cv2.erode(depth, np.ones((3, 3))))  # at an edge, its own side
            self._edges.append(edges)
            self._corners.append(_least_contrast(cv2.GaussianBlur(edges, (0, 0), self._corner_px)))
        if not any(np.isfinite(depth).any() for depth in self.depths):
            raise DatasetError('nothing of the mesh is solid: all its materials are transparent')

    @cached_property
    def points(self) -> SurfacePoints:
        """Points of the surface, each from the picture that shows it most squarely."""
        places, normals, colors, squareness = [], [], [], []
        pictures = zip(self.poses, self.colors, self.depths)
        for pose, color, depth in progress_bar('surface', len(self.poses), 'view', pictures):
            normal = _normals(depth, self.K)
            rows, columns = (2 * index for index in np.nonzero(np.isfinite(normal[::2, ::2, 0])))
            seen = _rays(np.c_[columns, rows], self.K) * depth[rows, columns, None]
            places.append((seen - pose.translation) @ pose.rotation)
            normals.append(normal[rows, columns] @ pose.rotation)
            colors.append(color[rows, columns])
            squareness.append(-(normal[rows, columns] * seen).sum(1) / np.linalg.norm(seen, axis=1))
        order = np.argsort(-np.concatenate(squareness), kind='stable')
        everywhere = np.concatenate(places)[order]
        cells = np.floor((everywhere - self.middle) / (_SPACING * self.size)).astype(np.int64)
        _, first = np.unique(cells @ (1, 1 << 16, 1 << 32), return_index=True)
        return SurfacePoints(
            everywhere[first], np.concatenate(normals)[order][first], np.concatenate(colors)[order][first]
        )

    def seen(self, places: np.ndarray) -> np.ndarray:
        """Return (V, N) bool: whether each picture shows each of some places (N, 3) of the surface."""
        return np.stack([self._shown(v, places)[0] for v in range(len(self.poses))])

    def corner_strength(self, places: np.ndarray) -> np.ndarray:
        """Return (N,) how well places (N, 3) of the surface stand out in every direction: mean of where they show."""
        total, count = np.zeros(len(places)), np.zeros(len(places))
        for v, corners in enumerate(self._corners):
            shown, pixels = self._shown(v, places)
            columns, rows = np.round(pixels[shown]).astype(int).T
            total[shown] += corners[rows, columns]
            count += shown
        return total / np.maximum(count, 1)

    def sharpened(self, place: np.ndarray) -> np.ndarray:
        """
        Return a place (3,) of the surface moved onto the corner beside it.

        The corner is where the edges in its window meet (Foerstner and Guelch 1987): the median over the pictures in
        which it is strongest.
        """
        strengths = []
        for v, corners in enumerate(self._corners):
            shown, pixels = self._shown(v, place[None])
            column, row = np.round(pixels[0]).astype(int)
            strengths.append(corners[row, column] if shown[0] else -1.0)
        best = [v for v in np.argsort(strengths)[: -_SHARPENED_IN - 1 : -1] if strengths[v] > 0]
        found = []
        for v in best:
            pixel = _meeting_point(self._edges[v], self._shown(v, place[None])[1][0], self._corner_px)
            column, row = np.clip(np.round(pixel).astype(int), 1, IMAGE_PX - 2)
            depth, nearest = self.depths[v][row, column], self._nearest[v][row, column]
            depth = depth if depth < nearest + _CORNER_SIGMA * self.size else nearest  # beside an edge, its own side
            if np.isfinite(depth):
                pose = self.poses[v]
                found.append((_rays(pixel[None], self.K)[0] * depth - pose.translation) @ pose.rotation)
        return np.median(found, 0) if found else place

    @property
    def _corner_px(self) -> float:
        return _CORNER_SIGMA * self.size * self.K[0, 0] / (_DISTANCE * self.size)

    def _shown(self, v: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return whether picture v shows each of N places, (N,) bool, and their pixels (N, 2)."""
        seen = places @ self.poses[v].rotation.T + self.poses[v].translation
        pixels = seen[:, :2] / seen[:, 2:] * self.K[0, 0] + self.K[:2, 2]
        columns, rows = np.clip(np.round(pixels).astype(int), 0, IMAGE_PX - 1).T
        depth = self.depths[v][rows, columns]
        depth = np.where(np.isfinite(depth), depth, self._nearest[v][rows, columns])  # beside the outline
        return np.isfinite(depth) & (seen[:, 2] <= depth + _DEPTH_SLACK * self.size), pixels


def _rays(pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return the points (N, 3) at depth 1 behind pixels (N, 2)."""
    return np.c_[(pixels - K[:2, 2]) / K[0, 0], np.ones(len(pixels))]


def _normals(depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) unit normals towards the camera, camera frame; NaN where the depth jumps."""
    rows, columns = np.indices(depth.shape)
    places = (
        _rays(np.c_[columns.ravel(), rows.ravel()], K) * np.where(np.isfinite(depth), depth, np.nan).ravel()[:, None]
    )
    places = places.reshape(*depth.shape, 3)
    across, down = np.full_like(places, np.nan), np.full_like(places, np.nan)
    across[:, 1:-1] = places[:, 2:] - places[:, :-2]
    down[1:-1] = places[2:] - places[:-2]
    normals = np.cross(down, across)
    with np.errstate(invalid='ignore'):
        normals /= np.linalg.norm(normals, axis=2, keepdims=True)
        towards = -(normals * places).sum(2) / np.linalg.norm(places, axis=2)
    normals[~(towards > _LEAST_TOWARDS)] = np.nan
    return normals


def _features(color: np.ndarray, depth: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Return (H, W, 7) what an edge shows in: the colours, the slope of the surface, and the outline."""
    slope = np.nan_to_num(_normals(depth, K)) * _NORMAL_WEIGHT
    outline = np.isfinite(depth)[..., None] * _OUTLINE_WEIGHT
    return np.concatenate([color, slope, outline], 2).astype(np.float32)


def _products(features: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) the products xx, xy, yy of the slopes of (H, W, C) features, summed over C."""
    x, y = (cv2.filter2D(features, -1, kernel) for kernel in (_SLOPE, _SLOPE.T))
    return np.stack([(x * x).sum(2), (x * y).sum(2), (y * y).sum(2)], 2)


def _least_contrast(tensor: np.ndarray) -> np.ndarray:
    """Return (H, W) the contrast in the direction of the least (Shi and Tomasi 1994), of (H, W, 3) xx, xy, yy."""
    mean, half = (tensor[..., 0] + tensor[..., 2]) / 2, (tensor[..., 0] - tensor[..., 2]) / 2
    return np.sqrt(np.maximum(mean - np.hypot(half, tensor[..., 1]), 0))


def _meeting_point(edges: np.ndarray, pixel: np.ndarray, sigma: float) -> np.ndarray:
    """Return the pixel (2,) nearest to the lines of all edges (H, W, 3), see `_products`, around a pixel (2,)."""
    reach = int(np.ceil(3 * sigma))
    column, row = np.round(pixel).astype(int)
    rows, columns = np.mgrid[row - reach : row + reach + 1, column - reach : column + reach + 1]
    inside = (rows >= 0) & (rows < len(edges)) & (columns >= 0) & (columns < edges.shape[1])
    rows, columns = rows[inside], columns[inside]
    offsets = np.c_[columns, rows] - pixel
    weights = np.exp(-0.5 * (offsets**2).sum(1) / sigma**2)
    tensors = edges[rows, columns][:, [0, 1, 1, 2]].reshape(-1, 2, 2) * weights[:, None, None]
    total = tensors.sum(0) + 1e-9 * np.eye(2)
    shift = np.linalg.solve(total, (tensors @ offsets[..., None]).sum(0))[:, 0]
    return pixel + shift * min(1.0, 2 * sigma / max(float(np.linalg.norm(shift)), 1e-9))
