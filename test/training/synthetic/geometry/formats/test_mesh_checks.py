"""Mesh files as they really come: damaged, compressed, with units of their own; each is right, or refused."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('yourdfpy', reason='yourdfpy is not installed')

import numpy as np
import trimesh

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.limits import MAX_XML_TAG_BYTES
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.formats import mesh_checks
from training.synthetic.geometry.object_builder import load_parts, size_note
from training.synthetic.geometry.parts import all_vertices

MODEL = ObjectModel.from_dict({
    'name': 'box', 'keypoints': ['a', 'b'], 'skeleton': [['a', 'b']],
    'model_points': {'a': [0, 0, 0], 'b': [1, 1, 2]},
})  # fmt: skip
KINDS = ('stl', 'obj', 'ply', 'off', 'glb', 'gltf', 'dae', '3mf')


def export(kind: str, path: Path, sides=(1.0, 2.0, 3.0)) -> Path:
    """Write a box in a format; return the file."""
    scene = trimesh.Scene(trimesh.creation.box(sides))
    if kind == 'gltf':
        for name, content in scene.export(file_type='gltf').items():
            path.with_name(name if name != 'model.gltf' else path.name).write_bytes(content)
    else:
        (scene if kind in ('glb', '3mf') else scene.to_mesh()).export(path, file_type=kind)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        load_parts(path)
    text = str(error.value)
    assert str(path) in text
    assert '\n' not in text
    return text


@pytest.mark.parametrize('kind', KINDS)
def test_what_lies_in_the_place_of_a_mesh_is_named(tmp_path, kind):
    path = tmp_path / f'part.{kind}'
    for content, fact in (
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'git lfs pull'),
        (b'/annex/objects/SHA256E-s1--1.stl\n', 'git annex get'),
        (b'\n<!DOCTYPE html>\n<html>Not found</html>', 'web page'),
        (b'', 'is empty'),
    ):
        path.write_bytes(content)
        assert fact in refusal(path)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('share', [0.3, 0.6, 0.97])
def test_half_a_file_is_never_half_a_mesh(tmp_path, kind, share):
    path = export(kind, tmp_path / f'part.{kind}')
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    try:
        vertices = all_vertices(load_parts(path))
    except DatasetError as error:
        assert str(path) in str(error)
    else:  # an OBJ says nowhere how long it is: what is there may be complete lines
        assert kind == 'obj'
        assert np.abs(vertices).max(0) <= pytest.approx((0.5, 1.0, 1.5))


def test_a_file_that_is_too_long_for_its_triangles_is_damaged(tmp_path):
    path = export('stl', tmp_path / 'part.stl')
    path.write_bytes(path.read_bytes() + b'\0' * 25)
    assert 'more bytes than its 12 triangles' in refusal(path)


TEXT_STL = (
    'solid Gehäuse\nfacet normal 0 0 1\nouter loop\n{}\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\nendsolid\n'
)
OBJ = 'v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\n{}\n'
PLY = (
    'ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n'
    'element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n{}\n0 1 0\n3 0 1 {}\n'
)
OFF = 'OFF\n3 1 0\n0 0 0\n{}\n0 1 0\n3 0 1 2\n'


@pytest.mark.parametrize(
    ('name', 'content', 'fact'),
    [
        ('a.stl', TEXT_STL.format('vertex 0,5 0 0'), "got '0,5 0 0' (decimal points are wanted, not commas)"),
        ('a.stl', TEXT_STL.format('vertex 0 0 nan'), 'is (0, 0, nan)'),
        ('a.stl', TEXT_STL.format('vertex 0 0'), "wanted 3 numbers, got '0 0'"),
        ('a.stl', TEXT_STL.format('vertex 0 0 0\nvertex 0 0 0'), '1 triangles have 4 corners'),
        ('a.stl', TEXT_STL.format('vertex 0 0 0').replace('endsolid', ''), 'is cut off'),
        ('a.stl', 'solid empty\nendsolid empty\n', 'no triangles'),
        ('a.obj', OBJ.format('v 0,1 0 0'), 'decimal points are wanted'),
        ('a.obj', OBJ.format('v inf 0 0\nf 1 2 5'), 'is (inf, 0, 0)'),
        ('a.obj', OBJ.format('f 1 2 99'), 'points to vertex 99, wanted 1 to 4'),
        ('a.obj', OBJ.format('f 0 1 2'), 'points to vertex 0, wanted 1 to 4'),
        ('a.obj', OBJ.format('f 1 2'), "wanted 3 corners or more, got '1 2'"),
        ('a.obj', OBJ.format('f 1 2 a'), "got '1 2 a'"),
        ('a.obj', OBJ.format('f -1 -2 -3\nv 5 5 5'), 'count back'),
        ('a.obj', 'v 0 0 0\nv 1 0 0\n', 'only 2 points'),
        ('a.ply', PLY.format('nan 0 0', 2), 'is (nan, 0, 0)'),
        ('a.ply', PLY.format('1 0 0', 7), 'points to vertex 7, wanted 0 to 2'),
        ('a.ply', PLY.format('1,5 0 0', 2), 'decimal points are wanted'),
        ('a.ply', PLY.format('1 0 0', 2).replace('3 0 1 2\n', ''), 'is cut off'),
        ('a.ply', PLY.format('1 0 0', 2).replace('face 1', 'face 0'), 'only 3 points'),
        ('a.off', OFF.format('1,5 0 0'), '1,5'),
        ('a.off', OFF.format('nan 0 0'), 'is (nan, 0, 0)'),
        ('a.step', 'ISO-10303-21;', 'not read: export it as stl'),
        ('a.fbx', 'Kaydara FBX', 'not read: export it as stl'),
        ('a.3mf', 'no archive', 'is no 3MF file'),
        ('a.gltf', '[]', 'is no glTF'),
        ('a.glb', 'glTF', 'is no GLB file'),
        ('a.dae', '<svg/>', 'is no COLLADA file'),
    ],
)
def test_a_damaged_text_is_refused_with_what_it_says(tmp_path, name, content, fact):
    (tmp_path / name).write_text(content, encoding='latin-1')
    assert fact in refusal(tmp_path / name)


def test_names_in_other_encodings_and_relative_corners_are_no_reason(tmp_path):
    (tmp_path / 'a.stl').write_text(TEXT_STL.format('vertex 0 0 0'), encoding='latin-1')
    (tmp_path / 'a.obj').write_text('# Größe\no Gehäuse\n' + OBJ.format('f -4 -2 -1'), encoding='latin-1')
    assert all_vertices(load_parts(tmp_path / 'a.stl')).max(0) == pytest.approx((1, 1, 0))
    assert sum(len(part.faces) for part in load_parts(tmp_path / 'a.obj')) == 2


def test_vertices_that_are_not_finite_are_named_in_binary_files(tmp_path):
    mesh = trimesh.creation.box((1, 1, 1))
    mesh.vertices[3, 1] = np.nan
    for kind in ('stl', 'ply', 'glb'):
        path = tmp_path / f'a.{kind}'
        path.write_bytes(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type=kind))
        assert 'nan' in refusal(path)


def changed_gltf(path: Path, **changes) -> Path:
    """Write a box as .gltf with other keys at its top."""
    export('gltf', path)
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, **changes}))
    return path


@pytest.mark.parametrize('name', ['KHR_mesh_quantization', 'EXT_meshopt_compression', 'KHR_texture_basisu', 'ACME_x'])
def test_an_extension_that_is_not_read_is_named(tmp_path, name):
    assert name in refusal(changed_gltf(tmp_path / 'a.gltf', extensionsRequired=[name], extensionsUsed=[name]))


def test_an_extension_of_the_look_is_no_reason(tmp_path):
    path = changed_gltf(tmp_path / 'a.gltf', extensionsRequired=['KHR_materials_unlit'], extensionsUsed=['ACME_lod'])
    assert len(load_parts(path)) == 1


@pytest.mark.parametrize(
    ('changes', 'fact'),
    [
        ({'skins': [{'joints': [0]}], 'nodes': [{'mesh': 0, 'skin': 0}]}, 'bones'),
        ({'nodes': [{'mesh': 0, 'weights': [0.0, 1.0]}]}, 'shape keys'),
    ],
)
def test_a_gltf_that_something_deforms_is_refused(tmp_path, changes, fact):
    assert fact in refusal(changed_gltf(tmp_path / 'a.gltf', **changes))


def test_numbers_that_a_gltf_promises_without_storing_them_are_bounded(tmp_path):
    path = changed_gltf(tmp_path / 'a.gltf')
    tree = json.loads(path.read_text())
    tree['accessors'].append({'componentType': 5126, 'type': 'VEC3', 'count': 1 << 40})
    path.write_text(json.dumps(tree))
    assert 'unpacked' in refusal(path)


def test_a_gltf_names_its_files_as_addresses(tmp_path):
    path = export('gltf', tmp_path / 'a.gltf')
    buffer = next(tmp_path.glob('*.bin'))
    path.write_text(path.read_text().replace(buffer.name, 'my%20part.bin'))
    buffer.rename(tmp_path / 'my part.bin')
    assert all_vertices(load_parts(path)).max(0) == pytest.approx((0.5, 1, 1.5))


@pytest.mark.parametrize('missing', ['a.mtl', 'skin.png'])
def test_missing_colours_of_an_obj_are_told(tmp_path, capsys, missing):
    (tmp_path / 'a.obj').write_text('mtllib a.mtl\nusemtl red\n' + OBJ.format(''))
    if missing != 'a.mtl':
        (tmp_path / 'a.mtl').write_text('newmtl red\nKd 1 0 0\nmap_Kd skin.png\n')
    assert load_parts(tmp_path / 'a.obj')
    assert f'its file {missing} is missing' in capsys.readouterr().err


@pytest.mark.parametrize('start', [b'glTF\2\0\0\0', b'\x1f\x8b\x08\0', b'v 1 2 3\n'])
def test_another_format_named_stl_is_not_called_cut_off(tmp_path, start):
    (tmp_path / 'a.stl').write_bytes(start + b'v 0.25 0.5 0.75 ' * 20)
    assert 'is no STL file: it begins with' in refusal(tmp_path / 'a.stl')


LINK = '<link name="{}"><visual><geometry>{}</geometry></visual></link>'
BASE = LINK.format('base', '<box size="1 1 1"/>')
JOINT = '<joint name="j" type="fixed"><parent link="{}"/><child link="{}"/></joint>'


@pytest.mark.parametrize(
    ('content', 'fact'),
    [
        (BASE + BASE, "two links are called 'base'"),
        (BASE + JOINT.format('base', 'arm'), "joint j: its child 'arm' is no link"),
        (BASE + BASE.replace('base', 'arm'), 'nothing joins base and arm'),
        (BASE + BASE.replace('base', 'arm') + 2 * JOINT.format('base', 'arm'), "two joints have the child 'arm'"),
        (BASE + JOINT.format('base', 'base'), 'form a loop'),
        (BASE + '<xacro:include filename="arm.xacro"/>', 'is not expanded'),
        (LINK.format('base', '<cylinder length="1"/>'), "cylinder radius: wanted 1 number from 0 up, got ''"),
        (LINK.format('base', '<mesh filename="a.stl" scale="0 0 0"/>'), 'makes the mesh flat'),
    ],
)
def test_a_urdf_that_ros_would_refuse_is_refused(tmp_path, content, fact):
    (tmp_path / 'a.urdf').write_text(f'<robot name="r">{content}</robot>')
    assert fact in refusal(tmp_path / 'a.urdf')


def test_what_a_gltf_refers_to_must_be_there(tmp_path):
    path = export('gltf', tmp_path / 'a.gltf')
    buffer = next(tmp_path.glob('*.bin'))
    content = buffer.read_bytes()
    for broken, fact in ((content[:-8], 'is cut off'), (b'version https://git-lfs.github.com/spec/v1', 'git lfs pull')):
        buffer.write_bytes(broken)
        with pytest.raises(DatasetError, match=fact):
            load_parts(path)
    buffer.unlink()
    assert 'is missing' in refusal(path)


def test_a_face_of_a_glb_points_nowhere(tmp_path):
    path = export('glb', tmp_path / 'a.glb')
    indices = trimesh.creation.box().faces.astype('<u4').tobytes()
    content = path.read_bytes()
    assert indices in content
    path.write_bytes(content.replace(indices, (99).to_bytes(4, 'little') + indices[4:]))
    assert 'points to vertex 99' in refusal(path)


@pytest.mark.parametrize(
    ('pattern', 'replacement', 'fact'),
    [
        (r'(<float_array [^>]*>)\S+ ', r'\1NaN ', 'a position is nan'),
        (r'(<float_array [^>]*>)\S+ ', r'\1-1.#IND ', "got '-1.#IND'"),
        (r'(<float_array [^>]*>)\S+ ', r'\g<1>0,5 ', 'decimal points are wanted'),
        (r'(<float_array [^>]*>)\S+ ', r'\1', 'is cut off'),
        (r'<p>\S+ ', '<p>999 ', 'cannot be read'),
        (r'<p>\S+ ', '<p>1,2 ', 'wanted whole numbers'),
        (r'<instance_geometry.*</instance_geometry>', '<instance_controller url="#c"/>', 'bones'),
        (r'<instance_geometry url="#[^"]*"', '<instance_geometry url="#gone"', 'cannot be read'),
        (r'<unit[^>]*>', '<unit meter="0"/>', "unit is '0'"),
        (r'<unit[^>]*>', '<unit meter="0,01"/>', "unit is '0,01'"),
    ],
)
def test_a_damaged_collada_is_refused(tmp_path, pattern, replacement, fact):
    path = export('dae', tmp_path / 'a.dae')
    text = path.read_text()
    if '<unit' not in text:
        text = text.replace('<asset>', '<asset><unit meter="1"/>')
    damaged = re.sub(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert damaged != text
    path.write_text(damaged)
    assert fact in refusal(path)


def test_a_shape_whose_material_is_missing_is_drawn_and_told(tmp_path, capsys):
    path = export('dae', tmp_path / 'a.dae')
    path.write_text(re.sub('<library_materials>.*</library_materials>', '', path.read_text(), flags=re.DOTALL))
    assert all_vertices(load_parts(path)).max(0) == pytest.approx((0.5, 1.0, 1.5))
    assert 'drawn in grey' in capsys.readouterr().err


def with_unit(kind: str, path: Path, unit: str) -> Path:
    """Write a box of 1 x 2 x 3 units that states its unit."""
    export(kind, path)
    if kind == '3mf':
        import zipfile

        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, 'w') as archive:
            for name, content in parts.items():
                archive.writestr(name, content.replace(b'unit="millimeter"', f'unit="{unit}"'.encode()))
    else:
        text = re.sub('<unit[^>]*>', '', path.read_text()).replace('<asset>', f'<asset><unit meter="{unit}"/>')
        path.write_text(text)
    return path


@pytest.mark.parametrize(
    ('kind', 'unit', 'metres'),
    [('dae', '0.01', 0.01), ('dae', '0.0254', 0.0254), ('3mf', 'millimeter', 0.001), ('3mf', 'inch', 0.0254)],
)
def test_the_unit_of_a_file_is_used_and_told(tmp_path, kind, unit, metres):
    path = with_unit(kind, tmp_path / f'a.{kind}', unit)
    parts = load_parts(path)
    assert np.ptp(all_vertices(parts), 0) == pytest.approx(np.array([1, 2, 3]) * metres)
    assert f'{metres:g} m per unit, as the file says' in size_note(parts, MODEL, path)
    parts = load_parts(path, 1.0)
    assert np.ptp(all_vertices(parts), 0) == pytest.approx([1, 2, 3])
    assert '--mesh-scale 1 is taken instead' in size_note(parts, MODEL, path, 1.0)


def test_a_unit_far_from_the_beginning_of_a_file_is_found(tmp_path):
    path = with_unit('dae', tmp_path / 'a.dae', '0.01')
    path.write_text(path.read_text().replace('<asset>', ' ' * (MAX_XML_TAG_BYTES + 10) + '<asset>'))
    assert np.ptp(all_vertices(load_parts(path)), 0) == pytest.approx([0.01, 0.02, 0.03])


def test_a_file_without_unit_is_in_metres_and_that_is_told(tmp_path):
    path = export('stl', tmp_path / 'a.stl')
    assert (
        '1 x 2 x 3 m forward, left, up (the file states no unit: taken as metres), with keypoints over 1 x 1 x 2 m'
        in size_note(load_parts(path), MODEL, path)
    )
    path = export('glb', tmp_path / 'a.glb')
    assert 'its y axis points up' in size_note(load_parts(path), MODEL, path)


@pytest.mark.parametrize(
    ('points', 'told'),
    [
        ([[0.5, 0.2, 1.5], [0.5, -0.9, 1.0], [-0.5, 0.3, -1.2], [0.1, 1.0, 0.9]], False),  # on the mesh as it is
        ([[1.5, 0.5, 0.2], [1.0, 0.5, -0.9], [-1.2, -0.5, 0.3], [0.9, 0.1, 1.0]], True),  # on the mesh with y up
        ([[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [-0.1, -0.1, -0.1], [0.1, -0.1, 0.0]], True),  # inside of both
    ],
)
def test_axes_that_fit_are_not_to_be_turned(tmp_path, points, told):
    path = export('glb', tmp_path / 'a.glb')  # 1 x 2 x 3 m around the origin
    model = replace(MODEL, model_points=np.array(points))
    assert ('turns it' in size_note(load_parts(path), model, path)) is told


def test_a_mesh_in_a_urdf_counts_in_its_own_unit(tmp_path):
    with_unit('dae', tmp_path / 'a.dae', '0.01')
    path = tmp_path / 'a.urdf'
    path.write_text(
        '<robot name="r"><link name="l"><visual><geometry><!-- old --><mesh filename="a.dae" scale="2 2 2"/></geometry>'
        '</visual></link></robot>'
    )
    parts = load_parts(path)
    assert np.ptp(all_vertices(parts), 0) == pytest.approx([0.02, 0.04, 0.06])
    assert 'a.dae is in units of 0.01 m' in size_note(parts, MODEL, path)


@pytest.mark.parametrize('content', [b'', b'no archive', None], ids=['empty', 'text', 'cut model'])
def test_a_damaged_3mf_in_a_urdf_is_named(tmp_path, content):
    path = export('3mf', tmp_path / 'a.3mf')
    if content is None:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('3D/3dmodel.model', '')
    else:
        path.write_bytes(content)
    (tmp_path / 'a.urdf').write_text(
        '<robot name="r"><link name="l"><visual><geometry><mesh filename="a.3mf"/></geometry></visual></link></robot>'
    )
    with pytest.raises(DatasetError, match=r'a\.3mf: (is no 3MF file|its model is cut off or damaged)'):
        load_parts(tmp_path / 'a.urdf')


@pytest.mark.parametrize('kind', ['obj', 'off', 'ply', 'stl'])
def test_lines_of_a_text_are_counted_before_they_are_taken_apart(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(mesh_checks, 'MAX_MESH_LINES', 10)
    path = tmp_path / f'a.{kind}'
    trimesh.creation.box().export(
        path, **({'encoding': 'ascii'} if kind == 'ply' else {'file_type': f'{kind}_ascii'} if kind == 'stl' else {})
    )
    assert 'has more than 10 lines' in refusal(path)


def test_elements_of_xml_are_counted_before_a_tree_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr('custom_pose_ros.core.xml_files.MAX_XML_ELEMENTS', 10)
    for kind in ('dae', '3mf'):
        assert 'more than 10 elements' in refusal(export(kind, tmp_path / f'a.{kind}'))


def test_an_obj_with_indented_lines_keeps_its_corners(tmp_path):
    """Trimesh passes over indented vertices, and the faces then point to others."""
    (tmp_path / 'a.obj').write_text('v 9 9 9\n  v 0 0 0\n\tv 1 0 0\nv\t0 1 0\n f 2 3 \\\n4\n')
    (part,) = load_parts(tmp_path / 'a.obj')
    assert part.vertices[part.faces[0]].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
