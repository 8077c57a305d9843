"""The predict command on a tiny real network: what it prints, saves, refuses."""

import json
import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from outlined_box import box_views
from tiny_model import INPUT_HEIGHT, TINY_POINTS, draw_tiny_object

from custom_pose_ros.core.drawing import overlay
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw, rotation_between
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.tools.media import VideoReader
from custom_pose_ros.tools.predict import main, window_problem

PEAK_PX = 0.5  # what the tiny network's heatmaps (one cell = 8 px) are decoded to on clean pictures
FOV_NOTE = (
    'note: no --camera: a horizontal field of view of 60 deg is assumed; orientation and position are approximate'
)


@pytest.fixture
def predict(tiny_folder, capfd):
    """Run the command in this process with the tiny object; return (status, stdout, stderr)."""

    def run(*arguments, object_folder=tiny_folder):
        status = main([*map(str, arguments), '--object', str(object_folder)])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


def found_points(pose):
    return np.array([[k['x_px'], k['y_px']] for k in pose['keypoints']], float)


def test_image_prints_a_table_and_saves_the_drawing_beside_it(predict, picture):
    before = picture.read_bytes()
    status, out, err = predict(picture)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == f'{picture}: 320x256 px, 1 x tiny'
    name, x, y, unit, *_ = lines[2].split()
    assert (name, unit) == ('front', 'px')
    assert np.hypot(float(x) - TINY_POINTS[0, 0], float(y) - TINY_POINTS[0, 1]) < PEAK_PX
    assert lines[6].split()[0::2][:3] == ['roll', 'pitch', 'yaw']
    saved = picture.with_name('scene_pose.png')
    assert err.splitlines() == [FOV_NOTE, f'1 picture, 1 x tiny; saved {saved}']
    drawing = cv2.imread(str(saved))
    assert drawing.shape == (256, 320, 3)
    assert np.any(drawing != cv2.imread(str(picture)))
    assert picture.read_bytes() == before


def test_json_has_one_line_per_picture_with_every_instance(predict, tmp_path):
    twins = np.stack([TINY_POINTS * 0.8, TINY_POINTS * 0.8 + [180, 20]])
    cv2.imwrite(str(tmp_path / 'two.png'), draw_tiny_object(twins, (480, INPUT_HEIGHT)))
    cv2.imwrite(str(tmp_path / 'none.png'), np.zeros((100, 200, 3), np.uint8))
    status, out, _ = predict(tmp_path, '--json', '--no-save')
    none, two = map(json.loads, out.splitlines())
    assert status == 0
    assert (none['source'], none['width'], none['height'], none['poses']) == (str(tmp_path / 'none.png'), 200, 100, [])
    found = sorted((found_points(pose) for pose in two['poses']), key=lambda points: points[0, 0])
    assert np.abs(np.array(found) - twins).max() < 2 * PEAK_PX  # 0.8 of the size: discs are drawn as large as ever
    assert sorted(pose['track_id'] for pose in two['poses']) == [0, 1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ['none.png', 'two.png']


def test_orientation_by_value_with_the_calibration(predict, tmp_path, tiny_model, camera, camera_file):
    R, t = matrix_from_roll_pitch_yaw(np.deg2rad([100.0, 20.0, 40.0])), np.array([0.05, -0.02, 1.4])
    points = camera.project(tiny_model.model_points @ R.T + t)
    cv2.imwrite(str(tmp_path / 'posed.png'), draw_tiny_object(points))
    status, out, err = predict(tmp_path / 'posed.png', '--camera', camera_file, '--json', '--no-save')
    assert status == 0
    assert 'approximate' not in err
    orientation = json.loads(out)['poses'][0]['orientation']
    angles = np.deg2rad([orientation[f'{axis}_deg'] for axis in ('roll', 'pitch', 'yaw')])
    # 0.5 px of some 130 px between keypoints: 0.2 deg across the view, several times that towards it.
    assert np.rad2deg(rotation_between(matrix_from_roll_pitch_yaw(angles), R)) < 2.0
    assert np.linalg.norm(np.array(orientation['position_m']) - t) < 0.02 * t[2]


def test_an_outline_beside_the_object_is_used_and_can_be_left_out(predict, picture, own_tiny_folder):
    other = replace(box_views(20), model=ObjectModel.load(own_tiny_folder))  # it fits no picture of the tiny object
    other.save(own_tiny_folder / 'outline.npz')
    arguments = picture, '--json', '--no-save'
    status, out, err = predict(*arguments, object_folder=own_tiny_folder)
    assert (status, json.loads(out)['poses'][0]['orientation']['outline_agreement']) == (0, None)
    assert 'note: poses are measured by the outline of box, too; --outline off leaves it out' in err
    assert err.splitlines()[-1] == 'measured by the outline: 0 of 1 (0%); its keypoints contradict each other: 1'
    status, without, err = predict(*arguments, '--outline', 'off', object_folder=own_tiny_folder)
    assert (status, without) == (0, out)
    assert 'outline' not in err
    box_views(20).save(own_tiny_folder / 'of_box.npz')
    status, _, err = predict(*arguments, '--outline', own_tiny_folder / 'of_box.npz', object_folder=own_tiny_folder)
    assert status == 1
    assert 'of_box.npz: was made for box with keypoints' in err


def test_field_of_view_sets_the_distance(predict, picture):
    def depth(fov_deg):
        out = predict(picture, '--json', '--no-save', '--fov-deg', fov_deg)[1]
        return json.loads(out)['poses'][0]['orientation']['position_m'][2]

    # A narrower view means a longer lens: for a small object the distance grows with the focal length.
    ratio = math.tan(math.radians(30)) / math.tan(math.radians(10))
    assert depth(20) / depth(60) == pytest.approx(ratio, rel=0.15)


def test_results_are_told_in_the_reference_frame(predict, picture):
    """Optical z forward, x right, y down is x forward, -y right, -z down of the camera's body."""

    def orientation(*frame):
        out = predict(picture, '--json', '--no-save', *frame)[1]
        content = json.loads(out)
        return content['reference_frame'], content['poses'][0]['orientation']

    name, optical = orientation()
    assert name == 'camera_optical'
    name, body = orientation('--reference-frame', 'camera_body')
    assert name == 'camera_body'
    x, y, z = optical['position_m']
    assert body['position_m'] == pytest.approx([z, -x, -y])
    assert body['quaternion_xyzw'] != pytest.approx(optical['quaternion_xyzw'], abs=0.1)


def test_table_and_picture_tell_the_angles_of_the_reference_frame(predict, picture, tmp_path, monkeypatch):
    """The table ended with an error in camera_body, and the picture had other angles than the table."""
    written = []
    monkeypatch.setattr(overlay._Painter, 'text', lambda painter, place, text, size=1.0: written.append(text))
    status, out, _ = predict(picture, '--out', tmp_path, '--reference-frame', 'camera_body')
    assert status == 0
    told = re.search(r'roll +(\S+) +pitch +(\S+) +yaw +(\S+) deg', out).groups()
    drawn = re.search(r'roll (\S+) pitch (\S+) yaw (\S+) deg', ' '.join(written)).groups()
    assert [float(angle) for angle in drawn] == pytest.approx([float(angle) for angle in told], abs=0.51)  # rounded


def test_json_tells_which_view_was_assumed(predict, picture):
    def assumed(*options):
        return json.loads(predict(picture, '--json', '--no-save', *options)[1])['assumed_fov_deg']

    assert assumed() == 60
    assert assumed('--fov-deg', 50) == 50
    calibration = picture.parent / 'camera.yaml'
    height, width = cv2.imread(str(picture)).shape[:2]
    calibration.write_text(json.dumps(CameraIntrinsics.from_fov(width, height, 1.0).to_yaml_dict()))
    assert assumed('--camera', calibration) is None


def test_a_calibration_and_an_assumed_view_contradict_each_other(predict, picture):
    with pytest.raises(SystemExit) as exit_:
        predict(picture, '--camera', 'camera.yaml', '--fov-deg', 60)
    assert exit_.value.code == 2


def test_video_is_followed_and_saved(predict, make_video):
    video = make_video('dive.mp4', frames=12)
    status, out, err = predict(video, '--json')
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line['frame'] for line in lines] == list(range(12))
    assert lines[-1]['stamp_s'] == pytest.approx(11 / 30, abs=1e-3)
    assert {pose['track_id'] for line in lines for pose in line['poses']} == {0}
    moved = found_points(lines[-1]['poses'][0]) - found_points(lines[0]['poses'][0])
    assert np.abs(moved - [16.5, 5.5]).max() < 4 * PEAK_PX  # twice a difference of two, and colours blurred by MPEG-4
    with VideoReader(video.with_name('dive_pose.mp4')) as reader:
        assert len(list(reader)) == 12
    assert err.splitlines()[-1] == f'12 pictures, 12 x tiny; saved {video.with_name("dive_pose.mp4")}'


def test_frames_option_stops_a_video(predict, make_video):
    status, out, _ = predict(make_video(frames=12), '--json', '--no-save', '--frames', 5)
    assert (status, len(out.splitlines())) == (0, 5)


def test_out_names_a_file_or_a_folder(predict, picture, make_video, tmp_path):
    assert predict(picture, '--out', tmp_path / 'drawn.jpg')[0] == 0
    assert cv2.imread(str(tmp_path / 'drawn.jpg')).shape == (256, 320, 3)
    twin = tmp_path / 'sub' / 'scene.jpg'
    twin.parent.mkdir()
    cv2.imwrite(str(twin), cv2.imread(str(picture)))
    shutil.copy(picture, tmp_path / 'sub' / 'scene.png')
    status, _, err = predict(picture, twin.parent, make_video(), '--out', tmp_path / 'drawn')
    assert status == 0
    names = ['dive_pose.mp4', 'scene.jpg_pose.png', 'scene.png_pose.png', 'scene_pose.png']
    assert sorted(p.name for p in (tmp_path / 'drawn').iterdir()) == names
    assert f'saved 4 files in {tmp_path / "drawn"}' in err


def test_second_run_over_a_folder_skips_the_drawings_of_the_first(predict, picture):
    for _ in range(2):
        assert len(predict(picture.parent, '--json')[1].splitlines()) == 1


def test_pictures_and_videos_of_others_are_kept_and_own_ones_drawn_anew(predict, picture, make_video, tmp_path):
    for source, saved in ((picture, 'scene_pose.png'), (make_video('dive.mp4', frames=3), 'dive_pose.mp4')):
        assert predict(source)[0] == 0
        own = picture.with_name(saved).read_bytes()
        assert predict(source, '--threshold', 'pose_score=1')[0] == 0  # nothing is found: another picture
        assert picture.with_name(saved).read_bytes() != own
        foreign = tmp_path / f'mine{source.suffix}'
        shutil.copy(source, foreign)
        shutil.copy(source, picture.with_name(saved))
        for kept, arguments in ((picture.with_name(saved), []), (foreign, ['--out', foreign])):
            status, out, err = predict(source, *arguments)
            assert (status, out, err.count('\n')) == (1, '', 1)
            assert f'error: {kept}: is there already and was not written by predict: move it away' in err
            assert kept.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['scene.png', '--out', 'scene.png'], '--out scene.png: is the input itself; give another name'),
        (
            ['scene.png', 'other.png', '--out', 'a.png'],
            '--out a.png: is one file and there are 2 inputs; give a folder',
        ),
        (['scene.png', '--out', 'a.mp4'], '--out a.mp4: for the image scene.png wanted a file ending in .bmp'),
        (['scene.png', '--out', 'new.txt'], '--out new.txt: is neither a folder nor an image or .mp4 file'),
        (['scene.png', '--out', 'notes.txt'], '--out notes.txt: is neither a folder nor an image or .mp4 file'),
        (
            ['scene.png', '--threshold', 'keypoint_scor=0.3'],
            "thresholds.keypoint_scor: unknown key (did you mean 'keypoint_score'?)",
        ),
        (['scene.png', '--threshold', 'limb_score=3'], 'thresholds.limb_score: wanted a number from 0 to 1, got 3'),
    ],
)
def test_wrong_calls(predict, picture, monkeypatch, arguments, text):
    monkeypatch.chdir(picture.parent)
    shutil.copy(picture, 'other.png')
    Path('notes.txt').write_text('x')
    status, out, err = predict(*arguments)
    assert (status, out) == (2, '')
    assert err.startswith('error: ') and text in err and err.count('\n') == 1
    assert sorted(p.name for p in Path().glob('*.*')) == ['notes.txt', 'other.png', 'scene.png']


@pytest.mark.parametrize(
    ('option', 'value', 'text'),
    [
        ('--fov-deg', '180', "wanted degrees, not radians, from 4 to below 180, got '180'"),
        ('--fov-deg', '1.05', "wanted degrees, not radians, from 4 to below 180, got '1.05'"),
        ('--fov-deg', 'wide', "wanted degrees, not radians, from 4 to below 180, got 'wide'"),
        ('--coco', 'object.yaml', 'wanted a file to write whose name ends in .json, got object.yaml'),
        ('--frames', '0', "wanted a whole number from 1 up, got '0'"),
        ('--threshold', 'high', "wanted NAME=VALUE such as keypoint_score=0.4, got 'high'"),
        ('--input-height', '300', 'wanted a multiple of 32 from 64 to 1024, got 300'),
        ('--backend', 'foo', "invalid choice: 'foo' (choose from"),
    ],
)
def test_wrong_option_values(predict, capfd, option, value, text):
    with pytest.raises(SystemExit) as stop:
        predict('scene.png', option, value)
    assert stop.value.code == 2
    assert text in capfd.readouterr().err


def test_threshold_override_takes_effect(predict, picture):
    for score, count in ((0.5, 1), (1, 0)):  # its score is near 0.9
        out = predict(picture, '--json', '--no-save', '--threshold', f'pose_score={score}')[1]
        assert len(json.loads(out)['poses']) == count


def test_input_height_is_taken(predict, picture):
    assert len(json.loads(predict(picture, '--json', '--no-save', '--input-height', 320)[1])['poses']) == 1


def test_bad_inputs_do_not_stop_the_others(predict, picture, make_video):
    folder = picture.parent
    damaged, cut, gone = folder / 'damaged.png', make_video(frames=40), folder / 'gone.png'
    damaged.write_bytes(picture.read_bytes()[:300])
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    status, out, err = predict(gone, damaged, cut, picture, '--json')
    assert status == 3
    errors = [line for line in err.splitlines() if line.startswith('error: ')]
    assert errors[0].startswith(f'error: {gone}: not found')
    assert errors[1] == f'error: {damaged}: is cut off (the PNG has no end); copy the file again'
    assert errors[2].startswith(f'error: {cut}: ends early')
    assert len(errors) == 3
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[-1]['source'] == str(picture) and len(lines[-1]['poses']) == 1
    with VideoReader(folder / 'dive_pose.mp4') as reader:
        assert len(list(reader)) == len(lines) - 1  # what was read before the cut is kept
    assert not (folder / 'damaged_pose.png').exists()


def test_nothing_to_read(predict, tmp_path):
    status, out, err = predict(tmp_path)
    assert (status, out) == (1, '')
    assert err.startswith(f'error: {tmp_path}: no image in this folder') and err.count('\n') == 1


def test_damaged_and_unfit_models_are_refused_in_one_line(predict, picture, own_tiny_folder):
    model, object_file = own_tiny_folder / 'model.onnx', own_tiny_folder / 'object.yaml'
    good = model.read_bytes()
    model.write_bytes(good[:5000])
    status, out, err = predict(picture, object_folder=own_tiny_folder)
    assert (status, out, err.count('\n')) == (1, '', 1)
    assert f'error: {model}: is damaged' in err
    model.write_bytes(good)
    object_file.write_text(object_file.read_text().replace('top', 'mast'))
    status, out, err = predict(picture, object_folder=own_tiny_folder)
    assert (status, out, err.count('\n')) == (1, '', 1)
    assert "'mast'" in err and "'top'" in err
    model.unlink()
    status, _, err = predict(picture, object_folder=own_tiny_folder)
    assert status == 1 and 'no model.onnx in this folder' in err
    status, _, err = predict(picture, object_folder=own_tiny_folder / 'gone')
    assert status == 1 and 'not found: wanted a folder with object.yaml' in err


def test_bad_calibrations_are_refused(predict, picture, camera_file, tmp_path):
    good = camera_file.read_text()
    camera_file.write_text(good.replace('image_width: 320', 'image_width: 0'))
    status, out, err = predict(picture, '--camera', camera_file)
    assert (status, out, err.count('\n')) == (1, '', 1)
    assert f'error: {camera_file}' in err and 'width: wanted a whole number of pixels' in err
    status, _, err = predict(picture, '--camera', tmp_path / 'gone.yaml')
    assert status == 1 and 'gone.yaml: cannot be read' in err


def test_what_is_done_with_a_calibration_is_told_once(predict, picture, camera_file):
    good = camera_file.read_text()
    twice = yaml.safe_load(good)
    twice['image_width'], twice['image_height'] = 640, 512
    twice['camera_matrix']['data'] = [
        value * 2 + 0.5 * (i in (2, 5)) for i, value in enumerate(twice['camera_matrix']['data'])
    ]
    twice['camera_matrix']['data'][8] = 1.0
    distances = []
    for content in (yaml.safe_load(good), twice):
        camera_file.write_text(yaml.safe_dump(content))
        status, out, err = predict(picture, picture.parent, '--camera', camera_file, '--json', '--no-save')
        assert status == 0
        distances.append(json.loads(out.splitlines()[0])['poses'][0]['orientation']['position_m'])
    assert err.count(f'note: {camera_file}: the calibration is for 640x512 and is scaled to images of 320x256') == 1
    np.testing.assert_allclose(*distances, rtol=1e-6)


def test_rectified_pictures_have_the_projection_matrix(predict, picture, camera_file):
    content = yaml.safe_load(camera_file.read_text())
    content['distortion_coefficients']['data'] = [-0.3, 0.1, 0.0, 0.0, 0.0]
    content['distortion_coefficients']['cols'] = 5
    found = []
    for projection in (content['projection_matrix'], None):
        camera_file.write_text(yaml.safe_dump({**content, 'projection_matrix': projection}))
        found.append(predict(picture, '--camera', camera_file, '--rectified', '--json', '--no-save'))
    assert found[0][0] == 0 and json.loads(found[0][1])['poses'][0]['orientation'] is not None
    assert (found[1][0], found[1][2].count('\n')) == (1, 1)
    assert f'error: {camera_file}: camera: P: is missing' in found[1][2]
    status, _, err = predict(picture, '--rectified')
    assert (status, err) == (2, 'error: --rectified is about the calibration: give one with --camera\n')


def test_calibration_of_another_shape_leaves_the_keypoints_and_is_told_once(predict, picture, camera_file):
    right = camera_file.read_text()
    camera_file.write_text(right.replace('image_width: 320', 'image_width: 500'))
    again = shutil.copy(picture, picture.with_name('again.png'))
    status, out, err = predict(picture, again, '--camera', camera_file, '--json', '--no-save')
    assert status == 2
    assert err.count(f'error: --camera {camera_file}: the calibration is for 500x256 and the image has 320x256') == 1
    for line in out.splitlines():
        pose = json.loads(line)['poses'][0]
        assert pose['orientation'] is None
        assert np.abs(found_points(pose) - TINY_POINTS).max() < PEAK_PX
    camera_file.write_text(right)
    cv2.imwrite(again, cv2.imread(again)[:200])
    status, out, err = predict(again, picture, '--camera', camera_file, '--json', '--no-save')
    assert (status, err.count('error: ')) == (3, 1)
    assert json.loads(out.splitlines()[1])['poses'][0]['orientation'] is not None


@pytest.mark.parametrize(
    ('kept', 'note'),
    [(0, "object 'tiny' has no model_points"), (3, 'needs at least 4 visible keypoints with a known position, got 3')],
    ids=['no model_points', 'too few'],
)
def test_object_that_cannot_be_oriented_has_keypoints_only(predict, picture, own_tiny_folder, kept, note):
    object_file = own_tiny_folder / 'object.yaml'
    data = yaml.safe_load(object_file.read_text())
    data['model_points'] = dict(list(data['model_points'].items())[:kept]) or None
    object_file.write_text(yaml.safe_dump(data))
    shutil.copy(picture, picture.with_name('scene2.png'))
    status, out, err = predict(
        picture, picture.with_name('scene2.png'), '--json', '--no-save', object_folder=own_tiny_folder
    )
    assert status == 0
    assert [json.loads(line)['poses'][0]['orientation'] for line in out.splitlines()] == [None, None]
    notes = [line for line in err.splitlines() if line.startswith('note: ')]
    assert len(notes) == 1 and note in notes[0] and notes[0].startswith('note: keypoints only, no orientation: ')


def test_coco_file_is_loaded_by_pycocotools(predict, picture, make_video, tmp_path):
    coco_module = pytest.importorskip('pycocotools.coco', reason='pycocotools is not installed')
    target = tmp_path / 'new' / 'detections.json'
    assert predict(picture, make_video(frames=3), '--coco', target, '--no-save')[0] == 0
    coco = coco_module.COCO(str(target))
    assert [image['file_name'] for image in coco.dataset['images']] == [
        'scene.png',
        *(f'dive.avi#{i:06d}' for i in range(3)),
    ]
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[1]))[0]
    points = np.reshape(annotation['keypoints'], (4, 3))
    assert np.abs(points[:, :2] - TINY_POINTS).max() < PEAK_PX
    assert points[:, 2].tolist() == [2] * 4
    results = coco.loadRes(coco.dataset['annotations'])
    assert len(results.getAnnIds()) == 4


def test_the_coco_file_replaces_only_one_of_its_own(predict, picture, tmp_path):
    target = tmp_path / 'a.json'
    for _ in range(2):
        assert predict(picture, '--coco', target, '--no-save')[0] == 0
    target.write_text('{"info": {"description": "labels"}, "images": []}')
    status, out, err = predict(picture, '--coco', target, '--no-save')
    assert (status, out) == (1, '')
    assert 'a.json: is there already and was not written by predict --coco' in err


def test_show_without_a_window_says_so_and_goes_on(predict, picture, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    assert window_problem() is not None
    status, out, err = predict(picture, '--show', '--no-save')
    assert status == 0 and out.startswith(str(picture))
    assert f'note: --show: {window_problem()}' in err


@pytest.mark.skipif(os.path.exists('/dev/video63'), reason='this machine has a camera number 63')
def test_missing_webcam(predict):
    status, out, err = predict(63)
    assert (status, out) == (1, '')
    assert 'note: pictures of a webcam are saved only with --out' in err
    assert 'error: webcam 63: cannot be opened; is there a camera, and is it free?' in err
