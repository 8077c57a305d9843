"""The cases of other label formats: each is read with its value, or named for what it is with a way out."""

from __future__ import annotations

import json

import pytest

from custom_pose_ros.core.object_model import ObjectModel
from training.prepare_dataset import main

READ = {
    'annotations.xml': [30, 40, 2],
    'labelbox.ndjson': [30, 40, 2],
    'labelme.json': [30.1, 40.2, 2],
    'via.csv': [30, 40, 2],
    'via.json': [30, 40, 2],
}
NAMED = {
    'CollectedData_me.h5': 'is a table of DeepLabCut: give the .csv of the same name',
    'a.jpg': 'is a picture',
    'a.txt': 'labels of a YOLO data set: give its data.yaml',
    'alphapose.json': 'is what a network found (AlphaPose',
    'cvat_points_coco.json': "export 'CVAT for images 1.1', or label skeletons and export 'COCO Keypoints 1.0'",
    'data.yaml': 'is a YOLO pose data set whose pictures are not there: images/train',
    'openpose_keypoints.json': 'is what OpenPose found',
    'sleap.slp': 'SLEAP file',
}


@pytest.mark.parametrize('name', READ)
def test_files_that_are_read(shared, tmp_path, name):
    path = shared / 'cases/24-other-label-formats' / name
    assert main([str(path), '--out', str(tmp_path / 'out'), '--val-share', '0']) == 0
    (annotation,) = json.loads((tmp_path / 'out/train/labels.json').read_text())['annotations']
    assert annotation['keypoints'] == READ[name]


@pytest.mark.parametrize('name', NAMED)
def test_files_that_are_named(shared, capsys, name):
    assert main([str(shared / 'cases/24-other-label-formats' / name), '--check']) == 1
    shown = capsys.readouterr()
    assert NAMED[name] in shown.err and name in shown.err
    assert shown.err.count('\n') == 1 and not shown.out


@pytest.mark.parametrize('with_object', [True, False])
def test_unique_bodyparts_of_deeplabcut_are_no_animal(shared, tmp_path, capsys, with_object):
    case = shared / 'cases/20-dlc-unique-bodyparts'
    arguments = ['--object', str(case / 'mouse')] if with_object else []
    out = tmp_path / 'out'
    table = str(case / 'CollectedData_me.csv')
    assert main([table, '--images', str(case), *arguments, '--out', str(out), '--val-share', '0']) == 0
    assert 'belong to no individual: c1, c2, c3; left out' in capsys.readouterr().out
    content = json.loads((out / 'train/labels.json').read_text())
    assert len(content['images']) == 4 and len(content['annotations']) == 8  # two mice in each
    assert content['annotations'][0]['keypoints'] == [40, 50, 2, 80, 90, 2]
    if not with_object:
        draft = ObjectModel.load(out)
        assert (draft.keypoint_names, draft.skeleton) == (('snout', 'tail'), ((0, 1),))
