"""Reads mesh files (stl, obj, glb, ply, ...) with their colours, through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from custom_pose_ros.core.errors import DatasetError
from training.synthetic.geometry.parts import Material, Part

DEFAULT_COLOR = (0.6, 0.6, 0.6)


def read_mesh(path: Path) -> list[Part]:
    """
    Return the parts of a mesh file as they stand in it; one for each geometry of a scene.

    Raises:
        DatasetError: when the file cannot be read as a mesh, or holds no triangles.
    """
    try:
        parts = scene_parts(trimesh.load_scene(path))
    except Exception as error:  # the reader of each format has its own
        raise DatasetError(f'{path}: cannot be read as a mesh: {" ".join(str(error).split())[:200]}') from error
    if not parts:
        raise DatasetError(f'{path}: no triangles in it')
    return parts


def scene_parts(scene: trimesh.Scene) -> list[Part]:
    """Return a part for each placed mesh of a scene, moved to its place."""
    parts = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        piece = scene.geometry[name]
        if len(getattr(piece, 'faces', ())):
            parts.append(_part(name, piece.copy().apply_transform(transform)))
    return parts


def _part(name: str, piece: trimesh.Trimesh) -> Part:
    """Return the part of a mesh with its colour; textures and vertex colours become colours of the vertices."""
    colors = _vertex_colors(piece)
    color = tuple(np.clip(colors.mean(0), 0.01, 1)) if colors is not None else DEFAULT_COLOR
    varied = colors is not None and colors.std(0).max() > 0.01
    return Part(
        name,
        np.asarray(piece.vertices, float),
        np.asarray(piece.faces, np.int64),
        Material(tuple(map(float, color)), 0.5),
        two_sided=True,
        vertex_colors=colors if varied else None,
    )


def _vertex_colors(piece: trimesh.Trimesh) -> np.ndarray | None:
    """Return (V, 3) red, green, blue in [0, 1], or None when the mesh says nothing about its colour."""
    visual: Any = piece.visual
    if visual.kind is None:
        return None
    if visual.kind == 'texture':
        material = visual.material
        plain = getattr(material, 'main_color', None)
        # The image of a simple or of a physically based material.
        image = getattr(material, 'image', None) or getattr(material, 'baseColorTexture', None)
        if visual.uv is None or image is None:
            return None if plain is None else np.tile(np.asarray(plain[:3], float) / 255, (len(piece.vertices), 1))
        visual = visual.to_color()
    return np.asarray(visual.vertex_colors, float)[:, :3] / 255
