"""Reads mesh files (stl, obj, glb, ply, ...) with their colours through trimesh, and URDFs through yourdfpy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import trimesh
from yourdfpy import URDF

from custom_pose_ros.core.errors import DatasetError
from training.synthetic.geometry.parts import Material, Part

DEFAULT_COLOR = (0.6, 0.6, 0.6)
_PARSE_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what yourdfpy raises for a wrong file


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


def load_urdf(path: Path) -> list[Part]:
    """
    Return the visual parts of a robot description.

    A mesh keeps its own colours where it has some, as in RViz; the URDF colours the others. Meshes are looked for
    beside the file: `package://name/rest` as `name/rest`, then as `rest`, in the folders above.

    Raises:
        DatasetError: naming the file, and the link, joint or mesh that is wrong.
    """
    try:
        document = ElementTree.parse(path).getroot()  # yourdfpy would draw what it understands of broken XML
        robot = URDF.load(str(path), load_meshes=False)
        for name in robot.link_map:
            robot.get_transform(name, robot.base_link)
    except ElementTree.ParseError as error:
        raise DatasetError(f'{path}: is not valid XML: {error}') from error
    except _PARSE_ERRORS as error:
        raise DatasetError(f'{path}: {_fault(document, error)}') from error
    meshes = {
        name: _find_mesh(name, path, link.get('name', ''))
        for link in document.findall('link')
        for name in (mesh.get('filename', '') for mesh in link.findall('visual/geometry/mesh'))
    }
    for mesh in meshes.values():
        read_mesh(mesh)  # refuses what yourdfpy would leave out
    parts = scene_parts(URDF.load(str(path), filename_handler=lambda fname: str(meshes[fname])).scene)
    if not parts:
        raise DatasetError(f'{path}: no <visual> shapes in it')
    return parts


def _fault(document: ElementTree.Element, error: Exception) -> str:
    """Say which link or joint cannot be read: yourdfpy's errors do not name it."""
    for element in document:
        alone = ElementTree.Element('robot', name='alone')
        alone.append(element)
        try:
            URDF.load(io.BytesIO(ElementTree.tostring(alone)), build_scene_graph=False)
        except _PARSE_ERRORS as fault:
            hint = '; expand it first: xacro FILE > robot.urdf' if '${' in str(fault) else ''
            return f'{element.tag} {element.get("name")}: cannot be read ({fault!r}){hint}'
    return f'its links and joints must form one tree ({error!r})'


def _find_mesh(name: str, path: Path, link: str) -> Path:
    folders = path.resolve().parents
    if name.startswith('package://'):
        package, _, rest = name.removeprefix('package://').partition('/')
        places = [folder / package / rest for folder in folders] + [folder / rest for folder in folders]
    else:
        places = [path.parent / name.removeprefix('file://')]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f'{path}: link {link}: mesh {name!r} not found beside the file or in the folders above')
