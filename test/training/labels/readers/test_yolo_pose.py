"""YOLO pose by value, as its tools write it."""

from __future__ import annotations

import json
import re

import pytest
from label_files import instances, picture, read_labels, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, with_object
from custom_pose_ros.core.object_model import ObjectModel
from training.prepare_dataset import main


@pytest.fixture
def yolo(tmp_path):
    """A data set with two pictures of 200 x 100 px to train on and one to validate on, which has no text file."""
    for seed, name in enumerate(('train/a.jpg', 'train/b.png', 'val/c.jpg')):
        picture(tmp_path / 'images' / name, 200, 100, seed)
    (tmp_path / 'labels/train').mkdir(parents=True)
    (tmp_path / 'labels/train/a.txt').write_text('0 0.25 0.5 0.2 0.4 0.25 0.5 2 0.3 0.6 1 0 0 0\n')
    (tmp_path / 'labels/train/b.txt').write_text(
        '0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.45 0.6 2 0.4 0.3 2\n0 0.1 0.1 0.1 0.1\n'
    )
    path = tmp_path / 'data.yaml'
    path.write_text('kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\nnames: {0: fish}\ntrain: images/train\nval: images/val\n')
    return path


def test_yolo_pose(yolo, tmp_path):
    out = tmp_path / 'out'
    assert main([str(yolo), '--out', str(out), '--val-share', '0']) == 0
    content = json.loads((out / 'train/labels.json').read_text())
    keypoints = [annotation['keypoints'] for annotation in content['annotations']]
    # Shares count from the corner of the picture, pixels from the centre of the first one.
    assert keypoints[0] == pytest.approx([49.5, 49.5, 2, 59.5, 59.5, 1, 0, 0, 0], abs=1e-3)
    assert content['annotations'][0]['bbox'] == pytest.approx([30, 30, 40, 40], abs=0.6)
    assert keypoints[1] == pytest.approx([99.5, 49.5, 2, 89.5, 59.5, 2, 79.5, 29.5, 2], abs=1e-3)
    assert [a['iscrowd'] for a in content['annotations']] == [0, 0, 1]  # the box without keypoints
    assert len(content['images']) == 3
    draft = ObjectModel.load(out)
    assert (draft.name, draft.swaps) == ('fish', ((1, 2),))


def test_yolo_keypoints_take_the_names_of_an_object_unless_the_order_is_another(yolo):
    """The file has no names; where it has, as newer ones, these count."""
    text = (
        'name: fish\nkeypoints: [nose, left, right]\nskeleton: [[nose, left], [nose, right]]\nswaps: [[left, right]]\n'
    )
    folder = yolo.parent / 'object'
    folder.mkdir()
    (folder / 'object.yaml').write_text(text)
    labels = with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    assert labels.keypoint_names == ['nose', 'left', 'right']
    assert 'no keypoint names' in texts(labels, NOTE)[-1]
    (folder / 'object.yaml').write_text(text.replace('swaps: [[left', 'swaps: [[nose'))
    with pytest.raises(DatasetError, match=r'flip_idx exchanges \[\(1, 2\)\]'):
        with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    yolo.write_text(yolo.read_text() + 'kpt_names: {0: [right, nose, left]}\n')
    labels = with_object(yolo, read_labels(yolo), ObjectModel.load(folder))
    assert [p[2] for p in labels.images[0].instances[0].keypoints] == [1, 0, 2]


def test_yolo_of_roboflow_with_two_numbers_a_point(tmp_path):
    """Folders are named from another one than that of data.yaml; a point at (0, 0) is not labelled."""
    picture(tmp_path / 'train/images/a.jpg', 100, 100)
    (tmp_path / 'train/labels').mkdir()
    (tmp_path / 'train/labels/a.txt').write_text('0 0.5 0.5 1 1 0.2 0.4 -0.1 0.5\n1 0.5 0.5 1 1 0.3 0.4 0.6 0.7\n')
    path = tmp_path / 'data.yaml'
    path.write_text('train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]\nkpt_shape: [2, 2]\n')
    with pytest.raises(DatasetError, match=r'cat, dog.*--merge-categories'):
        read_labels(path)
    labels = read_labels(path, CategoryChoice(merge=True))
    (found,) = instances(labels).values()
    assert found == [{'point_1': (0.2, 0.4, 2)}, {'point_1': (0.3, 0.4, 2), 'point_2': (0.6, 0.7, 2)}]
    (found,) = instances(read_labels(path, CategoryChoice(('dog',)))).values()
    assert len(found) == 1


@pytest.mark.parametrize(
    ('line', 'text'),
    [
        ('0 0.5 0.5 0.2 0.2 0.4 0.4 0.5 0.5 0.6 0.6', r'wanted 14 numbers, as kpt_shape \[3, 3\] says, got 11'),
        ('0 0.5 0.5 x 0.2', 'not all numbers'),
        ('7 0.5 0.5 0.2 0.2 0.4 0.4 2 0.4 0.4 2 0.4 0.4 2', 'class 7 is not in the names'),
        ('0 0.5 0.5 0.2 0.2 128 96 2 160 144 2 1 1 2', 'no shares of the image size'),
        ('0 nan 0.5 0.2 0.2 0.4 0.4 2 0.4 0.4 2 0.4 0.4 2', 'not all numbers'),
    ],
)
def test_yolo_lines_that_mean_nothing_are_refused(yolo, line, text, capsys):
    (yolo.parent / 'labels/train/a.txt').write_text(line)
    assert main([str(yolo), '--check']) == 1
    shown = capsys.readouterr()
    assert re.search(text, shown.out)
    assert 'line 1' in shown.out and shown.err.count('\n') == 1


def test_yolo_text_files_without_picture_and_parts_that_are_not_there_are_said(yolo):
    (yolo.parent / 'labels/train/lost.txt').write_text('0 0.5 0.5 0.2 0.2')
    yolo.write_text(yolo.read_text().replace('val: images/val', 'val: images/gone'))
    labels = read_labels(yolo)
    assert texts(labels, REFUSED) == ['lost.txt  has no picture']
    assert 'images/gone is not there, left out' in texts(labels, NOTE)
    for text in ('/', '..', '\0', 'x' * 999):
        yolo.write_text(f'kpt_shape: [3, 3]\nnames: [a]\ntrain: {json.dumps(text)}\n')
        with pytest.raises(DatasetError, match='pictures are not there'):
            read_labels(yolo)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('names: {0: a}\ntrain: images\n', 'without kpt_shape'),
        ('kpt_shape: [0, 3]\nnames: [a]\ntrain: images\n', 'kpt_shape: wanted'),
        ('kpt_shape: [2, 4]\nnames: [a]\ntrain: images\n', 'kpt_shape: wanted'),
        ('kpt_shape: [3, 3]\nnames: 7\ntrain: images\n', 'names: wanted'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: nowhere\n', 'pictures are not there: nowhere'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nflip_idx: [1, 2, 0]\n', 'mirrored twice'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nflip_idx: [0, 0, 1]\n', 'flip_idx: wanted'),
        ('kpt_shape: [3, 3]\nnames: [a]\ntrain: images\nkpt_names: {0: [a]}\n', 'kpt_names: wanted'),
        ('bodyparts: [nose]\nTask: x\n', 'DeepLabCut'),
        ('keypoints: [a, b]\nskeleton: []\n', '--object'),
        ('7', 'no kpt_shape'),
    ],
)
def test_other_yaml_is_named(yolo, text, message):
    yolo.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_labels(yolo)
