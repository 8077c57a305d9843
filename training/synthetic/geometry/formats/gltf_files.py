"""Checks glTF and GLB files, and reads of their materials what trimesh leaves out: factors, and where textures lie."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import check_json_extent, stand_in
from custom_pose_ros.core.limits import MAX_MESH_BYTES
from training.synthetic.geometry.formats.mesh_problems import EXPORT_AGAIN, HAS_BONES, cut_off, warn_of_looks

_GLB_HEADER, _CHUNK_HEADER, _NUMBER = 12, 8, 4  # bytes
_DRACO = 'KHR_draco_mesh_compression'
_GLOSSINESS, _TRANSMISSION = 'KHR_materials_pbrSpecularGlossiness', 'KHR_materials_transmission'
# Extensions that change no shape, or that trimesh reads; any other may leave parts out or move them.
_READ_EXTENSIONS = re.compile(r'KHR_(materials|lights|texture_transform|xmp)|EXT_texture_webp')
_MOVING_EXTENSIONS = ('EXT_mesh_gpu_instancing', 'EXT_meshopt_compression', 'KHR_meshopt_compression')
_REPEAT = 10497  # as a sampler wraps
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True, eq=False)
class GltfSurface:
    """
    How a primitive of a glTF file is coloured, beyond what trimesh tells.

    Attributes:
        factor: (3,) linear red, green, blue that multiplies texture and vertex colours; None where only trimesh knows.
        largest: what stands for 1 in its texture coordinates, which may be whole numbers.
        uv_matrix: (2, 3) that takes its texture coordinates (v down) to places in the texture.
        has_texture: True when the file names a texture for its colour.
        wraps: True when the texture repeats beyond its edges.
        hides_through: True when the texture's opacity counts.
    """

    factor: np.ndarray | None
    largest: float
    uv_matrix: np.ndarray
    has_texture: bool
    wraps: bool
    hides_through: bool


def check_glb(path: Path, content: bytes) -> bytes:
    """Check a GLB file; return it as `check_gltf` does."""
    if content[:4] != b'glTF' or len(content) < _GLB_HEADER:
        raise DatasetError(f'{path}: is no GLB file')
    version, length, json_length = (int.from_bytes(content[i : i + 4], 'little') for i in (4, 8, 12))
    if version != 2:
        raise DatasetError(f'{path}: is glTF {version}, wanted 2: {EXPORT_AGAIN}')
    if len(content) < length:
        raise cut_off(path, f'{length} bytes', len(content))
    start, end = _GLB_HEADER + _CHUNK_HEADER, _GLB_HEADER + _CHUNK_HEADER + json_length
    text = check_gltf(path, content[start:end])  # its files lie within it
    text += b' ' * (-len(text) % 4)
    words = [2, start + len(text) + len(content[end:length]), len(text)]
    head = b'glTF' + b''.join(word.to_bytes(4, 'little') for word in words) + content[16:20]
    return head + text + content[end:length]


def check_gltf(path: Path, content: bytes) -> bytes:
    """
    Check a glTF file; return it as trimesh reads all of it.

    Names of files are as they are on disk (`a b.bin`, not `a%20b.bin`), every primitive has a material of its own,
    called by the primitive's number, and the texture coordinates that count are the first.
    """
    try:
        check_json_extent(content.decode('latin-1'))
        tree = json.loads(content)
        primitives = [p for mesh in tree.get('meshes', ()) for p in mesh['primitives']]
        accessors = [
            tree['accessors'][i] for p in primitives for i in (p['attributes'].get('POSITION'), p.get('indices'))
            if i is not None
        ]  # fmt: skip
        buffers = [(b['uri'], b['byteLength']) for b in tree.get('buffers', ()) if 'uri' in b]
        used = {
            *tree.get('extensionsRequired', ()),
            *(n for n in tree.get('extensionsUsed', ()) if n in _MOVING_EXTENSIONS),
        }
        is_draco = any(_DRACO in p.get('extensions', ()) for p in primitives) or _DRACO in used
        unstored = sum(a['count'] for a in tree.get('accessors', ()) if 'bufferView' not in a)  # as Draco has them
        is_sparse = any('sparse' in a or a.get('normalized') for a in accessors)
        nodes = tree.get('nodes', ())
        has_bones = any('skin' in node for node in nodes)
        is_morphed = any(any(part.get('weights', ())) for part in (*nodes, *tree.get('meshes', ())))
        for part in (*tree.get('buffers', ()), *tree.get('images', ())):
            if 'uri' in part and not part['uri'].startswith('data:'):
                part['uri'] = unquote(part['uri'])
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    if unstored > MAX_MESH_BYTES // _NUMBER:
        raise DatasetError(f'{path}: has more than {MAX_MESH_BYTES} bytes, unpacked')
    if is_draco:
        used.discard(_DRACO)
        if importlib.util.find_spec('DracoPy') is None:
            raise DatasetError(
                f'{path}: its mesh is Draco-compressed: export it without compression, or pip install DracoPy'
            )
    unread = sorted(name for name in used if not _READ_EXTENSIONS.match(name))
    if unread:
        raise DatasetError(f'{path}: needs {", ".join(unread)}, which is not read: export it without compression')
    if is_sparse:
        raise DatasetError(f'{path}: has sparse or normalised positions, which are not read: {EXPORT_AGAIN}')
    if has_bones:
        raise DatasetError(f'{path}: {HAS_BONES}')
    if is_morphed:
        raise DatasetError(f'{path}: has shape keys (morph targets), which are not read: apply them and {EXPORT_AGAIN}')
    for uri, length in buffers:
        if not uri.startswith('data:'):
            _check_buffer(path, path.parent / unquote(uri), length)
    try:
        _warn_of_looks(path, tree, {p['material'] for p in primitives if 'material' in p})
        _give_own_materials(tree, primitives)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    return json.dumps(tree).encode()


def _warn_of_looks(path: Path, tree: dict[str, Any], used: set[int]) -> None:
    """Tell which materials are transparent or shine: alpha counts unless they are opaque, and transmission always."""
    opacities: dict[str, float] = {}
    shining: dict[str, None] = {}
    for number in sorted(used):
        material = tree['materials'][number]
        name, extensions = material.get('name', f'material {number}'), material.get('extensions', {})
        factor = extensions.get(_GLOSSINESS, {}).get('diffuseFactor')
        factor = factor or material.get('pbrMetallicRoughness', {}).get('baseColorFactor', (1, 1, 1, 1))
        alpha = factor[3] if material.get('alphaMode', 'OPAQUE') != 'OPAQUE' else 1.0
        opacities[name] = alpha * (1 - extensions.get(_TRANSMISSION, {}).get('transmissionFactor', 0.0))
        if any(material.get('emissiveFactor', ())):
            shining[name] = None
    warn_of_looks(path, opacities, shining)


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f'{path}: is no glTF, or damaged ({error!r}): {EXPORT_AGAIN}')


def _check_buffer(path: Path, buffer: Path, length: int) -> None:
    if not buffer.is_file():
        raise DatasetError(f'{path}: its file {buffer} is missing')
    problem = stand_in(buffer)
    if problem:
        raise DatasetError(f'{path}: its file {buffer} {problem}')
    if buffer.stat().st_size < length:
        raise cut_off(buffer, f'{length} bytes', buffer.stat().st_size)


def _give_own_materials(tree: dict[str, Any], primitives: list[dict[str, Any]]) -> None:
    materials = tree.get('materials', [])
    tree['materials'] = []
    for number, primitive in enumerate(primitives):
        has_material = 'material' in primitive
        material = copy.deepcopy(materials[primitive['material']]) if has_material else {}
        attributes = primitive['attributes']
        channel = _channel(_base_texture(material) or {})
        if channel and f'TEXCOORD_{channel}' in attributes:
            attributes['TEXCOORD_0'] = attributes[f'TEXCOORD_{channel}']
        coordinates = attributes.get('TEXCOORD_0')
        extras = {'has_material': has_material, 'largest': _largest(tree, coordinates)}
        tree['materials'].append({**material, 'name': str(number), 'extras': extras})
        primitive['material'] = number


def _largest(tree: dict[str, Any], accessor: int | None) -> float:
    """Return the number that stands for 1 in an accessor: it may have integers."""
    if accessor is None or not tree['accessors'][accessor].get('normalized'):
        return 1.0
    return {5121: 255.0, 5123: 65535.0}[tree['accessors'][accessor]['componentType']]


def _base_texture(material: dict[str, Any]) -> dict[str, Any] | None:
    glossy = material.get('extensions', {}).get(_GLOSSINESS, {})
    return glossy.get('diffuseTexture') or material.get('pbrMetallicRoughness', {}).get('baseColorTexture')


def _channel(texture: dict[str, Any]) -> int:
    own = texture.get('texCoord', 0)
    return int(texture.get('extensions', {}).get('KHR_texture_transform', {}).get('texCoord', own))


def gltf_surfaces(path: Path, content: bytes) -> list[GltfSurface | None]:
    """
    Return how the primitives of a glTF or GLB file are coloured; None for those that have no material.

    Args:
        path: of the file.
        content: as the checks above return it.
    """
    if content[:4] == b'glTF':
        start = _GLB_HEADER + _CHUNK_HEADER
        content = content[start : start + int.from_bytes(content[12:16], 'little')]
    tree = json.loads(content)
    try:
        return [_surface(tree, material) for material in tree['materials']]
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _surface(tree: dict[str, Any], material: dict[str, Any]) -> GltfSurface | None:
    texture = _base_texture(material)
    if not material['extras']['has_material']:
        return None
    rough = material.get('pbrMetallicRoughness', {})
    factor = np.array(rough.get('baseColorFactor', (1, 1, 1, 1))[:3], float)
    sampler: dict[str, Any] = {}
    if texture is not None:
        number = tree['textures'][texture['index']].get('sampler')
        sampler = {} if number is None else tree['samplers'][number]
    moved = (texture or {}).get('extensions', {}).get('KHR_texture_transform', {})
    c, s = np.cos(moved.get('rotation', 0)), np.sin(moved.get('rotation', 0))
    linear = np.array([[c, s], [-s, c]]) @ np.diag(np.array(moved.get('scale', (1, 1)), float))
    return GltfSurface(
        None if _GLOSSINESS in material.get('extensions', {}) else factor,
        material['extras']['largest'],
        np.c_[linear, np.array(moved.get('offset', (0, 0)), float)],
        texture is not None,
        all(sampler.get(side, _REPEAT) == _REPEAT for side in ('wrapS', 'wrapT')),
        material.get('alphaMode', 'OPAQUE') != 'OPAQUE',
    )
