"""Where keypoints lie on the mesh: how deep, how thick the object is there, and which way its surface faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from trimesh.triangles import closest_point

from training.synthetic.geometry.parts import Part

THIN = 0.4  # share of the local thickness that counts as the same side of the object
SURFACE = 0.25  # a keypoint deeper than this share of the thickness lies inside, as one in the middle of a hub
SAME_WAY = 0.3  # cosine between the normals of faces that belong to one side of a plate
TOUCHING = 1e-4  # of the object's size: faces that are this much farther than the nearest one touch the keypoint too


@dataclass(frozen=True, eq=False)
class KeypointSite:
    """
    The object's own surface around one keypoint.

    Attributes:
        reach: how near to the keypoint that surface never hides it [m].
        normals: (n, 3) unit vectors out of the faces within reach, in the object frame; None where the side does not
            matter: the keypoint lies inside the object, or the mesh is not closed there.
    """

    reach: float
    normals: np.ndarray | None

    def facing(self, directions: np.ndarray) -> np.ndarray:
        """Return how far (N,) the surface is turned towards directions (N, 3): 1 = fully, 0 or less = away from it."""
        if self.normals is None:
            return np.ones(len(directions))
        return (directions @ self.normals.T).max(1)


def keypoint_sites(parts: list[Part], points: np.ndarray, slack: float) -> list[KeypointSite]:
    """
    Return the site of each keypoint.

    Args:
        parts: of the object.
        points: (K, 3) keypoints in the object frame [m].
        slack: own surface this much nearer than the keypoint's depth below it hides nothing on a thick object [m].
    """
    surface = _Surface(np.concatenate([part.vertices[part.faces] for part in parts if part.belongs]))
    return [_site(surface, point, slack) for point in points]


def distances_to_surface(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (K,) how far points (K, 3) lie from the nearest of the triangles (F, 3, 3)."""
    surface = _Surface(triangles)
    return np.array([surface.within(point, 0.0)[1].min() for point in points])


class _Surface:
    """All triangles (F, 3, 3) of an object, and what of them is asked for every keypoint."""

    def __init__(self, triangles: np.ndarray):
        self.triangles = triangles
        a, b, c = np.moveaxis(triangles, 1, 0)
        self._low, self._high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
        self.size = (self._high.max(0) - self._low.min(0)).max()

    def within(self, point: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the faces (n, 3, 3) no farther than `slack` beyond the nearest, their distances, nearest points."""
        outside = np.maximum(0, np.maximum(self._low - point, point - self._high))
        to_box = np.sqrt(np.einsum('ij,ij->i', outside, outside))
        corners = self.triangles.reshape(-1, 3) - point
        to_vertex = np.sqrt(np.einsum('ij,ij->i', corners, corners).min())
        near = self.triangles[to_box <= to_vertex + slack]
        nearest = closest_point(near, np.broadcast_to(point, (len(near), 3)))
        return near, np.linalg.norm(nearest - point, axis=1), nearest

    def along(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Return the triangles (n, 3, 3) whose sphere a line through the origin along a unit vector meets."""
        middle, reach = (self._low + self._high) / 2 - origin, (self._high - self._low) / 2
        squared = np.einsum('ij,ij->i', middle, middle) - (middle @ direction) ** 2
        return self.triangles[squared <= 1.001 * np.einsum('ij,ij->i', reach, reach) + (1e-6 * self.size) ** 2]


def _site(surface: _Surface, point: np.ndarray, slack: float) -> KeypointSite:
    near, distances, nearest = surface.within(point, slack)
    depth = distances.min()
    touching = distances <= depth + TOUCHING * surface.size
    normals = _unit(np.cross(near[:, 1] - near[:, 0], near[:, 2] - near[:, 0]))
    thickness = _thickness(surface, nearest[distances.argmin()], normals[touching])
    if thickness is None or depth > SURFACE * thickness:
        return KeypointSite(float(depth + slack), None)
    reach = depth + min(slack, THIN * thickness)
    around = distances <= reach
    if THIN * thickness < slack:  # the edge of a plate is not its front
        around &= (normals @ normals[touching].T).max(1) > SAME_WAY
    return KeypointSite(float(reach), normals[around])


def _thickness(surface: _Surface, place: np.ndarray, normals: np.ndarray) -> float | None:
    """
    Return how thick [m] the object is below a place of its surface; None where a ray inwards does not leave it again.

    Args:
        surface: all of it.
        place: (3,).
        normals: (n, 3) of the faces that meet there.
    """
    inwards, step = _unit(-normals.sum(0, keepdims=True))[0], TOUCHING * surface.size  # inside, where rays begin
    distances = []
    for normal in np.unique(normals.round(1), axis=0):
        start, direction = place + step * inwards, -normal
        crossing = _first_crossing(surface.along(start, _unit(direction[None])[0]), start, direction)
        if crossing is None or not crossing[1]:
            return None
        distances.append(crossing[0])
    return min(distances) + step


def _first_crossing(triangles: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> tuple[float, bool] | None:
    """Return the distance at which a ray meets the first face and whether it leaves the object there (Moeller 1997)."""
    edge_a, edge_b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(direction, edge_b)
    determinant = np.einsum('ij,ij->i', edge_a, across)
    with np.errstate(divide='ignore', invalid='ignore'):
        from_corner = origin - triangles[:, 0]
        u = np.einsum('ij,ij->i', from_corner, across) / determinant
        turned = np.cross(from_corner, edge_a)
        v = turned @ direction / determinant
        distance = np.einsum('ij,ij->i', edge_b, turned) / determinant
        hits = np.flatnonzero((u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (distance > 0))
    if not len(hits):
        return None
    first = hits[distance[hits].argmin()]
    return float(distance[first]), bool(determinant[first] < 0)


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (N, 3) of length 1; those of no length stay zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
