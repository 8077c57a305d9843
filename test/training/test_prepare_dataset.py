"""Preparing labels: every format by value, repairs that are certain, refusals with ids, splits without leaks."""

from __future__ import annotations

import importlib.util
import json
import random
import xml.etree.ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.coco import read_dataset
from training.pose_training.drafts import input_height, left_right_pairs, object_yaml, safe_name, shortest_tree
from training.pose_training.label_formats import read_labels
from training.pose_training.labels import REFUSED, REPAIRED
from training.pose_training.prepare import ImageIndex, ReadyImage, check, split

ROOT = Path(__file__).resolve().parents[2]


def command():
    spec = importlib.util.spec_from_file_location('prepare_command', ROOT / 'training' / 'prepare_dataset.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def picture(path: Path, width: int, height: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (width, height)))


def coco(images, annotations, names=('head', 'tail'), **category):
    return {
        'images': [
            {'id': i, 'file_name': name, 'path': f'/datasets/x/{name}', 'width': w, 'height': h}
            for i, (name, w, h) in enumerate(images, 1)
        ],
        'annotations': [
            {'id': 10 + i, 'category_id': 1, 'iscrowd': False, **annotation} for i, annotation in enumerate(annotations)
        ],
        'categories': [{'id': 1, 'name': 'fish', 'keypoints': list(names), 'skeleton': [], **category}],
    }


def save(folder: Path, content) -> Path:
    path = folder / 'labels.json'
    path.write_text(json.dumps(content), encoding='utf-8')
    return path


def texts(labels, kind):
    return [f'{p.image} {p.annotation} {p.text}'.strip() for p in labels.problems if p.kind == kind]


def checked(folder: Path, content, max_side=1024):
    labels = read_labels(save(folder, content))
    return labels, check(labels, ImageIndex([folder]), max_side)


# The shapes of real coco-annotator exports, which are odd in these ways.


def test_a_plain_export_is_read_by_value(tmp_path):
    picture(tmp_path / 'deep' / 'v1.jpg', 100, 60)
    labels, ready = checked(
        tmp_path,
        coco([('v1.jpg', 100, 60)], [{'image_id': 1, 'keypoints': [10, 20, 2, 0, 0, 0], 'bbox': [5, 6, 40, 30]}]),
    )
    assert labels.problems == []
    assert (ready[0].width, ready[0].height, ready[0].source) == (100, 60, tmp_path / 'deep' / 'v1.jpg')
    np.testing.assert_allclose(ready[0].keypoints[0], [[10, 20, 2], [0, 0, 0]])
    np.testing.assert_allclose(ready[0].boxes, [(5, 6, 45, 36)])


def test_empty_keypoints_of_deleted_names_are_left_out(tmp_path):
    picture(tmp_path / 'v1.jpg', 1000, 563)
    labels, ready = checked(
        tmp_path,
        coco([('v1.jpg', 1000, 563)], [{'image_id': 1, 'keypoints': [0, 0, 0, 0, 0, 0, 476, 290, 2, 527, 372, 2]}]),
    )
    assert texts(labels, REPAIRED) == ['v1.jpg 10 2 empty keypoints of deleted names left out, 2 kept']
    np.testing.assert_allclose(ready[0].keypoints[0], [[476, 290, 2], [527, 372, 2]])


@pytest.mark.parametrize(
    'keypoints, text',
    [
        ([252, 378, 2] * 6, "lists 6 keypoints, but 'fish' has 2: label it again"),
        ([252, 378, 2], "lists 1 keypoint, but 'fish' has 2: label the missing ones"),
        ([252, 378], 'keypoints are not triples of numbers'),
        ([252, None, 2, 1, 1, 2], 'keypoints are not triples of numbers'),
        ([50, 160, 2, 3, 3, 2], r'head at (50, 160) lies outside of the image of 100 x 60 px'),
    ],
)
def test_what_is_not_certain_is_refused_with_its_ids(tmp_path, keypoints, text):
    picture(tmp_path / 'v1.jpg', 100, 60)
    labels, ready = checked(tmp_path, coco([('v1.jpg', 100, 60)], [{'image_id': 1, 'keypoints': keypoints}]))
    assert any(found.startswith(f'v1.jpg 10 {text}') for found in texts(labels, REFUSED))
    assert ready == []


def test_an_image_with_one_refused_object_is_left_out_whole(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    picture(tmp_path / 'b.jpg', 100, 60, seed=1)
    good = {'keypoints': [10, 10, 2, 20, 20, 2]}
    _, ready = checked(
        tmp_path,
        coco(
            [('a.jpg', 100, 60), ('b.jpg', 100, 60)],
            [{'image_id': 1, **good}, {'image_id': 1, 'keypoints': [1, 1, 2]}, {'image_id': 2, **good}],
        ),
    )
    assert [image.name for image in ready] == ['b.jpg']


def test_points_just_outside_are_moved_onto_the_border(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    labels, ready = checked(
        tmp_path, coco([('a.jpg', 100, 60)], [{'image_id': 1, 'keypoints': [-0.7, 10, 2, 99.9, 59.8, 2]}])
    )
    assert texts(labels, REPAIRED) == ['a.jpg 10 2 points just outside moved onto the border']
    np.testing.assert_allclose(ready[0].keypoints[0][:, :2], [[0, 10], [99, 59]])


def test_labels_of_another_size_are_scaled_and_those_of_another_shape_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 200, 120)
    picture(tmp_path / 'b.jpg', 200, 200, seed=1)
    labels, ready = checked(
        tmp_path,
        coco(
            [('a.jpg', 100, 60), ('b.jpg', 100, 60)],
            [{'image_id': i, 'keypoints': [10, 20, 2, 30, 40, 2]} for i in (1, 2)],
        ),
    )
    assert texts(labels, REPAIRED) == ['a.jpg  labelled at 100 x 60, is 200 x 120: labels scaled']
    np.testing.assert_allclose(ready[0].keypoints[0][:, :2], [[20, 40], [60, 80]])
    assert texts(labels, REFUSED) == ['b.jpg  labels are for 100 x 60 px, the file has 200 x 200']


def test_images_are_resized_with_their_labels(tmp_path):
    picture(tmp_path / 'a.jpg', 400, 200)
    _, ready = checked(
        tmp_path, coco([('a.jpg', 400, 200)], [{'image_id': 1, 'keypoints': [99.5, 49.5, 2, 0, 0, 0]}]), max_side=100
    )
    assert (ready[0].width, ready[0].height) == (100, 50)
    # A quarter of the size keeps corners in place: pixel 99.5 is the edge between pixels 24 and 25.
    np.testing.assert_allclose(ready[0].keypoints[0], [[24.5, 12, 2], [0, 0, 0]])


def exif_jpeg(path: Path, orientation: int) -> None:
    """Write a 120 x 80 picture with an EXIF orientation, as a phone does."""
    picture(path, 120, 80)
    content = path.read_bytes()
    tiff = b'II*\0' + (8).to_bytes(4, 'little') + (1).to_bytes(2, 'little')
    tiff += b'\x12\x01\x03\0\x01\0\0\0' + orientation.to_bytes(2, 'little') + b'\0\0' + b'\0\0\0\0'
    segment = b'Exif\0\0' + tiff
    path.write_bytes(content[:2] + b'\xff\xe1' + (len(segment) + 2).to_bytes(2, 'big') + segment + content[2:])


def test_labels_on_the_turned_picture_are_kept_and_the_picture_written_upright(tmp_path):
    exif_jpeg(tmp_path / 'a.jpg', 6)
    labels = save(tmp_path, coco([('a.jpg', 80, 120)], [{'image_id': 1, 'keypoints': [70, 110, 2, 5, 5, 2]}]))
    assert command()([str(labels), '--out', str(tmp_path / 'out'), '--val-share', '0']) == 0
    written = cv2.imread(str(tmp_path / 'out' / 'train' / 'images' / 'a.jpg'), cv2.IMREAD_IGNORE_ORIENTATION | 1)
    assert written.shape == (120, 80, 3)


def test_labels_on_the_unturned_picture_are_recognised_by_their_size(tmp_path):
    exif_jpeg(tmp_path / 'a.jpg', 6)
    labels, ready = checked(tmp_path, coco([('a.jpg', 120, 80)], [{'image_id': 1, 'keypoints': [110, 70, 2, 5, 5, 2]}]))
    assert texts(labels, REPAIRED) == ['a.jpg  labelled without its EXIF rotation: written as it was labelled']
    assert (ready[0].width, ready[0].height) == (120, 80)
    np.testing.assert_allclose(ready[0].keypoints[0][0], [110, 70, 2])


def test_missing_damaged_and_doubtful_files_are_refused(tmp_path):
    picture(tmp_path / 'one' / 'twice.jpg', 100, 60)
    picture(tmp_path / 'two' / 'twice.jpg', 100, 60)
    (tmp_path / 'text.png').write_text('no picture')
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    labels, _ = checked(
        tmp_path,
        coco(
            [('gone.jpg', 9, 9), ('twice.jpg', 100, 60), ('text.png', 9, 9), ('elsewhere/two/twice.jpg', 100, 60)],
            [{'image_id': i, **points} for i in (1, 2, 3, 4)],
        ),
    )
    refused = '\n'.join(texts(labels, REFUSED))
    assert 'gone.jpg  no such file in ' in refused
    assert 'twice.jpg  2 files match' in refused
    assert 'text.png  cannot be read as an image' in refused
    assert 'elsewhere' not in refused  # the end of the path tells which


def test_duplicate_pictures_are_left_out_or_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    for name in ('copy.jpg', 'other.jpg', 'empty.jpg'):
        (tmp_path / name).write_bytes((tmp_path / 'a.jpg').read_bytes())
    images = [(name, 100, 60) for name in ('a.jpg', 'copy.jpg', 'empty.jpg')]
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    labels, ready = checked(tmp_path, coco(images, [{'image_id': 1, **points}, {'image_id': 2, **points}]))
    assert [image.name for image in ready] == ['a.jpg']
    assert len(texts(labels, REPAIRED)) == 2
    images.append(('other.jpg', 100, 60))
    content = coco(images, [{'image_id': 1, **points}, {'image_id': 4, 'keypoints': [50, 50, 2, 9, 9, 2]}])
    labels, ready = checked(tmp_path, content)
    assert any('the same picture is labelled differently: a.jpg, copy.jpg' in text for text in texts(labels, REFUSED))


def test_several_categories_need_a_choice(tmp_path):
    content = coco([('a.jpg', 9, 9)], [{'image_id': 1, 'keypoints': [1, 1, 2, 5, 5, 2]}])
    content['categories'].append({'id': 2, 'name': 'crab', 'keypoints': ['claw']})
    path = save(tmp_path, content)
    assert read_labels(path).category == 'fish'  # the only one that is used
    assert read_labels(path, 'crab').keypoint_names == ['claw']
    content['annotations'].append({'id': 99, 'image_id': 1, 'category_id': 2, 'keypoints': [1, 1, 2]})
    with pytest.raises(
        DatasetError, match=r'several categories with keypoints \(fish, crab\); choose one with --category'
    ):
        read_labels(save(tmp_path, content))
    with pytest.raises(DatasetError, match="wanted one category named 'cat', the file has fish, crab"):
        read_labels(path, 'cat')


def test_nothing_labelled_is_refused(tmp_path):
    picture(tmp_path / 'a.jpg', 100, 60)
    labels, _ = checked(tmp_path, coco([('a.jpg', 100, 60)], []))
    assert texts(labels, REFUSED) == ['nothing is labelled: there is no image with an annotation']


# Other formats.


def label_studio_task(name, *points, parent=None):
    results = [
        {
            'id': f'r{i}', 'type': 'keypointlabels', 'original_width': 200, 'original_height': 100,
            'value': {'x': x, 'y': y, 'width': 0.5, 'keypointlabels': [label]},
            **({'parentID': parent[i]} if parent else {}),
        }
        for i, (label, x, y) in enumerate(points)
    ]  # fmt: skip
    return {'id': 1, 'data': {'image': name}, 'annotations': [{'result': results}]}


def test_label_studio_percentages_and_upload_names(tmp_path):
    picture(tmp_path / 'photo.jpg', 200, 100)
    path = save(tmp_path, [label_studio_task('/data/upload/3/0a1b2c3d-photo.jpg', ('tail', 50, 20), ('head', 10, 90))])
    labels = read_labels(path)
    ready = check(labels, ImageIndex([tmp_path]), 1024)
    assert labels.keypoint_names == ['head', 'tail']
    np.testing.assert_allclose(ready[0].keypoints[0], [[20, 90, 2], [100, 20, 2]])


def test_label_studio_tells_objects_apart_by_their_rectangle(tmp_path):
    points = (('head', 10, 10), ('tail', 20, 10), ('head', 60, 60), ('tail', 70, 60))
    path = save(
        tmp_path, [label_studio_task('/data/local-files/?d=a%2Fphoto.jpg', *points, parent=['u', 'u', 'v', 'v'])]
    )
    (image,) = read_labels(path).images
    assert image.name == 'photo.jpg'
    assert [instance.keypoints for instance in image.instances] == [
        [(0.1, 0.1, 2), (0.2, 0.1, 2)],
        [(0.6, 0.6, 2), (0.7, 0.6, 2)],
    ]
    labels = read_labels(save(tmp_path, [label_studio_task('photo.jpg', *points)]))
    assert any('head is labelled twice in one object; draw a rectangle' in text for text in texts(labels, REFUSED))


DEEPLABCUT = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/clip/img001.png,10.5,20,,
labeled-data/clip/img002.png,11,21,30,40
labeled-data/clip/img003.png,,,,
"""


def test_deeplabcut_tables(tmp_path):
    for i in (1, 2, 3):
        picture(tmp_path / 'clip' / f'img00{i}.png', 64, 48, seed=i)
    (tmp_path / 'CollectedData_me.csv').write_text(DEEPLABCUT)
    labels = read_labels(tmp_path / 'CollectedData_me.csv')
    ready = check(labels, ImageIndex([tmp_path]), 1024)
    assert labels.keypoint_names == ['nose', 'tail']
    np.testing.assert_allclose(ready[0].keypoints[0], [[10.5, 20, 2], [0, 0, 0]])
    np.testing.assert_allclose(ready[1].keypoints[0], [[11, 21, 2], [30, 40, 2]])
    assert ready[2].keypoints == []


def test_deeplabcut_with_several_animals_and_split_index(tmp_path):
    (tmp_path / 'many.csv').write_text(
        'scorer,,,me,me,me,me\nindividuals,,,one,one,two,two\nbodyparts,,,nose,nose,nose,nose\ncoords,,,x,y,x,y\n'
        'labeled-data,clip,img1.png,1,2,3,4\n'
    )
    (image,) = read_labels(tmp_path / 'many.csv').images
    assert image.name == 'labeled-data/clip/img1.png'
    assert [i.keypoints for i in image.instances] == [[(1.0, 2.0, 2)], [(3.0, 4.0, 2)]]


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.csv', 'x,y\n1,2\n', 'wanted a DeepLabCut table with rows bodyparts and coords'),
        ('a.json', '{', 'is not valid JSON'),
        ('a.json', '{"images": "\\ud800"}', 'is not valid JSON .*surrogates not allowed'),
        ('a.json', '7', 'wanted COCO, a Label Studio export or a DeepLabCut .csv, got int'),
        ('a.json', '[{}]', 'no KeyPointLabels in this export'),
        ('a.json', '[7]', 'task 0: wanted keys and values, got 7'),
        ('a.json', '{"images": []}', "wanted a COCO file with a list 'annotations'"),
        ('a.json', '{"images": [], "annotations": [], "categories": [{"id": 1}]}', 'no category has keypoints'),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_labels(tmp_path / name)
    assert name in str(caught.value)
    assert '\n' not in str(caught.value)


def values_of(content):
    """Every place (container, key) of a JSON value."""
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from values_of(content[key])


def damaged(text: str, numbers: random.Random) -> bytes:
    """Return the file with one to three faults: letters replaced, the end cut off, values exchanged or removed."""
    swaps = ['null', '-1', '"x"', '[]', '{}', '1e999', 'NaN', 'true', '[[[]]]', '"\\u0000"', '"\\ud800"', '', ',', '\n']
    values = [None, -1, 'x', [], {}, 1e308, 10**30, True, [[]], '\0', '', 1, 2.5, 'a.jpg', '..', '/', [None], 'é' * 999]
    for _ in range(numbers.randint(1, 3)):
        fault = numbers.random()
        if fault < 0.5 and text.startswith(('{', '[')):
            try:
                content = json.loads(text)
            except ValueError:
                continue
            if places := list(values_of(content)) if isinstance(content, (dict, list)) else []:
                place, key = numbers.choice(places)
                place[key] = numbers.choice(values)
                if numbers.random() < 0.3:
                    del place[key]
            text = json.dumps(content)
        elif fault < 0.85:
            start = numbers.randrange(len(text) + 1)
            text = text[:start] + numbers.choice(swaps) + text[start + numbers.randint(1, 12) :]
        else:
            text = text[: numbers.randrange(len(text) + 1)]
    content = bytearray(text.encode())
    if content and numbers.random() < 0.1:
        content[numbers.randrange(len(content))] = numbers.randrange(256)
    return bytes(content)


def check_500_damaged_files(folder: Path, originals: list[tuple[str, str]], capsys) -> None:
    """Run the command on damaged files: it ends well, or with one line that names the file; never otherwise."""
    numbers, main, ends = random.Random(0), command(), []
    for number in range(500):
        name, text = originals[number % len(originals)]
        (folder / name).write_bytes(damaged(text, numbers))
        out = folder / f'out{number}'
        ends.append(main([str(folder / name), '--images', str(folder / 'photos'), '--out', str(out), '--leave-out']))
        shown = capsys.readouterr()
        (shown.out + shown.err).encode()
        if ends[-1]:
            assert shown.err.count('\n') == 1
            assert shown.err.startswith(f'prepare_dataset: {folder / name}: ')
    assert ends.count(1) > 100  # the damage was felt
    assert ends.count(0) > 20  # and not every file was refused at its first letter


def test_500_damaged_files_of_each_format_never_end_in_a_traceback(tmp_path, capsys):
    for i, name in enumerate(('a.jpg', 'clip/img001.png', 'clip/img002.png', 'clip/img003.png')):
        picture(tmp_path / 'photos' / name, 99, 99, seed=i)
    points = {'keypoints': [1, 1, 2, 5, 5, 2]}
    cvat = coco([('a.jpg', 99, 99)], [{'image_id': 1, **points, 'segmentation': [], 'attributes': {'occluded': False}}])
    cvat.update(licenses=[{'name': '', 'id': 0, 'url': ''}], info={'year': ''})
    originals = [
        ('labels.json', json.dumps(cvat)),
        ('labels.json', json.dumps([label_studio_task('a.jpg', ('head', 1, 1), ('tail', 2, 2), parent=['r', 'r'])])),
        ('table.csv', DEEPLABCUT),
    ]
    check_500_damaged_files(tmp_path, originals, capsys)


@pytest.fixture
def real_exports(shared, tmp_path) -> list[Path]:
    """The exports of coco-annotator as people made them; pictures of their size are in tmp_path/photos."""
    exports = sorted((shared / 'data' / 'coco_annotator_exports').glob('*.json'))
    assert len(exports) >= 9
    for export in exports:
        for image in json.loads(export.read_text())['images']:
            picture(tmp_path / 'photos' / export.stem / image['file_name'], image['width'], image['height'])
    return exports


def test_500_damaged_real_exports_never_end_in_a_traceback(real_exports, tmp_path, capsys):
    (tmp_path / 'photos').rename(tmp_path / 'by_export')
    for i, path in enumerate(sorted((tmp_path / 'by_export').glob('fenicotteri*/*.jpg'))):
        picture(tmp_path / 'photos' / path.name, *cv2.imread(str(path)).shape[1::-1], seed=i)
    check_500_damaged_files(tmp_path, [('labels.json', export.read_text()) for export in real_exports], capsys)


def test_every_real_export_loads_or_is_refused_in_one_line(real_exports, tmp_path, capsys):
    refused = []
    for export in real_exports:
        arguments = [str(export), '--images', str(tmp_path / 'photos' / export.stem), '--check']
        end, shown = command()(arguments), capsys.readouterr()
        if end:
            refused.append(export.stem)
            assert shown.err.count('\n') == 1
            assert shown.err.startswith(f'prepare_dataset: {export}: ')
        else:
            assert 'sound images: 1 of 1' in shown.out or 'sound images: 3 of 3' in shown.out
    assert refused == ['testonekey-133']  # six keypoints for two names; the rest is sound or repaired with certainty


# What is made of sound labels.


def recordings(counts):
    return [
        ReadyImage(Path(f'/r{r}/frame{i:03d}.jpg'), f'{i}.jpg', 9, 9)
        for r, count in enumerate(counts)
        for i in range(count)
    ]


def test_whole_recordings_are_set_aside():
    images = recordings([10] * 10)
    train, validation = split(images, 0.2, seed=3)
    assert len(validation) == 20
    assert not {i.recording for i in train} & {i.recording for i in validation}


def test_of_one_recording_consecutive_frames_are_set_aside():
    images = recordings([50])
    train, validation = split(images, 0.1, seed=3)
    numbers = [int(i.source.stem[5:]) for i in validation]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert len(train) == 45
    assert [i.source for i in split(images, 0.1, seed=3)[1]] == [i.source for i in validation]


def test_the_written_data_set_trains_and_its_draft_loads(tmp_path, capsys):
    for i in range(10):
        picture(tmp_path / 'photos' / f'{i}.png', 120, 80, seed=i)
    content = coco(
        [(f'{i}.png', 120, 80) for i in range(10)],
        [{'image_id': i + 1, 'keypoints': [10 + i, 20, 2, 60, 40, 2, 80, 40, 1]} for i in range(10)],
        names=('the nose', 'left eye', 'right eye'),
        name='5',  # a number for YAML unless it is quoted
    )
    assert command()([str(save(tmp_path, content)), '--out', str(tmp_path / 'out')]) == 0
    out = capsys.readouterr().out
    assert "keypoint 'the nose' is written as 'the_nose'" in out
    model = ObjectModel.load(tmp_path / 'out')
    assert model.name == '5'
    assert model.keypoint_names == ('the_nose', 'left_eye', 'right_eye')
    assert model.swaps == ((1, 2),)
    train, validation = (read_dataset(tmp_path / 'out' / part, model) for part in ('train', 'val'))
    assert (len(train), len(validation)) == (9, 1)
    assert {tuple(i.keypoints[0, 1]) for i in train} == {(60.0, 40.0)}
    assert cv2.imread(str(tmp_path / 'out' / 'contact_sheet.png')).shape[1] == 4 * 320
    assert json.loads((tmp_path / 'out' / 'statistics.json').read_text())['instances'] == 10


def test_refused_labels_stop_unless_their_images_are_left_out(tmp_path, capsys):
    for i in range(2):
        picture(tmp_path / f'{i}.png', 120, 80, seed=i)
    content = coco(
        [('0.png', 120, 80), ('1.png', 120, 80)],
        [{'image_id': 1, 'keypoints': [10, 20, 2, 60, 40, 2]}, {'image_id': 2, 'keypoints': [10, 20, 2]}],
    )
    arguments = [str(save(tmp_path, content)), '--out', str(tmp_path / 'out')]
    assert command()(arguments) == 1
    captured = capsys.readouterr()
    assert '1.png' in captured.out and 'lists 1 keypoint, but' in captured.out
    wanted = "1 refused: 1.png 11 lists 1 keypoint, but 'fish' has 2: label the missing ones; mend them, or go on"
    assert wanted in captured.err
    assert not (tmp_path / 'out').exists()
    assert command()([*arguments, '--leave-out']) == 0
    assert command()([*arguments, '--leave-out']) == 1
    assert 'holds a data set already' in capsys.readouterr().err


def test_an_object_file_decides_names_and_order(tmp_path):
    picture(tmp_path / 'a.png', 120, 80)
    (tmp_path / 'object.yaml').write_text('name: fish\nkeypoints: [tail, head]\nskeleton: [[tail, head]]\n')
    labels = save(tmp_path, coco([('a.png', 120, 80)], [{'image_id': 1, 'keypoints': [10, 20, 2, 60, 40, 2]}]))
    out = tmp_path / 'out'
    assert command()([str(labels), '--object', str(tmp_path), '--out', str(out), '--val-share', '0']) == 0
    (image,) = read_dataset(out / 'train', ObjectModel.load(tmp_path))
    np.testing.assert_allclose(image.keypoints[0], [[60, 40], [10, 20]])
    (tmp_path / 'object.yaml').write_text('name: fish\nkeypoints: [tail, fin]\nskeleton: [[tail, fin]]\n')
    assert command()([str(labels), '--object', str(tmp_path), '--check']) == 1


def test_the_label_studio_interface_is_xml_with_every_keypoint(capsys):
    assert command()(['--label-studio-config', 'submarine']) == 0
    root = xml.etree.ElementTree.fromstring(capsys.readouterr().out)
    names = [label.get('value') for label in root.find('KeyPointLabels')]
    assert names == list(ObjectModel.load('submarine').keypoint_names)


@pytest.mark.parametrize(
    'names, pairs',
    [
        (['head', 'left_engine', 'right_engine'], [(1, 2)]),
        (['l_eye', 'nose', 'r_eye'], [(0, 2)]),
        (['leftear', 'rightear', 'Left-Paw', 'Right-Paw'], [(0, 1), (2, 3)]),
        (['lamp', 'ramp', 'left'], []),
    ],
)
def test_left_and_right_are_paired_by_name(names, pairs):
    assert left_right_pairs(names) == pairs


def test_the_draft_joins_near_keypoints():
    points = np.array([[0, 0, 2], [100, 0, 2], [30, 0, 2], [60, 0, 2]], float)
    image = ReadyImage(Path('a'), 'a', 200, 100, [points], [(0, 0, 1, 1)])
    assert shortest_tree([image], 4) == [(0, 2), (2, 3), (3, 1)]


@pytest.mark.parametrize(
    ('size_px', 'image_height', 'wanted'),
    [
        (110, 480, 480),
        (110, 1080, 512),
        (400, 480, 256),
        (150, 480, 352),
        (60, 480, 480),
        (50, 200, 256),
        (0, 480, 256),
    ],
)
def test_the_draft_sees_small_objects_large_enough(size_px, image_height, wanted):
    points = np.array([[0, 0, 2], [size_px, 10 * (size_px > 0), 2]], float)
    image = ReadyImage(Path('a'), 'a', 640, image_height, [points, None], [(0, 0, 1, 1)] * 2)
    assert input_height([image]) == wanted


def test_a_draft_with_odd_names_loads(tmp_path):
    path = save(tmp_path, coco([], [], names=['1', 'yes', 'no', 'Ohr/links', '2.5']))
    labels = read_labels(path)
    labels.keypoint_names = [safe_name(name) for name in labels.keypoint_names]
    (tmp_path / 'object.yaml').write_text(object_yaml(labels, []))
    assert ObjectModel.load(tmp_path).keypoint_names == ('1', 'yes', 'no', 'Ohr_links', '2.5')
