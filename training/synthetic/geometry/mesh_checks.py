"""What a mesh reader would pass over in silence: files cut off, numbers and indices that are none, compression."""

from __future__ import annotations

import importlib.util
import io
import json
import multiprocessing
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import collada
import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import stand_in
from custom_pose_ros.core.limits import MAX_MESH_BYTES

EXPORT_AGAIN = 'export the mesh again'
_BONES = f'has a skin that bones move, which is not read: apply it and {EXPORT_AGAIN}'
_STL_HEADER, _STL_TRIANGLE = 84, 50  # bytes
_GLB_HEADER = 12
_TEXT_STL = re.compile(rb'\s*solid\b.*\b(facet|endsolid)\b', re.IGNORECASE | re.DOTALL)
_MULTILINE = re.IGNORECASE | re.MULTILINE
_DRACO = 'KHR_draco_mesh_compression'
# Extensions of glTF that change no shape, or that trimesh reads; any other may leave parts out or move them.
_READ_EXTENSIONS = re.compile(r'KHR_(materials|lights|texture_transform|xmp)|EXT_texture_webp')
_MOVING_EXTENSIONS = ('EXT_mesh_gpu_instancing', 'EXT_meshopt_compression', 'KHR_meshopt_compression')
# Of COLLADA: what is no shape, and may be broken or refer to files that are missing.
_NO_SHAPE = re.compile(r'library_(images|effects|materials|lights|cameras|animation.*|physics.*|force_fields)|extra|'
                       r'bind_material|instance_(light|camera|physics.*)|asset')  # fmt: skip
_METRES = {'micron': 1e-6, 'millimeter': 1e-3, 'centimeter': 1e-2, 'inch': 0.0254, 'foot': 0.3048, 'meter': 1.0}


def check_mesh_file(path: Path) -> bytes:
    """
    Return the content of a mesh file that its reader can be given.

    Raises:
        DatasetError: naming the file and what is wrong in it.
    """
    check = _CHECKS.get(path.suffix.lower())
    if check is None:
        raise DatasetError(
            f'{path}: meshes of this kind are not read: export it as {", ".join(k[1:] for k in _CHECKS)}, '
            'or give a urdf (of a xacro: xacro robot.urdf.xacro > robot.urdf)'
        )
    problem = stand_in(path) or (path.stat().st_size > MAX_MESH_BYTES and f'has more than {MAX_MESH_BYTES} bytes')
    if problem:
        raise DatasetError(f'{path}: {problem}')
    content = path.read_bytes()
    content = check(path, content) or content
    return _in_utf8(content) if _is_text(path, content) else content


def _check_numbers(path: Path, what: str, rows: Sequence[str], columns: int) -> np.ndarray:
    """Return the first `columns` numbers of each row; DatasetError with the first row that has fewer."""
    try:
        return np.array([row.split()[:columns] for row in rows], float).reshape(-1, columns)
    except ValueError as error:
        bad = next(row for row in rows if not _are_numbers(row.split()[:columns], columns)).strip()
        commas = ' (decimal points are wanted, not commas)' if ',' in bad else ''
        raise DatasetError(
            f'{path}: {what}: wanted {columns} numbers, got {bad[:80]!r}{commas}: it is damaged, {EXPORT_AGAIN}'
        ) from error


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
        unit = _parsed(path, path.read_bytes()).find('{*}asset/{*}unit')
        text = '1' if unit is None else unit.get('meter', '1')
    elif kind == '.3mf':
        with zipfile.ZipFile(path) as archive, archive.open(_model_of(path, archive)) as model:
            name = next(ElementTree.iterparse(model, ('start',)))[1].get('unit', 'millimeter')
        text = str(_METRES.get(name, name))
    else:
        return None
    if not _are_numbers([text], 1) or not 0 < float(text) < np.inf:
        raise DatasetError(f'{path}: its unit is {text!r}, wanted a length in metres')
    return float(text)


def has_y_up(path: Path) -> bool:
    """Tell whether a mesh file, or its format, says that its y axis points up."""
    kind = path.suffix.lower()
    if kind == '.dae':
        return (_parsed(path, path.read_bytes()).findtext('{*}asset/{*}up_axis') or 'Y_UP').strip() == 'Y_UP'
    return kind in ('.glb', '.gltf')


def _are_numbers(words: Sequence[str], count: int) -> bool:
    try:
        return len([float(word) for word in words]) == count
    except ValueError:
        return False


def _cut_off(path: Path, promised: str, found: object) -> DatasetError:
    return DatasetError(f'{path}: is cut off: {promised} are promised, {found} are there; download or {EXPORT_AGAIN}')


def _points_only(path: Path, count: int) -> DatasetError:
    return DatasetError(
        f'{path}: no triangles in it, only {count} points: make a surface of them first (MeshLab, CloudCompare)'
    )


def _is_text(path: Path, content: bytes) -> bool:
    kind = path.suffix.lower()
    return kind in ('.obj', '.off') or (kind == '.stl' and len(set(_stl_triangles(content))) > 1)


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
        raise _cut_off(path, f'{promised} triangles', int(found))
    else:
        raise DatasetError(f'{path}: has more bytes than its {promised} triangles take: it is damaged, {EXPORT_AGAIN}')


def _check_text_stl(path: Path, text: str) -> None:
    facets, ends = (len(re.findall(rf'^\s*{word}\b', text, _MULTILINE)) for word in ('facet', 'endfacet'))
    if facets != ends or not re.search(r'^\s*endsolid\b', text, _MULTILINE):
        raise _cut_off(path, f'{facets} triangles', ends)
    corners = re.findall(r'^\s*vertex\b(.*)$', text, _MULTILINE)
    _check_numbers(path, 'vertex', corners, 3)
    if len(corners) != 3 * facets:
        raise DatasetError(f'{path}: its {facets} triangles have {len(corners)} corners: it is damaged, {EXPORT_AGAIN}')


def _check_obj(path: Path, content: bytes) -> bytes:
    """Return the text with each statement at the start of its line, as trimesh wants it."""
    text = content.decode('latin-1').replace('\r\n', '\n').replace('\\\n', ' ')
    text = re.sub(r'^[ \t]*(v|vt|vn|f)[ \t]+', r'\1 ', text, flags=re.MULTILINE)
    vertices = re.findall(r'^v (.*)$', text, re.MULTILINE)
    _check_numbers(path, 'v', vertices, 3)
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
    libraries = re.findall(r'^mtllib[ \t]+(.*)$', text, re.MULTILINE)
    _note_missing(path, libraries)
    for library in (path.parent / name.strip() for name in libraries):
        if library.is_file():
            _note_missing(library, re.findall(r'^\s*map_Kd[ \t]+(?!-)(.*)$', library.read_text('latin-1'), _MULTILINE))
    return text.encode('latin-1')


def _check_ply(path: Path, content: bytes) -> None:
    header, end, body = content.partition(b'end_header')
    if not content.startswith(b'ply') or not end:
        raise DatasetError(f'{path}: is no PLY file, or cut off within its header')
    counts = {name.decode(): int(count) for name, count in re.findall(rb'^element\s+(\w+)\s+(\d+)', header, re.M)}
    if not counts.get('face'):
        raise _points_only(path, counts.get('vertex', 0))
    if not re.search(rb'^format\s+ascii', header, re.M):
        return  # trimesh compares the lengths
    rows = [row for row in body.decode('latin-1').splitlines()[1:] if row.strip()]
    if len(rows) < sum(counts.values()):
        raise _cut_off(path, f'{sum(counts.values())} lines', len(rows))
    for row in rows:
        _check_numbers(path, 'line', [row], len(row.split()))


def _check_glb(path: Path, content: bytes) -> None:
    if content[:4] != b'glTF' or len(content) < _GLB_HEADER:
        raise DatasetError(f'{path}: is no GLB file')
    version, length, json_length = (int.from_bytes(content[i : i + 4], 'little') for i in (4, 8, 12))
    if version != 2:
        raise DatasetError(f'{path}: is glTF {version}, wanted 2: {EXPORT_AGAIN}')
    if len(content) < length:
        raise _cut_off(path, f'{length} bytes', len(content))
    _check_gltf(path, content[_GLB_HEADER + 8 : _GLB_HEADER + 8 + json_length])  # its files lie within it


def _check_gltf(path: Path, content: bytes) -> bytes:
    """Check a glTF file; return it with the names of files as they are on disk, where trimesh looks for `a%20b.bin`."""
    try:
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
        is_sparse = any('sparse' in a or a.get('normalized') for a in accessors)
        nodes = tree.get('nodes', ())
        has_bones = any('skin' in node for node in nodes)
        is_morphed = any(any(part.get('weights', ())) for part in (*nodes, *tree.get('meshes', ())))
        files = [part for part in (*tree.get('buffers', ()), *tree.get('images', ())) if 'uri' in part]
        for part in files:
            part['uri'] = part['uri'] if part['uri'].startswith('data:') else unquote(part['uri'])
        pictures = [part['uri'] for part in files if 'byteLength' not in part]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise DatasetError(f'{path}: is no glTF, or damaged ({error!r}): {EXPORT_AGAIN}') from error
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
        raise DatasetError(f'{path}: {_BONES}')
    if is_morphed:
        raise DatasetError(f'{path}: has shape keys (morph targets), which are not read: apply them and {EXPORT_AGAIN}')
    for uri, length in buffers:
        if not uri.startswith('data:'):
            _check_buffer(path, path.parent / unquote(uri), length)
    _note_missing(path, [uri for uri in pictures if not uri.startswith('data:')])
    return json.dumps(tree).encode()


def _note_missing(path: Path, names: Sequence[str]) -> None:
    """Say which files with the colours of a mesh are missing: its reader passes over that in silence."""
    missing = [name for name in names if not (path.parent / name.strip().replace('\\', '/')).is_file()]
    if missing:
        _warn(f'{path}: its file {missing[0]} is missing: drawn without these colours')


def _warn(text: str) -> None:
    if multiprocessing.parent_process() is None:  # processes that draw have been told already
        say(f'warning: {text}')


def _check_buffer(path: Path, buffer: Path, length: int) -> None:
    if not buffer.is_file():
        raise DatasetError(f'{path}: its file {buffer} is missing')
    problem = stand_in(buffer)
    if problem:
        raise DatasetError(f'{path}: its file {buffer} {problem}')
    if buffer.stat().st_size < length:
        raise _cut_off(buffer, f'{length} bytes', buffer.stat().st_size)


def _parsed(path: Path, content: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f'{path}: is cut off or damaged: {error}') from error


def _check_collada(path: Path, content: bytes) -> bytes:
    """Check a COLLADA file, of which pycollada reads NaN as 0, and leaves out in silence what it cannot read."""
    root = _parsed(path, content)
    if root.tag.rpartition('}')[2] != 'COLLADA':
        raise DatasetError(f'{path}: is no COLLADA file: it begins with <{root.tag.rpartition("}")[2]}>')
    if root.find('.//{*}instance_controller') is not None:
        raise DatasetError(f'{path}: {_BONES}')
    positions = {
        i.get('source', '')[1:] for i in root.iterfind('.//{*}vertices/{*}input') if i.get('semantic') == 'POSITION'
    }
    for source in root.iterfind('.//{*}mesh/{*}source'):
        numbers = source.find('{*}float_array')
        if source.get('id') in positions and numbers is not None:
            words = (numbers.text or '').split()
            values = _check_numbers(path, f'float_array of {source.get("id")}', words, 1)
            if not np.isfinite(values).all():
                raise DatasetError(
                    f'{path}: float_array of {source.get("id")}: a position is nan or inf: {EXPORT_AGAIN}'
                )
            if str(len(words)) != numbers.get('count', str(len(words))).strip():
                raise _cut_off(path, f'{numbers.get("count")} numbers of {source.get("id")}', len(words))
    for tag in ('p', 'vcount'):
        for indices in root.iterfind(f'.//{{*}}mesh//{{*}}{tag}'):
            if re.search(r'[^\d\s-]', indices.text or ''):
                raise DatasetError(f'{path}: <{tag}> wanted whole numbers, got {(indices.text or "").strip()[:40]!r}')
    return _readable_collada(path, content, root)


def _readable_collada(path: Path, content: bytes, root: ElementTree.Element) -> bytes:
    """Return a COLLADA file of which every shape is read: without its materials where they hinder that."""
    whole = _collada(path, content)
    if not whole.errors:
        return content
    for parent in list(root.iter()):
        for child in [c for c in parent if _NO_SHAPE.fullmatch(c.tag.rpartition('}')[2])]:
            parent.remove(child)
    bare_content = ElementTree.tostring(root)
    bare = _collada(path, bare_content)
    if bare.errors:
        raise DatasetError(f'{path}: a shape in it cannot be read ({_line(bare.errors[0])}): {EXPORT_AGAIN}')
    if _shapes(whole) == _shapes(bare):
        return content
    _warn(f'{path}: refers to materials that it does not have: drawn in grey')
    return bare_content


def _collada(path: Path, content: bytes) -> collada.Collada:
    try:
        return collada.Collada(io.BytesIO(content), ignore=[collada.DaeError])
    except (collada.DaeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise DatasetError(f'{path}: cannot be read as COLLADA ({_line(error)}): {EXPORT_AGAIN}') from error


def _line(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _shapes(document: collada.Collada) -> int:
    """Return the number of shapes in the scene of a COLLADA file."""
    return sum(1 for _ in document.scene.objects('geometry')) if document.scene else 0


def _model_of(path: Path, archive: zipfile.ZipFile) -> str:
    """Return the name of the model in a 3MF archive."""
    name = next((n for n in archive.namelist() if n.lower().endswith('3d/3dmodel.model')), None)
    if name is None:
        raise DatasetError(f'{path}: is no 3MF file: it has no 3D/3dmodel.model')
    return name


def _check_3mf(path: Path, content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _model_of(path, archive)
            if sum(part.file_size for part in archive.infolist()) > MAX_MESH_BYTES:
                raise DatasetError(f'{path}: has more than {MAX_MESH_BYTES} bytes, unpacked')
    except zipfile.BadZipFile as error:
        raise DatasetError(f'{path}: is no 3MF file, or cut off: {error}') from error


def _check_off(path: Path, content: bytes) -> None:
    lines = [line for line in re.sub(r'#.*', '', content.decode('latin-1')).splitlines() if line.strip()]
    counts = re.match(r'\s*\w*OFF\s+(\d+)\s+(\d+)', '\n'.join(lines[:2]))
    if not counts:
        raise DatasetError(f'{path}: is no OFF file, or cut off within its header')
    promised = sum(map(int, counts.groups()))
    found = len(lines) - (1 if len(lines[0].split()) > 1 else 2)
    if found < promised:
        raise _cut_off(path, f'{promised} lines', found)


_CHECKS: dict[str, Callable[[Path, bytes], bytes | None]] = {  # each may return what to read instead
    '.stl': _check_stl,
    '.obj': _check_obj,
    '.glb': _check_glb,
    '.gltf': _check_gltf,
    '.ply': _check_ply,
    '.dae': _check_collada,
    '.3mf': _check_3mf,
    '.off': _check_off,
}
