"""What a mesh reader would pass over in silence: files cut off, numbers and indices that are none, compression."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_own_bytes
from custom_pose_ros.core.limits import MAX_MESH_BYTES, MAX_MESH_LINES
from training.synthetic.geometry.formats.collada_files import collada_asset
from training.synthetic.geometry.formats.gltf_files import check_glb, check_gltf
from training.synthetic.geometry.formats.mesh_problems import EXPORT_AGAIN, are_numbers, check_numbers, cut_off, warn
from training.synthetic.geometry.formats.threemf_files import check_3mf, unit_of_3mf

_STL_HEADER, _STL_TRIANGLE = 84, 50  # bytes
_TEXT_STL = re.compile(rb'\s*solid\b.*\b(facet|endsolid)\b', re.IGNORECASE | re.DOTALL)
_MULTILINE = re.IGNORECASE | re.MULTILINE


def check_mesh_file(path: Path) -> bytes:
    """
    Return the content of a mesh file that its reader can be given.

    Raises:
        DatasetError: naming the file and what is wrong in it.
    """
    kind = path.suffix.lower()
    if kind not in _CHECKS:
        raise DatasetError(
            f'{path}: meshes of this kind are not read: export it as {", ".join(k[1:] for k in _CHECKS)}, '
            'or give a urdf (of a xacro: xacro robot.urdf.xacro > robot.urdf)'
        )
    content = read_own_bytes(path, MAX_MESH_BYTES)
    if is_text := _is_text(path, content):
        _check_lines(path, content)
    check = _CHECKS[kind]
    content = (check and check(path, content)) or content
    return _in_utf8(content) if is_text else content


def stated_unit(path: Path) -> float | None:
    """
    Return the metres per unit that a mesh file states, or its format does; None where it does not (STL, OBJ, PLY, OFF).

    Raises:
        DatasetError: The unit is no length.
    """
    kind = path.suffix.lower()
    if kind in ('.glb', '.gltf'):
        return 1.0  # by the format
    if kind == '.dae':
        unit = collada_asset(path).find('{*}unit')
        text = '1' if unit is None else unit.get('meter', '1')
    elif kind == '.3mf':
        text = unit_of_3mf(path)
    else:
        return None
    if not are_numbers([text], 1) or not 0 < float(text) < np.inf:
        raise DatasetError(f'{path}: its unit is {text!r}, wanted a length in metres')
    return float(text)


def has_y_up(path: Path) -> bool:
    """Tell whether a mesh file, or its format, says that its y axis points up."""
    kind = path.suffix.lower()
    if kind == '.dae':
        return (collada_asset(path).findtext('{*}up_axis') or 'Y_UP').strip() == 'Y_UP'
    return kind in ('.glb', '.gltf')


def _points_only(path: Path, count: int) -> DatasetError:
    return DatasetError(
        f'{path}: no triangles in it, only {count} points: make a surface of them first (MeshLab, CloudCompare)'
    )


def _is_text(path: Path, content: bytes) -> bool:
    kind = path.suffix.lower()
    return kind in ('.obj', '.off') or (kind == '.stl' and len(set(_stl_triangles(content))) > 1)


def _check_lines(path: Path, content: bytes) -> None:
    """Raise DatasetError for more lines than a mesh has, before they are taken apart."""
    if max(content.count(b'\n'), content.count(b'\r')) > MAX_MESH_LINES:
        raise DatasetError(f'{path}: has more than {MAX_MESH_LINES} lines: simplify the mesh, or export it as glb')


def _in_utf8(content: bytes) -> bytes:
    """Return a text in UTF-8: a name in another encoding is no reason to refuse a mesh."""
    try:
        content.decode('utf-8')
    except UnicodeDecodeError:
        return content.decode('latin-1').encode('utf-8')
    return content


def _stl_triangles(content: bytes) -> tuple[int, float]:
    """Return the triangles that a binary STL promises, and those that its length has room for."""
    promised = int.from_bytes(content[_STL_HEADER - 4 : _STL_HEADER], 'little')
    return promised, (len(content) - _STL_HEADER) / _STL_TRIANGLE


def _check_stl(path: Path, content: bytes) -> None:
    promised, found = _stl_triangles(content)
    if found == promised:
        return
    if _TEXT_STL.match(content):
        _check_text_stl(path, content.decode('latin-1'))
    elif found < 0:
        raise DatasetError(f'{path}: is no STL file, or cut off: it has {len(content)} bytes')
    elif promised * _STL_TRIANGLE > MAX_MESH_BYTES:
        raise DatasetError(f'{path}: is no STL file: it begins with {content[:8]!r}')
    elif found < promised:
        raise cut_off(path, f'{promised} triangles', int(found))
    else:
        raise DatasetError(f'{path}: has more bytes than its {promised} triangles take: it is damaged, {EXPORT_AGAIN}')


def _check_text_stl(path: Path, text: str) -> None:
    facets, ends = (len(re.findall(rf'^\s*{word}\b', text, _MULTILINE)) for word in ('facet', 'endfacet'))
    if facets != ends or not re.search(r'^\s*endsolid\b', text, _MULTILINE):
        raise cut_off(path, f'{facets} triangles', ends)
    corners = re.findall(r'^\s*vertex\b(.*)$', text, _MULTILINE)
    check_numbers(path, 'vertex', corners, 3)
    if len(corners) != 3 * facets:
        raise DatasetError(f'{path}: its {facets} triangles have {len(corners)} corners: it is damaged, {EXPORT_AGAIN}')


def _check_obj(path: Path, content: bytes) -> bytes:
    """Return the text with each statement at the start of its line, as trimesh wants it."""
    text = content.decode('latin-1').replace('\r\n', '\n').replace('\\\n', ' ')
    text = re.sub(r'^[ \t]*(v|vt|vn|f)[ \t]+', r'\1 ', text, flags=re.MULTILINE)
    vertices = re.findall(r'^v (.*)$', text, re.MULTILINE)
    check_numbers(path, 'v', vertices, 3)
    rows = [row.partition('#')[0].split() for row in re.findall(r'^f (.*)$', text, re.MULTILINE)]
    if not rows:
        if vertices:
            raise _points_only(path, len(vertices))
        raise DatasetError(f'{path}: no triangles in it')
    try:
        corners = np.array([int(corner.partition('/')[0]) for row in rows for corner in row])
        complete = min(map(len, rows)) >= 3
    except ValueError:
        complete = False
    if not complete:
        bad = next((r for r in rows if len(r) < 3 or not all(re.match(r'-?\d+(/|$)', c) for c in r)), rows[0])
        raise DatasetError(f'{path}: f: wanted 3 corners or more, got {" ".join(bad)!r}: it is damaged, {EXPORT_AGAIN}')
    wrong = corners[(corners == 0) | (np.abs(corners) > len(vertices))]
    if wrong.size:
        raise DatasetError(f'{path}: a face points to vertex {wrong[0]}, wanted 1 to {len(vertices)}: {EXPORT_AGAIN}')
    if corners.min() < 0 and re.search(r'^f .*^v ', text, re.MULTILINE | re.DOTALL):
        raise DatasetError(
            f'{path}: its faces count back from where they stand, among the vertices, which is not read: {EXPORT_AGAIN}'
        )
    libraries = ' '.join(re.findall(r'^mtllib[ \t]+(.*)$', text, re.MULTILINE))
    if libraries:  # trimesh reads the first line only
        text = f'mtllib {libraries}\n' + re.sub(r'^mtllib\b.*$', '', text, flags=re.MULTILINE)
    return text.encode('latin-1')


def _check_ply(path: Path, content: bytes) -> bytes | None:
    """Check a PLY file; return it with the usual names of its colours."""
    header, end, body = content.partition(b'end_header')
    if not content.startswith(b'ply') or not end:
        raise DatasetError(f'{path}: is no PLY file, or cut off within its header')
    counts = {name.decode(): int(count) for name, count in re.findall(rb'^element\s+(\w+)\s+(\d+)', header, re.M)}
    if not counts.get('face'):
        raise _points_only(path, counts.get('vertex', 0))
    if len(re.findall(rb'^comment\s+TextureFile\b', header, re.M)) > 1:
        warn(path, 'has several textures, of which the first is drawn everywhere: export it as glb')
    usual = re.sub(rb'^(property\s+\w+\s+)diffuse_(red|green|blue)\b', rb'\1\2', header, flags=re.M) + end + body
    if not re.search(rb'^format\s+ascii', header, re.M):
        return usual  # trimesh compares the lengths
    _check_lines(path, body)
    rows = [row for row in body.decode('latin-1').splitlines()[1:] if row.strip()]
    if len(rows) < sum(counts.values()):
        raise cut_off(path, f'{sum(counts.values())} lines', len(rows))
    for row in rows:
        check_numbers(path, 'line', [row], len(row.split()))
    return usual


def _check_off(path: Path, content: bytes) -> None:
    lines = [line for line in re.sub(r'#.*', '', content.decode('latin-1')).splitlines() if line.strip()]
    counts = re.match(r'\s*\w*OFF\s+(\d+)\s+(\d+)', '\n'.join(lines[:2]))
    if not counts:
        raise DatasetError(f'{path}: is no OFF file, or cut off within its header')
    promised = sum(map(int, counts.groups()))
    found = len(lines) - (1 if len(lines[0].split()) > 1 else 2)
    if found < promised:
        raise cut_off(path, f'{promised} lines', found)
    faces = [line.split() for line in lines[-int(counts.group(2)) :]]
    colored = [face for face in faces if are_numbers(face[:1], 1) and len(face) > float(face[0]) + 1]
    if 'C' in lines[0].split('OFF')[0] or colored:
        warn(path, 'has colours, which are not read of OFF: export it as ply or glb')


_CHECKS: dict[str, Callable[[Path, bytes], bytes | None] | None] = {  # each may return what to read instead
    '.stl': _check_stl,
    '.obj': _check_obj,
    '.glb': check_glb,
    '.gltf': check_gltf,
    '.ply': _check_ply,
    '.dae': None,  # which is checked as it is read
    '.3mf': check_3mf,
    '.off': _check_off,
}
