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
    triangles = np.concatenate([part.vertices[part.faces] for part in parts if part.belongs])
    return [_site(triangles, point, slack) for point in points]


def distances_to_surface(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (K,) how far points (K, 3) lie from the nearest of the triangles (F, 3, 3)."""
    return np.array([_faces_within(triangles, point, 0.0)[1].min() for point in points])


def _site(triangles: np.ndarray, point: np.ndarray, slack: float) -> KeypointSite:
    near, distances, nearest = _faces_within(triangles, point, slack)
    depth = distances.min()
    size = np.ptp(triangles.reshape(-1, 3), 0).max()
    touching = distances <= depth + TOUCHING * size
    normals = _unit(np.cross(near[:, 1] - near[:, 0], near[:, 2] - near[:, 0]))
    thickness = _thickness(triangles, nearest[distances.argmin()], normals[touching], TOUCHING * size)
    if thickness is None or depth > SURFACE * thickness:
        return KeypointSite(float(depth + slack), None)
    reach = depth + min(slack, THIN * thickness)
    around = distances <= reach
    if THIN * thickness < slack:  # the edge of a plate is not its front
        around &= (normals @ normals[touching].T).max(1) > SAME_WAY
    return KeypointSite(float(reach), normals[around])


def _faces_within(triangles: np.ndarray, point: np.ndarray, slack: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the faces (n, 3, 3) no farther than `slack` beyond the nearest, their distances and nearest points."""
    low, high = triangles.min(1), triangles.max(1)
    to_box = np.linalg.norm(np.maximum(0, np.maximum(low - point, point - high)), axis=1)
    to_vertex = np.sqrt(((triangles.reshape(-1, 3) - point) ** 2).sum(1).min())
    near = triangles[to_box <= to_vertex + slack]
    nearest = closest_point(near, np.broadcast_to(point, (len(near), 3)))
    return near, np.linalg.norm(nearest - point, axis=1), nearest


def _thickness(triangles: np.ndarray, surface: np.ndarray, normals: np.ndarray, step: float) -> float | None:
    """
    Return how thick [m] the object is below a point of its surface; None where a ray inwards does not leave it again.

    Args:
        triangles: (F, 3, 3) all faces.
        surface: (3,) the point.
        normals: (n, 3) of the faces that meet there.
        step: how far inside the rays begin [m].
    """
    inwards = _unit(-normals.sum(0, keepdims=True))[0]
    distances = []
    for normal in np.unique(normals.round(1), axis=0):
        crossing = _first_crossing(triangles, surface + step * inwards, -normal)
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
