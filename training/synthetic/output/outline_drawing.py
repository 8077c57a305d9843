"""Draws an object from all around and takes the lines of its outline, its print and its creases from the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from trimesh import Trimesh

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.orientation.outlines.outline_views import CREASE, DISTANCE, OUTLINE, RISE, ViewLines
from training.synthetic.geometry.parts import Part, all_vertices
from training.synthetic.rendering.mesh_views import MeshViews
from training.synthetic.scenes.attitudes import even_directions, looking_along

SIDE_PX = 512  # of the pictures, which the object fills
OUTLINE_LINES, INNER_LINES = 200, 200  # in one view, at most
_BORDER_PX = 10
_LEAST_ROOM_PX = 3  # in and out; thinner parts are not told from noise in an image
_FARTHEST_PX = 60  # how far room is looked for
_SOFT_PX = 2.0  # by which the mask is blurred, so that its normals are smooth
_PRINT_SOFT_PX = 1.5  # finer print is not seen from a few times farther away
_PRINT_RISE = 0.02  # of the brightness in [0, 1], least for each pixel,
_STRONG = 0.8  # and at least this share of the rise that a tenth of the print in the view has
_JUMP_SLOPE = 12.0  # steepest surface, depth over distance in the image, that is not taken for a jump
_SAME_DEPTH = 0.003  # of the radius, by which a crease may lie behind what is seen around it
_CLEAR_PX = 5  # inner lines are as far as this from where the depth jumps
_CREASE_RAD = np.deg2rad(30.0)  # between two faces, from which on their edge is seen
_CREASE_STEPS = 200.0  # points along the creases, for each radius of the object
_MOST_CREASE_POINTS = 20_000


class _Found(NamedTuple):
    """Lines of one kind in a picture: pixels (N, 2), normals (N, 2), depth (N,) [m]."""

    pixels: np.ndarray
    normals: np.ndarray
    depth: np.ndarray
    kind: int


class OutlineDrawing:
    """
    Draws the views of one object.

    Args:
        parts: of the object, in its frame.
        count: number of views, evenly spread over all directions.

    Raises:
        DatasetError: nothing of the object is solid.
    """

    def __init__(self, parts: list[Part], count: int):
        seen = [part for part in parts if part.belongs and part.material.solid]
        if not seen:
            raise DatasetError('no part of the mesh is solid: it has no outline')
        vertices = all_vertices(seen)
        self.centre = (vertices.max(0) + vertices.min(0)) / 2
        self.radius = float(np.linalg.norm(vertices - self.centre, axis=1).max())
        self.directions = even_directions(count)
        self._distance = DISTANCE * self.radius
        focal = (SIDE_PX / 2 - _BORDER_PX) * np.sqrt(self._distance**2 - self.radius**2) / self.radius
        middle = (SIDE_PX - 1) / 2
        self._K = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
        self._camera = CameraIntrinsics(SIDE_PX, SIDE_PX, self._K)
        self._pictures = MeshViews(seen, SIDE_PX, SIDE_PX)
        self._creases = _creases(seen, self.radius)

    def views(self) -> Iterator[ViewLines]:
        """Yield the lines of each view."""
        for direction in self.directions:
            yield self._view(self._camera_object(direction))

    def _camera_object(self, direction: np.ndarray) -> Rigid:
        """Return the pose of the object for a camera in a direction (3,) from its centre, which looks at it."""
        R = looking_along(-direction, -np.eye(3)[2 if abs(direction[2]) < 0.9 else 1])
        return Rigid(R, -R @ (self.centre + self._distance * direction))

    def _view(self, camera_object: Rigid) -> ViewLines:
        rendering = self._pictures.render(self._camera, camera_object)
        depth = rendering.surfaces.depth
        solid = np.isfinite(depth)
        outline = _outline(solid, depth)
        clear = _away_from_jumps(depth, self._K[0, 0])
        print_lines = _print(cv2.cvtColor(rendering.color, cv2.COLOR_BGR2GRAY), depth, clear)
        creases = self._visible_creases(camera_object, depth, clear)
        lines = [outline, *_with_room(solid, print_lines, creases)]
        pixels, normals, room, kinds, z = (np.concatenate(each) for each in zip(*lines))
        points = np.column_stack([(pixels - self._K[:2, 2]) / self._K[0, 0] * z[:, None], z])
        R, t = camera_object
        return ViewLines((points - t) @ R, normals @ R[:2], room * (self._distance / self._K[0, 0]), kinds)

    def _visible_creases(self, camera_object: Rigid, depth: np.ndarray, clear: np.ndarray) -> _Found:
        """Return the points of the creases that nothing hides, with normals across them."""
        start, end = (camera_object.apply(each) for each in self._creases)
        pixels, ends = (each[:, :2] / each[:, 2:] * self._K[0, 0] + self._K[:2, 2] for each in (start, end))
        along = ends - pixels
        length = np.linalg.norm(along, axis=1)
        column, row = np.clip(np.rint(pixels).astype(int), 0, SIDE_PX - 1).T
        behind = start[:, 2] - cv2.dilate(np.where(np.isfinite(depth), depth, 0.0), np.ones((3, 3)))[row, column]
        seen = clear[row, column] & (behind < _SAME_DEPTH * self.radius)
        seen &= length > 1e-3 * self._K[0, 0] * self.radius / self._distance
        normals = np.column_stack([-along[seen, 1], along[seen, 0]]) / length[seen, None]
        return _Found(pixels[seen], normals, start[seen, 2], CREASE)


def _creases(parts: list[Part], radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points (P, 3) along the sharp edges of the parts, and the points (P, 3) that follow them."""
    starts, ends = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for part in parts:
        mesh = Trimesh(part.vertices, part.faces, process=False)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        sharp = mesh.face_adjacency_angles > _CREASE_RAD
        first, last = mesh.vertices[mesh.face_adjacency_edges[sharp]].transpose(1, 0, 2)
        count = np.ceil(np.linalg.norm(last - first, axis=1) * _CREASE_STEPS / radius).astype(int)
        edge = np.repeat(np.arange(len(count)), count)
        share = (np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + 0.5) / count[edge]
        points = first[edge] + share[:, None] * (last - first)[edge]
        starts.append(points)
        ends.append(points + (last - first)[edge] / count[edge][:, None])
    both = np.concatenate(starts), np.concatenate(ends)
    keep = _spread(len(both[0]), _MOST_CREASE_POINTS)
    return both[0][keep], both[1][keep]


def _spread(count: int, most: int) -> np.ndarray:
    """Return at most `most` of the indices up to `count`, evenly spread."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)


def _outline(solid: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return pixels (N, 2), normals (N, 2), room (N, 2) [px], kinds (N,) and depth (N,) [m] of the outline."""
    found, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    edge = np.concatenate([np.zeros((0, 2), int), *(contour[:, 0] for contour in found)])
    edge = edge[solid[edge[:, 1], edge[:, 0]]]
    outwards = -_gradient(cv2.GaussianBlur(solid.astype(np.float32), (0, 0), _SOFT_PX))[edge[:, 1], edge[:, 0]]
    length = np.linalg.norm(outwards, axis=1)
    edge, normals = edge[length > 1e-3], outwards[length > 1e-3] / length[length > 1e-3, None]
    room = np.column_stack([_free(~solid, edge, -normals, 1), _free(solid, edge, normals, 2)])
    wide = np.flatnonzero((room >= _LEAST_ROOM_PX).all(1))
    keep = wide[_spread(len(wide), OUTLINE_LINES)]
    edge, normals = edge[keep], normals[keep]
    # What is drawn of the object ends half a pixel beyond the middle of its last pixel.
    kinds = np.full(len(edge), OUTLINE)
    return edge + 0.5 * normals, normals, room[keep], kinds, depth[edge[:, 1], edge[:, 0]].astype(float)


def _print(brightness: np.ndarray, depth: np.ndarray, clear: np.ndarray) -> _Found:
    """Return the lines where the brightness (H, W) in [0, 1] rises most, with normals towards the brighter side."""
    rise = _gradient(cv2.GaussianBlur(brightness, (0, 0), _PRINT_SOFT_PX))
    height = np.linalg.norm(rise, axis=2)
    row, column = np.nonzero((height > _PRINT_RISE) & clear)
    normals = rise[row, column] / height[row, column, None]
    before, here, after = (
        _between(height, column + shift * normals[:, 0], row + shift * normals[:, 1]) for shift in (-1.0, 0.0, 1.0)
    )
    top = (here >= before) & (here > after)
    top &= here >= _STRONG * np.quantile(here[top], 0.9) if top.any() else False
    row, column, normals = row[top], column[top], normals[top]
    shift = 0.5 * (before - after)[top] / (before - 2.0 * here + after)[top]  # the top of a parabola
    pixels = np.column_stack([column, row]) + np.clip(shift, -0.5, 0.5)[:, None] * normals
    return _Found(pixels, normals, depth[row, column].astype(float), RISE)


def _away_from_jumps(depth: np.ndarray, focal_px: float) -> np.ndarray:
    """Return (H, W) bool, True where no jump of the depth is near."""
    solid = np.isfinite(depth)
    inverse = np.where(solid, 1.0 / depth, 0.0).astype(np.float32)  # along a plane it is linear in the image
    bend = np.abs(cv2.filter2D(inverse, -1, np.array([[1.0, -2.0, 1.0]])))
    bend = np.maximum(bend, np.abs(cv2.filter2D(inverse, -1, np.array([[1.0], [-2.0], [1.0]]))))
    jump = bend > _JUMP_SLOPE / focal_px * inverse
    return cv2.distanceTransform((solid & ~jump).astype(np.uint8), cv2.DIST_L2, 3) > _CLEAR_PX


def _with_room(solid: np.ndarray, *groups: _Found) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the inner lines, as `_outline` does, with the room to the next of them or to the end of the object."""
    taken = ~solid
    for group in groups:
        column, row = np.rint(group.pixels).astype(int).T
        taken[row, column] = True
    share = INNER_LINES // len(groups)
    for group in groups:
        place = np.rint(group.pixels).astype(int)
        room = np.column_stack([_free(taken, place, sign * group.normals, 3) for sign in (-1.0, 1.0)])
        wide = np.flatnonzero((room >= _LEAST_ROOM_PX).all(1))
        keep = wide[_spread(len(wide), share)]
        yield group.pixels[keep], group.normals[keep], room[keep], np.full(len(keep), group.kind), group.depth[keep]


def _free(taken: np.ndarray, start: np.ndarray, direction: np.ndarray, first: int) -> np.ndarray:
    """Return how far (N,) [px] one can go from pixels (N, 2) along directions (N, 2) until something is taken."""
    steps = np.arange(first, _FARTHEST_PX)
    way = np.rint(start[:, None] + direction[:, None] * steps[:, None]).astype(int).clip(0, SIDE_PX - 1)
    met = taken[way[..., 1], way[..., 0]]
    return np.where(met.any(1), steps[met.argmax(1)], _FARTHEST_PX)


def _gradient(image: np.ndarray) -> np.ndarray:
    """Return the derivatives (H, W, 2) of an image along x and y, for each pixel."""
    return np.dstack([cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)]) / 8.0


def _between(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the values of an image between its pixels."""
    x, y = (each.astype(np.float32).reshape(-1, 1) for each in (x, y))
    if not len(x):
        return np.zeros(0, np.float32)
    return np.concatenate([  # OpenCV maps at most 32767 rows at once
        cv2.remap(image, x[k : k + 30000], y[k : k + 30000], cv2.INTER_LINEAR)[:, 0] for k in range(0, len(x), 30000)
    ])
