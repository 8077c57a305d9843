"""Reads COLLADA files by pycollada, and checks them: it leaves out in silence what it cannot read."""

from __future__ import annotations

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import collada
import numpy as np
from collada.geometry import BoundGeometry
from collada.material import OPAQUE_MODE, Effect, Map
from collada.polylist import Polylist
from collada.triangleset import TriangleSet
from PIL import Image
from trimesh import Trimesh
from trimesh.util import unique_name
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

from custom_pose_ros.core.errors import DatasetError, one_line
from custom_pose_ros.core.files import read_own_bytes
from custom_pose_ros.core.limits import MAX_XML_BYTES
from custom_pose_ros.core.xml_files import first_elements, parse_xml
from training.synthetic.geometry.formats.color_files import ColorFiles
from training.synthetic.geometry.formats.mesh_problems import (
    EXPORT_AGAIN,
    HAS_BONES,
    check_numbers,
    cut_off,
    warn,
    warn_of_looks,
)

# What is no shape, and may be broken or refer to files that are missing.
_NO_SHAPE = re.compile(r'library_(images|effects|materials|lights|cameras|animation.*|physics.*|force_fields)|extra|'
                       r'bind_material|instance_(light|camera|physics.*)|asset')  # fmt: skip


_LUMINANCE = (0.212671, 0.715160, 0.072169)  # of red, green and blue, as the COLLADA specification has it


def collada_asset(path: Path) -> ElementTree.Element:
    """Return what a COLLADA file says about its unit and axes, as a rule without reading the rest of it."""
    try:
        with path.open('rb') as file:
            for event, element in first_elements(file):
                if event == 'end' and element.tag.rpartition('}')[2] == 'asset':
                    return element
        found = parse_xml(read_own_bytes(path, MAX_XML_BYTES)).find('.//{*}asset')
    except ValueError as error:
        raise _damaged(path, error) from error
    return ElementTree.Element('asset') if found is None else found


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f'{path}: is cut off or damaged: {error}')


def collada_pieces(path: Path, content: bytes, files: ColorFiles) -> list[tuple[str, np.ndarray, Trimesh]]:
    """
    Return the name of each triangle mesh of a COLLADA file, its place in the scene (4, 4), and the mesh unprocessed.

    Raises:
        DatasetError: The file is damaged, or a shape in it cannot be read.
    """
    document = _read(path, content)
    pictures: dict[str, Image.Image | None] = {}
    pieces: list[tuple[str, np.ndarray, Trimesh]] = []
    names, counts = set[str](), dict[str | None, int]()
    for shape in document.scene.objects('geometry') if document.scene else ():
        for primitive in shape.original.primitives:
            triangles = primitive.triangleset() if isinstance(primitive, Polylist) else primitive
            if isinstance(triangles, TriangleSet) and triangles.vertex is not None:
                name = unique_name(shape.original.id, names, counts)
                names.add(name)
                pieces.append((name, np.asarray(shape.matrix, float), _piece(shape, triangles, files, pictures)))
    return pieces


def _piece(
    shape: BoundGeometry, triangles: TriangleSet, files: ColorFiles, pictures: dict[str, Image.Image | None]
) -> Trimesh:
    """Return the triangles of a shape, each with its own corners, with their texture, colours or material."""
    corners = triangles.vertex[triangles.vertex_index].reshape(-1, 3)
    piece = Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=False)
    bound = shape.materialnodebysymbol.get(triangles.material)
    if bound is not None:
        uv = None
        if triangles.texcoordset:
            uv = triangles.texcoordset[0][triangles.texcoord_indexset[0]].reshape(-1, 2)
        piece.visual = TextureVisuals(uv=uv, material=_material(bound.target.effect, files, pictures))
    painted = triangles.sources.get('COLOR')
    if painted and len(triangles.index):
        offset, source = painted[0][0], painted[0][4]
        colors = source.data[triangles.index[:, :, offset]].reshape(len(corners), -1)
        if bound is None:
            piece.visual = ColorVisuals(piece, vertex_colors=colors)
        else:
            piece.vertex_attributes['color'] = colors
    return piece


def _material(effect: Effect, files: ColorFiles, pictures: dict[str, Image.Image | None]) -> PBRMaterial:
    """Return what of an effect is drawn: its diffuse picture or colour."""
    if not isinstance(effect.diffuse, Map):
        return PBRMaterial(baseColorFactor=np.ones(4) if effect.diffuse is None else effect.diffuse)
    name = effect.diffuse.sampler.surface.image.path
    if name not in pictures:
        try:
            pictures[name] = Image.open(io.BytesIO(files.get(name)))
        except FileNotFoundError:  # which has been told
            pictures[name] = None
    return PBRMaterial(baseColorTexture=pictures[name], baseColorFactor=np.ones(4))


def _read(path: Path, content: bytes) -> collada.Collada:
    """Return the document of a file, of which pycollada would read NaN as 0."""
    try:
        root = parse_xml(content)
    except ValueError as error:
        raise _damaged(path, error) from error
    if root.tag.rpartition('}')[2] != 'COLLADA':
        raise DatasetError(f'{path}: is no COLLADA file: it begins with <{root.tag.rpartition("}")[2]}>')
    if root.find('.//{*}instance_controller') is not None:
        raise DatasetError(f'{path}: {HAS_BONES}')
    positions = {
        i.get('source', '')[1:] for i in root.iterfind('.//{*}vertices/{*}input') if i.get('semantic') == 'POSITION'
    }
    for source in root.iterfind('.//{*}mesh/{*}source'):
        numbers = source.find('{*}float_array')
        if source.get('id') in positions and numbers is not None:
            words = (numbers.text or '').split()
            values = check_numbers(path, f'float_array of {source.get("id")}', words, 1)
            if not np.isfinite(values).all():
                raise DatasetError(
                    f'{path}: float_array of {source.get("id")}: a position is nan or inf: {EXPORT_AGAIN}'
                )
            if str(len(words)) != numbers.get('count', str(len(words))).strip():
                raise cut_off(path, f'{numbers.get("count")} numbers of {source.get("id")}', len(words))
    for tag in ('p', 'vcount'):
        for indices in root.iterfind(f'.//{{*}}mesh//{{*}}{tag}'):
            if re.search(r'[^\d\s-]', indices.text or ''):
                raise DatasetError(f'{path}: <{tag}> wanted whole numbers, got {(indices.text or "").strip()[:40]!r}')
    return _readable(path, content, root)


def _readable(path: Path, content: bytes, root: ElementTree.Element) -> collada.Collada:
    """Return the document of which every shape is read: without its materials where they hinder that."""
    whole = _collada(path, content)
    _warn_of_looks(path, whole)
    if not whole.errors:
        return whole
    for parent in list(root.iter()):
        for child in [c for c in parent if _NO_SHAPE.fullmatch(c.tag.rpartition('}')[2])]:
            parent.remove(child)
    bare = _collada(path, ElementTree.tostring(root))
    if bare.errors:
        raise DatasetError(f'{path}: a shape in it cannot be read ({one_line(bare.errors[0])}): {EXPORT_AGAIN}')
    if _shapes(whole) == _shapes(bare):
        return whole
    warn(path, 'refers to materials that it does not have: drawn in grey', lost=True)
    return bare


def _warn_of_looks(path: Path, document: collada.Collada) -> None:
    """Tell which materials are transparent or shine; the opacity of a texture is told where that is read."""
    opacities: dict[str, float] = {}
    shining: dict[str, None] = {}
    for material in document.materials:
        effect, name = material.effect, material.name or material.id
        opacities[name] = _opacity(effect)
        emission = effect.emission
        if isinstance(emission, Map) or (emission is not None and any(emission[:3])):
            shining[name] = None
    warn_of_looks(path, opacities, shining)


def _opacity(effect: Effect) -> float:
    """Return the opacity of an effect (COLLADA 1.5, Determining Transparency); exporters write 0 for solid as well."""
    share = effect.transparency if isinstance(effect.transparency, (int, float)) else 1.0
    color = effect.transparent
    if effect.opaque_mode == OPAQUE_MODE.RGB_ZERO and not isinstance(color, Map):
        return 1 - share * float(np.dot(color[:3], _LUMINANCE)) or 1.0
    return share * (1.0 if color is None or isinstance(color, Map) else float(color[3])) or 1.0


def _collada(path: Path, content: bytes) -> collada.Collada:
    try:
        return collada.Collada(io.BytesIO(content), ignore=[collada.DaeError])
    except (collada.DaeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError(f'{path}: cannot be read as COLLADA ({one_line(error)}): {EXPORT_AGAIN}') from error


def _shapes(document: collada.Collada) -> int:
    """Return the number of shapes in the scene of a COLLADA file."""
    return sum(1 for _ in document.scene.objects('geometry')) if document.scene else 0
