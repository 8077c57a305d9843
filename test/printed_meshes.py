"""A printed plate as mesh files of every format."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

# The print, seen with x to the right and y up: rows from the top.
PRINT = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)
# A plate from (-1, -1) to (1, 1) of four squares: corners of a 3 x 3 grid from the lower left, row by row.
GRID = [(x, y, 0) for y in (-1, 0, 1) for x in (-1, 0, 1)]
SQUARES = [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)]
SQUARE_COLORS = [PRINT[1, 0], PRINT[1, 1], PRINT[0, 0], PRINT[0, 1]]
CORNERS = [GRID[i] for i in (0, 2, 8, 6)]
UV = [(0, 0), (1, 0), (1, 1), (0, 1)]
TRIANGLES = [(0, 1, 2), (0, 2, 3)]


def picture(folder: Path, name: str = 'print.png', image: np.ndarray = PRINT) -> None:
    Image.fromarray(np.repeat(np.repeat(image, 32, 0), 32, 1)).save(folder / name)


def write_obj(folder: Path, texture: str = 'print.png', library: str = 'mtllib a.mtl', material: str = 'paper') -> Path:
    picture(folder)
    (folder / 'a.mtl').write_text(f'newmtl paper\nKd 1 1 1\nmap_Kd {texture}\n')
    lines = [library] + [f'v {x} {y} {z}' for x, y, z in CORNERS] + [f'vt {u} {v}' for u, v in UV]
    (folder / 'a.obj').write_text('\n'.join([*lines, f'usemtl {material}', 'f 1/1 2/2 3/3 4/4\n']))
    return folder / 'a.obj'


def write_gltf(folder: Path, uv=((0, 1), (1, 1), (1, 0), (0, 0)), texture=None, kind: str = '<f4', **material) -> Path:
    """Write a textured plate; `uv` (v down) are its texture coordinates, also as whole numbers."""
    picture(folder)
    positions, places = np.array(CORNERS, '<f4').tobytes(), np.array(uv, kind).tobytes()
    indices = np.array(TRIANGLES, '<u2').tobytes()
    (folder / 'a.bin').write_bytes(positions + indices + places)
    whole = {'<f4': 5126, '<u2': 5123}[kind]
    lengths = [len(positions), len(indices), len(places)]
    tree = {
        'asset': {'version': '2.0'}, 'scene': 0, 'scenes': [{'nodes': [0]}], 'nodes': [{'mesh': 0}],
        'buffers': [{'uri': 'a.bin', 'byteLength': sum(lengths)}],
        'bufferViews': [
            {'buffer': 0, 'byteOffset': sum(lengths[:i]), 'byteLength': length} for i, length in enumerate(lengths)
        ],
        'accessors': [
            {'bufferView': 0, 'componentType': 5126, 'count': 4, 'type': 'VEC3', 'min': [-1, -1, 0], 'max': [1, 1, 0]},
            {'bufferView': 1, 'componentType': 5123, 'count': 6, 'type': 'SCALAR'},
            {'bufferView': 2, 'componentType': whole, 'count': 4, 'type': 'VEC2', 'normalized': kind != '<f4'},
        ],
        'images': [{'uri': 'print.png'}], 'textures': [{'source': 0}],
        'materials': [{'pbrMetallicRoughness': {'baseColorTexture': {'index': 0, **(texture or {})}, **material}}],
        'meshes': [{'primitives': [{'attributes': {'POSITION': 0, 'TEXCOORD_0': 2}, 'indices': 1, 'material': 0}]}],
    }  # fmt: skip
    (folder / 'a.gltf').write_text(json.dumps(tree))
    return folder / 'a.gltf'


def write_moved_gltf(folder: Path) -> Path:
    """Write a plate whose texture coordinates are right only after KHR_texture_transform: turned by 90 degrees."""
    uv = [(1 - v, u) for u, v in ((0, 1), (1, 1), (1, 0), (0, 0))]
    moved = {'rotation': np.pi / 2, 'offset': [0, 1]}  # (u, v) -> (v, 1 - u)
    return write_gltf(folder, uv, {'extensions': {'KHR_texture_transform': moved}})


def write_short_gltf(folder: Path) -> Path:
    """Write a plate whose texture coordinates are whole numbers of 16 bits."""
    return write_gltf(folder, [(0, 65535), (65535, 65535), (65535, 0), (0, 0)], kind='<u2')


def write_glb(folder: Path) -> Path:
    gltf = json.loads(write_gltf(folder).read_text())
    body, image = (folder / 'a.bin').read_bytes(), (folder / 'print.png').read_bytes()
    body += b'\0' * (-len(body) % 4)
    gltf['images'] = [{'bufferView': 3, 'mimeType': 'image/png'}]
    gltf['bufferViews'].append({'buffer': 0, 'byteOffset': len(body), 'byteLength': len(image)})
    body += image + b'\0' * (-len(image) % 4)
    gltf['buffers'] = [{'byteLength': len(body)}]
    text = json.dumps(gltf).encode()
    text += b' ' * (-len(text) % 4)
    chunks = struct.pack('<I4s', len(text), b'JSON') + text + struct.pack('<I4s', len(body), b'BIN\0') + body
    (folder / 'a.glb').write_bytes(struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks)
    return folder / 'a.glb'


DAE = """<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><unit meter="1"/><up_axis>Z_UP</up_axis></asset>
<library_images><image id="i"><init_from>print.png</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>
<newparam sid="s"><surface type="2D"><init_from>i</init_from></surface></newparam>
<newparam sid="t"><sampler2D><source>s</source></sampler2D></newparam>
<technique sid="c"><lambert><diffuse><texture texture="t" texcoord="UV"/></diffuse></lambert></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
<source id="p"><float_array id="pa" count="12">{positions}</float_array><technique_common>
<accessor source="#pa" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<source id="u"><float_array id="ua" count="8">{uv}</float_array><technique_common>
<accessor source="#ua" count="4" stride="2"><param name="S" type="float"/><param name="T" type="float"/></accessor>
</technique_common></source>
<vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
<triangles count="2" material="x"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#u" offset="1" set="0"/><p>0 0 1 1 2 2 0 0 2 2 3 3</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="w"><node><instance_geometry url="#g"><bind_material><technique_common>
<instance_material symbol="x" target="#m"/></technique_common></bind_material></instance_geometry></node></visual_scene>
</library_visual_scenes><scene><instance_visual_scene url="#w"/></scene></COLLADA>"""


def write_dae(folder: Path) -> Path:
    picture(folder)
    numbers = (' '.join(str(v) for row in rows for v in row) for rows in (CORNERS, UV))
    (folder / 'a.dae').write_text(DAE.format(positions=next(numbers), uv=next(numbers)))
    return folder / 'a.dae'


def write_vertex_dae(folder: Path, bound: bool = True) -> Path:
    """Write four squares of one colour each, which meet at corners with one normal, with or without a material."""
    vertices, colors, triangles = own_corners()
    normals = trimesh.Trimesh(vertices, triangles, process=False, vertex_normals=[(0, 0, 1)] * len(vertices))
    normals.visual.vertex_colors = colors
    text = trimesh.exchange.dae.export_collada(normals).decode()
    if not bound:
        text = re.sub('<bind_material>.*?</bind_material>', '', text, flags=re.DOTALL)
    (folder / 'a.dae').write_text(text)
    return folder / 'a.dae'


def write_plain_dae(folder: Path) -> Path:
    return write_vertex_dae(folder, bound=False)


def write_face_ply(folder: Path) -> Path:
    """Write squares with colours, of which trimesh makes twice as many triangles in another order."""
    rows = [f'{x} {y} {z}' for x, y, z in GRID]
    rows += [f'4 {" ".join(map(str, s))} {" ".join(map(str, c))}' for s, c in zip(SQUARES, SQUARE_COLORS)]
    head = ['ply', 'format ascii 1.0', 'element vertex 9', *(f'property float {axis}' for axis in 'xyz')]
    head += ['element face 4', 'property list uchar int vertex_indices']
    head += [f'property uchar {color}' for color in ('red', 'green', 'blue')]
    (folder / 'a.ply').write_text('\n'.join([*head, 'end_header', *rows, '']))
    return folder / 'a.ply'


def own_corners() -> tuple[list, list, list]:
    """Return vertices, their colours and the triangles of squares that share no vertex."""
    vertices = [GRID[i] for square in SQUARES for i in square]
    colors = [color for color in SQUARE_COLORS for _ in range(4)]
    return vertices, colors, [tuple(4 * n + i for i in t) for n in range(4) for t in TRIANGLES]


def write_vertex_ply(folder: Path, names=('red', 'green', 'blue')) -> Path:
    vertices, colors, triangles = own_corners()
    head = ['ply', 'format ascii 1.0', 'element vertex 16', *(f'property float {axis}' for axis in 'xyz')]
    head += [f'property uchar {name}' for name in names]
    head += ['element face 8', 'property list uchar int vertex_indices', 'end_header']
    rows = [' '.join(map(str, [*v, *c])) for v, c in zip(vertices, colors)]
    (folder / 'a.ply').write_text('\n'.join([*head, *rows, *(f'3 {a} {b} {c}' for a, b, c in triangles), '']))
    return folder / 'a.ply'


def write_diffuse_ply(folder: Path) -> Path:
    return write_vertex_ply(folder, ('diffuse_red', 'diffuse_green', 'diffuse_blue'))


def write_vertex_obj(folder: Path) -> Path:
    """Write vertex colours beside a plain material, as MeshLab does."""
    (folder / 'a.mtl').write_text('newmtl plain\nKd 0.75 0.75 0.75\n')
    vertices, colors, triangles = own_corners()
    rows = [f'v {x} {y} {z} ' + ' '.join(f'{v / 255:g}' for v in c) for (x, y, z), c in zip(vertices, colors)]
    faces = ['f ' + ' '.join(str(i + 1) for i in t) for t in triangles]
    (folder / 'a.obj').write_text('\n'.join(['mtllib a.mtl', *rows, 'usemtl plain', *faces, '']))
    return folder / 'a.obj'


def write_stl(folder: Path, header: bytes = b'', own: int = 0x8000, order: int = -1) -> Path:
    vertices, colors, triangles = own_corners()
    body = b''
    for triangle in triangles:
        red, green, blue = (int(v) >> 3 for v in colors[triangle[0]][::-order])
        corners = np.array([vertices[i] for i in triangle], '<f4')
        body += bytes(12) + corners.tobytes() + struct.pack('<H', own | red << 10 | green << 5 | blue)
    (folder / 'a.stl').write_bytes(header.ljust(80, b' ') + struct.pack('<I', 8) + body)
    return folder / 'a.stl'


def write_magics_stl(folder: Path) -> Path:
    return write_stl(folder, b'COLOR=\x10\x20\x30\xff', own=0, order=1)


def write_meshlab_stl(folder: Path) -> Path:
    return write_stl(folder, b'COLOR=none')


THREE_MF = """<model unit="meter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02"><resources>{}
<object id="9" type="model" pid="1" pindex="0"><mesh><vertices>{}</vertices><triangles>{}</triangles></mesh></object>
</resources><build><item objectid="9"/></build></model>"""


def write_three_mf(folder: Path, resources: str, corners, triangles: list[str]) -> Path:
    vertices = ''.join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in corners)
    with zipfile.ZipFile(folder / 'a.3mf', 'w') as archive:
        archive.writestr('3D/3dmodel.model', THREE_MF.format(resources, vertices, ''.join(triangles)))
        archive.write(folder / 'print.png', '3D/Textures/print.png')
    return folder / 'a.3mf'


def write_textured_3mf(folder: Path) -> Path:
    picture(folder)
    places = ''.join(f'<m:tex2coord u="{u}" v="{v}"/>' for u, v in UV)
    resources = '<m:texture2d id="2" path="/3D/Textures/print.png" contenttype="image/png"/>'
    resources += f'<m:texture2dgroup id="1" texid="2">{places}</m:texture2dgroup>'
    triangles = [f'<triangle v1="{a}" v2="{b}" v3="{c}" p1="{a}" p2="{b}" p3="{c}"/>' for a, b, c in TRIANGLES]
    return write_three_mf(folder, resources, CORNERS, triangles)


def write_colored_3mf(folder: Path) -> Path:
    """Write squares of which one has the object's own colour, two those of its group, and one that of another."""
    picture(folder)
    red, green, blue, yellow = ('#' + bytes(c.tolist()).hex().upper() + 'FF' for c in SQUARE_COLORS)
    resources = (
        f'<basematerials id="1"><base name="a" displaycolor="{red[:7]}"/><base name="b" displaycolor="{green}"/>'
    )
    resources += f'<base name="c" displaycolor="{blue}"/></basematerials>'
    resources += f'<m:colorgroup id="2"><m:color color="{yellow}"/></m:colorgroup>'
    looks = ['', ' p1="1"', ' p1="2"', ' pid="2" p1="0"']
    squares = [(a, b, c, d, look) for (a, b, c, d), look in zip(SQUARES, looks)]
    halves = [(s[0], s[i], s[i + 1], s[4]) for s in squares for i in (1, 2)]
    triangles = [f'<triangle v1="{a}" v2="{b}" v3="{c}"{look}/>' for a, b, c, look in halves]
    return write_three_mf(folder, resources, GRID, triangles)
