"""Whole evaluations of real bags with a real network: independent figures, calibrations, damage."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import (
    CAMERA,
    CAMERA_INFO,
    IMAGE,
    POINTS,
    ROS1,
    SIZE,
    TRUTH,
    Messages,
    Truth,
    tiny_entries,
    trajectory,
    write_bag,
    write_ros1_bag,
)
from outlined_box import box_views
from tiny_model import draw_tiny_object

from custom_pose_ros.core.errors import DatasetError, UsageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.evaluation.evaluator import Evaluation
from custom_pose_ros.evaluation.truth.source import TruthSettings
from custom_pose_ros.inference.estimator import PoseEstimator

WITH_TRUTH = {'truth': TruthSettings(topic=TRUTH)}
Evaluate = Callable[..., Evaluation]


def independent_errors(folder: Path, poses: list[Truth]) -> dict[str, np.ndarray]:
    """
    The errors of the same estimators on the same pictures, without anything of the evaluation.

    Angles by the trace of the relative rotation, true keypoints by a projection written out, truth from the formula.
    """
    estimator = PoseEstimator.load(folder)
    tracker, orienter = PoseTracker(estimator.model), OrientationEstimator(estimator.model, CAMERA)
    errors: dict[str, list[float]] = {'rotation_error_deg': [], 'translation_error_m': [], 'keypoint_error_px': []}
    for truth in poses:
        stamp_s = truth.stamp_ns * 1e-9
        found = tracker.update(estimator(draw_tiny_object(truth.pixels, SIZE)), stamp_s)
        camera_points = (truth.R @ POINTS.T).T + truth.t
        pixels = camera_points @ CAMERA.K.T / camera_points[:, 2:]
        if found:
            distances = np.hypot(*(found[0].keypoints - pixels[:, :2]).T)
            errors['keypoint_error_px'].append(distances[found[0].visible].mean())
        for estimate in orienter.update(found, stamp_s):
            if estimate.keypoints_used:
                cosine = (np.trace(estimate.R_camera_object.T @ truth.R) - 1.0) / 2.0
                errors['rotation_error_deg'].append(math.degrees(math.acos(min(1.0, cosine))))
                errors['translation_error_m'].append(math.dist(estimate.t_camera_object, truth.t))
    return {name: np.array(values) for name, values in errors.items()}


def test_an_outline_that_does_not_fit_is_counted_and_changes_nothing(evaluate: Evaluate, dive, tiny_folder, tmp_path):
    views = dataclasses.replace(box_views(20), model=ObjectModel.load(tiny_folder))
    views.save(tmp_path / 'outline.npz')
    metrics = evaluate(dive[0], outline=str(tmp_path / 'outline.npz'), **WITH_TRUTH).metrics
    outline = metrics.pop('outline')
    assert (outline['mesh'], outline['share_of_frames'], outline['agreement']['count']) == ('box', 0.0, 0)
    for name in ('rotation_error_deg', 'translation_error_m'):
        assert outline['without'][name].items() <= metrics[name].items()
    assert metrics == evaluate(dive[0], **WITH_TRUTH).metrics


def test_reported_errors_equal_independent_ones(evaluate: Evaluate, dive, tiny_folder):
    metrics = evaluate(dive[0], **WITH_TRUTH).metrics
    for name, values in independent_errors(tiny_folder, dive[1]).items():
        assert metrics[name]['count'] == len(values)
        for statistic, value in (
            ('mean', values.mean()),
            ('median', np.median(values)),
            ('p90', np.percentile(values, 90)),
        ):
            # 1 % is the promise; the truth in the bag is sampled at 100 Hz and interpolated.
            assert metrics[name][statistic] == pytest.approx(value, rel=0.01), f'{name}.{statistic}'
    assert metrics['detection']['rate'] == 1.0


def test_two_runs_give_the_same_bytes(evaluate: Evaluate, dive):
    """Also when another number of images is worked on at once."""
    first, second = (evaluate(dive[0], threads=threads, **WITH_TRUTH) for threads in (1, 3))
    assert first.metrics_text() == second.metrics_text()
    assert first.frames_text() == second.frames_text()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3', 'ros1'])
def test_the_format_of_the_bag_makes_no_difference(evaluate: Evaluate, dive, tmp_path, storage):
    poses = dive[1]
    if storage == 'ros1':
        path = write_ros1_bag(tmp_path / 'dive', tiny_entries(poses, Messages(ROS1))).rename(tmp_path / 'dive.bag')
    else:
        path = write_bag(tmp_path / 'dive', tiny_entries(poses), storage, 'message')
    evaluation = evaluate(path, **WITH_TRUTH)
    wanted = evaluate(dive[0], **WITH_TRUTH)
    assert evaluation.frames_text() == wanted.frames_text()
    assert not evaluation.damaged


def test_labels_are_compared(evaluate: Evaluate, dive, tmp_path):
    points = dive[1][7].pixels + [3.0, 4.0]
    keypoints = [value for x, y in points.tolist() for value in (x, y, 2)]
    file = tmp_path / 'labels.json'
    file.write_text(json.dumps({
        'images': [{'id': 1, 'file_name': 'frame_7.png'}, {'id': 2, 'file_name': 'frame_700.png'}],
        'annotations': [{'id': 1, 'image_id': 1, 'category_id': 1, 'keypoints': keypoints}],
        'categories': [{'id': 1, 'name': 'tiny', 'keypoints': ['front', 'left', 'right', 'top']}],
    }))  # fmt: skip
    metrics = evaluate(dive[0], labels=file).metrics
    assert (metrics['labels']['frames'], metrics['labels']['found']) == (1, 1)
    assert metrics['labels']['keypoint_error_px']['mean'] == pytest.approx(5.0, abs=0.3)  # and the error of the network
    assert '1 labelled frames are not in the part of the bag that was read' in metrics['notes']['information']
    assert any('as frame_7.png for frame 7' in line for line in metrics['notes']['information'])
    content = json.loads(file.read_text())
    content['images'][0].update(width=2 * SIZE[0], height=2 * SIZE[1])  # of another recording
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match='frame_7.png has 640x512 px, and frame 7, .*320x256'):
        evaluate(dive[0], labels=file)


def test_without_truth_and_calibration_keypoints_are_still_scored(evaluate: Evaluate, dive, tmp_path):
    entries = [e for e in tiny_entries(dive[1][:10]) if e[0] == IMAGE]
    path = write_bag(tmp_path / 'bag', entries)
    metrics = evaluate(path).metrics
    assert metrics['detection']['rate'] == 1.0
    assert metrics['orientation']['measured'] == 0
    assert any('give --camera FILE' in line for line in metrics['notes']['information'])
    assumed = evaluate(path, fov_deg=60.0).metrics
    assert assumed['orientation']['measured'] > 5
    assert assumed['configuration']['camera'] == 'assumed, horizontal field of view 60 deg'


def test_an_assumed_field_of_view_gives_way_to_a_calibration_and_it_is_said(evaluate: Evaluate, dive):
    metrics = evaluate(dive[0], fov_deg=20.0, duration_s=0.2).metrics
    assert metrics['configuration']['camera'] == CAMERA_INFO
    assert metrics['notes']['information'].count(f'--fov-deg 20: is not used, as {CAMERA_INFO} has a calibration') == 1


def test_a_calibration_file_replaces_camera_info(evaluate: Evaluate, dive, tmp_path):
    file = tmp_path / 'front.yaml'
    wrong = CameraIntrinsics.from_fov(*SIZE, math.radians(80.0))
    file.write_text(yaml.safe_dump(wrong.to_yaml_dict()))
    metrics = evaluate(dive[0], camera=file, **WITH_TRUTH).metrics
    assert metrics['configuration']['camera'] == 'front.yaml'
    (said,) = [line for line in metrics['notes']['information'] if 'they differ by up to' in line]
    assert said.startswith('front.yaml: --camera is used, focal length 190.') and CAMERA_INFO in said
    file.write_text(yaml.safe_dump(CAMERA.to_yaml_dict()))  # as it is in the bag: nothing to say
    assert not any('they differ' in line for line in evaluate(dive[0], camera=file).metrics['notes']['information'])
    # A focal length of 0.69 times the true one puts the object at 0.69 times its distance.
    assert metrics['distance_error_share']['median'] == pytest.approx(0.31, abs=0.05)


def test_only_a_part_of_the_bag(evaluate: Evaluate, dive):
    metrics = evaluate(dive[0], start_s=0.5, duration_s=0.4).metrics
    assert metrics['frames']['scored'] == 12  # 0.4 s of frames every 33 ms


def test_images_of_changing_size_are_scored_and_said(evaluate: Evaluate, tmp_path):
    poses = trajectory(12)
    make, entries = Messages(), tiny_entries(poses[:6])
    double = CameraIntrinsics(2 * SIZE[0], 2 * SIZE[1], CAMERA.K, (), 'plumb_bob').scaled_to(2 * SIZE[0], 2 * SIZE[1])
    for pose in poses[6:]:
        pixels = CAMERA.scaled_to(2 * SIZE[0], 2 * SIZE[1]).project(POINTS @ pose.R.T + pose.t)
        image = make.image(pose.stamp_ns, draw_tiny_object(pixels, (double.width, double.height)))
        entries.append((IMAGE, 'sensor_msgs/msg/Image', pose.stamp_ns + 5_000_000, image))
    for pose in poses:
        entries.append((TRUTH, 'geometry_msgs/msg/PoseStamped', pose.stamp_ns + 1, make.pose_stamped(pose)))
    path = write_bag(tmp_path / 'bag', sorted(entries, key=lambda e: e[2]))
    metrics = evaluate(path, **WITH_TRUTH).metrics
    assert metrics['frames']['image_sizes'] == {'320x256': 6, '640x512': 6}
    assert metrics['rotation_error_deg']['max'] < 1.0  # the calibration is scaled along
    assert f'{IMAGE}: the image size changes to 640x512 px' in metrics['notes']['information']


def test_unusable_images_and_calibrations_are_said_and_the_rest_scored(evaluate: Evaluate, tmp_path):
    poses = trajectory(10)
    entries = tiny_entries(poses)
    images = [e[3] for e in entries if e[0] == IMAGE]
    images[2].encoding = 'cmyk'
    images[3].data = images[3].data[:100]
    infos = [e[3] for e in entries if e[0] == CAMERA_INFO]
    infos[0].k = np.zeros(9)
    evaluation = evaluate(write_bag(tmp_path / 'bag', entries), **WITH_TRUTH)
    assert evaluation.damaged
    assert evaluation.metrics['frames'] == {
        'scored': 8, 'unreadable': 2, 'with_truth': 8, 'image_sizes': {'320x256': 8}, 'missing_results': None,
    }  # fmt: skip
    damage = ' '.join(evaluation.metrics['notes']['damage'])
    assert (
        "encoding 'cmyk' is unknown" in damage
        and 'image data of 100 bytes' in damage
        and 'is not a calibration' in damage
    )


def test_a_cut_bag_is_scored_as_far_as_it_goes(evaluate: Evaluate, dive, tmp_path):
    path = Path(shutil.copytree(dive[0], tmp_path / 'cut'))
    file = path / 'dive.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    evaluation = evaluate(path, **WITH_TRUTH)
    assert evaluation.damaged
    assert 15 <= len(evaluation.scores) <= 22  # of 40
    assert evaluation.metrics['rotation_error_deg']['p90'] < 0.4


@pytest.mark.parametrize('truth', [TruthSettings(topic='/not/in/it'), TruthSettings(tf=('not_in_it',))])
def test_a_cut_bag_that_may_have_lost_the_truth_is_scored_without(evaluate: Evaluate, dive, tmp_path, truth):
    path = Path(shutil.copytree(dive[0], tmp_path / 'cut'))
    file = path / 'dive.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 8])
    metrics = evaluate(path, truth=truth).metrics
    assert metrics['bag']['truth'] is None
    assert metrics['detection']['rate'] == 1.0
    assert any(line.startswith('scored without truth: --truth') for line in metrics['notes']['damage'])


@pytest.mark.parametrize(
    ('entries', 'options', 'error', 'text'),
    [
        (
            lambda p: [e for e in tiny_entries(p) if e[0] != IMAGE],
            {},
            UsageError,
            'no message on the image topic /empty/image',
        ),
        (lambda p: tiny_entries(p), {'image': '/front'}, UsageError, '--image /front: is not in the bag'),
        (
            lambda p: tiny_entries(p),
            {'truth': TruthSettings(topic='/mocap')},
            UsageError,
            '--truth /mocap: is not in the bag; .*/truth/pose',
        ),
        (lambda p: tiny_entries(p), {'truth': TruthSettings(tf=('a',))}, UsageError, '--truth-tf: the bag has no /tf'),
        (lambda p: tiny_entries(p), {'recorded': 'poses'}, UsageError, '--recorded poses: is not in the bag'),
        (lambda p: [], {}, DatasetError, 'no message can be read; it is empty'),
    ],
)
def test_what_cannot_be_scored_is_refused(evaluate: Evaluate, tmp_path, entries, options, error, text):
    path = write_bag(tmp_path / 'bag', entries(trajectory(3)), empty_topics=[('/empty/image', 'sensor_msgs/msg/Image')])
    with pytest.raises(error, match=text):
        evaluate(path, **options)


def test_recorded_results_score_like_those_that_were_recorded(evaluate: Evaluate, dive, tmp_path):
    """A copy with results is written, then its topics are scored: the same numbers from other code."""
    copy = tmp_path / 'copy'
    offline = evaluate(dive[0], write_bag=copy, **WITH_TRUTH)
    recorded = evaluate(copy, recorded='poses,orientations', **WITH_TRUTH)
    for name in (
        'detection',
        'rotation_error_deg',
        'translation_error_m',
        'keypoint_error_px',
        'consistency',
        'jitter',
    ):
        assert recorded.metrics[name] == offline.metrics[name], name
    assert recorded.metrics['latency_ms']['median'] == 5.0  # the copy has results at the time of their image
    assert recorded.metrics['frames']['missing_results'] == 0
    assert (
        evaluate(copy, recorded='orientations', **WITH_TRUTH).metrics['rotation_error_deg']
        == offline.metrics['rotation_error_deg']
    )


def test_a_bag_that_was_played_in_a_loop_counts_every_frame(evaluate: Evaluate, dive, tmp_path):
    """Stamps jump back where the loop begins again; ids begin anew, nothing is lost or mixed."""
    once = tiny_entries(dive[1][:15])
    length_ns = once[-1][2] - once[0][2] + 1
    twice = once + [(topic, kind, time_ns + length_ns, message) for topic, kind, time_ns, message in once]
    path = write_bag(tmp_path / 'looped', twice)

    offline = evaluate(path, write_bag=tmp_path / 'copy', **WITH_TRUTH)
    recorded = evaluate(tmp_path / 'copy', recorded='poses,orientations', **WITH_TRUTH)

    for evaluation in (offline, recorded):
        assert evaluation.metrics['frames']['scored'] == 30
        assert evaluation.metrics['tracks'] == {'count': 2, 'switches': 1}
        assert evaluation.metrics['detection']['rate'] == 1.0
        assert evaluation.metrics['rotation_error_deg']['p90'] < 0.5  # a filter of 0.5 s has not yet learned the noise
