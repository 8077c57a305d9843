"""Reads mesh files (stl, obj, glb, ply, dae, 3mf, ...) with their colours through trimesh."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import numpy as np
import trimesh

from custom_pose_ros.core.errors import DatasetError, one_line
from training.synthetic.geometry.formats.collada_files import collada_pieces
from training.synthetic.geometry.formats.color_files import ColorFiles
from training.synthetic.geometry.formats.gltf_files import gltf_surfaces
from training.synthetic.geometry.formats.mesh_checks import check_mesh_file
from training.synthetic.geometry.formats.mesh_problems import EXPORT_AGAIN, warn
from training.synthetic.geometry.formats.threemf_files import ThreeMFColors
from training.synthetic.geometry.mesh_colors import (
    DEFAULT_COLOR,
    MeshColors,
    colored_part,
    colors_of,
    gltf_colors,
    texture_of,
)
from training.synthetic.geometry.parts import Part, Texture

logging.getLogger('trimesh').setLevel(logging.ERROR)  # it warns of missing textures with a traceback
_FARTHEST = 1e12  # of a vertex, in any unit; what is farther away is a damaged number
_LONGEST_REASON = 200  # characters


def read_mesh(path: Path, default_color: tuple[float, ...] = DEFAULT_COLOR) -> list[Part]:
    """
    Return the parts of a mesh file as they stand in it, in its units; one for each geometry of a scene.

    Args:
        path: of the file.
        default_color: red, green, blue of what has no colour in it.

    Raises:
        DatasetError: when the file cannot be read as a mesh, or holds no triangles.
    """
    content = check_mesh_file(path)
    files = ColorFiles(path)
    try:
        placed = [piece for piece in _pieces(path, content, files) if len(getattr(piece[2], 'faces', ()))]
        for name, transform, piece in placed:
            _check_piece(path, name, piece, transform)
        parts = _parts(path, content, {name: piece for name, _, piece in placed}, default_color)
    except DatasetError:
        raise
    except Exception as error:  # the reader of each format has its own
        reason = one_line(error)[:_LONGEST_REASON]
        raise DatasetError(f'{path}: cannot be read as a mesh ({reason}): {EXPORT_AGAIN}') from error
    if not placed:
        raise DatasetError(f'{path}: no triangles in it')
    if path.suffix.lower() == '.obj':
        _note_unknown_materials(path, content, files.materials)
    return [part.transformed(transform) for name, transform, _ in placed for part in parts[name]]


def _pieces(path: Path, content: bytes, files: ColorFiles) -> list[tuple[str, np.ndarray, trimesh.Trimesh]]:
    """
    Return the name, the place in the scene (4, 4) and the mesh of each piece of a file.

    Unprocessed: trimesh would take out vertices that are not finite before anybody sees them, and join vertices of
    different colours.
    """
    kind = path.suffix[1:].lower()
    if kind == 'dae':  # which trimesh always processes
        return collada_pieces(path, content, files)
    scene = trimesh.load_scene(io.BytesIO(content), kind, files, process=False)
    nodes = (scene.graph[node] for node in scene.graph.nodes_geometry)
    return [(name, transform, scene.geometry[name]) for transform, name in nodes]


def _parts(
    path: Path, content: bytes, pieces: dict[str, trimesh.Trimesh], default: tuple[float, ...]
) -> dict[str, list[Part]]:
    """Return the coloured parts of the meshes of a file, by their names."""
    textures: dict[object, Texture | None] = {}
    kind = path.suffix.lower()
    if kind == '.3mf':
        archive = ThreeMFColors(path, content)
        return {name: _threemf_parts(path, archive, name, piece, default) for name, piece in pieces.items()}
    if kind in ('.glb', '.gltf'):
        surfaces = gltf_surfaces(path, content)
        colors = {
            name: gltf_colors(path, piece, surfaces[int(piece.visual.material.name)], textures)
            for name, piece in pieces.items()
        }
    else:
        colors = {name: colors_of(path, piece, textures) for name, piece in pieces.items()}
    return {name: [colored_part(name, piece, colors[name], default)] for name, piece in pieces.items()}


def _threemf_parts(
    path: Path, archive: ThreeMFColors, name: str, piece: trimesh.Trimesh, default: tuple[float, ...]
) -> list[Part]:
    """Return the parts of an object of a 3MF file: one for each of its textures, and one for all that has colours."""
    parts = []
    for faces, corners, number in archive.of_object(name, np.array(default)):
        vertices = piece.vertices[piece.faces[faces]].reshape(-1, 3)
        apart = trimesh.Trimesh(vertices, np.arange(len(vertices)).reshape(-1, 3), process=False)
        texture = None if number is None else texture_of(path, archive.texture(number))
        colors = MeshColors()
        if texture is not None:
            colors = MeshColors(uv=corners.reshape(-1, 2), texture=texture)
        elif number is None:
            colors = MeshColors(vertex=corners.reshape(-1, 3))
        parts.append(colored_part(name, apart, colors, default))
    return parts or [colored_part(name, piece, MeshColors(), default)]


def _note_unknown_materials(path: Path, content: bytes, known: set[str]) -> None:
    """Say which materials of an OBJ no library defines: its reader passes over that in silence."""
    used = {name.strip() for name in re.findall(r'^usemtl[ \t]+(.*)$', content.decode('utf-8'), re.MULTILINE)}
    if not re.search(rb'^mtllib\b', content, re.MULTILINE):
        if used:
            names = ', '.join(sorted(used)[:3])
            warn(path, f'has materials ({names}), but names no file with them: drawn in grey', lost=True)
    elif known and used - known:
        warn(path, f'its material {min(used - known)} is not in its material file: drawn in grey', lost=True)


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
