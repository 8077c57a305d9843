"""Triangle meshes of simple shapes: lathed profiles, boxes, swept tubes, spheres; all sizes in metres."""

from __future__ import annotations

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3) float64, faces (F, 3) int64


def lathe(profile, sections: int = 48, roughness: np.ndarray | None = None) -> Mesh:
    """
    Turn a profile of (radius, height) rows about the z axis.

    The surface faces outwards when the profile runs upwards.
    roughness : (rows, sections), added to the radii: frayed edges and dents.
    """
    profile = np.asarray(profile, float)
    angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    radius = np.repeat(profile[:, :1], sections, 1)
    if roughness is not None:
        radius = np.maximum(radius + np.asarray(roughness), 0)
    height = np.repeat(profile[:, 1:], sections, 1)
    vertices = np.stack([radius * np.cos(angles), radius * np.sin(angles), height], 2).reshape(-1, 3)
    return vertices, _grid_faces(len(profile), sections)


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Return the triangles of a grid of vertices whose columns close into rings."""
    row, column = np.mgrid[0 : rows - 1, 0:columns]
    following = (column + 1) % columns
    a, b = row * columns + column, row * columns + following
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]).astype(
        np.int64
    )


def cylinder(radius: float, length: float, sections: int = 32) -> Mesh:
    """Return a closed cylinder about z, centred at the origin."""
    h = length / 2
    return lathe([(0, -h), (radius, -h), (radius, h), (0, h)], sections)


def cone(radius: float, length: float, sections: int = 24) -> Mesh:
    """Return a closed cone about z, its tip up, centred at the origin."""
    return lathe([(0, -length / 2), (radius, -length / 2), (0, length / 2)], sections)


def ring(inner: float, outer: float, length: float, sections: int = 56) -> Mesh:
    """Return a flat-walled ring about z, centred at the origin."""
    h = length / 2
    return lathe([(inner, -h), (outer, -h), (outer, h), (inner, h), (inner, -h)], sections)


def torus(radius: float, thickness: float, sections: int = 40) -> Mesh:
    """Return a torus about z; `thickness` is the radius of its tube."""
    angles = np.linspace(-np.pi, np.pi, 13)
    return lathe(np.c_[radius + thickness * np.cos(angles), thickness * np.sin(angles)], sections)


def cap(radius: float, height: float, sections: int = 48, rows: int = 14) -> Mesh:
    """Return half an ellipsoid about z with its base (open) at z = 0 and its tip at z = height."""
    angles = np.linspace(0, np.pi / 2, rows)
    return lathe(np.c_[radius * np.cos(angles), height * np.sin(angles)], sections)


def box(size) -> Mesh:
    """Return a box of edge lengths `size` (3,), centred at the origin."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return corners * np.asarray(size, float), np.array(faces, np.int64)


def blob(radii, dents: float, rng: np.random.Generator, sections: int = 28, rows: int = 16) -> Mesh:
    """Return an ellipsoid of half axes `radii` (3,) with random dents, a share `dents` of its size."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, rows)
    noise = rng.uniform(-1, 1, (rows, sections))
    for axis in (0, 1):
        noise = (noise + np.roll(noise, 1, axis)) / 2
    noise *= dents * np.cos(angles)[:, None]
    vertices, faces = lathe(np.c_[np.cos(angles), np.sin(angles)], sections, noise)
    return vertices * np.asarray(radii, float), faces


def plate(outline, thickness: float) -> Mesh:
    """Return a flat plate from a star-shaped outline (n, 2) in the x-y plane, counter-clockwise."""
    outline = np.asarray(outline, float)
    n, h = len(outline), thickness / 2
    centre = outline.mean(0)
    vertices = np.concatenate([
        np.c_[outline, np.full(n, -h)],
        np.c_[outline, np.full(n, h)],
        [[*centre, -h], [*centre, h]],
    ])
    i, j = np.arange(n), (np.arange(n) + 1) % n
    bottom, top = np.full(n, 2 * n), np.full(n, 2 * n + 1)
    sides = [np.c_[i, j, j + n], np.c_[i, j + n, i + n]]
    return vertices, np.concatenate([np.c_[j, i, bottom], np.c_[i + n, j + n, top], *sides]).astype(np.int64)


def tube(path, radius: float, flatness: float = 1.0, sections: int = 7) -> Mesh:
    """
    Sweep an ellipse along a path (n, 3).

    radius is the half width across the path and level with the x-y plane; flatness scales the other half axis.
    """
    path = np.asarray(path, float)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-12
    side = np.cross(along, [0.02, 0.03, 1.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-12
    for i in range(1, len(side)):  # no sudden turns where the path stands upright
        if side[i] @ side[i - 1] < 0:
            side[i] *= -1
    over = np.cross(along, side)
    angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    offsets = np.cos(angles)[:, None] * side[:, None] + flatness * np.sin(angles)[:, None] * over[:, None]
    vertices = (path[:, None] + radius * offsets).reshape(-1, 3)
    return vertices, _grid_faces(len(path), sections)


def spline(points, count: int = 48) -> np.ndarray:
    """Return `count` points (count, D) on the Catmull-Rom curve through the rows of `points`."""
    points = np.asarray(points, float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    position = np.linspace(0, len(points) - 1, count)
    segment = np.minimum(position.astype(int), len(points) - 2)
    s = (position - segment)[:, None]
    a, b, c, d = (padded[segment + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3)


def turn(axis: str, angle: float) -> np.ndarray:
    """Return the (3, 3) rotation by `angle` [rad] about 'x', 'y' or 'z'."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array({
        'x': [[1, 0, 0], [0, c, -s], [0, s, c]],
        'y': [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        'z': [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis])  # fmt: skip


X_FROM_Z = turn('y', np.pi / 2)  # lays a shape about z along x, its top forward
