"""Hand-made labels: found by stamp or number, matched to instances, wrong files refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError, UsageError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.scoring.summary import summarise_labels
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels

NAMES = ['front', 'left', 'right', 'top']
POINTS = np.array([[100.0, 50.0], [60.0, 120.0], [150.0, 120.0], [100.0, 160.0]])


def labels_file(tmp_path, annotations, images=None, names=NAMES):
    data = {
        'images': images or [{'id': 1, 'file_name': 'frame_000004.png'}],
        'annotations': annotations,
        'categories': [{'id': 1, 'keypoints': names}],
    }
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(data))
    return path


def content(images, names=NAMES, **annotation):
    """Return a label file with one annotation of the first image, where its keypoints are given."""
    annotations = [{'id': 8, 'image_id': 1, 'category_id': 1, **annotation}] if annotation else []
    return json.dumps({'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'keypoints': names}]})


def annotation(points: np.ndarray, visible=(2, 2, 2, 2), image_id: int = 1) -> dict:
    values = [v for (x, y), seen in zip(points.tolist(), visible) for v in (x, y, seen)]
    return {'id': 1, 'image_id': image_id, 'category_id': 1, 'keypoints': values}


def record(*instances: np.ndarray) -> FrameResult:
    poses = [
        KeypointPose(
            keypoints=points,
            covariances=np.full((4, 2, 2), np.nan),
            scores=np.ones(4),
            visible=np.isfinite(points[:, 0]),
            score=0.9,
        )
        for points in instances
    ]
    made = FrameResult(0, 0, 320, 256)
    made.set_poses(poses, 4)
    return made


def test_images_belong_to_frames_by_stamp_or_number(tmp_path, tiny_model):
    images = [
        {'id': 1, 'file_name': 'frame_000004.png'},
        {'id': 2, 'file_name': '1700000000123456789.png'},
        {'id': 3, 'file_name': 'a.png', 'stamp_ns': 77},
    ]
    labels = CocoLabels(labels_file(tmp_path, [annotation(POINTS, image_id=2)], images), tiny_model)
    assert labels.frames == 3
    np.testing.assert_array_equal(labels.of(0, 1700000000123456789)[0], POINTS)
    assert labels.of(4, 0) == []  # looked at, nothing there
    assert labels.of(9, 77) == []
    assert labels.of(9, 78) is None


def test_labels_of_another_size_are_scaled_and_those_that_do_not_fit_are_told(tmp_path, tiny_model):
    images = [
        {'id': i, 'file_name': f'{i}.png', 'stamp_ns': i, 'width': w, 'height': h}
        for i, w, h in ((1, 160, 170), (2, 200, 170), (3, 0, 0))
    ]
    made = [annotation(POINTS, image_id=1), annotation(POINTS, image_id=2), annotation(POINTS * 3, image_id=3)]
    labels = CocoLabels(labels_file(tmp_path, made, images), tiny_model)
    np.testing.assert_array_equal(labels.of(0, 1, 320, 340)[0], POINTS * 2)
    np.testing.assert_array_equal(labels.of(0, 1)[0], POINTS)
    assert labels.of(0, 2, 320, 340) is None
    assert labels.of(0, 3, 320, 340) is None
    assert labels.misfits == [
        '2.png: labelled at 200 x 170 px, the frame has 320 x 340',
        '3.png: left at (180, 360) lies outside of the image of 320 x 340 px',
    ]
    assert labels.note == ''


def test_labels_found_by_number_are_refused_at_another_size(tmp_path, tiny_model):
    """Photos s1.jpg, s6.jpg of another recording, of the same shape, were scaled and scored as frames 1 and 6."""
    images = [{'id': 1, 'file_name': 's1.jpg', 'width': 688, 'height': 516}]
    labels = CocoLabels(labels_file(tmp_path, [annotation(POINTS)], images), tiny_model)
    with pytest.raises(UsageError, match=r's1.jpg has 688x516 px, and frame 1, .* 640x480: give labels of this bag'):
        labels.of(1, 0, 640, 480)
    np.testing.assert_array_equal(labels.of(1, 0, 688, 516)[0], POINTS)
    assert labels.note.startswith('1 labelled images are taken as the frames') and 's1.jpg for frame 1' in labels.note


def test_the_hash_of_roboflow_is_no_frame_number(tmp_path, tiny_model):
    images = [{'id': 1, 'file_name': 'frame_000012_png.rf.0a1b2c3d99.jpg'}]
    assert CocoLabels(labels_file(tmp_path, [], images), tiny_model).of(12, 0) == []


def test_errors_are_distances_and_only_of_labelled_points(tmp_path, tiny_model):
    labels = CocoLabels(labels_file(tmp_path, [annotation(POINTS, (2, 1, 0, 2))]), tiny_model)
    found = POINTS + [[3.0, 4.0], [0.0, 2.0], [50.0, 50.0], [0.0, 0.0]]

    (score,), surplus = labels.score(record(found), labels.of(4, 0))

    np.testing.assert_allclose(score.errors_px, [5.0, 2.0, np.nan, 0.0], atol=1e-4)  # records keep single precision
    assert score.found and surplus == 0


def test_keypoints_in_another_order_are_put_in_order(tmp_path, tiny_model):
    labels = CocoLabels(labels_file(tmp_path, [annotation(POINTS[::-1])], names=NAMES[::-1]), tiny_model)
    np.testing.assert_array_equal(labels.of(4, 0)[0], POINTS)


def test_instances_are_matched_nearest_first_and_counted(tmp_path, tiny_model):
    second = POINTS + [100.0, 20.0]
    far = POINTS + [0.0, 500.0]
    labels = CocoLabels(labels_file(tmp_path, [annotation(POINTS), annotation(second), annotation(far)]), tiny_model)
    given = labels.of(4, 0)

    scores, surplus = labels.score(record(second + 1.0, POINTS + [0.0, 2.0], POINTS + [0.0, 30.0]), given)
    metrics = summarise_labels(scores, surplus, 1, tiny_model)

    assert [s.found for s in scores] == [True, True, False]
    assert surplus == 1
    assert metrics['recall'] == pytest.approx(2 / 3)
    assert metrics['keypoint_error_px']['mean'] == pytest.approx((2.0 + np.sqrt(2.0)) / 2, rel=1e-5)
    size = np.linalg.norm(np.ptp(POINTS, axis=0))
    assert metrics['keypoint_error_share']['max'] == pytest.approx(2.0 / size, rel=1e-5)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'is cut off: it ends early'),
        ('[]', 'wanted a COCO file'),
        ('{"images": []}', "a list 'annotations'"),
        (content([{'id': 5, 'file_name': 'x.png'}]), "image 5: wanted stamp_ns, or a file name .* got 'x.png'"),
        (content([{'id': 1, 'file_name': 'a_1.png'}, {'id': 2, 'file_name': 'b_1.png'}]), 'the same frame, 1'),
        (content([{'id': 1, 'file_name': '1'}], keypoints=[1, 2]), 'annotation 8: keypoints: wanted x, y and vis'),
        (content([{'id': 1, 'file_name': '1'}], keypoints=[1, 2, 3] * 4), 'annotation 8: front at .*visibility 3'),
        (content([{'id': 1, 'file_name': '1'}], names=['a']), 'no category has the keypoints .*front, left.* has a'),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, tiny_model, text, message):
    path = tmp_path / 'labels.json'
    path.write_text(text)
    with pytest.raises(DatasetError, match=f'labels.json: .*{message}'):
        CocoLabels(path, tiny_model)
