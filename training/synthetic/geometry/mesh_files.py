"""Reads mesh files (stl, obj, glb, ply, dae, 3mf, ...) with their colours through trimesh."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from trimesh.resolvers import FilePathResolver

from custom_pose_ros.core.errors import DatasetError
from training.synthetic.geometry.mesh_checks import EXPORT_AGAIN, check_mesh_file
from training.synthetic.geometry.parts import Material, Part

DEFAULT_COLOR = (0.6, 0.6, 0.6)
logging.getLogger('trimesh').setLevel(logging.ERROR)  # it warns of missing textures with a traceback
_FARTHEST = 1e12  # of a vertex, in any unit; what is farther away is a damaged number
_LONGEST_REASON = 200  # characters


def read_mesh(path: Path) -> list[Part]:
    """
    Return the parts of a mesh file as they stand in it, in its units; one for each geometry of a scene.

    Raises:
        DatasetError: when the file cannot be read as a mesh, or holds no triangles.
    """
    return [part_of(name, piece) for name, piece in read_pieces(path)]


def read_pieces(path: Path) -> list[tuple[str, trimesh.Trimesh]]:
    """Return the name and mesh of each geometry of a mesh file, moved to its place; DatasetError as `read_mesh`."""
    content = check_mesh_file(path)
    try:
        # Unprocessed: trimesh would take out vertices that are not finite before anybody sees them.
        scene = trimesh.load_scene(
            io.BytesIO(content), path.suffix[1:].lower(), FilePathResolver(str(path)), process=False
        )
        pieces = [
            (name, scene.geometry[name].copy(), transform)
            for transform, name in (scene.graph[node] for node in scene.graph.nodes_geometry)
            if len(getattr(scene.geometry[name], 'faces', ()))
        ]
        for name, piece, transform in pieces:
            _check_piece(path, name, piece, transform)
            piece.process()
            piece.apply_transform(transform)
    except DatasetError:
        raise
    except Exception as error:  # the reader of each format has its own
        reason = ' '.join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise DatasetError(f'{path}: cannot be read as a mesh ({reason}): {EXPORT_AGAIN}') from error
    if not pieces:
        raise DatasetError(f'{path}: no triangles in it')
    return [(name, piece) for name, piece, _ in pieces]


def _check_piece(path: Path, name: str, piece: trimesh.Trimesh, transform: np.ndarray) -> None:
    """Raise DatasetError when a face of a mesh points to no vertex, or its vertices are no shape."""
    count = len(piece.vertices)
    wrong = piece.faces[(piece.faces < 0) | (piece.faces >= count)]
    if wrong.size:
        raise DatasetError(
            f'{path}: mesh {name}: a face points to vertex {wrong[0]}, wanted 0 to {count - 1}: {EXPORT_AGAIN}'
        )
    bad = np.flatnonzero(~(np.abs(piece.vertices) < _FARTHEST).all(1))
    if bad.size or piece.vertices.shape[1] != 3:
        first = bad[0] if bad.size else 0
        numbers = ', '.join(f'{v:g}' for v in piece.vertices[first])
        raise DatasetError(f'{path}: mesh {name}: vertex {first} is ({numbers}), which is no place: {EXPORT_AGAIN}')
    if not np.ptp(piece.vertices, 0).any():  # as where a decoder of compressed meshes failed
        raise DatasetError(f'{path}: mesh {name}: all its vertices lie at one point: {EXPORT_AGAIN}')
    if not np.isfinite(transform).all():
        raise DatasetError(f'{path}: mesh {name}: its place in the scene is not finite: {EXPORT_AGAIN}')


def part_of(name: str, piece: trimesh.Trimesh, default_color: tuple[float, ...] = DEFAULT_COLOR) -> Part:
    """Return the part of a mesh with its colour; textures and vertex colours become colours of the vertices."""
    colors = _vertex_colors(piece)
    color = np.asarray(default_color) if colors is None else colors.mean(0)
    return Part(
        name,
        np.asarray(piece.vertices, float),
        np.asarray(piece.faces, np.int64),
        Material(tuple(map(float, np.clip(color, 0.01, 1))), 0.5),
        two_sided=True,
        vertex_colors=colors if colors is not None and colors.std(0).max() > 0.01 else None,
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
