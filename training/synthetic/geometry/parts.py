"""Part and Material: triangle meshes and how they look; objects and distractors are lists of parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
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
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    material: Material
    belongs: bool = True
    two_sided: bool = False
    vertex_colors: np.ndarray | None = None

    @classmethod
    def from_mesh(cls, name: str, mesh: Trimesh, material: Material, belongs: bool = True) -> Part:
        """Return the part that a closed mesh of one material makes."""
        return cls(name, np.asarray(mesh.vertices), np.asarray(mesh.faces), material, belongs)

    def moved(self, rotation: np.ndarray | None = None, translation=(0.0, 0.0, 0.0)) -> Part:
        """Return the part rotated by `rotation` (3, 3), then shifted by `translation` (3,) [m]."""
        vertices = self.vertices if rotation is None else self.vertices @ np.asarray(rotation).T
        return replace(self, vertices=vertices + np.asarray(translation, float))

    def with_material(self, material: Material) -> Part:
        """Return the same mesh of another material."""
        return replace(self, material=material)


def merge_by_material(parts: list[Part]) -> list[Part]:
    """Join the parts of equal material: fewer draw calls, the same picture."""
    groups: dict[tuple, list[Part]] = {}
    for part in parts:
        key = (part.material, part.belongs, part.two_sided, part.vertex_colors is None)
        groups.setdefault(key, []).append(part)
    return [_joined(group) for group in groups.values()]


def _joined(group: list[Part]) -> Part:
    offsets = np.cumsum([0] + [len(p.vertices) for p in group[:-1]])
    faces = np.concatenate([p.faces + offset for p, offset in zip(group, offsets)])
    colors = None if group[0].vertex_colors is None else np.concatenate([p.vertex_colors for p in group])
    return replace(group[0], vertices=np.concatenate([p.vertices for p in group]), faces=faces, vertex_colors=colors)


def all_vertices(parts: list[Part]) -> np.ndarray:
    """Return the vertices (V, 3) of all parts."""
    return np.concatenate([part.vertices for part in parts])
