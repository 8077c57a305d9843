"""
Meshes that trimesh.creation lacks: turned profiles and ellipsoids with dents, and tubes that stay level.

All are trimesh.Trimesh, in metres. Boxes, cylinders, rings and tori are trimesh's own.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import trimesh
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from shapely.geometry import Polygon
from trimesh import Trimesh
from trimesh.creation import extrude_polygon, revolve, sweep_polygon
from trimesh.transformations import rotation_matrix
from trimesh.util import unitize

# Without trimesh's clean-up of a mesh, which takes longer than making it.
annulus, cylinder = (partial(shape, process=False) for shape in (trimesh.creation.annulus, trimesh.creation.cylinder))


def lathe(profile: ArrayLike, sections: int = 48, dents: np.ndarray | None = None) -> Trimesh:
    """
    Turn a profile about the z axis; the surface faces outwards when the profile runs upwards.

    Args:
        profile: (rows, 2), radius and height [m].
        sections: vertices of one turn.
        dents: (rows, sections) [m], added to the radii.
    """
    profile = np.asarray(profile, float)
    mesh = revolve(profile, sections=sections, process=False)
    if dents is not None:
        angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
        outward = np.stack([np.cos(angles), np.sin(angles), np.zeros(sections)], 1)
        grid = mesh.vertices.reshape(sections, len(profile), 3)
        mesh.vertices = (grid + np.asarray(dents).T[..., None] * outward[:, None]).reshape(-1, 3)
    return mesh


def cone(radius: float, length: float, sections: int = 24) -> Trimesh:
    """Return a closed cone about z, its tip up, centred at the origin (trimesh's stands on its base)."""
    return lathe([(0, -length / 2), (radius, -length / 2), (0, length / 2)], sections)


def blob(radii: ArrayLike, dents: float, rng: np.random.Generator, sections: int = 28, rows: int = 16) -> Trimesh:
    """Return an ellipsoid of half axes `radii` (3,) with random dents, a share `dents` of its size."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, rows)
    noise = rng.uniform(-1, 1, (rows, sections))
    for axis in (0, 1):
        noise = (noise + np.roll(noise, 1, axis)) / 2
    mesh = lathe(np.c_[np.cos(angles), np.sin(angles)], sections, noise * dents * np.cos(angles)[:, None])
    return mesh.apply_scale(np.asarray(radii, float))


def plate(outline: ArrayLike, thickness: float) -> Trimesh:
    """Return a flat plate from an outline (n, 2) in the x-y plane, counter-clockwise; centred in z."""
    return extrude_polygon(Polygon(outline), thickness).apply_translation((0, 0, -thickness / 2))


def tube(path: np.ndarray, radius: float, flatness: float = 1.0, sections: int = 7) -> Trimesh:
    """
    Sweep an ellipse along a path.

    Args:
        path: (n, 3) [m].
        radius: half width of the ellipse across the path and level with the x-y plane [m].
        flatness: the other half axis, in radii.
        sections: vertices of the ellipse.
    """
    angles = np.linspace(0, 2 * np.pi, sections, endpoint=False)
    ellipse = Polygon(radius * np.c_[np.cos(angles), flatness * np.sin(angles)])
    steps = unitize(np.diff(path, axis=0))
    ahead = np.concatenate([steps[:1], steps[1:] + steps[:-1], steps[-1:]])
    heading = np.arctan2(ahead[:, 1], ahead[:, 0])
    # The heading, and with it trimesh's cross-section, jumps by pi where the path passes through the vertical.
    return sweep_polygon(ellipse, path, angles=np.unwrap(heading, period=np.pi) - heading)


def spline(points: ArrayLike, count: int = 48) -> np.ndarray:
    """Return `count` points (count, D) on the Catmull-Rom curve through the rows of `points`."""
    points = np.asarray(points, float)
    curve = CubicHermiteSpline(np.arange(len(points)), points, np.gradient(points, axis=0))
    return curve(np.linspace(0, len(points) - 1, count))


def turn(axis: str, angle: float) -> np.ndarray:
    """Return the (3, 3) rotation by `angle` [rad] about 'x', 'y' or 'z'."""
    return rotation_matrix(angle, np.eye(3)['xyz'.index(axis)])[:3, :3]
