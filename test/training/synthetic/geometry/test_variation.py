"""Variation files: the shipped submarine against its object file, what is drawn of its parts, and mistakes named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.object_builder import load_parts, object_builder, own_mesh
from training.synthetic.geometry.parts import Material, Part, all_vertices
from training.synthetic.geometry.variation import Variation

OBJECT = Path(__file__).resolve().parents[4] / 'config' / 'submarine'
MODEL = ObjectModel.load(OBJECT)
PARTS = [
    Part.from_mesh(name, box((1, 1, 1)), Material((0.2, 0.4, 0.6)))
    for name in ('body', 'tip.1', 'tip.2', 'flag', 'line')
]


@pytest.fixture(scope='module')
def submarine():
    return object_builder(MODEL, None)


def variation(folder: Path, **content) -> Variation:
    path = folder / 'variation.yaml'
    path.write_text(yaml.safe_dump({'mesh': 'thing.glb', **content}), encoding='utf-8')
    return Variation(path)


@pytest.mark.parametrize('seed', range(4))
def test_the_submarines_keypoints_lie_where_its_object_file_says(submarine, seed: int) -> None:
    parts = submarine(np.random.default_rng(seed))
    points = dict(zip(MODEL.keypoint_names, MODEL.model_points))
    (dome,) = (part for part in parts if part.name.endswith('.dome'))
    assert dome.vertices[dome.vertices[:, 0].argmax()] == pytest.approx(
        points['head'], abs=1e-5
    )  # rounding of the file
    for group, name in (('left', 'left_engine'), ('right', 'right_engine'), ('stern', 'bottom_engine')):
        (ring,) = (part for part in parts if part.name.startswith(group) and part.name.endswith('.yellow'))
        # A ring is up to 6 mm beside its hub, which is the keypoint.
        assert np.linalg.norm((ring.vertices.min(0) + ring.vertices.max(0)) / 2 - points[name]) < 0.012


def test_variants_of_the_submarine_differ_and_repeat(submarine) -> None:
    first, again, other = (all_vertices(submarine(np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)
    kinds = {tuple(sorted(part.name for part in submarine(np.random.default_rng(seed)))) for seed in range(12)}
    assert len(kinds) > 8


def test_closed_surfaces_of_the_submarine_face_outwards() -> None:
    for part in load_parts(own_mesh(OBJECT / 'object.yaml')['path']):
        if part.name.endswith(('.yellow', '.rubber', '.white', '.wood', '.orange')):
            a, b, c = (part.vertices[part.faces[:, k]] for k in range(3))
            assert np.einsum('ni,ni->', a, np.cross(b, c)) > 0, part.name  # six times the enclosed volume


def test_rules_change_the_parts_they_name(tmp_path: Path) -> None:
    rules = variation(
        tmp_path,
        scene='outdoor',
        alternatives=[['tip.1', 'tip.2']],
        optional=[{'parts': 'flag', 'share': 0}],
        moves=[{'parts': 'tip.*', 'about': [1, 0, 0], 'turn_deg': [0, 0, 90], 'shift_m': [0, 0, [2, 3]]}],
        looks=[{'parts': 'body', 'any_of': [{'grey': [0.7, 0.8], 'opacity': 0.5}]}],
        open_surfaces=['body'],
        hanging=['line'],
    )
    rules.check_names(PARTS)
    drawn = [rules.draw(np.random.default_rng(seed), PARTS) for seed in range(8)]
    assert {tuple(part.name for part in parts) for parts in drawn} == {
        ('body', 'tip.1', 'line'),
        ('body', 'tip.2', 'line'),
    }
    assert rules.scene == 'outdoor'
    for body, tip, line in drawn:
        assert body.material.opacity == 0.5 and 0.7 <= body.material.color[0] == body.material.color[2] <= 0.8
        assert tip.material == PARTS[1].material
        middle = tip.vertices.mean(0)  # turned by 90 degrees about (1, 0): from (0, 0) to (1, -1)
        assert middle[:2] == pytest.approx([1, -1]) and 2 <= middle[2] <= 3
        assert (body.two_sided, tip.two_sided, body.belongs, line.belongs) == (True, False, True, False)


@pytest.mark.parametrize(('content', 'text'), [
    ({'mesh': 3}, 'mesh: wanted the name of a file'),
    ({'scene': 'moon'}, "scene: wanted one of indoor, .*, got 'moon'"),
    ({'colour': 1}, "wanted only the keys .*, got 'colour'"),
    ({'moves': [{'about': [0, 0, 0]}]}, 'moves: wanted rules with parts'),
    ({'moves': [{'parts': 'a', 'turn_deg': [[3, 1], 0, 0]}]}, r'moves: turn_deg: wanted a number or \[low, high\]'),
    ({'looks': [{'parts': 'a', 'any_of': [{'shine': 1}]}]}, 'looks: any_of: wanted share, color'),
    ({'optional': [{'parts': 'a', 'share': 'often'}]}, "optional: share: wanted a number .*, got 'often'"),
    ({'alternatives': ['a']}, 'alternatives: wanted lists of patterns'),
    ({'alternatives': [[]]}, 'alternatives: wanted lists of patterns'),
    ({'hanging': [1]}, 'hanging: wanted lists of patterns'),
    ({'looks': [{'parts': 'a', 'any_of': [{'grey': [0.5, 2]}]}]}, 'looks: any_of: wanted numbers from 0 to 1'),
    ({'looks': [{'parts': 'a', 'any_of': [{'share': 0}]}]}, 'looks: any_of: wanted a look with a share above 0'),
])  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, content: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as error:
        variation(tmp_path, **content)
    assert str(error.value).startswith(str(tmp_path / 'variation.yaml'))


def test_a_pattern_that_fits_no_part_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no part of thing.glb fits 'tipp.\*'; it has body, flag"):
        variation(tmp_path, optional=[{'parts': 'tipp.*', 'share': 1}]).check_names(PARTS)
