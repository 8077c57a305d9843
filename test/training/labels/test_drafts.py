"""Drafts of object files: limbs, left and right, sizes, and that they load."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from label_files import coco, picture, read_labels, save, texts

from custom_pose_ros.core.labels.raw_labels import NOTE, RawLabels, safe_name, with_safe_names
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.checking import CheckedImage
from training.pose_training.labels.drafts import input_height, joined_limbs, object_yaml
from training.prepare_dataset import main

LINE = CheckedImage(
    Path('a'), 'a', 200, 100, [np.array([[0, 0, 2], [100, 0, 2], [30, 0, 2], [60, 0, 2]], float)], [(0, 0, 1, 1)]
)


def prepared(folder, capsys, **category):
    """Return output and draft of a data set of six pictures with the keypoints of a category."""
    count = len(category['names'])
    for i in range(6):
        picture(folder / f'{i}.png', 120, 80, seed=i)
    points = [v for k in range(count) for v in (10 + k, 20 + 7 * k % 50, 2)]
    content = coco(
        [(f'{i}.png', 120, 80) for i in range(6)],
        [{'image_id': i + 1, 'keypoints': points} for i in range(6)],
        **category,
    )
    code = main([str(save(folder, content)), '--out', str(folder / 'out')])
    captured = capsys.readouterr()
    return code, captured.out + captured.err, folder / 'out'


@pytest.mark.parametrize(
    ('size_px', 'image_height', 'wanted'),
    [
        (110, 480, 480),
        (110, 1080, 512),
        (400, 480, 256),
        (150, 480, 352),
        (60, 480, 480),
        (50, 200, 256),
        (0, 480, 256),
    ],
)
def test_the_draft_sees_small_objects_large_enough(size_px, image_height, wanted):
    points = np.array([[0, 0, 2], [size_px, 10 * (size_px > 0), 2]], float)
    image = CheckedImage(Path('a'), 'a', 640, image_height, [points, None], [(0, 0, 1, 1)] * 2)
    assert input_height([image]) == wanted


def test_a_draft_with_odd_names_loads(tmp_path):
    path = save(tmp_path, coco([], [], names=['1', 'yes', 'no', 'Ohr/links', '2.5']))
    labels = read_labels(path)
    labels.keypoint_names = [safe_name(name) for name in labels.keypoint_names]
    (tmp_path / 'object.yaml').write_text(object_yaml(labels, []))
    assert ObjectModel.load(tmp_path).keypoint_names == ('1', 'yes', 'no', 'Ohr_links', '2.5')


def test_the_draft_joins_near_keypoints():
    assert joined_limbs([], [LINE], 4) == [(0, 2), (2, 3), (1, 3)]


def test_the_draft_joins_the_parts_that_a_stated_skeleton_leaves():
    labels = RawLabels('rod', ['a', 'b', 'c', 'd'], [(0, 1)], [])
    skeleton = yaml.safe_load(object_yaml(labels, [LINE]))['skeleton']
    assert skeleton == [['a', 'b'], ['a', 'c'], ['c', 'd']]
    assert texts(labels, NOTE) == ['the skeleton leaves keypoints apart; the draft joins a-c, c-d']


def test_the_draft_takes_over_the_pairs_and_the_limbs_of_the_labels():
    labels = RawLabels('rod', ['a', 'b', 'left', 'right'], [(0, 1), (1, 0), (2, 3), (3, 3), (1, 2)], [], swaps=[(0, 1)])
    draft = yaml.safe_load(object_yaml(labels, [LINE]))
    assert draft['swaps'] == [['a', 'b']]
    assert draft['skeleton'] == [['a', 'b'], ['left', 'right'], ['b', 'left']]
    mirrored, text = ObjectModel.from_dict(draft).mirroring
    assert not mirrored and 'swaps lacks left/right' in text


def test_the_draft_pairs_left_and_right_and_asks_where_that_is_not_sure(tmp_path, capsys):
    code, text, out = prepared(tmp_path, capsys, names=['head', 'eyeL', 'eyeR', 'lear', 'rear'])
    assert code == 0
    assert 'left and right: eyeL/eyeR' in text
    assert 'training does not mirror images: swaps lacks lear/rear' in text
    assert ObjectModel.load(out).swaps == ((1, 2),)
    assert '#  - [lear, rear]   # left and right?' in (out / 'object.yaml').read_text()


def test_a_skeleton_from_0_is_read_so_and_said(tmp_path, capsys):
    code, text, out = prepared(tmp_path, capsys, names=['a', 'b', 'c'], skeleton=[[0, 1], [1, 2]])
    assert code == 0
    assert 'the skeleton counts from 0, not from 1 as COCO does: read so' in text
    assert ObjectModel.load(out).skeleton == ((0, 1), (1, 2))
    assert json.loads((out / 'train' / 'labels.json').read_text())['categories'][0]['skeleton'] == [[1, 2], [2, 3]]


@pytest.mark.parametrize(
    'names, text',
    [
        (
            [f'k{i}' for i in range(61)],
            "'fish' has 61 keypoints, wanted 60 at most; choose some of them with an object",
        ),
        (['tail', 'head', 'tail'], "keypoint 'tail' is there twice; rename one of them"),
        (['tail end', 'tail/end'], "keypoint names are not different enough: 'tail end', 'tail/end'"),
    ],
)
def test_keypoints_that_no_object_may_have_are_refused_before_anything_is_written(tmp_path, capsys, names, text):
    code, said, out = prepared(tmp_path, capsys, names=names)
    assert (code, out.exists()) == (1, False)
    assert text in said


@pytest.mark.parametrize('name', ['.nose', '-1', 'x' * 80, '_', '...', 'null', '1e5', '0x1f', '12:30'])
def test_a_draft_with_any_name_loads(name):
    labels = with_safe_names(Path('labels.json'), RawLabels(name, [name, 'other'], [], []))
    draft = yaml.safe_load(object_yaml(labels, []))
    assert ObjectModel.from_dict(draft).keypoint_names == (safe_name(name), 'other')
