"""Clips: limits and smoothness of the motion, a pool that stands still, and files that agree with each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('vtk', reason='vtk is not installed')

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion, rotation_between
from custom_pose_ros.core.object_model import ObjectModel
from training import synthesize
from training.synthetic.rendering.gl_probe import missing_requirement
from training.synthetic.scenes.trajectory import clip_camera, sample_motion
from training.synthetic.settings import load_settings

MISSING = missing_requirement()
needs_gl = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
OBJECT = Path(__file__).resolve().parents[3] / 'config' / 'submarine'
MODEL = ObjectModel.load(OBJECT)
FRAMES = 6


def short_settings(folder: Path) -> Path:
    path = folder / 'settings.yaml'
    path.write_text(yaml.safe_dump({'trajectory': {'seconds': FRAMES / 2, 'rate_hz': 2}}), encoding='utf-8')
    return path


def test_motion_keeps_to_its_limits_and_is_smooth() -> None:
    settings = load_settings().trajectory
    camera = clip_camera(640, 480, settings)
    motion = sample_motion(1, MODEL, camera, settings)
    assert len(motion.stamps) == settings.seconds * settings.rate_hz
    rotations = motion.camera_object.rotation
    pixels = camera.project(motion.camera_object.apply(MODEL.model_points).reshape(-1, 3))
    assert (pixels > 0).all() and (pixels < (639, 479)).all()
    middle = motion.camera_object.apply(np.array([[0.265, 0, 0]]))[:, 0]
    distance = np.linalg.norm(middle, axis=1)
    assert 0.85 < distance.min() < distance.max() < 2.05
    tilt = np.arccos(-np.einsum('ni,ni->n', rotations[:, :, 2], middle / distance[:, None]))
    assert 0.8 * settings.max_tilt_deg < np.rad2deg(tilt.max()) <= settings.max_tilt_deg
    assert np.allclose(np.linalg.det(rotations), 1)
    turns = [rotation_between(a, b) for a, b in zip(rotations, rotations[1:])]
    assert max(turns) < np.deg2rad(12)  # per 1/15 s: quick turns, no jumps
    assert np.linalg.norm(np.diff(middle, axis=0), axis=1).max() < 0.08  # m per 1/15 s
    assert rotation_between(rotations[-1], rotations[0]) < np.deg2rad(12)  # it closes


def test_a_motion_that_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('training.synthetic.scenes.trajectory.MAX_TRIES', 5)
    settings = load_settings().trajectory
    settings.distance = (0.5, 0.6)
    with pytest.raises(ConfigError, match=r'5 tries.*\[0.5, 0.6\]'):
        sample_motion(1, MODEL, clip_camera(640, 480, settings), settings)


def test_the_floor_stands_still_while_the_camera_moves() -> None:
    from training.synthetic.scenes.pool import Pool

    pool = Pool(2)
    rays = np.dstack([
        *np.meshgrid(np.linspace(-0.3, 0.3, 40), np.linspace(-0.3, 0.3, 30)),
        np.full((30, 40), -1.0),
    ]).astype(np.float32)
    shadow, corner = np.zeros((512, 512), np.float32), np.zeros(2)
    points = pool.floor_points(rays, np.array([0.0, 0, 2.0]))
    moved = pool.floor_points(rays - np.float32([0.1, 0, 0]), np.array([0.2, 0, 2.0]))  # the same points from elsewhere
    assert np.abs(points - moved).max() < 1e-5
    still, later = (pool.floor_picture(p, time, shadow, corner) for p, time in ((points, 1.0), (moved, 1.0)))
    assert np.abs(still - later).max() < 1e-3
    assert np.abs(pool.floor_picture(points, 2.0, shadow, corner) - still).max() > 0.05  # the caustics drift
    step = np.abs(pool.floor_picture(points, 1.0 + 1 / 15, shadow, corner) - still).mean()
    assert step < 0.03  # but do not flicker


def make_clip(folder: Path) -> int:
    arguments = [
        '--object', str(OBJECT), '--out', str(folder / 'out'), '--size', '160x120', '--trajectory', '--bag',
        '--seed', '1',
    ]  # fmt: skip
    return synthesize.main([*arguments, '--settings', str(short_settings(folder))])


@pytest.fixture(scope='module')
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('clip')
    assert make_clip(folder) == 0
    return folder / 'out'


@needs_gl
def test_clip_and_ground_truth_agree_with_the_camera_file(clip: Path) -> None:
    truth = json.loads((clip / 'ground_truth.json').read_text())
    camera = CameraIntrinsics.from_yaml(clip / 'camera.yaml')
    assert camera.has_distortion and (camera.width, camera.height) == (160, 120)
    assert truth['keypoints'] == list(MODEL.keypoint_names)
    assert set(truth['fields']) == set(truth['frames'][0])
    assert len(truth['frames']) == FRAMES
    for frame in truth['frames']:
        R, t = np.array(frame['R_camera_object']).reshape(3, 3), np.array(frame['t_camera_object'])
        pixels = camera.project(MODEL.model_points @ R.T + t)
        assert np.abs(pixels - frame['keypoints_px']).max() < 0.01  # poses are written with 6 digits
        assert len(frame['visible']) == 4
    assert [frame['stamp_s'] for frame in truth['frames']] == pytest.approx(np.arange(FRAMES) / 2)


@needs_gl
def test_clip_is_read_by_opencv_and_shows_the_blue_tape(clip: Path) -> None:
    capture = cv2.VideoCapture(str(clip / 'clip.mp4'))
    images = [capture.read()[1] for _ in range(FRAMES)]
    assert not capture.read()[0]
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(2)
    camera = CameraIntrinsics.from_yaml(clip / 'camera.yaml')
    for image, frame in zip(images, json.loads((clip / 'ground_truth.json').read_text())['frames']):
        R, t = np.array(frame['R_camera_object']).reshape(3, 3), np.array(frame['t_camera_object'])
        x, y = np.int32(np.round(camera.project((R @ (0.325, 0, 0.06) + t)[None])[0]))  # on the wide band
        blue, _, red = image[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1))
        assert blue > red + 40


@needs_gl
def test_bag_holds_images_camera_and_true_poses(clip: Path) -> None:
    rosbags = pytest.importorskip('rosbags.highlevel', reason='rosbags is not installed')
    truth = json.loads((clip / 'ground_truth.json').read_text())['frames']
    from rosbags.typesys import Stores, get_typestore

    found: dict[str, list] = {}
    with rosbags.AnyReader([clip / 'bag'], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    assert {topic: len(messages) for topic, messages in found.items()} == {
        '/camera/image/compressed': FRAMES, '/camera/camera_info': FRAMES, '/tf': FRAMES, '/ground_truth/pose': FRAMES,
    }  # fmt: skip
    camera = CameraIntrinsics.from_yaml(clip / 'camera.yaml')
    for k in range(FRAMES):
        pose, (transform,) = found['/ground_truth/pose'][k], found['/tf'][k].transforms
        stamp = pose.header.stamp
        assert stamp.sec + stamp.nanosec * 1e-9 - 1 == pytest.approx(truth[k]['stamp_s'])
        assert transform.header == pose.header == found['/camera/camera_info'][k].header
        assert (pose.header.frame_id, transform.child_frame_id) == ('camera_optical_frame', 'submarine_ground_truth')
        q = pose.pose.orientation
        R = matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w]))
        assert np.abs(R.ravel() - truth[k]['R_camera_object']).max() < 1e-6
        position = pose.pose.position
        assert (position.x, position.y, position.z) == pytest.approx(truth[k]['t_camera_object'], abs=1e-5)
        info = found['/camera/camera_info'][k]
        assert (info.width, info.height, info.distortion_model) == (160, 120, 'plumb_bob')
        assert info.k == pytest.approx(camera.K.ravel())
        assert info.d == pytest.approx(camera.D)
        image = cv2.imdecode(found['/camera/image/compressed'][k].data, cv2.IMREAD_COLOR)
        assert image.shape == (120, 160, 3)


@needs_gl
@pytest.mark.parametrize('foreign', ['notes.txt', 'recording_0.mcap', 'metadata.yaml', 'bag.mcap', ''])
def test_a_recording_of_somebody_else_is_kept(tmp_path: Path, capsys, foreign: str) -> None:
    bag = tmp_path / 'out' / 'bag'
    bag.mkdir(parents=True)
    (bag / (foreign or 'notes.txt')).write_text('rosbag2_bagfile_information: {custom_data: null}')
    if not foreign:  # the place of the bag is a file
        shutil.rmtree(bag)
        bag.write_text('mine')
    assert make_clip(tmp_path) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'error: {bag}') and error.count('\n') == 1
    assert 'was not written by training/synthesize.py: move it away' in error
    assert sorted((tmp_path / 'out').rglob('*')) == ([bag, bag / foreign] if foreign else [bag])


@needs_gl
def test_an_own_bag_is_replaced_but_not_what_was_put_into_it(clip: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip('rosbags', reason='rosbags is not installed')
    shutil.copytree(clip, tmp_path / 'out')
    bag = tmp_path / 'out' / 'bag' / 'bag.mcap'
    before = bag.stat().st_ino
    assert make_clip(tmp_path) == 0
    assert bag.stat().st_ino != before
    note = bag.with_name('notes.txt')
    note.write_text('mine')
    assert make_clip(tmp_path) == 1
    assert f'{note}: is there already and was not written by' in capsys.readouterr().err
    assert note.is_file()


def test_the_shipped_clip_is_complete() -> None:
    demo = OBJECT / 'demo'
    truth = json.loads((demo / 'ground_truth.json').read_text())
    camera = CameraIntrinsics.from_yaml(demo / 'camera.yaml')
    capture = cv2.VideoCapture(str(demo / 'clip.mp4'))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == len(truth['frames'])
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (
        camera.width,
        camera.height,
    )
    assert (demo / 'clip.mp4').stat().st_size <= 3_000_000
    pixels = np.array([frame['keypoints_px'] for frame in truth['frames']])
    assert (pixels > 0).all() and (pixels < (camera.width - 1, camera.height - 1)).all()
