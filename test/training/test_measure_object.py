"""measure_object.py from a label file to object.yaml and camera.yaml; shape and lens themselves: measuring/."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml
from label_files import coco, save
from labelled_body import FOCAL_PX, NAMES, POINTS, SIZE, pictured, poses, shape_error

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from training.measure_object import main

LENGTH = ['--length', 'front_left_top', 'front_right_top', '0.16']


def write_labels(folder, count=14, size=SIZE):
    """Write labels with errors of 0.5 px, two objects in the first picture; the pictures themselves are not there."""
    rng = np.random.default_rng(5)
    pixels = pictured(*poses(count + 1, rng)) + (np.array(SIZE) - 1) / 2
    pixels += 0.5 * rng.normal(size=pixels.shape)
    images = [(f'{i:03}.jpg', *size) for i in range(count)]
    annotations = [
        {'image_id': max(1, i), 'keypoints': np.column_stack([points, np.full(len(NAMES), 2)]).ravel().tolist()}
        for i, points in enumerate(pixels)
    ]
    return save(folder, coco(images, annotations, NAMES))


def test_object_and_camera_are_written(tmp_path, capsys):
    """Axes by the names: x from back to front, y across the mirror plane, z up; metres by the given length."""
    assert main([str(write_labels(tmp_path)), *LENGTH, '--out', str(tmp_path / 'out')]) == 0
    model, camera = ObjectModel.load(tmp_path / 'out'), CameraIntrinsics.from_yaml(tmp_path / 'out' / 'camera.yaml')
    assert model.keypoint_names == NAMES and len(model.skeleton) >= 5
    assert np.linalg.norm(model.model_points[0] - model.model_points[1]) == pytest.approx(0.16, abs=1e-4)
    # The frame hangs on the measured points themselves: no alignment here.
    assert model.model_points - model.middle == pytest.approx(POINTS - POINTS.mean(0), abs=0.008)
    assert camera.K[0, 0] == pytest.approx(FOCAL_PX, rel=0.06)
    said = capsys.readouterr().out
    assert '15 labelled objects used of 15' in said and 'front_left_top: [' in said and 'contradict' not in said


def test_a_file_that_may_have_been_edited_is_not_replaced(tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'object.yaml').write_text('name: mine\n')
    assert main([str(write_labels(tmp_path)), *LENGTH, '--out', str(tmp_path / 'out')]) == 1
    assert 'object.yaml: is there already and may have been edited; give another --out' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'object.yaml').read_text() == 'name: mine\n'


def test_a_calibration_of_others_is_kept_and_an_own_one_measured_anew(tmp_path, capsys):
    arguments = [str(write_labels(tmp_path)), *LENGTH, '--out', str(tmp_path / 'out')]
    assert main(arguments) == 0
    (tmp_path / 'out' / 'object.yaml').unlink()
    assert main(arguments) == 0
    (tmp_path / 'out' / 'object.yaml').unlink()
    for name in ('camera.yaml', 'camera_640x480.yaml'):
        (tmp_path / 'out' / name).write_text('camera_name: of a chessboard\n')
        assert main(arguments) == 1
        assert f'{name}: is there already and was not written by training/measure_object.py' in capsys.readouterr().err
        (tmp_path / 'out' / name).unlink()


def test_proposals_are_no_measurements(tmp_path, capsys):
    """They agree with each other, as they come from a few clicks: depths were +-0.3 mm and 5 mm off."""
    path = write_labels(tmp_path)
    content = json.loads(path.read_text())
    first = content['annotations'][0]
    for number in range(100, 150):
        wrong = [v if i % 3 == 2 else v + number * (i % 2) for i, v in enumerate(first['keypoints'])]
        content['annotations'].append({**first, 'id': number, 'keypoints': wrong, 'proposed': True})
    path.write_text(json.dumps(content))
    assert main([str(path), *LENGTH, '--out', str(tmp_path / 'out')]) == 0
    said = capsys.readouterr().out
    assert '15 labelled objects used of 15' in said and '50 labels are proposals (proposed: true)' in said
    content['annotations'] = content['annotations'][15:]
    path.write_text(json.dumps(content))
    assert main([str(path), *LENGTH, '--out', str(tmp_path / 'none')]) == 1
    assert 'all 50 labels are proposals' in capsys.readouterr().err


def test_what_the_user_says_of_axes_and_camera_is_used(tmp_path, capsys):
    """Everything but the positions of an object file is kept; a calibration is not measured again."""
    labels, out = write_labels(tmp_path), tmp_path / 'out'
    assert main([str(labels), *LENGTH, '--out', str(out)]) == 0
    (out / 'object.yaml').write_text((out / 'object.yaml').read_text() + 'description: mine\n')
    again = ['--object', str(out), '--camera', str(out / 'camera.yaml'), '--out', str(tmp_path / 'again')]
    ends = ['--forward', 'front_right_top', 'back_right_top', '--left', 'front_left_top', 'front_right_top']
    assert main([str(labels), *LENGTH, *again, *ends]) == 0
    model = ObjectModel.load(tmp_path / 'again')
    assert model.description == 'mine'
    assert model.model_points[3] - model.model_points[1] == pytest.approx([0.2, 0, 0], abs=0.005)
    assert not (tmp_path / 'again' / 'camera.yaml').exists()
    assert 'focal length' not in capsys.readouterr().out.partition('camera.yaml')[2]


def write_calibration(path, focal_px):
    camera = CameraIntrinsics(*SIZE, np.array([[focal_px, 0, 319.5], [0, focal_px, 239.5], [0, 0, 1]]))
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()))
    return path


def test_a_calibration_of_another_camera_is_refused(tmp_path, capsys):
    """It was only noted, and a wrong shape was written."""
    other, out = write_calibration(tmp_path / 'other.yaml', 400.0), tmp_path / 'out'
    assert main([str(write_labels(tmp_path)), *LENGTH, '--camera', str(other), '--out', str(out)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f'error: {other}: the calibration has a focal length of 400 px for 640x480, and by the ')
    assert 'the shape would be wrong' in said and not out.exists()


def test_a_calibration_just_outside_of_the_interval_is_told(tmp_path, capsys):
    labels, out = write_labels(tmp_path), tmp_path / 'out'
    assert main([str(labels), *LENGTH, '--camera', str(write_calibration(tmp_path / 'a.yaml', 400.0)),
                 '--out', str(out)]) == 1  # fmt: skip
    low, high = map(float, re.search(r'between (\S+) and (\S+) px', capsys.readouterr().err).groups())
    near = write_calibration(tmp_path / 'near.yaml', low - (high - low) / 4)
    assert main([str(labels), *LENGTH, '--camera', str(near), '--out', str(out)]) == 0
    assert 'is it that of these pictures?' in capsys.readouterr().out


def test_a_calibration_of_another_shape_is_named(tmp_path, capsys):
    camera = CameraIntrinsics(480, 640, np.array([[400.0, 0, 239.5], [0, 400.0, 319.5], [0, 0, 1]]))
    path = tmp_path / 'upright.yaml'
    path.write_text(yaml.safe_dump(camera.to_yaml_dict()))
    assert main([str(write_labels(tmp_path)), '--camera', str(path), '--out', str(tmp_path / 'out')]) == 1
    assert capsys.readouterr().err.startswith(f'error: {path}: camera: ')


def test_without_a_length_it_says_that_these_are_no_metres(tmp_path, capsys):
    assert main([str(write_labels(tmp_path)), '--out', str(tmp_path / 'out')]) == 0
    assert 'distances are not metres; give --length' in capsys.readouterr().out
    assert 'distances are not metres' in (tmp_path / 'out' / 'object.yaml').read_text()
    points = ObjectModel.load(tmp_path / 'out').model_points
    assert np.linalg.norm(points[:, None] - points, axis=2).max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ('options', 'code', 'words'),
    [
        (['--length', 'front_left_top', 'mastt', '1'], 2, 'no keypoint'),
        (['--length', 'mast', 'mast', '1'], 2, 'two different keypoints'),
        (['--forward', 'mast', 'mast'], 2, 'two different keypoints'),
        (['--forward', 'mast', 'front_left_top', '--left', 'front_left_top', 'mast'], 2, 'are one direction'),
        (['--camera', 'labels.json'], 1, 'camera'),
    ],
)
def test_wrong_use_is_named(tmp_path, capsys, monkeypatch, options, code, words):
    monkeypatch.chdir(tmp_path)
    assert main([str(write_labels(tmp_path)), *options, '--out', 'out']) == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'object.yaml').exists()


def test_a_length_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'):
        main([str(write_labels(tmp_path)), '--length', 'mast', 'front_left_top', '0', '--out', str(tmp_path)])
    assert 'wanted a number above 0' in capsys.readouterr().err


def test_labels_that_tell_nothing_are_refused(tmp_path, capsys):
    assert main([str(write_labels(tmp_path, 1)), '--out', str(tmp_path / 'out')]) == 1
    assert 'cannot tell the shape' in capsys.readouterr().err


@pytest.mark.parametrize(('count', 'most_mm'), [(20, 1.5), (8, 3.0)])
def test_the_box_of_the_real_video(shared, tmp_path, count, most_mm):
    """Even frames of the first half, whose corners are known to a millimetre."""
    content = json.loads((shared / 'data/box/first_half.json').read_text())
    truth = json.loads((shared / 'data/box/first_half_poses.json').read_text())
    every = np.linspace(0, len(content['images']) - 1, count).round().astype(int)
    content['images'] = [content['images'][i] for i in every]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in kept]
    ends = ['--length', 'top_front_left', 'top_front_right', '0.258', '--out', str(tmp_path / 'out')]
    assert main([str(save(tmp_path, content)), *ends]) == 0
    model, camera = ObjectModel.load(tmp_path / 'out'), CameraIntrinsics.from_yaml(tmp_path / 'out' / 'camera.yaml')
    corners = np.array([truth['corners'][name] for name in model.keypoint_names])
    assert 1e3 * shape_error(model.model_points, corners) < most_mm
    assert camera.K[0, 0] == pytest.approx(truth['K'][0][0], rel=0.04)


def test_three_photos_of_the_submarine_tell_nothing(shared, tmp_path, capsys):
    assert main([str(shared / 'data/submarine/labels.json'), '--out', str(tmp_path / 'out')]) == 1
    assert 'cannot tell the shape' in capsys.readouterr().err
