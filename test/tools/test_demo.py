"""The demo with a tiny object: four real processes over real DDS, figures by value, no process left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from tiny_model import draw_tiny_object

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.tools.children import free_domain, ros_environment
from custom_pose_ros.tools.demo import Playback, main
from custom_pose_ros.tools.demo_results import format_summary, representative_frame, summarise
from custom_pose_ros.tools.media import Clip, VideoReader

FRAMES, FPS = 45, 15.0
DEADLINE_S = 200  # a machine that is busy with other work needs a minute to import everything four times
START = 'import sys; from custom_pose_ros.tools.demo import main; sys.exit(main())'
needs_ros = pytest.mark.skipif(
    not all(__import__('importlib.util').util.find_spec(name) for name in ('rclpy', 'custom_pose_msgs')),
    reason='rclpy and custom_pose_msgs are needed: make test installs and builds them',
)


@pytest.fixture(scope='module')
def clip_folder(tmp_path_factory, tiny_model, camera) -> Path:
    """A clip of the tiny object turning in front of the camera, with calibration and ground truth."""
    folder = tmp_path_factory.mktemp('clip')
    writer = cv2.VideoWriter(
        str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), FPS, (camera.width, camera.height)
    )
    frames = []
    for i in range(FRAMES):
        share = i / FRAMES
        R = matrix_from_roll_pitch_yaw(np.deg2rad([100.0 + 20 * share, 20.0 - 10 * share, 40.0 + 30 * share]))
        t = np.array([0.05 - 0.1 * share, -0.02, 1.4])
        points = camera.project(tiny_model.model_points @ R.T + t)
        writer.write(draw_tiny_object(points, (camera.width, camera.height)))
        frames.append({
            'keypoints_px': points.tolist(),
            'R_camera_object': R.ravel().tolist(),
            't_camera_object': t.tolist(),
        })
    writer.release()
    (folder / 'ground_truth.json').write_text(
        json.dumps({'keypoints': list(tiny_model.keypoint_names), 'frames': frames})
    )
    (folder / 'camera.yaml').write_text(yaml.safe_dump(camera.to_yaml_dict()))
    return folder


@pytest.fixture
def slow_clip_folder(clip_folder, tmp_path) -> Path:
    """The same clip, of a frame every two seconds: it is still played when a busy machine gets to a signal."""
    folder = Path(shutil.copytree(clip_folder, tmp_path / 'slow'))
    reader = cv2.VideoCapture(str(clip_folder / 'clip.mp4'))
    frames = [reader.read()[1] for _ in range(FRAMES)]
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 0.5, size)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return folder


def start_demo(object_folder, clip_folder, out):
    return subprocess.Popen(
        [sys.executable, '-c', START, '--object', str(object_folder), '--clip', str(clip_folder), '--out', str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def leftovers(out):
    """Command lines of living processes that were started for this output folder or its domain."""
    domain = re.search(r'ROS_DOMAIN_ID (\d+)', out)
    wanted = f'ROS_DOMAIN_ID={domain.group(1)}\0'.encode()
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            if wanted in (folder / 'environ').read_bytes():
                found.append((folder / 'cmdline').read_bytes())
        except OSError:
            continue
    return found


@needs_ros
def test_demo_end_to_end(tiny_folder, clip_folder, tmp_path):
    out = tmp_path / 'demo'
    process = start_demo(tiny_folder, clip_folder, out)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    assert leftovers(stdout) == []
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['frames_sent'] == FRAMES
    # Nothing is lost on the way, unless a busy machine holds pose_node up for so long that its queue runs over.
    assert 0.9 * FRAMES <= summary['frames_processed'] + summary['frames_dropped'] <= FRAMES
    assert summary['frames_processed'] > 0
    assert summary['detection_rate'] == pytest.approx(summary['frames_processed'] / FRAMES, abs=1e-4)
    assert summary['keypoint_error_px']['mean'] < 1.0  # discs blurred by MPEG-4, cells of 8 px
    assert summary['rotation_error_deg']['median'] < 3.0  # 1 px of some 130 px between keypoints, more towards the view
    assert summary['translation_error_m']['median'] < 0.05 * 1.4
    assert 0 < summary['latency_ms']['p50'] <= summary['latency_ms']['p95'] < 60_000
    assert summary['fps'] < 1.2 * FPS  # played at the clip's rate, not as fast as possible
    assert format_summary(summary) in stdout
    with VideoReader(out / 'annotated.mp4') as reader:
        assert len(list(reader)) == FRAMES
    assert cv2.imread(str(out / 'overlay.png')).shape == (256, 320, 3)
    assert sorted(p.name for p in out.iterdir()) == ['annotated.mp4', 'log', 'overlay.png', 'recording', 'summary.json']
    with Bag([out / 'recording']) as bag:
        assert {'/poses', '/orientations', '/camera_info', '/truth'} == set(bag.topics)
        assert not bag.notes.lines()
        # The images shown until the nodes were ready are not in it.
        assert (bag.topics['/truth'].count, bag.topics['/poses'].count) == (FRAMES, summary['frames_processed'])


def test_without_ros_one_line_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert main(['--out', str(tmp_path / 'demo')]) == 1
    shown = capsys.readouterr()
    assert shown.out == ''
    (line,) = shown.err.splitlines()
    assert 'rclpy, custom_pose_msgs missing' in line and 'make demo' in line
    assert not (tmp_path / 'demo').exists()
    (tmp_path / 'summary.json').write_text('{}')
    assert main(['--out', str(tmp_path)]) == 1
    assert 'summary.json: is there already and was not written by demo' in capsys.readouterr().err
    (tmp_path / 'log').mkdir()  # as an interrupted run leaves it
    assert main(['--out', str(tmp_path)]) == 1
    assert 'summary.json: is there already' in capsys.readouterr().err


@needs_ros
def test_dead_process_is_told_with_its_log(own_tiny_folder, clip_folder, tmp_path):
    (own_tiny_folder / 'model.onnx').write_bytes(b'broken')
    process = start_demo(own_tiny_folder, clip_folder, tmp_path / 'demo')
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert 'error: pose_node ended with exit status 1:\n' in stderr
    assert 'model.onnx: is damaged or not an ONNX model' in stderr
    assert 'Traceback' not in stderr
    assert leftovers(stdout) == []


@needs_ros
def test_clip_without_the_object_fails(tiny_folder, clip_folder, tmp_path):
    empty = tmp_path / 'clip'
    empty.mkdir()
    for name in ('camera.yaml', 'ground_truth.json'):
        (empty / name).write_bytes((clip_folder / name).read_bytes())
    writer = cv2.VideoWriter(str(empty / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), FPS, (320, 256))
    for _ in range(FRAMES):
        writer.write(np.zeros((256, 320, 3), np.uint8))
    writer.release()
    process = start_demo(tiny_folder, empty, tmp_path / 'demo')
    _stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert f'error: no tiny was found in any of {FRAMES} frames; logs are in {tmp_path}/demo/log' in stderr


@needs_ros
@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_demo_leaves_no_process(tiny_folder, slow_clip_folder, tmp_path, number, status):
    process = start_demo(tiny_folder, slow_clip_folder, tmp_path / 'demo')
    first = process.stdout.readline()
    deadline = time.monotonic() + DEADLINE_S
    while len(leftovers(first)) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(leftovers(first)) >= 4
    process.send_signal(number)
    _, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == status
    assert 'Traceback' not in stderr
    while leftovers(first) and time.monotonic() < deadline:  # one that was just being started ends with its parent
        time.sleep(0.1)
    assert leftovers(first) == []
    assert not (tmp_path / 'demo' / 'summary.json').exists()


def test_clip_files_are_named_when_missing(clip_folder, tiny_model, tmp_path):
    with pytest.raises(
        ConfigError, match='clip.mp4: no such file; the demo wants clip.mp4, camera.yaml and ground_truth.json'
    ):
        Clip.find(tmp_path)
    clip = Clip.find(clip_folder)
    assert len(clip.true_poses(tiny_model)) == FRAMES
    bad = replace(clip, truth=tmp_path / 'ground_truth.json')
    names = json.dumps(tiny_model.keypoint_names)
    for text, reason in (
        ('{', 'is cut off: it ends early'),
        ('{"frames": []}', r"is not a ground truth of the demo \(KeyError\('keypoints'\)\)"),
        ('{"keypoints": ["a"], "frames": []}', 'is about keypoints a, wanted front, left, right, top'),
        (f'{{"keypoints": {names}, "frames": []}}', 'has no frames'),
        (f'{{"keypoints": {names}, "frames": [{{"R_camera_object": [1]}}]}}', 'is not a ground truth'),
    ):
        bad.truth.write_text(text)
        with pytest.raises(DatasetError, match=f'ground_truth.json: {reason}'):
            bad.true_poses(tiny_model)
    with pytest.raises(DatasetError, match=r'gone.json: cannot be read \(No such file or directory\)'):
        replace(clip, truth=tmp_path / 'gone.json').true_poses(tiny_model)


def test_ground_truth_of_another_clip_is_refused(tiny_folder, clip_folder, tmp_path, capsys):
    clip = shutil.copytree(clip_folder, tmp_path / 'clip')
    data = json.loads((clip / 'ground_truth.json').read_text())
    data['frames'].pop()
    (clip / 'ground_truth.json').write_text(json.dumps(data))
    status = main(['--object', str(tiny_folder), '--clip', str(clip), '--out', str(tmp_path / 'demo')])
    assert status == 1
    assert 'ground_truth.json: is about 44 frames and clip.mp4 has 45' in capsys.readouterr().err
    assert not (tmp_path / 'demo').exists()


def test_environment_is_local_and_fit_for_images(monkeypatch):
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS', raising=False)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    environment = ros_environment(free_domain())
    assert 1 <= int(environment['ROS_DOMAIN_ID']) <= 100
    assert environment['FASTDDS_BUILTIN_TRANSPORTS'] == 'LARGE_DATA'
    assert environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    assert environment['PYTHONPATH'].split(os.pathsep)[0] == str(Path(__file__).parents[2])
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    environment = ros_environment(1)
    assert (environment['FASTDDS_BUILTIN_TRANSPORTS'], environment['ROS_LOCALHOST_ONLY']) == ('UDPv4', '1')


SQUARE = np.array([[10.0, 10.0], [60.0, 10.0], [60.0, 60.0], [10.0, 60.0]])


def a_score(number: int, shift_px: float, turn_deg: float, **changes) -> FrameScore:
    """Frame `number` of a clip at 10 Hz, off by a shift in x and a turn about z, heard 20 ms (and 1 for each) later."""
    stamp = 10**18 + number * 10**8
    pose = KeypointPose(
        keypoints=SQUARE, covariances=np.tile(np.eye(2), (4, 1, 1)), scores=np.full(4, 0.9),
        visible=np.full(4, True), score=0.9, track_id=0,
    )  # fmt: skip
    truth = Rigid(np.eye(3), np.array([0.0, 0.0, 2.0]))
    shift_m = np.array([0.0, 0.0, 0.01 * number])
    estimate = OrientationEstimate(
        pose=Rigid(matrix_from_roll_pitch_yaw(np.deg2rad([0.0, 0.0, turn_deg])), truth.translation + shift_m),
        covariance=np.eye(6), reprojection_error_px=0.5, ambiguity=0.0, track_id=0, keypoints_used=4,
    )  # fmt: skip
    latency_ms = 20.0 + number
    result = FrameResult(stamp, stamp + round(latency_ms * 1e6), 100, 80, estimates=[estimate], latency_ms=latency_ms)
    result.set_poses([pose], 4)
    score = FrameScore(
        result, expected=True, found=True, instance=0, track_id=0, instances=1, estimate=estimate, truth=truth,
        keypoint_errors_px=np.full(4, shift_px), rotation_error_rad=np.array([0.0, 0.0, -np.deg2rad(turn_deg)]),
        position_error_m=-shift_m,
    )  # fmt: skip
    return replace(score, **changes)


def test_summary_by_value():
    scores = [
        a_score(i, shift, turn) for i, (shift, turn) in enumerate([(1.0, 1.0), (2.0, -2.0), (3.0, 3.0), (4.0, 4.0)])
    ]
    summary = summarise(scores, frames_sent=5, frames_dropped=1)
    assert summary['frames_sent'] == 5
    assert summary['frames_processed'] == 4
    assert summary['detection_rate'] == summary['orientation_rate'] == 0.8
    assert summary['keypoint_error_px'] == {'mean': 2.5, 'p95': 4.0}
    assert summary['rotation_error_deg'] == {'median': 2.5, 'p90': 3.7}
    assert summary['translation_error_m'] == {'median': 0.015}
    assert summary['latency_ms'] == {'p50': 21.5, 'p95': 22.85}
    assert summary['fps'] == pytest.approx(10.0, abs=0.2)
    assert summary['frames_dropped'] == 1
    table = format_summary(summary)
    assert 'frames dropped for a newer one  1, lost on the way 0' in table
    assert 'object found                    80.0 % of the frames sent, 100.0 % of those processed' in table
    assert 'position error                  median 15.0 mm' in table


def test_summary_of_frames_without_an_object_has_no_figures():
    empty = FrameResult(10**18, 10**18, 100, 80)
    summary = summarise([FrameScore(empty, expected=True, found=False)], 5, 0)
    assert (summary['frames_sent'], summary['frames_processed'], summary['detection_rate']) == (5, 1, 0.0)
    assert summary['keypoint_error_px'] == {'mean': None, 'p95': None}
    assert summary['latency_ms']['p95'] is None and summary['fps'] is None
    assert 'latency image to orientation    p50 - ms, p95 - ms' in format_summary(summary)


def test_still_is_the_largest_oblique_view_of_the_exact_half():
    oblique = Rigid(matrix_from_roll_pitch_yaw(np.deg2rad([45.0, 35.26, 0.0])), np.array([0.0, 0.0, 2.0]))
    scores = {i: a_score(i, 0.0, turn, truth=oblique) for i, turn in enumerate([1.0, 2.0, 9.0, 1.5, 8.0])}
    scores[3].result.keypoints[..., :2] *= 2  # the largest view; frames 0, 3, 1 are the better half
    assert representative_frame(scores) == 3
    scores[3].truth = Rigid(np.eye(3), np.array([0.0, 0.0, 2.0]))  # seen along z
    assert representative_frame(scores) in (0, 1)
    assert representative_frame({0: replace(scores[0], estimate=None)}) is None


def test_a_playback_is_complete_when_the_last_frame_has_come_back():
    playback = Playback()
    lines = [{'frame': 0, 'stamp_ns': 10}, {'frame': 1, 'stamp_ns': 20}, {'dropped': 3}, {'done': 2}]
    for line in [*lines, {'topic': 'poses', 'stamp_ns': 20}, {'topic': 'orientations', 'stamp_ns': 10}]:
        playback.add(line)
        assert not playback.is_complete
    playback.add({'topic': 'orientations', 'stamp_ns': 20})
    assert playback.is_complete
    assert (playback.dropped, playback.reports, playback.sent) == (3, 1, {0: 10, 1: 20})
