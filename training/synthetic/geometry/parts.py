"""Part, Material and Texture: triangle meshes and how they look; objects and distractors are lists of parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from trimesh import Trimesh


@dataclass(frozen=True)
class Material:
    """
    How a surface looks.

    Attributes:
        color: red, green, blue in [0, 1].
        roughness: 0 = mirror-smooth highlights, 1 = matt.
        opacity: 1 = solid; below `SOLID_OPACITY` the surface hides nothing behind it.
        reflectivity: share of windows and lamps around that the surface mirrors, in [0, 1].
        grain: strength of the blotches in the colour, in [0, 1].
        wrinkle: strength of the bumps in the surface, in [0, 1].
    """

    color: tuple[float, float, float]
    roughness: float = 0.5
    opacity: float = 1.0
    reflectivity: float = 0.0
    grain: float = 0.0
    wrinkle: float = 0.0

    @property
    def solid(self) -> bool:
        """True when the surface hides what lies behind it."""
        return self.opacity >= SOLID_OPACITY


SOLID_OPACITY = 0.7


@dataclass(frozen=True, eq=False)
class Texture:
    """
    A picture on a surface.

    Attributes:
        pixels: (h, w, 3) uint8 red, green, blue (sRGB), the top row first.
    """

    pixels: np.ndarray

    @property
    def mean_color(self) -> np.ndarray:
        """Its mean red, green, blue in [0, 1], (3,)."""
        return self.pixels.mean((0, 1)) / 255


@dataclass(frozen=True, eq=False)
class Part:
    """
    One triangle mesh of one material.

    Attributes:
        name: of the part.
        vertices: (V, 3) float64 [m], in the frame of the object.
        faces: (F, 3) int64, indices of vertices, counter-clockwise seen from outside.
        material: of all faces.
        belongs: False for what only hangs on the object (a tether): drawn, but not part of its box and hiding nothing.
        two_sided: False for closed surfaces, whose inner side is never seen (drawn twice as fast).
        vertex_colors: (V, 3) red, green, blue in [0, 1]: instead of the material's colour, which is then their mean.
        uv: (V, 2) places in the texture, right and up, from (0, 0) at its lower left to (1, 1); it repeats beyond.
        texture: instead of the material's colour, which is then its mean; vertex colours multiply it.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    material: Material
    belongs: bool = True
    two_sided: bool = False
    vertex_colors: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: Texture | None = None

    @property
    def is_printed(self) -> bool:
        """True when its colour differs from place to place."""
        return self.vertex_colors is not None or self.texture is not None

    @classmethod
    def from_mesh(cls, name: str, mesh: Trimesh, material: Material, belongs: bool = True) -> Part:
        """Return the part that a closed mesh of one material makes."""
        return cls(name, np.asarray(mesh.vertices), np.asarray(mesh.faces), material, belongs)

    def moved(self, rotation: np.ndarray | None = None, translation=(0.0, 0.0, 0.0)) -> Part:
        """Return the part rotated by `rotation` (3, 3), then shifted by `translation` (3,) [m]."""
        vertices = self.vertices if rotation is None else self.vertices @ np.asarray(rotation).T
        return replace(self, vertices=vertices + np.asarray(translation, float))

    def transformed(self, matrix: np.ndarray) -> Part:
        """Return the part moved, scaled or mirrored by a matrix (4, 4)."""
        matrix = np.asarray(matrix, float)
        faces = self.faces if np.linalg.det(matrix[:3, :3]) > 0 else self.faces[:, ::-1]
        return replace(self, vertices=self.vertices @ matrix[:3, :3].T + matrix[:3, 3], faces=faces)

    def with_material(self, material: Material) -> Part:
        """Return the same mesh of another material."""
        return replace(self, material=material)


def merge_by_material(parts: list[Part]) -> list[Part]:
    """Join the parts of equal material and texture: fewer draw calls, the same picture."""
    groups: dict[tuple, list[Part]] = {}
    for part in parts:
        key = (part.material, part.belongs, part.two_sided, part.vertex_colors is None, id(part.texture))
        groups.setdefault(key, []).append(part)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Part]) -> Part:
    offsets = np.cumsum([0] + [len(p.vertices) for p in group[:-1]])
    faces = np.concatenate([p.faces + offset for p, offset in zip(group, offsets)])
    joined = {
        name: None if getattr(group[0], name) is None else np.concatenate([getattr(p, name) for p in group])
        for name in ('vertices', 'vertex_colors', 'uv')
    }
    return replace(group[0], faces=faces, **joined)


def all_vertices(parts: list[Part]) -> np.ndarray:
    """Return the vertices (V, 3) of all parts."""
    return np.concatenate([part.vertices for part in parts])


def unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Find equal rows.

    Args:
        rows: (N, C) finite float64.

    Returns:
        (U,) the index of the first row of each kind, and (N,) the kind of each row.
    """
    bits = np.ascontiguousarray(rows + 0.0, np.float64).view(np.uint64)  # + 0.0: of -0.0 makes 0.0
    factors = np.random.default_rng(0).integers(1, 1 << 63, bits.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = bits ^ (bits >> np.uint64(31))
    _, first, kind = np.unique((mixed * factors).sum(1, dtype=np.uint64), return_index=True, return_inverse=True)
    if not (bits[first[kind]] == bits).all():  # two kinds of one hash: hardly ever
        _, first, kind = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    return first, kind.reshape(-1)


def is_closed(vertices: np.ndarray, faces: np.ndarray) -> bool:
    """
    Say whether a mesh encloses solid bodies, all with their outer side outwards: then no inner side is ever seen.

    Args:
        vertices: (V, 3); those at the same place are one.
        faces: (F, 3), indices of vertices.
    """
    first, kind = unique_rows(vertices)
    places, corners = vertices[first], kind[faces]
    corners = corners[(corners != np.roll(corners, 1, 1)).all(1)]  # without those that have no area
    starts, ends = corners.ravel(), np.roll(corners, -1, 1).ravel()
    edges, back = starts * len(places) + ends, np.unique(ends * len(places) + starts)
    if len(back) < len(edges) or not np.array_equal(np.unique(edges), back):  # one neighbour at each edge, turned alike
        return False
    shape = (len(places), len(places))
    body = connected_components(coo_matrix((np.ones(len(edges)), (starts, ends)), shape))[1][corners[:, 0]]
    a, b, c = np.moveaxis((places - places.mean(0))[corners], 1, 0)
    volumes = np.bincount(body, (a * np.cross(b, c)).sum(1))[np.unique(body)]
    return bool(len(volumes)) and bool((volumes > 0).all())


def same_shape(parts: list[Part], others: list[Part]) -> bool:
    """Say whether two lists of parts share their meshes, and differ in their materials at most."""
    return len(parts) == len(others) and all(
        a.vertices is b.vertices and a.faces is b.faces for a, b in zip(parts, others)
    )


def surface_points(parts: list[Part], count: int) -> np.ndarray:
    """Return points (count, 3) spread evenly over the surface of what belongs to the object, always the same ones."""
    triangles = np.concatenate([part.vertices[part.faces] for part in parts if part.belongs])
    areas = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    rng = np.random.default_rng(0)
    chosen = triangles[rng.choice(len(triangles), count, p=areas / areas.sum())]
    a, b = np.sort(rng.random((2, count, 1)), axis=0)
    return a * chosen[:, 0] + (b - a) * chosen[:, 1] + (1 - b) * chosen[:, 2]
