"""What the file shows is what is drawn: one print in every format that can carry it, and a line for what is lost."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

pytest.importorskip('vtk', reason='vtk is not installed')
pytest.importorskip('yourdfpy', reason='yourdfpy is not installed')

from PIL import Image
from printed_meshes import (
    CORNERS,
    PRINT,
    TRIANGLES,
    UV,
    write_colored_3mf,
    write_dae,
    write_diffuse_ply,
    write_face_ply,
    write_glb,
    write_gltf,
    write_magics_stl,
    write_meshlab_stl,
    write_moved_gltf,
    write_obj,
    write_plain_dae,
    write_short_gltf,
    write_stl,
    write_textured_3mf,
    write_vertex_dae,
    write_vertex_obj,
    write_vertex_ply,
)

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.object_builder import load_parts
from training.synthetic.geometry.parts import merge_by_material
from training.synthetic.rendering.gl_probe import missing_requirement

MISSING = missing_requirement()
needs_gl = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.mark.parametrize('number', [-1, 4])
@pytest.mark.parametrize('write', [write_textured_3mf, write_colored_3mf])
def test_a_colour_that_a_3mf_does_not_have_is_refused(tmp_path, write, number):
    path = write(tmp_path)
    with zipfile.ZipFile(path) as archive:
        model = archive.read('3D/3dmodel.model').decode()
        print_png = archive.read('3D/Textures/print.png')
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('3D/3dmodel.model', re.sub(r' (p[12])="1"', rf' \1="{number}"', model, count=1))
        archive.writestr('3D/Textures/print.png', print_png)
    with pytest.raises(
        DatasetError, match=f'object 9: a triangle has colour {number} of resource 1, wanted 0 to [23]:'
    ):
        load_parts(path)


def seen_colors(path: Path) -> np.ndarray:
    """Return (2, 2, 3) red, green, blue in the middles of the four squares, seen with x to the right and y up."""
    from training.synthetic.rendering.mesh_views import MeshViews

    views = MeshViews(load_parts(path), 64, 64)
    rendering = views.render(
        CameraIntrinsics.from_fov(64, 64, 1.0), Rigid(np.diag([1.0, -1, -1]), np.array([0, 0, 2.5]))
    )
    return (rendering.color[[[20, 20], [43, 43]], [[20, 43], [20, 43]], ::-1] * 255).round()


WRITERS = [
    write_obj, write_gltf, write_moved_gltf, write_short_gltf, write_glb, write_dae, write_vertex_dae, write_plain_dae,
    write_face_ply, write_vertex_ply, write_diffuse_ply, write_vertex_obj, write_stl, write_magics_stl,
    write_textured_3mf, write_colored_3mf,
]  # fmt: skip


@needs_gl
@pytest.mark.parametrize('write', WRITERS, ids=lambda write: write.__name__.removeprefix('write_'))
def test_every_format_shows_the_same_print(tmp_path, capsys, write):
    # 2 levels: colours of an STL have 5 bits, of which 31 stands for 255; sRGB and back rounds twice
    assert seen_colors(write(tmp_path)) == pytest.approx(PRINT.astype(float), abs=2)
    assert capsys.readouterr().err == ''


@needs_gl
def test_a_base_colour_factor_is_linear_and_multiplies_the_texture(tmp_path):
    # linear 0.5 is sRGB 188; of 255 in the texture, half of the light is left
    expected = np.where(PRINT == 255, 188.0, 0.0)
    assert seen_colors(write_gltf(tmp_path, baseColorFactor=[0.5, 0.5, 0.5, 1])) == pytest.approx(expected, abs=2)


@needs_gl
def test_a_fine_print_far_away_has_the_mean_of_its_light(tmp_path):
    """White and black squares too small to be seen are grey as a camera sees it, sRGB 188, without moire."""
    path = write_obj(tmp_path)
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / 'print.png')
    assert seen_colors(path) == pytest.approx(188, abs=2)


def test_textures_stay_apart_when_parts_are_joined(tmp_path):
    (part,) = load_parts(write_obj(tmp_path))
    (other,) = load_parts(tmp_path / 'a.obj')
    both = merge_by_material([part, part.moved(translation=(0, 0, 1)), other])
    assert [len(each.faces) for each in both] == [4, 2]
    assert len(both[0].uv) == len(both[0].vertices) == 8


def options_of_a_texture(folder: Path) -> Path:
    return write_obj(folder, '-s 2 2 1 print.png')


def missing_picture(folder: Path) -> Path:
    return write_obj(folder, 'gone.png')


def missing_library(folder: Path) -> Path:
    return write_obj(folder, library='mtllib gone.mtl')


def no_library(folder: Path) -> Path:
    return write_obj(folder, library='')


def unknown_material(folder: Path) -> Path:
    return write_obj(folder, material='wood')


def damaged_picture(folder: Path) -> Path:
    path = write_obj(folder)
    (folder / 'print.png').write_bytes((folder / 'print.png').read_bytes()[:60])
    return path


def picture_not_pulled(folder: Path) -> Path:
    path = write_obj(folder)
    (folder / 'print.png').write_text('version https://git-lfs.github.com/spec/v1\noid sha256:1\n')
    return path


def transparent_picture(folder: Path) -> Path:
    path = write_obj(folder)
    Image.fromarray(np.full((4, 4, 4), 100, np.uint8)).save(folder / 'print.png')
    return path


def clamped_texture(folder: Path) -> Path:
    path = write_gltf(folder, [(0, 2), (2, 2), (2, 0), (0, 0)])
    tree = json.loads(path.read_text())
    path.write_text(json.dumps({**tree, 'textures': [{'source': 0, 'sampler': 0}], 'samplers': [{'wrapS': 33071}]}))
    return path


def colored_off(folder: Path) -> Path:
    (folder / 'a.off').write_text('OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 255 0 0\n')
    return folder / 'a.off'


def with_material(line: str):
    """Return what writes an OBJ whose material has one more line."""

    def write(folder: Path) -> Path:
        path = write_obj(folder)
        (folder / 'a.mtl').write_text(f'newmtl paper\nKd 1 1 1\n{line}\n')
        return path

    return write


def collada_with(effect: str):
    """Return what writes a COLLADA file whose material has another effect."""

    def write(folder: Path) -> Path:
        path = folder / 'a.dae'
        plate = trimesh.Trimesh(CORNERS, TRIANGLES, process=False)
        plate.visual = trimesh.visual.TextureVisuals(
            uv=np.array(UV, float), material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 0, 255])
        )
        plate.export(path)
        shape = r'<(phong|lambert|blinn)>.*</\1>'
        text, count = re.subn(shape, rf'<lambert>{effect}</lambert>', path.read_text(), flags=re.DOTALL)
        assert count == 1
        path.write_text(text)
        return path

    return write


def gltf_with(**material):
    """Return what writes a textured glTF file whose material has more to it."""

    def write(folder: Path) -> Path:
        path = write_gltf(folder)
        tree = json.loads(path.read_text())
        for key, value in material.items():
            old = tree['materials'][0].get(key)
            tree['materials'][0][key] = {**old, **value} if isinstance(old, dict) else value
        path.write_text(json.dumps(tree))
        return path

    return write


DIFFUSE = '<diffuse><color>1 0 0 1</color></diffuse>'
CLEAR = '<transparent opaque="A_ONE"><color>1 1 1 0.4</color></transparent>'
CLEAR_BY_RGB = '<transparent opaque="RGB_ZERO"><color>0.6 0.6 0.6 1</color></transparent>'
OPACITY, EMISSION = (
    'has materials with an opacity below 1: drawn solid:',
    'has materials with emission: drawn without it:',
)


@pytest.mark.parametrize(
    ('write', 'facts'),
    [
        (with_material('d 0.4'), [f'{OPACITY} paper (0.4)']),
        (with_material('Tr 0.6'), [f'{OPACITY} paper (0.4)']),
        (with_material('Tr 1'), []),  # which some write for solid
        (with_material('d 1\nTr 0.6\nKe 0 0 0'), []),
        (with_material('Ke 0 0 2.5'), [f'{EMISSION} paper']),
        (with_material('d 0.5\nKe 1 1 1'), [f'{OPACITY} paper (0.5)', f'{EMISSION} paper']),
        (collada_with(DIFFUSE), []),
        (collada_with(f'{DIFFUSE}<transparency><float>0</float></transparency>'), []),  # some write it for solid
        (collada_with(f'{DIFFUSE}<transparency><float>0.4</float></transparency>'), [OPACITY, '(0.4)']),
        (collada_with(f'{DIFFUSE}{CLEAR}<transparency><float>1</float></transparency>'), [OPACITY, '(0.4)']),
        (collada_with(f'{DIFFUSE}{CLEAR_BY_RGB}<transparency><float>1</float></transparency>'), [OPACITY, '(0.4)']),
        (collada_with(f'<emission><color>0 0 1 1</color></emission>{DIFFUSE}'), [EMISSION]),
        (gltf_with(pbrMetallicRoughness={'baseColorFactor': [1, 1, 1, 0.4]}), []),  # OPAQUE unless it says so
        (
            gltf_with(alphaMode='BLEND', pbrMetallicRoughness={'baseColorFactor': [1, 1, 1, 0.4]}),
            [f'{OPACITY} material 0 (0.4)'],
        ),
        (
            gltf_with(extensions={'KHR_materials_transmission': {'transmissionFactor': 0.6}}),
            [f'{OPACITY} material 0 (0.4)'],
        ),
        (gltf_with(emissiveFactor=[0, 0, 1], name='lamp'), [f'{EMISSION} lamp']),
    ],
)  # fmt: skip
def test_opacity_and_emission_are_told(tmp_path, capsys, write, facts):
    assert load_parts(write(tmp_path))
    told = capsys.readouterr().err
    assert all(fact in told for fact in facts), told
    assert len(told.splitlines()) == len({fact for fact in facts if 'materials' in fact})


@pytest.mark.parametrize(
    ('write', 'fact'),
    [
        (missing_picture, 'its file gone.png is missing: drawn without these colours'),
        (missing_library, 'its file gone.mtl is missing'),
        (no_library, 'has materials (paper), but names no file with them'),
        (unknown_material, 'its material wood is not in its material file'),
        (damaged_picture, 'its picture print.png cannot be read'),
        (picture_not_pulled, 'git lfs pull'),
        (transparent_picture, 'has a texture with transparent places: drawn solid'),
        (options_of_a_texture, 'its texture has options (-s 2 2 1) that are not read'),
        (clamped_texture, 'not to be repeated beyond its edges: drawn repeated'),
        (write_meshlab_stl, 'marks its colours in two ways at once'),
        (colored_off, 'has colours, which are not read of OFF: export it as ply or glb'),
    ],
)
def test_a_colour_that_is_lost_is_told_in_one_line(tmp_path, capsys, write, fact):
    path = write(tmp_path)
    assert load_parts(path)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f'warning: {path}: ') and fact in line for line in lines), lines


@pytest.mark.parametrize(
    'spelling', ['PRINT.PNG', r'.\print.png', r'C:\Users\me\print.png', '"print.png"', 'sub/print.png']
)
def test_a_texture_is_found_however_windows_spells_it(tmp_path, capsys, spelling):
    (part,) = load_parts(write_obj(tmp_path, spelling))
    assert part.texture is not None
    assert capsys.readouterr().err == ''


def test_all_libraries_of_an_obj_are_read(tmp_path, capsys):
    (tmp_path / 'b.mtl').write_text('newmtl other\nKd 0 1 0\n')
    for libraries in ('mtllib b.mtl a.mtl', 'mtllib b.mtl\nmtllib a.mtl'):
        (part,) = load_parts(write_obj(tmp_path, library=libraries))
        assert part.texture is not None
    assert capsys.readouterr().err == ''


BOARDS = ['board.obj', 'board.glb', 'board_fc.ply', 'board_vc.ply', 'board_mm_colour.stl']


@needs_gl
@pytest.mark.parametrize('name', BOARDS)
def test_a_real_board_lies_over_its_photo(shared, name):
    """The corners of the drawn squares against those of the photo, in the true pose: within 1 px, nothing mirrored."""
    from training.synthetic.rendering.mesh_views import MeshViews

    folder = shared / 'data' / 'chessboard'
    truth = json.loads((folder / 'truth.json').read_text())
    camera = CameraIntrinsics(640, 480, np.array(truth['cameras']['left']['K']), truth['cameras']['left']['distortion'])
    views = MeshViews(load_parts(folder / 'mesh' / name, 0.001 if name.endswith('stl') else None), 640, 480)
    corners = np.array([(-0.1 + 0.025 * i, 0.0625 - 0.025 * j, 0) for j in range(6) for i in range(9)])
    for entry in truth['images'][1:3]:
        camera_object = Rigid(np.array(entry['R_camera_object']), np.array(entry['t_camera_object_m']).ravel())
        photo = cv2.imread(str(folder / 'images' / entry['image']), cv2.IMREAD_GRAYSCALE)
        rendering = views.render(camera, camera_object)
        drawn = (rendering.color[..., 1] * 255).clip(0, 255).astype(np.uint8)
        start = camera.project(camera_object.apply(corners)).astype(np.float32)[:, None]
        stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 30, 0.01)
        found = [cv2.cornerSubPix(image, start.copy(), (5, 5), (-1, -1), stop)[:, 0] for image in (drawn, photo)]
        assert np.linalg.norm(found[0] - found[1], axis=1).max() < 1
        inside = rendering.coverage > 0.99
        # the print is the same and not turned or mirrored, in which black would lie on white: then below 0.3
        assert np.corrcoef(drawn[inside], photo[inside])[0, 1] > 0.95
