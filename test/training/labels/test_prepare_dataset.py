"""Preparing labels: checks against the pictures, sizes, splits without leaks, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from folder_owner import start_owner
from label_files import checked, coco, picture, problems, save, texts
from picture_files import with_orientation

from custom_pose_ros.core.labels.raw_labels import REFUSED, REPAIRED
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.pictures import read_image
from training.pose_training.labels.coco import read_dataset
from training.prepare_dataset import main


def test_an_image_with_one_refused_object_is_left_out_whole(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    picture(tmp_path / 'b.jpg', 100, 60, seed=1)
    good = {'keypoints': [10, 10, 2, 20, 20, 2]}
    _, ready = checked(
        tmp_path,
        coco(
            [('a.jpg', 100, 60), ('b.jpg', 100, 60)],
            [{'image_id': 1, **good}, {'image_id': 1, 'keypoints': [1, 1, 2]}, {'image_id': 2, **good}],
        ),
    )
    assert [image.name for image in ready] == ['b.jpg']


def test_points_just_outside_are_moved_onto_the_border(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    labels, ready = checked(
        tmp_path, coco([('a.jpg', 100, 60)], [{'image_id': 1, 'keypoints': [-0.7, 10, 2, 99.9, 59.8, 2]}])
    )
    assert problems(labels, REPAIRED) == [('a.jpg', '10')]
    np.testing.assert_allclose(ready[0].keypoints[0][:, :2], [[0, 10], [99, 59]])


def test_labels_of_another_size_are_scaled_and_those_of_another_shape_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 200, 120)
    picture(tmp_path / 'b.jpg', 200, 200, seed=1)
    labels, ready = checked(
        tmp_path,
        coco(
            [('a.jpg', 100, 60), ('b.jpg', 100, 60)],
            [{'image_id': i, 'keypoints': [10, 20, 2, 30, 40, 2]} for i in (1, 2)],
        ),
    )
    assert problems(labels, REPAIRED) == [('a.jpg', '')]
    np.testing.assert_allclose(ready[0].keypoints[0][:, :2], [[20, 40], [60, 80]])
    assert problems(labels, REFUSED) == [('b.jpg', '')]


def test_images_are_resized_with_their_labels(tmp_path):
    picture(tmp_path / 'a.jpg', 400, 200)
    _, ready = checked(
        tmp_path, coco([('a.jpg', 400, 200)], [{'image_id': 1, 'keypoints': [99.5, 49.5, 2, 0, 0, 0]}]), max_side=100
    )
    assert (ready[0].width, ready[0].height) == (100, 50)
    # A quarter of the size keeps corners in place: pixel 99.5 is the edge between pixels 24 and 25.
    np.testing.assert_allclose(ready[0].keypoints[0], [[24.5, 12, 2], [0, 0, 0]])


def exif_jpeg(path: Path, orientation: int) -> None:
    """Write a 120 x 80 picture with an EXIF orientation, as a phone does."""
    picture(path, 120, 80)
    content = path.read_bytes()
    tiff = b'II*\0' + (8).to_bytes(4, 'little') + (1).to_bytes(2, 'little')
    tiff += b'\x12\x01\x03\0\x01\0\0\0' + orientation.to_bytes(2, 'little') + b'\0\0' + b'\0\0\0\0'
    segment = b'Exif\0\0' + tiff
    path.write_bytes(content[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + content[2:])


def test_labels_on_the_turned_picture_are_kept_and_the_picture_written_upright(tmp_path):
    exif_jpeg(tmp_path / 'a.jpg', 6)
    labels = save(tmp_path, coco([('a.jpg', 80, 120)], [{'image_id': 1, 'keypoints': [70, 110, 2, 5, 5, 2]}]))
    assert main([str(labels), '--out', str(tmp_path / 'out'), '--val-share', '0']) == 0
    written = cv2.imread(str(tmp_path / 'out' / 'train' / 'images' / 'a.jpg'), cv2.IMREAD_IGNORE_ORIENTATION | 1)
    assert written.shape == (120, 80, 3)


def test_coco_annotator_labels_on_the_unturned_picture_are_recognised(tmp_path):
    exif_jpeg(tmp_path / 'a.jpg', 6)
    content = coco([('a.jpg', 120, 80)], [{'image_id': 1, 'keypoints': [110, 70, 2, 5, 5, 2]}])
    content['images'][0]['dataset_id'] = 3  # it sends pictures to the browser without their EXIF note
    labels, ready = checked(tmp_path, content)
    assert problems(labels, REPAIRED) == [('a.jpg', '')]
    assert (ready[0].width, ready[0].height) == (120, 80)
    np.testing.assert_allclose(ready[0].keypoints[0][0], [110, 70, 2])


@pytest.mark.parametrize('orientation', range(2, 9))
@pytest.mark.parametrize('tool', ['Label Studio', 'coco-annotator', 'unknown'])
@pytest.mark.parametrize('size', [(120, 80), (100, 100)])
def test_keypoints_lie_on_what_was_labelled_or_the_picture_is_refused(tmp_path, orientation, tool, size):
    stored = np.full((size[1], size[0], 3), 128, np.uint8)
    cv2.circle(stored, (30, 20), 6, (0, 0, 255), -1)  # the head is red, the tail blue
    cv2.circle(stored, (70, 60), 6, (255, 0, 0), -1)
    data = with_orientation(cv2.imencode('.png', stored)[1].tobytes(), orientation)
    (tmp_path / 'a.png').write_bytes(data)
    shown = stored if tool == 'coco-annotator' else read_image(tmp_path / 'a.png')
    points = []
    for colour in ((0, 0, 255), (255, 0, 0)):
        rows, columns = np.nonzero((shown == colour).all(2))
        points += [float(columns.mean()), float(rows.mean()), 2]
    content = coco([('a.png', *size)], [{'image_id': 1, 'keypoints': points}])  # all three state the file's size
    if tool == 'coco-annotator':
        content['images'][0]['dataset_id'] = 3
    content['info'] = {'contributor': tool}
    code = main([str(save(tmp_path, content)), '--out', str(tmp_path / 'out'), '--val-share', '0'])
    if tool == 'unknown':
        assert code == 1
        return
    written = cv2.imread(str(tmp_path / 'out' / 'train' / 'images' / 'a.png'), cv2.IMREAD_IGNORE_ORIENTATION | 1)
    labels = json.loads((tmp_path / 'out' / 'train' / 'labels.json').read_text())
    assert written.shape[1::-1] == (labels['images'][0]['width'], labels['images'][0]['height'])
    found = np.reshape(labels['annotations'][0]['keypoints'], (2, 3))
    assert [tuple(written[round(y), round(x)]) for x, y, _ in found] == [(0, 0, 255), (255, 0, 0)]


def test_missing_damaged_and_doubtful_files_are_refused(tmp_path):
    picture(tmp_path / 'one' / 'twice.jpg', 100, 60)
    picture(tmp_path / 'two' / 'twice.jpg', 100, 60)
    (tmp_path / 'text.png').write_text('no picture')
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    labels, _ = checked(
        tmp_path,
        coco(
            [('gone.jpg', 9, 9), ('twice.jpg', 100, 60), ('text.png', 9, 9), ('elsewhere/two/twice.jpg', 100, 60)],
            [{'image_id': i, **points} for i in (1, 2, 3, 4)],
        ),
    )
    refused = '\n'.join(texts(labels, REFUSED))
    assert 'gone.jpg  no such file in ' in refused
    assert 'twice.jpg  2 files match' in refused
    assert 'text.png  is damaged or not an image' in refused
    assert 'elsewhere' not in refused  # the end of the path tells which


def test_a_picture_that_is_damaged_inside_is_noted_by_name(tmp_path, capfd):
    picture(tmp_path / 'a.jpg', 160, 120)
    data = bytearray((tmp_path / 'a.jpg').read_bytes())
    for i in range(len(data) // 2, len(data) // 2 + 20):
        data[i] ^= 0x5A
    (tmp_path / 'a.jpg').write_bytes(data)
    path = save(tmp_path, coco([('a.jpg', 160, 120)], [{'image_id': 1, 'keypoints': [1, 1, 2, 5, 5, 2]}]))
    assert main([str(path), '--out', str(tmp_path / 'out'), '--val-share', '0']) == 0
    shown = capfd.readouterr()
    assert 'note  a.jpg              is damaged inside (Corrupt JPEG data: ' in shown.out
    assert shown.err == ''


def test_duplicate_pictures_are_left_out_or_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    for name in ('copy.jpg', 'other.jpg', 'empty.jpg'):
        (tmp_path / name).write_bytes((tmp_path / 'a.jpg').read_bytes())
    images = [(name, 100, 60) for name in ('a.jpg', 'copy.jpg', 'empty.jpg')]
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    labels, ready = checked(tmp_path, coco(images, [{'image_id': 1, **points}, {'image_id': 2, **points}]))
    assert [image.name for image in ready] == ['a.jpg']
    assert len(texts(labels, REPAIRED)) == 2
    images.append(('other.jpg', 100, 60))
    content = coco(images, [{'image_id': 1, **points}, {'image_id': 4, 'keypoints': [50, 50, 2, 9, 9, 2]}])
    labels, ready = checked(tmp_path, content)
    assert any('a.jpg, copy.jpg' in text for text in texts(labels, REFUSED))


def test_nothing_labelled_is_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    labels, _ = checked(tmp_path, coco([('a.jpg', 100, 60)], []))
    assert problems(labels, REFUSED) == [('', '')]


# What is made of sound labels.


def test_the_written_data_set_trains_and_its_draft_loads(tmp_path, capsys):
    for i in range(10):
        picture(tmp_path / 'photos' / f'{i}.png', 120, 80, seed=i)
    content = coco(
        [(f'{i}.png', 120, 80) for i in range(10)],
        [{'image_id': i + 1, 'keypoints': [10 + i, 20, 2, 60, 40, 2, 80, 40, 1]} for i in range(10)],
        names=('the nose', 'left eye', 'right eye'),
        name='5',  # a number for YAML unless it is quoted
    )
    assert main([str(save(tmp_path, content)), '--out', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    assert "keypoint 'the nose' is written as 'the_nose'" in out
    model = ObjectModel.load(tmp_path / 'out')
    assert model.name == '5'
    assert model.keypoint_names == ('the_nose', 'left_eye', 'right_eye')
    assert model.swaps == ((1, 2),)
    train, validation = (read_dataset(tmp_path / 'out' / part, model) for part in ('train', 'val'))
    assert (len(train), len(validation)) == (9, 1)
    assert {tuple(i.keypoints[0, 1]) for i in train} == {(60.0, 40.0)}
    assert cv2.imread(str(tmp_path / 'out' / 'contact_sheet.png')).shape[1] == 4 * 320
    assert json.loads((tmp_path / 'out' / 'statistics.json').read_text())['instances'] == 10


def test_refused_labels_stop_unless_their_images_are_left_out(tmp_path, capsys):
    for i in range(2):
        picture(tmp_path / f'{i}.png', 120, 80, seed=i)
    content = coco(
        [('0.png', 120, 80), ('1.png', 120, 80)],
        [{'image_id': 1, 'keypoints': [10, 20, 2, 60, 40, 2]}, {'image_id': 2, 'keypoints': [10, 20, 2]}],
    )
    arguments = [str(save(tmp_path, content)), '--out', str(tmp_path / 'out')]
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert '1.png' in captured.out and 'lists 1 keypoint, but' in captured.out
    assert '1 refused: 1.png 11: ' in captured.err and '--leave-out' in captured.err
    assert not (tmp_path / 'out').exists()
    with start_owner(tmp_path / 'out') as owner:
        assert main([*arguments, '--leave-out']) == 1
        owner.stdin.close()
    assert f'process {owner.pid} writes into it' in capsys.readouterr().err
    assert main([*arguments, '--leave-out']) == 0
    assert main([*arguments, '--leave-out']) == 1
    assert 'holds a data set already' in capsys.readouterr().err


def test_what_else_is_there_is_named_and_kept(tmp_path, capsys):
    for name in ('a.png', 'b.png'):
        picture(tmp_path / name, 120, 80)
    images = [(name, 120, 80) for name in ('a.png', 'b.png')]
    annotations = [{'image_id': i, 'keypoints': [10, 20, 2, 60, 40 + i, 2]} for i in (1, 2)]
    arguments = [str(save(tmp_path, coco(images, annotations))), '--out', str(tmp_path / 'out')]
    (tmp_path / 'out' / 'train').mkdir(parents=True)
    (tmp_path / 'out' / 'train' / 'mine.txt').write_text('')
    assert main(arguments) == 1
    assert 'train/mine.txt: is there already, and no part of a data set: move it away' in capsys.readouterr().err
    (tmp_path / 'out' / 'train' / 'mine.txt').unlink()
    (tmp_path / 'out' / 'train').rmdir()
    (tmp_path / 'out' / 'contact_sheet.png').write_text('of the renderings')
    assert main(arguments) == 1
    text = 'contact_sheet.png: is there already and was not written by training/prepare_dataset.py'
    assert text in capsys.readouterr().err
    (tmp_path / 'out' / 'contact_sheet.png').unlink()
    (tmp_path / 'out' / 'object.yaml').write_text('name: mine')
    assert main(arguments) == 1
    assert 'object.yaml: is there already and may have been edited; use it with --object' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'object.yaml').read_text() == 'name: mine'


def test_an_object_file_decides_names_and_order(tmp_path):
    picture(tmp_path / 'a.png', 120, 80)
    (tmp_path / 'object.yaml').write_text('name: fish\nkeypoints: [tail, head]\nskeleton: [[tail, head]]\n')
    labels = save(tmp_path, coco([('a.png', 120, 80)], [{'image_id': 1, 'keypoints': [10, 20, 2, 60, 40, 2]}]))
    out = tmp_path / 'out'
    assert main([str(labels), '--object', str(tmp_path), '--out', str(out), '--val-share', '0']) == 0
    (image,) = read_dataset(out / 'train', ObjectModel.load(tmp_path))
    np.testing.assert_allclose(image.keypoints[0], [[60, 40], [10, 20]])
    (tmp_path / 'object.yaml').write_text('name: fish\nkeypoints: [tail, fin]\nskeleton: [[tail, fin]]\n')
    assert main([str(labels), '--object', str(tmp_path), '--check']) == 1


def test_that_no_image_is_left_to_validate_on_is_said_with_its_reason(tmp_path, capsys):
    picture(tmp_path / 'a.jpg', 160, 120)
    path = save(tmp_path, coco([('a.jpg', 160, 120)], [{'image_id': 1, 'keypoints': [1, 1, 2, 5, 5, 2]}]))
    assert main([str(path), '--out', str(tmp_path / 'out')]) == 0
    assert 'none to validate on: of so few images' in capsys.readouterr().out
