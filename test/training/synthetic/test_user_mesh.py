"""Meshes of users: formats, colours, scale and axes, and the messages when they do not fit the object file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('yourdfpy', reason='yourdfpy is not installed')

import trimesh
import yaml

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.geometry.mesh_frame import axes_rotation
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.object_builder import check_against_model, load_parts, object_builder
from training.synthetic.geometry.parts import all_vertices
from training.synthetic.settings import load_settings


def a_model(**points) -> ObjectModel:
    names = list(points)
    return ObjectModel.from_dict({
        'name': 'thing',
        'keypoints': names,
        'skeleton': [[names[0], names[1]]],
        'model_points': points,
    })


def two_boxes() -> trimesh.Scene:
    """A red box 0.4 m long and a blue cube on its left, 0.2 m from the middle."""
    scene = trimesh.Scene()
    for name, extents, at, color in (
        ('hull', (0.4, 0.1, 0.1), (0, 0, 0), (255, 0, 0, 255)),
        ('fin', (0.1, 0.1, 0.1), (0, 0.2, 0), (0, 0, 255, 255)),
    ):
        piece = trimesh.creation.box(extents)
        piece.visual = trimesh.visual.ColorVisuals(piece, face_colors=color)
        scene.add_geometry(
            piece, geom_name=name, node_name=name, transform=trimesh.transformations.translation_matrix(at)
        )
    return scene


@pytest.mark.parametrize('suffix', ['glb', 'obj', 'ply', 'stl', 'off'])
def test_formats_keep_their_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'boxes.{suffix}'
    scene = two_boxes()
    (scene if suffix in ('glb', 'obj') else scene.to_mesh()).export(path)
    vertices = all_vertices(load_parts(path))
    assert vertices.min(0) == pytest.approx((-0.2, -0.05, -0.05), abs=1e-6)
    assert vertices.max(0) == pytest.approx((0.2, 0.25, 0.05), abs=1e-6)


def test_parts_of_a_scene_keep_their_colours(tmp_path: Path) -> None:
    two_boxes().export(tmp_path / 'boxes.glb')
    parts = {part.name.split('_')[0]: part for part in load_parts(tmp_path / 'boxes.glb')}
    assert len(parts) == 2
    reds = sorted(part.material.color[0] for part in parts.values())
    assert reds == pytest.approx([0.01, 1.0], abs=0.02)


def test_one_mesh_of_two_colours_keeps_them_in_its_vertices(tmp_path: Path) -> None:
    two_boxes().to_mesh().export(tmp_path / 'boxes.ply')
    (part,) = load_parts(tmp_path / 'boxes.ply')
    assert part.vertex_colors is not None
    right = part.vertices[:, 1] < 0.1
    assert part.vertex_colors[right].mean(0) == pytest.approx((1, 0, 0), abs=0.02)
    assert part.vertex_colors[~right].mean(0) == pytest.approx((0, 0, 1), abs=0.02)


def test_scale_axes_and_origin(tmp_path: Path) -> None:
    box = trimesh.creation.box((100, 400, 100))  # millimetres, y forward
    box.apply_translation((0, 200, 0))
    box.export(tmp_path / 'box.stl')
    vertices = all_vertices(load_parts(tmp_path / 'box.stl', 0.001, 'y,-x,z', (0, 100, 0)))
    assert vertices.min(0) == pytest.approx((-0.1, -0.05, -0.05), abs=1e-6)
    assert vertices.max(0) == pytest.approx((0.3, 0.05, 0.05), abs=1e-6)


def test_a_mesh_in_millimetres_is_found_out(tmp_path: Path) -> None:
    trimesh.creation.box((400, 100, 100)).export(tmp_path / 'box.stl')
    parts = load_parts(tmp_path / 'box.stl')
    model = a_model(nose=[0.2, 0, 0], tail=[-0.2, 0, 0])
    with pytest.raises(ConfigError, match='--mesh-scale 0.001 --mesh-axes=x,y,z'):
        check_against_model(parts, model, 'box.stl')


def test_wrong_axes_are_found_out(tmp_path: Path) -> None:
    trimesh.creation.box((0.1, 0.4, 0.1)).export(tmp_path / 'box.stl')
    parts = load_parts(tmp_path / 'box.stl')
    model = a_model(nose=[0.2, 0, 0], tail=[-0.2, 0, 0])
    with pytest.raises(ConfigError, match='nose.*--mesh-scale 1 --mesh-axes=y,') as error:
        check_against_model(parts, model, 'box.stl')
    axes = str(error.value).split('--mesh-axes=')[1].split(' ')[0]
    check_against_model(load_parts(tmp_path / 'box.stl', 1, axes), model, 'box.stl')  # what it proposes does fit


def test_a_mesh_that_nothing_fits(tmp_path: Path) -> None:
    trimesh.creation.box((0.1, 0.1, 0.1)).export(tmp_path / 'box.stl')
    with pytest.raises(ConfigError, match='--mesh-origin .*, or correct model_points$'):
        check_against_model(load_parts(tmp_path / 'box.stl'), a_model(nose=[0.2, 0, 0], tail=[0.21, 3.0, 0]), 'box.stl')


@pytest.mark.parametrize(('half', 'place'), [((0.1, 0.06, 0.025), '0.1, 0.06, 0.025'), ((0.1, 0.06, 0.015), '')])
def test_a_mesh_of_another_object_is_warned_of(tmp_path: Path, half: tuple[float, ...], place: str) -> None:
    trimesh.creation.box((0.2, 0.12, 0.03)).export(tmp_path / 'plate.stl')
    thing = a_model(base=[0, 0, -0.01], corner=list(half)).to_dict()
    (tmp_path / 'object.yaml').write_text(yaml.safe_dump(thing))
    told: list[str] = []
    object_builder(ObjectModel.load(tmp_path), {'path': str(tmp_path / 'plate.stl')}, tell=told.append)
    wanted = (
        f'warning: {tmp_path}/plate.stl: keypoint corner ({place}) lies outside the mesh, which spans x -0.1 to 0.1, '
        'y -0.06 to 0.06, z -0.015 to 0.015 m: is it of this object, and are model_points right?'
    )
    assert told == ([wanted] if place else [])


@pytest.mark.parametrize(('axes', 'text'), [('x,y', 'x,y'), ('x,x,z', 'right-handed'), ('x,z,y', 'right-handed')])
def test_axes_that_are_no_frame(axes: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        axes_rotation(axes)


def test_files_that_are_no_mesh(tmp_path: Path) -> None:
    (tmp_path / 'broken.stl').write_text('this is not a mesh')
    (tmp_path / 'model.xyzzy').write_text('nor this')
    (tmp_path / 'pointer.dae').write_text('version https://git-lfs.github.com/spec/v1')
    for name in ('broken.stl', 'model.xyzzy', 'pointer.dae'):
        with pytest.raises(DatasetError, match=name):
            load_parts(tmp_path / name)


URDF = """<robot name="arm">
  <material name="green"><color rgba="0 0.8 0 1"/></material>
  <link name="base"><visual><geometry><box size="0.2 0.2 0.1"/></geometry><material name="green"/></visual></link>
  <link name="tip"><visual>
    <origin xyz="0.1 0 0"/>
    <geometry><mesh filename="package://arm/meshes/tip.stl" scale="0.001 0.001 0.001"/></geometry>
  </visual></link>
  <joint name="turn" type="fixed">
    <parent link="base"/><child link="tip"/><origin xyz="0 0 0.05" rpy="0 0 1.5707963267948966"/>
  </joint>
</robot>"""


def test_urdf(tmp_path: Path) -> None:
    package = tmp_path / 'arm'
    (package / 'urdf').mkdir(parents=True)
    (package / 'meshes').mkdir()
    (package / 'urdf' / 'arm.urdf').write_text(URDF)
    trimesh.creation.box((100, 20, 20)).export(package / 'meshes' / 'tip.stl')
    base, tip = load_parts(package / 'urdf' / 'arm.urdf')
    assert base.material.color == pytest.approx((0.01, 0.8, 0.01), abs=0.005)
    # 0.1 m long about x = 0.1 m, turned by 90 degrees: along y from 0.05 to 0.15 m
    assert tip.vertices.min(0) == pytest.approx((-0.01, 0.05, 0.04), abs=1e-6)
    assert tip.vertices.max(0) == pytest.approx((0.01, 0.15, 0.06), abs=1e-6)


def test_urdf_without_its_mesh(tmp_path: Path) -> None:
    (tmp_path / 'arm.urdf').write_text(URDF)
    with pytest.raises(DatasetError, match='link tip: .*package://arm/meshes/tip.stl'):
        load_parts(tmp_path / 'arm.urdf')


def one_link(visual: str, rest: str = '') -> str:
    return f'<robot name="r"><link name="base"><visual>{visual}</visual></link>{rest}</robot>'


def test_a_mesh_of_another_package_comes_from_that_package(tmp_path: Path) -> None:
    for package, side in (('arm', 0.1), ('gripper', 0.2)):
        (tmp_path / package / 'meshes').mkdir(parents=True)
        trimesh.creation.box((side,) * 3).export(tmp_path / package / 'meshes' / 'base.stl')
    path = tmp_path / 'arm' / 'arm.urdf'
    path.write_text(one_link('<geometry><mesh filename="package://gripper/meshes/base.stl"/></geometry>'))
    assert all_vertices(load_parts(path)).max(0) == pytest.approx([0.1] * 3)


def test_a_urdf_colours_the_meshes_that_have_no_colour(tmp_path: Path) -> None:
    trimesh.creation.box((1, 1, 1)).export(tmp_path / 'box.stl')
    red = '<material name="red"><color rgba="1 0 0 1"/></material>'
    (tmp_path / 'a.urdf').write_text(one_link(f'<geometry><mesh filename="box.stl"/></geometry>{red}'))
    (part,) = load_parts(tmp_path / 'a.urdf')
    assert part.material.color == pytest.approx((1, 0.01, 0.01))


@pytest.mark.parametrize(('shape', 'size'), [
    ('<box size="1 2 3"/>', (1, 2, 3)),
    ('<cylinder radius="1" length="3"/>', (2, 2, 3)),
    ('<sphere radius="2"/>', (4, 4, 4)),
])  # fmt: skip
def test_the_plain_shapes_of_a_urdf(tmp_path: Path, shape: str, size: tuple[float, ...]) -> None:
    (tmp_path / 'a.urdf').write_text(one_link(f'<geometry>{shape}</geometry>'))
    vertices = all_vertices(load_parts(tmp_path / 'a.urdf'))
    assert vertices.max(0) - vertices.min(0) == pytest.approx(size, rel=0.02)


BOX = '<geometry><box size="1 1 1"/></geometry>'
LOOP = '<joint name="j" type="fixed"><parent link="base"/><child link="base"/></joint>'


@pytest.mark.parametrize(('text', 'facts'), [
    ('<robot name="r"><link', ['XML']),
    ('<robot name="r"/>', ['no <visual>']),
    (one_link('<origin xyz="0 0 ${h}"/>' + BOX), ['link base', '${h}', 'xacro']),
    (one_link(BOX + '<material name="m"><color rgba="1,0,0,1"/></material>'), ['link base', '1,0,0,1']),
    (one_link('<geometry><capsule radius="1"/></geometry>'), ['link base', 'capsule']),
    (one_link(''), ['link base']),
    (one_link(BOX, '<joint name="j" type="fixed"><child link="base"/></joint>'), ['joint j']),
    (one_link(BOX, LOOP), ['one tree']),
    (one_link(BOX, '<link name="loose"/>'), ['one tree', 'nothing joins base and loose']),
])  # fmt: skip
def test_a_wrong_urdf_is_refused_in_one_line(tmp_path: Path, text: str, facts: list[str]) -> None:
    path = tmp_path / 'a.urdf'
    path.write_text(text)
    with pytest.raises(DatasetError) as error:
        load_parts(path)
    assert all(fact in str(error.value) for fact in [str(path), *facts])
    assert '\n' not in str(error.value)


def test_a_broken_mesh_of_a_urdf_is_named(tmp_path: Path) -> None:
    (tmp_path / 'broken.stl').write_text('this is not a mesh')
    (tmp_path / 'a.urdf').write_text(one_link('<geometry><mesh filename="broken.stl"/></geometry>'))
    with pytest.raises(DatasetError, match='broken.stl'):
        load_parts(tmp_path / 'a.urdf')


def test_a_urdf_without_a_name_for_the_robot_is_read(tmp_path: Path) -> None:
    (tmp_path / 'a.urdf').write_text(one_link(BOX).replace(' name="r"', ''))
    assert len(load_parts(tmp_path / 'a.urdf')) == 1


def test_an_object_without_a_shape_asks_for_a_mesh() -> None:
    with pytest.raises(ConfigError, match='no variation.yaml beside it.*--mesh'):
        object_builder(a_model(nose=[0.2, 0, 0], tail=[-0.2, 0, 0]), None, load_settings().surface)


def test_an_object_without_model_points_is_refused() -> None:
    model = ObjectModel.from_dict({'name': 'thing', 'keypoints': ['a', 'b'], 'skeleton': [['a', 'b']]})
    with pytest.raises(ConfigError, match='model_points'):
        object_builder(model, None, load_settings().surface)
