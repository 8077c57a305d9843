"""Evaluation: errors, AP and suspects by value on made-up detections, and the command on a tiny network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from custom_pose_ros.inference.checkpoints import Checkpoint, save_checkpoint
from custom_pose_ros.inference.network import build_network
from training.evaluate import height_lines, main
from training.pose_training.judging import evaluation_output
from training.pose_training.judging.accuracy import Accuracy, is_swapped, keypoint_errors, match, measure
from training.pose_training.judging.evaluation_output import (
    all_figures,
    draw_error_curves,
    draw_occlusion_curve,
    figure_lines,
    write_worst_images,
)
from training.pose_training.judging.oks import average_precision
from training.pose_training.judging.suspects import find_suspects
from training.pose_training.labels.coco import LabelledImage

SCRIPT = Path(__file__).resolve().parents[3] / 'training' / 'evaluate.py'
TRIANGLE = np.array([[50.0, 20.0], [20.0, 80.0], [80.0, 80.0]])  # nose, left, right; size 67.1 px


def image(*instances, states=None, crowds=(), name='a.png'):
    keypoints = np.array(instances, float).reshape(-1, 3, 2)
    states = np.full(keypoints.shape[:2], SEEN) if states is None else np.array(states)
    boxes = [[*k.min(0), *k.max(0)] for k in keypoints]
    ids = tuple(str(10 + i) for i in range(len(keypoints)))
    return LabelledImage(
        Path(name), 200, 200, keypoints, states, np.array(boxes).reshape(-1, 4), np.array(crowds).reshape(-1, 4), ids
    )


def pose(points, visible=(True, True, True), score=0.9, scores=0.9):
    visible = np.array(visible)
    return KeypointPose(
        keypoints=np.where(visible[:, None], points, np.nan),
        covariances=np.full((3, 2, 2), np.nan),
        scores=np.where(visible, scores, 0.0),
        visible=visible,
        score=score,
    )


def test_errors_say_what_is_unlabelled_and_what_is_missing():
    found = pose(TRIANGLE + [3, 4], visible=(True, False, True))
    errors = keypoint_errors(TRIANGLE, np.array([True, True, False]), found)
    np.testing.assert_array_equal(errors, [5.0, np.inf, np.nan])


def test_instances_are_matched_to_the_nearest_pose_once():
    labels = image(TRIANGLE, TRIANGLE + 100)
    poses = [pose(TRIANGLE + 101), pose(TRIANGLE + 2), pose(TRIANGLE + 3)]
    assert match(labels, poses) == [1, 0]
    assert match(labels, [pose(TRIANGLE + 500)]) == [None, None]


def figures_of(errors, states, reported):
    return Accuracy(
        np.array(errors),
        np.array([100.0, 50.0]),
        np.array([0, 0]),
        np.array([False, True]),
        2,
        np.array(states),
        np.where(reported, 0.9, np.nan),
    )


def test_the_figures_of_a_known_case():
    errors = np.array([[1.0, 3.0, np.nan], [2.0, np.inf, 6.0]])
    accuracy = figures_of(errors, [[SEEN, SEEN, UNKNOWN], [SEEN, SEEN, SEEN]], np.isfinite(errors))
    summary = accuracy.summary()
    assert summary['instances'] == 2
    assert summary['found'] == pytest.approx(4 / 5)
    assert summary['mean_px'] == pytest.approx(3.0)
    assert summary['median_px'] == pytest.approx(2.5)
    assert summary['rmse_px'] == pytest.approx(np.sqrt((1 + 9 + 4 + 36) / 4))
    assert summary['mean_percent'] == pytest.approx((1 + 3 + 4 + 12) / 4)
    assert summary['pck_5px'] == pytest.approx(3 / 5)
    assert accuracy.pck(0.03) == pytest.approx(2 / 5)
    assert summary['score'] == pytest.approx((0.01 + 0.03 + 0.04 + 0.1 + 0.1) / 5)  # missed and 12 % count as 10 %
    assert accuracy.instance_scores == pytest.approx([0.02, 0.08])
    assert (summary['swapped'], summary['false_instances']) == (1, 2)


def test_an_invented_keypoint_counts_as_a_missed_one():
    errors, states = [[1.0, 3.0, np.nan], [2.0, 2.0, np.nan]], [[SEEN, SEEN, ABSENT], [SEEN, HIDDEN, ABSENT]]
    reported = np.array([[True, True, False], [True, True, True]])
    accuracy = figures_of(errors, states, reported)
    assert (accuracy.summary()['absent'], accuracy.summary()['invented']) == (2, 1)
    assert accuracy.score == pytest.approx((0.01 + 0.03 + 0.04 + 0.04 + 0.1) / 5)
    assert accuracy.instance_scores == pytest.approx([0.02, 0.06])
    assert figures_of(errors, states, reported & False).score < accuracy.score


def test_errors_are_told_by_how_much_of_an_object_is_hidden():
    errors, states = [[1.0, 3.0, np.nan], [2.0, 2.0, np.nan]], [[SEEN, SEEN, UNKNOWN], [SEEN, HIDDEN, ABSENT]]
    rows = figures_of(errors, states, np.array([[True, True, True], [True, True, True]])).by_hidden_share()
    assert [row['hidden_share'] for row in rows] == pytest.approx([0, 2 / 3])  # what nobody knows is not hidden
    assert [row['mean_percent'] for row in rows] == pytest.approx([2, 4])
    assert [(row['absent'], row['invented']) for row in rows] == [(0, 0), (1, 1)]


def test_a_swap_is_seen(dots):
    turned = TRIANGLE[[0, 2, 1]]
    everything = np.ones(3, bool)
    assert is_swapped(TRIANGLE, everything, pose(turned), dots)
    assert not is_swapped(TRIANGLE, everything, pose(TRIANGLE + 5), dots)
    assert not is_swapped(TRIANGLE, np.array([True, True, False]), pose(turned), dots)


@pytest.mark.parametrize(
    'shift_oks, precision', [(1.0, 1.0), (0.72, 0.5), (0.49, 0.0)], ids=['exact', 'half of the thresholds', 'too far']
)
def test_average_precision_counts_the_thresholds_that_oks_reaches(dots, shift_oks, precision):
    area = 60 * 60  # the box of the triangle
    sigma = 0.05  # the default of an object file
    shift = np.sqrt(-np.log(shift_oks) * 2 * area * (2 * sigma) ** 2)
    images = [image(TRIANGLE), image(TRIANGLE + 30), image()]
    detections = [[pose(TRIANGLE + [shift, 0])], [pose(TRIANGLE + 30 + [0, shift])], []]
    result = average_precision(images, detections, dots)
    assert result['AP'] == pytest.approx(precision, abs=1e-6)
    assert result['AR'] == pytest.approx(precision, abs=1e-6)
    assert result['AP50'] == float(shift_oks >= 0.5)


def test_missing_keypoints_lower_the_precision(dots):
    result = average_precision([image(TRIANGLE)], [[pose(TRIANGLE, visible=(True, True, False))]], dots)
    assert result['AP'] == pytest.approx(0.4)  # OKS 2/3: thresholds 0.50 to 0.65


@pytest.mark.parametrize(
    ('state', 'seen', 'precision'),
    [(ABSENT, True, 0.4), (ABSENT, False, 1.0), (UNKNOWN, True, 1.0)],  # OKS 2/3: thresholds 0.50 to 0.65
)
def test_an_invented_keypoint_lowers_the_precision(dots, state, seen, precision):
    labels = image(TRIANGLE, TRIANGLE + 100, states=[[SEEN, SEEN, state]] * 2)
    found = [pose(TRIANGLE + 100, visible=(True, True, seen)), pose(TRIANGLE, visible=(True, True, seen), score=0.8)]
    assert average_precision([labels, image()], [found, []], dots)['AP'] == pytest.approx(precision)


def test_objects_in_crowds_are_not_false(dots):
    labels = [image(TRIANGLE), image(crowds=[[0, 0, 200, 200]])]
    detections = [[pose(TRIANGLE, score=0.5)], [pose(TRIANGLE, score=0.9)]]
    assert average_precision(labels, detections, dots)['AP'] == pytest.approx(1.0)
    labels[1] = image()
    assert average_precision(labels, detections, dots)['AP'] == pytest.approx(0.5, abs=0.01)


def test_nothing_found_is_no_precision(dots):
    assert average_precision([image(TRIANGLE)], [[]], dots)['AP'] == 0.0


def good(count):
    rng = np.random.default_rng(0)
    return (
        [image(TRIANGLE, name=f'{i}.png') for i in range(count)],
        [[pose(TRIANGLE + rng.normal(0, 1, (3, 2)))] for _ in range(count)],
    )


def test_sound_labels_are_no_suspects(dots):
    assert find_suspects(*good(20), dots) == []


def test_exchanged_sides_are_found_once_and_named(dots):
    images, detections = good(20)
    images.append(image(TRIANGLE[[0, 2, 1]], name='img0102.png'))
    detections.append([pose(TRIANGLE)])
    (suspect,) = find_suspects(images, detections, dots)
    assert (suspect.image, suspect.annotation, suspect.text) == ('img0102.png', '10', 'left and right exchanged?')


def test_a_misplaced_point_is_found_with_the_place_the_model_sees(dots):
    images, detections = good(20)
    images.append(image(TRIANGLE + [[30, 0], [0, 0], [0, 0]], name='slip.png'))
    detections.append([pose(TRIANGLE)])
    (suspect,) = find_suspects(images, detections, dots)
    assert suspect.text == 'nose is labelled 35% of the object away from (50, 20)'
    assert suspect.severity == pytest.approx(30 / np.hypot(60, 60))  # the size is now from nose to left


def test_a_keypoint_that_is_found_where_it_has_no_label_is_a_question(dots):
    images, detections = good(20)
    images.append(image(TRIANGLE, states=[[SEEN, SEEN, ABSENT]], name='forgotten.png'))
    detections.append([pose(TRIANGLE)])
    (suspect,) = find_suspects(images, detections, dots)
    assert suspect.text == 'right has no label, but is found at (80, 80): is it there?'


def test_an_unsure_model_contradicts_nobody(dots):
    images, detections = good(20)
    images.append(image(TRIANGLE + [[30, 0], [0, 0], [0, 0]]))
    detections.append([pose(TRIANGLE, scores=0.4)])
    assert find_suspects(images, detections, dots) == []


def test_an_object_that_a_good_model_misses_is_a_hint(dots):
    images, detections = good(8)
    detections[3] = []
    (suspect,) = find_suspects(images, detections, dots)
    assert (suspect.image, suspect.annotation) == ('3.png', '10')
    assert suspect.text == 'no object found near this label'
    assert find_suspects(images, [[]] * 6 + detections[6:], dots) == []  # a poor model says nothing


def test_objects_without_label_are_found(dots):
    images, detections = good(5)
    detections[3].append(pose(TRIANGLE + 100, score=0.8))
    detections[4].append(pose(TRIANGLE + 100, score=0.5))
    (suspect,) = find_suspects(images, detections, dots)
    assert suspect.image == '3.png'
    assert suspect.text == 'an object without label between (120, 120) and (180, 180)?'


class Known:
    """An estimator that finds what it is told, in the order of the calls."""

    def __init__(self, model, answers):
        self.model, self.answers = model, list(answers)

    def __call__(self, picture):
        return self.answers.pop(0)


def test_measuring_counts_found_missed_and_false(tmp_path, dots):
    for name in ('a.png', 'b.png', 'c.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((200, 200, 3), np.uint8))
    images = [
        image(TRIANGLE, name=tmp_path / 'a.png'),
        image(TRIANGLE, TRIANGLE + 100, name=tmp_path / 'b.png'),
        image(crowds=[[0, 0, 99, 99]], name=tmp_path / 'c.png'),
    ]
    answers = [[pose(TRIANGLE + [0, 2]), pose(TRIANGLE + 90)], [pose(TRIANGLE[[0, 2, 1]])], [pose(TRIANGLE)]]
    accuracy = measure(Known(dots, answers), images)
    np.testing.assert_allclose(accuracy.errors_px, [[2, 2, 2], [0, 60, 60], [np.inf] * 3])
    assert accuracy.image_of.tolist() == [0, 1, 1]
    assert accuracy.swapped.tolist() == [False, True, False]
    assert accuracy.false_instances == 1  # the one in the crowd is forgiven
    assert accuracy.reported.all(1).tolist() == [True, True, False]


def test_what_is_reported_while_hidden_is_told_for_each_keypoint(tmp_path, dots):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((200, 200, 3), np.uint8))
    images = [
        image(TRIANGLE, states=[states], name=tmp_path / 'a.png')
        for states in ([SEEN, SEEN, SEEN], [SEEN, HIDDEN, ABSENT], [SEEN, SEEN, ABSENT])
    ]
    answers = [[pose(TRIANGLE)], [pose(TRIANGLE + [0, 2])], [pose(TRIANGLE, visible=(True, True, False))]]
    figures = all_figures(measure(Known(dots, answers), images), answers, images, dots)
    lines = figure_lines(figures)
    start = lines.index('reported while hidden:')
    assert lines[start + 1 : start + 3] == [
        '  left: in 1 of 1 where its place is known (100.0%, 2.00 px from its label)',
        '  right: in 1 of 2 objects where it is absent (50.0%)',
    ]
    assert '  67% hidden (1 object): 100.0% found, mean 2.98 % of the object' in lines  # 2 of 67.1 px
    draw_occlusion_curve(tmp_path / 'occlusion.png', figures['by_hidden_share'])
    seen = [image(TRIANGLE, name=tmp_path / 'a.png')]
    assert 'reported while hidden:' not in figure_lines(
        all_figures(measure(Known(dots, [[pose(TRIANGLE)]]), seen), [[pose(TRIANGLE)]], seen, dots)
    )


def test_a_threshold_that_silences_what_is_absent_is_named(dots):
    """At 0.4 and above the absent one of 0.35 is silent; 0.45 would lose the seen one of 0.42."""
    errors = np.array([[1.0, 3.0, np.nan], [2.0, 2.0, np.nan]])
    accuracy = figures_of(errors, [[SEEN, SEEN, ABSENT]] * 2, np.ones((2, 3), bool))
    accuracy = replace(accuracy, scores=np.array([[0.9, 0.42, 0.35], [0.9, 0.9, 0.28]]))
    rows = {row['keypoint_score']: (row['invented'], row['lost']) for row in accuracy.by_keypoint_score(0.25)}
    assert rows == {0.3: (1, 0), 0.35: (1, 0), 0.4: (0, 0), 0.45: (0, 1), 0.5: (0, 1), 0.6: (0, 1)}
    assert (
        '  keypoint_score: 0.4 under thresholds in the object file would report about 0 of all 2 that are absent '
        'instead of 2, and lose 0 of 4 that are found'
    ) in figure_lines(all_figures(accuracy, [[]], [image(TRIANGLE)], dots))


def test_pictures_say_what_they_cannot_show(tmp_path, dots, monkeypatch):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((200, 200, 3), np.uint8))
    images = [image(TRIANGLE, name=tmp_path / 'a.png')]
    charts, titles = [], []
    monkeypatch.setattr(evaluation_output.pyplot, 'close', charts.append)
    drawn = evaluation_output.draw_tile
    monkeypatch.setattr(evaluation_output, 'draw_tile', lambda *given: [titles.append(given[3]), drawn(*given)][1])
    for answers in ([[]], [[pose(TRIANGLE + [0, 2])]]):
        accuracy = measure(Known(dots, list(answers)), images)
        draw_error_curves(tmp_path / 'errors.png', accuracy, dots.keypoint_names)
        draw_occlusion_curve(tmp_path / 'occlusion.png', accuracy.by_hidden_share())
        write_worst_images(tmp_path / 'worst.png', accuracy, answers, images, dots.keypoint_names)
    none = 'none of the labelled keypoints was found'
    hidden = 'no keypoint is labelled as hidden or absent: nothing to compare'
    assert [[text.get_text() for text in chart.texts] for chart in charts] == [[none], [none], [], [hidden]]
    assert titles == ['a.png not found', 'a.png error 3.0%']  # 2 of 67.1 px


def with_odd_names(folder):
    """Give the images of a data set ids and file names of every kind."""
    path = folder / 'labels.json'
    content = json.loads(path.read_text())
    ids = [0, -5, 10**12, 'a/b', 'ü', '7', 7, 99]
    for entry, odd in zip(content['images'], ids):
        for annotation in content['annotations']:
            if annotation['image_id'] == entry['id'] and 'odd' not in annotation:
                annotation.update(image_id=odd, odd=True)
        name = f'dive {odd!r} (1)/frame.{entry["file_name"]}'
        (folder / name).parent.mkdir(parents=True)
        (folder / 'images' / entry['file_name']).rename(folder / name)
        entry.update(id=odd, file_name=name)
    path.write_text(json.dumps(content))


def test_the_command_writes_figures_and_pictures(tmp_path, dots, dots_folder, capsys):
    with_odd_names(dots_folder)
    network = build_network('light', dots, channels=32)
    save_checkpoint(tmp_path / 'best.pth', Checkpoint('light', {'channels': 32}, dots, network.state_dict()))
    arguments = [str(tmp_path / 'best.pth'), '--data', str(dots_folder), '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--suspects', '--heights', '--copies', '2']) == 0
    metrics = json.loads((tmp_path / 'out' / 'metrics.json').read_text())
    assert metrics['instances'] == 8
    assert set(metrics['keypoints']) == {'nose', 'left', 'right'}
    assert metrics['suspects'] == []
    assert [row['input_height'] for row in metrics['heights']] == [64, 96]
    assert min(row['behind_best'] for row in metrics['heights']) == 0.0
    assert metrics['keypoints']['nose']['absent'] == 0
    for name in ('errors.png', 'occlusion.png', 'worst.png'):
        assert cv2.imread(str(tmp_path / 'out' / name)).shape[0] > 100
    shown, told = capsys.readouterr()
    assert '8 objects' in shown and told == '' and metrics['proposed_labels'] == 0
    assert 'too few' in shown and 'input height' in shown
    labels = json.loads((dots_folder / 'labels.json').read_text())
    labels['annotations'][0]['proposed'] = True
    (dots_folder / 'labels.json').write_text(json.dumps(labels))
    assert main(arguments) == 0  # its own files are replaced
    told = capsys.readouterr().err
    assert told.startswith('warning: 1 of the 8 labels are proposals (proposed: true) that no person has changed')
    (tmp_path / 'out' / 'metrics.json').write_text('{"schema": "custom_pose_ros/metrics/1"}')
    assert main(arguments) == 1
    assert 'metrics.json: is there already and was not written by training/evaluate.py' in capsys.readouterr().err


def test_the_best_input_height_is_named():
    def row(height, error, found, sigma=0.001):
        share = {'found': found, 'false_instances': 0, 'score': 1 - found + error / 100}
        share |= {'behind_best': 0.004, 'behind_best_sigma': sigma}
        return {'input_height': height, 'mean_px': error, **share}

    rows = [row(192, 1.9, 1.0), row(256, 1.6, 1.0), row(384, 1.2, 1.0), row(512, 1.1, 0.8)]
    *table, last = height_lines(rows, 256, 12)
    assert '384 px  x 2.2      1.20 px  100.0%' in table[3]
    assert 'best on these 12 images: 384 px' in last and 'input_height: 384' in last and '--input-height 384' in last
    assert height_lines(rows[:2], 256, 12)[-1] == '256 px, as now, is best on these 12 images'
    unsure = height_lines([*rows[:1], row(256, 1.6, 1.0, 0.003), *rows[2:]], 256, 12)[-1]
    assert unsure == '12 images are too few to tell 384 px from 256 px, as now: measure on more'
    nothing = [{**row, 'found': 0.0} for row in rows]
    assert height_lines(nothing, 256, 12)[-1].startswith('nothing was found at any height')
    poor = height_lines([row(256, 70, 0.07), row(384, 45, 0.11)], 256, 20)[-1]
    assert 'no height is good enough to choose one: train longer' in poor and 'input_height: ' not in poor


def test_the_command_says_in_one_line_what_is_missing(tmp_path, capsys):
    assert main([str(tmp_path / 'gone.onnx'), '--data', 'x', '--out', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ') and 'no such file' in error and error.count('\n') == 1
