"""COCO files: values by name, every refusal, no damage that ends in another error."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_files import edit, read_labels
from picture_files import picture, with_orientation

from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.labels.coco_file import read_coco
from custom_pose_ros.core.labels.raw_labels import REFUSED
from custom_pose_ros.evaluation.truth.coco_labels import CocoLabels
from training.pose_training.labels.checking import check
from training.pose_training.labels.coco import find_labels, read_dataset
from training.pose_training.labels.image_files import ImageIndex


def test_images_and_keypoints_are_read_by_value(dots_folder, dots):
    def write(content):
        content['annotations'][2]['keypoints'] = [10.5, 20.25, 2, 30, 40, 1, 0, 0, 0]
        content['annotations'][2]['bbox'] = [5, 6, 40, 50]

    edit(dots_folder, write)
    images = read_dataset(dots_folder, dots)
    assert len(images) == 8
    third = images[2]
    assert (third.path, third.width, third.height) == (dots_folder / 'images' / '2.png', 96, 72)
    np.testing.assert_array_equal(third.keypoints, [[[10.5, 20.25], [30, 40], [0, 0]]])
    np.testing.assert_array_equal(third.labelled, [[True, True, False]])
    np.testing.assert_array_equal(third.boxes, [[5, 6, 45, 56]])


def test_keypoints_are_matched_by_name(dots_folder, dots):
    before = read_dataset(dots_folder, dots)[0].keypoints

    def turn(content):
        content['categories'][0]['keypoints'] = ['right', 'tail', 'left', 'nose']
        for annotation in content['annotations']:
            k = annotation['keypoints']
            annotation['keypoints'] = [*k[6:9], 1, 1, 2, *k[3:6], *k[0:3]]

    edit(dots_folder, turn)
    np.testing.assert_array_equal(read_dataset(dots_folder, dots)[0].keypoints, before)


def test_images_without_annotation_are_negatives(dots_folder, dots):
    edit(dots_folder, lambda content: content['annotations'].pop(0))
    first = read_dataset(dots_folder, dots)[0]
    assert first.keypoints.shape == (0, 3, 2)


def test_crowds_and_instances_without_keypoints_are_regions_to_ignore(dots_folder, dots):
    def write(content):
        content['annotations'][0].update(iscrowd=1, bbox=[1, 2, 30, 40])
        content['annotations'][1].update(keypoints=[0] * 9, bbox=[3, 4, 10, 10])

    edit(dots_folder, write)
    images = read_dataset(dots_folder, dots)
    np.testing.assert_array_equal(images[1].crowds, [[3, 4, 13, 14]])
    assert images[0].crowds[0, 0] == 1
    assert len(images[0].keypoints) == len(images[1].keypoints) == 0


def test_keypoints_of_a_crowd_are_noted_where_they_are_left_out(dots_folder):
    content = json.loads((dots_folder / 'labels.json').read_text())
    content['annotations'][0].update(iscrowd=1, bbox=[1, 2, 30, 40])
    content['annotations'][1].update(iscrowd=1, bbox=[1, 2, 30, 40], keypoints=[0] * 9)
    problems = read_coco(Path('labels.json'), content).problems
    assert [p.text for p in problems] == ['is a crowd (iscrowd): its keypoints are not used, its box will be ignored']


def change_annotation(key, value):
    return lambda content: content['annotations'][3].__setitem__(key, value)


def change_image(key, value):
    return lambda content: content['images'][3].__setitem__(key, value)


@pytest.mark.parametrize(
    'change, message',
    [
        (change_annotation('keypoints', [1, 2, 2]), 'annotation 4: lists 1 keypoint'),
        (change_annotation('keypoints', [1, 2] * 5), r'annotation 4: keypoints: wanted .* got \[1, 2, '),
        (change_annotation('keypoints', 'abc'), 'annotation 4: keypoints: .*abc'),
        (change_annotation('keypoints', [True] * 9), r'annotation 4: nose at \(True, True\)'),
        (change_annotation('keypoints', [1e4, 5, 2] * 3), r'annotation 4: nose at \(10000, 5\) lies outside'),
        (change_annotation('bbox', [1, 2]), 'annotation 4: bbox: '),
        (change_annotation('image_id', 99), 'annotation 4: its image 99 is not in the file'),
        (change_annotation('image_id', None), 'annotation 4: its image None'),
        (change_annotation('category_id', [1]), r'annotation 4: its category \[1\]'),
        (change_image('file_name', 'gone.png'), r'image gone\.png: no such file in '),
        (change_image('file_name', 7), 'image 4: file_name: .*7'),
        (change_image('width', -3), r'image 3\.png: width and height: .*-3 x 72'),
        (change_image('height', 10.5), r'image 3\.png: width and height: .*96 x 10\.5'),
        (change_image('id', 1), 'image id 1 is used twice'),
        (lambda c: c.pop('images'), "'images'"),
        (lambda c: c['images'].append(3), "list 'images'"),
        (lambda c: c['annotations'].clear(), "'dots'"),
        (lambda c: c['annotations'][0].pop('keypoints'), 'annotation 1: '),
        (
            lambda c: c['categories'][0].__setitem__('keypoints', ['nose', 'ear']),
            r'of the object \(nose, left, right\).* nose, ear',
        ),
    ],
)
def test_faulty_labels_are_refused_by_name(dots_folder, dots, change, message):
    edit(dots_folder, change)
    with pytest.raises(DatasetError, match=message) as caught:
        read_dataset(dots_folder, dots)
    assert 'labels.json' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_damaged_json_is_refused(dots_folder, dots):
    (dots_folder / 'labels.json').write_text('{"images": [')
    with pytest.raises(DatasetError, match=r'labels\.json: is cut off: it ends early'):
        read_dataset(dots_folder, dots)
    (dots_folder / 'labels.json').write_text('{"shapes": [], "imagePath": "a.jpg"}')
    with pytest.raises(DatasetError, match='wanted a COCO file .*prepare_dataset.py makes one'):
        read_dataset(dots_folder, dots)
    (dots_folder / 'labels.json').write_text('[' * 100_000)
    with pytest.raises(DatasetError, match=r'labels\.json: is not valid JSON'):
        read_dataset(dots_folder, dots)


def test_no_or_several_label_files_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r'labels\.json'):
        find_labels(tmp_path)
    for name in ('a.json', 'b.json'):
        (tmp_path / name).write_text('{}')
    with pytest.raises(DatasetError, match=r'a\.json, b\.json'):
        find_labels(tmp_path)
    with pytest.raises(DatasetError, match='no such file or folder'):
        find_labels(tmp_path / 'gone')


def test_damaged_and_resized_images_are_refused(dots_folder, dots):
    images = read_dataset(dots_folder, dots)
    too_large = b'BM' + struct.pack('<IIIIiiHH', 99, 0, 54, 40, 2**30, 2**30, 1, 24) + bytes(28)  # OpenCV throws
    for content in (b'', b'not an image', too_large):
        images[0].path.write_bytes(content)
        with pytest.raises(MediaError, match=r'0\.png: is (empty|damaged or not an image)'):
            images[0].read()
    cv2.imwrite(str(images[1].path), np.zeros((36, 48, 3), np.uint8))
    with pytest.raises(DatasetError, match=r'1\.png: .*48 x 36 px.*96 x 72'):
        images[1].read()


@pytest.mark.parametrize(
    ('keypoints', 'labelled'),
    [
        ([10, 20, 0.87, 30, 40, 1.0, 0, 0, 0], [True, True, False]),
        ([10, 20, 2, 0, 0, 2, 30, 40, 1], [True, False, True]),
        ([10, 20, 2, -1, -1, 1, None, None, 0], [True, False, False]),
        ([[10, 20, 2], [30, 40, 1], ['7', '8', '2']], [True, True, True]),
        ([0, 0, 0, 0, 0, 0, 10, 20, 2, 30, 40, 2, 7, 8, 2], [True, True, True]),  # two names were deleted
        ([10, 20, 3, 30, 40, 2, 7, 8, 2], 'nose at \\(10, 20\\) with visibility 3'),
        ([0.1, 0.2, 2, 0.3, 0.4, 2, 0.7, 0.8, 2], 'shares of the image size'),
        ([10, 20, 2, 300, 40, 2, 7, 8, 2], 'left at \\(300, 40\\) lies outside'),
    ],
)
def test_every_command_reads_a_keypoint_alike(dots_folder, dots, keypoints, labelled, capfd):
    """prepare_dataset, what trains and measures, and evaluate_bag."""
    edit(dots_folder, lambda content: content['annotations'][2].update(keypoints=keypoints, num_keypoints=3))
    path = dots_folder / 'labels.json'
    prepared = read_labels(path)
    checked = check(prepared, ImageIndex([dots_folder]), 1024)
    if isinstance(labelled, str):
        (refused,) = [problem for problem in prepared.problems if problem.kind == REFUSED]
        assert (refused.image, refused.annotation) == ('2.png', '3') and re.search(labelled, refused.text)
        for read in (read_dataset, CocoLabels):
            with pytest.raises(DatasetError, match=f'labels.json: image 2.png: annotation 3: .*{labelled}'):
                read(path, dots)
        return
    order = [prepared.keypoint_names.index(name) for name in dots.keypoint_names]
    wanted = next(image for image in checked if image.name == '2.png').keypoints[0][order]
    (trained,), (scored,) = read_dataset(path, dots)[2].labelled, CocoLabels(path, dots).of(2, 0)
    assert (wanted[:, 2] > 0).tolist() == trained.tolist() == np.isfinite(scored[:, 0]).tolist() == labelled
    np.testing.assert_array_equal(wanted[trained, :2], read_dataset(path, dots)[2].keypoints[0][trained])
    np.testing.assert_array_equal(wanted[trained, :2], scored[trained])


@pytest.mark.parametrize('kind', [str, float])
def test_ids_of_another_type_are_found(dots_folder, dots, kind):
    """As pandas and YAML write them; whether 7 and '7' are two ids of a file or one depends on the file."""
    before = read_dataset(dots_folder, dots)

    def write(content):
        for annotation in content['annotations']:
            annotation.update(image_id=kind(annotation['image_id']), category_id=kind(annotation['category_id']))

    edit(dots_folder, write)
    for one, other in zip(before, read_dataset(dots_folder, dots)):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_a_repair_is_said_once_for_a_file(dots_folder, dots, capfd):
    def write(content):
        for annotation in content['annotations']:
            annotation['keypoints'][3:6] = [0, 0, 2]

    edit(dots_folder, write)
    read_dataset(dots_folder, dots)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f'note: {dots_folder / "labels.json"}: image 0.png: annotation 1: ')
    assert line.endswith('at (0, 0) with visibility 2: taken as not labelled (and 7 more)')


@pytest.mark.parametrize(
    ('contributor', 'orientation', 'stated', 'shape'),
    [
        ('', 6, (120, 160), (160, 120)),
        ('', 6, (160, 120), 'has EXIF orientation 6, and .*prepare_dataset'),
        ('', 3, (160, 120), 'has EXIF orientation 3'),
        ('Label Studio', 3, (160, 120), (120, 160)),
        ('custom_pose_ros', 6, (120, 160), (160, 120)),
    ],
)
def test_pictures_turned_by_exif_follow_the_same_rule_when_training(
    dots_folder, dots, contributor, orientation, stated, shape
):
    (dots_folder / 'images' / '0.png').write_bytes(with_orientation(picture('.png'), orientation))

    def write(content):
        content['info'] = {'contributor': contributor}
        content['images'][0].update(width=stated[0], height=stated[1])

    edit(dots_folder, write)
    image = read_dataset(dots_folder, dots)[0]
    if isinstance(shape, str):
        with pytest.raises(DatasetError, match=f'0.png: {shape}'):
            image.read()
    else:
        assert image.read().shape[:2] == shape


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_ends_in_a_dataset_error_or_a_reading(dots_folder, dots, data):
    path = dots_folder / 'labels.json'
    original = path.read_text()
    try:
        content = json.loads(original)
        for _ in range(data.draw(st.integers(1, 3))):
            place = content
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                key = data.draw(st.sampled_from(keys))
                if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
                    place = place[key]
                else:
                    break
            place[key] = data.draw(JSON)
        path.write_text(json.dumps(content))
        try:
            read_dataset(dots_folder, dots)
        except DatasetError as error:
            assert 'labels.json' in str(error)
    finally:
        path.write_text(original)
