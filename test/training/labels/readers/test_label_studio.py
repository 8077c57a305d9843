"""Label Studio: its exports by value, as version 1.23 writes them, and the labelling interface."""

from __future__ import annotations

import xml.etree.ElementTree

import numpy as np
import pytest
from label_files import checked, label_studio_task, picture, problems, read_labels, save, texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.checking import check
from training.pose_training.labels.image_files import ImageIndex
from training.prepare_dataset import main


def test_label_studio_percentages_and_upload_names(tmp_path):
    picture(tmp_path / 'photo.jpg', 200, 100)
    path = save(tmp_path, [label_studio_task('/data/upload/3/0a1b2c3d-photo.jpg', ('tail', 50, 20), ('head', 10, 90))])
    labels = read_labels(path)
    ready = check(labels, ImageIndex([tmp_path]), 1024)
    assert labels.keypoint_names == ['head', 'tail']
    # Per cents count from the image's corner, pixels from the centre of the first one.
    np.testing.assert_allclose(ready[0].keypoints[0], [[19.5, 89.5, 2], [99.5, 19.5, 2]])


def test_label_studio_tells_objects_apart_by_their_rectangle(tmp_path):
    points = (('head', 10, 10), ('tail', 20, 10), ('head', 60, 60), ('tail', 70, 60))
    path = save(
        tmp_path, [label_studio_task('/data/local-files/?d=a%2Fphoto.jpg', *points, parent=['u', 'u', 'v', 'v'])]
    )
    (image,) = read_labels(path).images
    assert image.name == 'photo.jpg'
    assert [instance.keypoints for instance in image.instances] == [
        [(0.1, 0.1, 2), (0.2, 0.1, 2)],
        [(0.6, 0.6, 2), (0.7, 0.6, 2)],
    ]
    labels = read_labels(save(tmp_path, [label_studio_task('photo.jpg', *points)]))
    assert any('head is labelled twice' in text for text in texts(labels, REFUSED))


def box(number, x, y, width, height, **value):
    return {
        'id': number, 'type': 'rectanglelabels', 'original_width': 200, 'original_height': 100, 'image_rotation': 0,
        'value': {'x': x, 'y': y, 'width': width, 'height': height, 'rectanglelabels': ['fish'], **value},
    }  # fmt: skip


def task_with(boxes, *points):
    task = label_studio_task('photo.jpg', *points)
    task['annotations'][0]['result'][:0] = boxes
    return task


def test_keypoints_belong_to_the_box_they_lie_in(tmp_path):
    points = (('head', 10, 10), ('head', 60, 60), ('tail', 80, 80))
    boxes = [box('a', 5, 5, 30, 30), box('b', 50, 50, 40, 40), box('c', 0, 90, 9, 9)]
    labels = read_labels(save(tmp_path, [task_with(boxes, *points)]))
    a, b, c = labels.images[0].instances
    assert (a.annotation_id, a.keypoints) == ('a', [(0.1, 0.1, 2), (0, 0, 0)])
    assert a.box == pytest.approx((0.05, 0.05, 0.3, 0.3))
    assert b.keypoints == [(0.6, 0.6, 2), (0.8, 0.8, 2)]
    assert c.keypoints is None
    assert ('photo.jpg', 'c') in problems(labels, NOTE)
    assert texts(labels, REFUSED) == []


def test_the_only_box_takes_a_keypoint_beside_it(tmp_path):
    labels = read_labels(save(tmp_path, [task_with([box('a', 5, 5, 30, 30)], ('head', 10, 10), ('tail', 40, 40))]))
    assert labels.images[0].instances[0].keypoints == [(0.1, 0.1, 2), (0.4, 0.4, 2)]


def test_a_keypoint_in_two_boxes_or_in_none_is_refused(tmp_path):
    boxes = [box('a', 0, 0, 50, 50), box('b', 30, 30, 50, 50)]
    labels = read_labels(save(tmp_path, [task_with(boxes, ('head', 40, 40), ('tail', 95, 95))]))
    assert problems(labels, REFUSED) == [('photo.jpg', 'r0'), ('photo.jpg', 'r1')]
    several, none = texts(labels, REFUSED)
    assert 'head lies in several boxes' in several and 'tail lies in no box' in none


def test_a_turned_box_reaches_around_its_corners(tmp_path):
    labels = read_labels(save(tmp_path, [task_with([box('a', 50, 50, 20, 20, rotation=90)], ('head', 45, 60))]))
    # 40 x 20 px turned by a quarter about its corner at (100, 50): from 80 to 100 and from 50 to 90 of 200 x 100 px
    assert labels.images[0].instances[0].box == pytest.approx((0.4, 0.5, 0.1, 0.4))


def test_points_on_a_turned_picture_are_refused(tmp_path):
    task = label_studio_task('photo.jpg', ('head', 10, 10))
    task['annotations'][0]['result'][0]['image_rotation'] = 90
    assert 'turned picture' in texts(read_labels(save(tmp_path, [task])), REFUSED)[0]


def test_tasks_that_nobody_or_two_people_labelled(tmp_path):
    one, skipped, twice = (label_studio_task(f'{i}.jpg', ('head', 10, 10)) for i in range(3))
    skipped['annotations'][0]['was_cancelled'] = True
    twice['annotations'] *= 2
    labels = read_labels(
        save(tmp_path, [one, skipped, twice, {'id': 4, 'data': {'image': '4.jpg'}, 'annotations': []}])
    )
    assert [image.name for image in labels.images] == ['0.jpg', '2.jpg']
    assert problems(labels, REFUSED) == [('2.jpg', '1')]
    assert problems(labels, NOTE)[1:] == [('1.jpg', '1'), ('4.jpg', '4')]


def test_other_regions_are_left_out_with_a_note(tmp_path):
    task = label_studio_task('photo.jpg', ('head', 10, 10))
    task['annotations'][0]['id'] = 7
    task['annotations'][0]['result'].append({'id': 'p', 'type': 'polygonlabels', 'value': {'polygonlabels': ['x']}})
    assert 'polygonlabels' in texts(read_labels(save(tmp_path, [task])), NOTE)[1]


def test_uploads_are_found_though_their_names_were_changed(tmp_path):
    picture(tmp_path / 'IMG 12 (1).jpg', 200, 100)
    labels = read_labels(save(tmp_path, [label_studio_task('/data/upload/3/0a1b2c3d-IMG_12_1.jpg', ('head', 10, 10))]))
    (image,) = check(labels, ImageIndex([tmp_path]), 1024)
    assert (image.name, texts(labels, REFUSED)) == ('IMG 12 (1).jpg', [])


def test_json_min_is_refused_by_name(tmp_path):
    task = {'image': '/data/upload/a.jpg', 'id': 1, 'keypoints': [{'x': 1, 'y': 2, 'keypointlabels': ['head']}]}
    with pytest.raises(DatasetError, match='JSON-MIN'):
        read_labels(save(tmp_path, [task]))


def label_studio_coco(*rectangles):
    """The rectangles are annotations of their own, and the keypoints of a picture are one."""
    annotations = [
        {'id': i, 'image_id': 0, 'category_id': 0, 'bbox': list(r), 'segmentation': [], 'ignore': 0, 'area': 9}
        for i, r in enumerate(rectangles)
    ]
    points = {'keypoints': [10, 20, 2, 30, 40, 2], 'num_keypoints': 2, 'bbox': [10, 20, 20, 20], 'iscrowd': 0}
    return {
        'images': [{'width': 200, 'height': 100, 'id': 0, 'file_name': '../media/upload/3/757a92e7-photo.jpg'}],
        'categories': [
            {'id': 0, 'name': 'fish'},
            {'id': 1, 'name': 'default', 'supercategory': 'default', 'keypoints': ['head', 'tail'], 'skeleton': []},
        ],
        'annotations': [*annotations, {'id': 9, 'image_id': 0, 'category_id': 1, **points}],
        'info': {'year': 2026, 'version': '1.0', 'contributor': 'Label Studio'},
    }


def test_coco_with_one_object_has_its_box(tmp_path):
    picture(tmp_path / 'photo.jpg', 200, 100)
    labels, ready = checked(tmp_path, label_studio_coco((5, 6, 50, 60)))
    assert labels.problems == []
    assert ready[0].boxes == [(5, 6, 55, 66)]
    np.testing.assert_allclose(ready[0].keypoints[0], [[10, 20, 2], [30, 40, 2]])


def test_coco_with_several_objects_lost_points_and_is_refused(tmp_path):
    picture(tmp_path / 'photo.jpg', 200, 100)
    labels, ready = checked(tmp_path, label_studio_coco((5, 6, 50, 60), (80, 6, 50, 60)))
    assert 'several objects' in texts(labels, REFUSED)[0]
    assert ready == []


def test_names_that_nobody_used_are_no_fault(tmp_path, capsys):
    picture(tmp_path / 'photo.jpg', 200, 100)
    (tmp_path / 'object.yaml').write_text('name: fish\nkeypoints: [tail, head]\nskeleton: [[tail, head]]\n')
    path = save(tmp_path, [label_studio_task('photo.jpg', ('head', 10, 10), ('eye', 10, 20))])
    assert main([str(path), '--object', str(tmp_path), '--check']) == 0
    shown = capsys.readouterr().out
    assert "'tail'" in shown and "'eye'" in shown


def test_the_interface_is_xml_with_every_keypoint_in_its_place(capsys):
    assert main(['--label-studio-config', 'submarine']) == 0
    root = xml.etree.ElementTree.fromstring(capsys.readouterr().out)
    found = [(label.get('value'), label.get('model_index')) for label in root.find('KeyPointLabels')]
    names = ObjectModel.load('submarine').keypoint_names
    assert found == [(name, str(i)) for i, name in enumerate(names)]  # its COCO needs the index
