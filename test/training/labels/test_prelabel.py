"""Proposed labels: our own reader and pycocotools load them, Label Studio's form carries the same points."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_files import read_labels
from pycocotools.coco import COCO

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from training.pose_training.labels.checking import check
from training.pose_training.labels.coco import read_dataset
from training.pose_training.labels.image_files import ImageIndex
from training.prelabel import FoundImage, coco_prelabels, label_studio_prelabels, main

SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'prelabel.py'
POINTS = np.array([[50.0, 20.5], [20.25, 80.0], [80.0, 80.0]])


@pytest.fixture
def found(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((100, 200, 3), np.uint8))
    visible = np.array([True, True, False])
    pose = KeypointPose(
        keypoints=np.where(visible[:, None], POINTS, np.nan),
        covariances=np.full((3, 2, 2), np.nan),
        scores=visible * 0.9,
        visible=visible,
        score=0.8,
    )
    return [FoundImage('a.png', 200, 100, [pose])]


def test_coco_proposals_load_where_coco_loads(tmp_path, dots, found, capsys):
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(coco_prelabels(found, dots)))
    (image,) = read_dataset(path, dots)
    np.testing.assert_array_equal(image.labelled, [[True, True, False]])
    np.testing.assert_allclose(image.keypoints[0, :2], POINTS[:2])
    annotation = COCO(str(path)).loadAnns([1])[0]
    assert annotation['bbox'] == [14.3, 14.55, 41.65, 71.4]  # a tenth of the longer side around the points
    assert (annotation['num_keypoints'], annotation['ambiguity']) == (2, 0.0)
    assert annotation['segmentation'] == []  # CVAT makes a polygon of one, and refuses it in a skeleton's label
    labels = read_labels(path)
    assert len(check(labels, ImageIndex([tmp_path]), 1024)) == 1
    assert labels.problems == []


def test_label_studio_proposals_hold_the_same_points(tmp_path, dots, found):
    (task,) = label_studio_prelabels(found, dots, '/data/local-files/?d=')
    assert task['data']['image'] == '/data/local-files/?d=a.png'
    # Accepted as they are, predictions become annotations: then our own reader must find the points again.
    path = tmp_path / 'tasks.json'
    path.write_text(json.dumps([{**task, 'annotations': task['predictions']}]))
    labels = read_labels(path)
    (image,) = check(labels, ImageIndex([tmp_path]), 1024)
    points = dict(zip(labels.keypoint_names, image.keypoints[0]))
    np.testing.assert_allclose(points['nose'], [50, 20.5, 2])
    np.testing.assert_allclose(points['left'], [20.25, 80, 2])


def test_the_command_writes_a_file_for_the_shipped_object(tmp_path, found, capsys):
    model = str(SCRIPT.parents[1] / 'config' / 'submarine')
    assert main([model, str(tmp_path), '--out', str(tmp_path / 'out.json')]) == 0
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [image['file_name'] for image in content['images']] == ['a.png']
    assert 'in 1 images' in capsys.readouterr().out


def test_damaged_images_are_told_and_the_rest_is_written(tmp_path, found, capsys):
    (tmp_path / 'b.png').write_text('no image')
    out = tmp_path / 'new' / 'tasks.json'
    cv2.imwrite(str(tmp_path / 'c d.png'), np.zeros((100, 200, 3), np.uint8))
    assert main(['submarine', str(tmp_path), '--out', str(out), '--format', 'label-studio']) == 3
    prefix = f'/data/local-files/?d={tmp_path.name}/'
    assert [task['data']['image'] for task in json.loads(out.read_text())] == [f'{prefix}a.png', f'{prefix}c%20d.png']
    shown = capsys.readouterr()
    assert str(tmp_path / 'b.png') in shown.err and shown.err.count('\n') == 1
    with pytest.raises(DatasetError, match='no KeyPointLabels'):  # proposals are not labels yet
        read_labels(out)


def test_a_folder_without_images_is_refused(tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    model = str(SCRIPT.parents[1] / 'config' / 'submarine')
    assert main([model, str(tmp_path / 'empty'), '--out', str(tmp_path / 'out.json')]) == 1
    assert 'no images found' in capsys.readouterr().err
