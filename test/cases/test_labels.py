"""Labels that mean something else, as people brought them: right, or refused with a line that says why."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.coco import read_dataset
from training.prepare_dataset import main

NAMES = ('head', 'left_engine', 'right_engine', 'bottom_engine')


@pytest.fixture
def prepare(tmp_path, capfd):
    """Run prepare_dataset on a label file; return exit code, the folder that it wrote, stdout and stderr."""

    def run(labels: Path, photos: Path, *options: str) -> tuple[int, Path, str, str]:
        out = tmp_path / 'out'
        shutil.rmtree(out, ignore_errors=True)
        code = main([str(labels), '--images', str(photos), '--out', str(out), '--val-share', '0', *options])
        shown = capfd.readouterr()
        assert 'Traceback' not in shown.err
        return code, out, shown.out, shown.err

    return run


@pytest.fixture
def case(shared):
    """Return the folder of a case by its number."""
    return lambda number: next((shared / 'cases').glob(f'{number}-*'))


def written(out: Path) -> dict:
    return json.loads((out / 'train' / 'labels.json').read_text())


def points_of(out: Path, names=NAMES) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Return x, y, visibility by file name and keypoint."""
    content = written(out)
    order = content['categories'][0]['keypoints']
    files = {image['id']: image['file_name'] for image in content['images']}
    rows = {files[a['image_id']]: np.reshape(a['keypoints'], (-1, 3)).tolist() for a in content['annotations']}
    return {file: {name: tuple(row[order.index(name)]) for name in names} for file, row in rows.items()}


@pytest.mark.parametrize('labels', ['result.json', 'ls.json'])
def test_01_label_studio_labels_lie_on_the_discs_of_the_turned_photos(case, prepare, labels):
    code, out, shown, _ = prepare(case('01') / labels, case('01') / 'photos')
    assert code == 0 and 'sound images: 4 of 4' in shown
    found = points_of(out)
    assert len(found) == 4
    colours = {
        'head': (0, 0, 255),
        'left_engine': (0, 255, 0),
        'right_engine': (255, 0, 0),
        'bottom_engine': (0, 255, 255),
    }
    for file, points in found.items():
        image = cv2.imread(str(out / 'train' / 'images' / file))
        assert image.shape == (320, 240, 3)
        for name, (x, y, _) in points.items():
            np.testing.assert_allclose(image[round(y), round(x)], colours[name], atol=60)  # JPEG blurs colours


def test_01_the_same_labels_of_an_unknown_tool_are_refused_until_somebody_tells(case, prepare, tmp_path):
    content = json.loads((case('01') / 'result.json').read_text())
    del content['info']
    labels = tmp_path / 'result.json'
    labels.write_text(json.dumps(content))
    code, _, _, err = prepare(labels, case('01') / 'photos')
    assert code == 1
    assert 'refused: images/p0.jpg: has EXIF orientation ' in err and '--exif turned' in err
    code, out, _, _ = prepare(labels, case('01') / 'photos', '--exif', 'turned')
    assert code == 0 and points_of(out)['p0.jpg']['head'] == (60, 40, 2)


@pytest.mark.parametrize('labels', ['mixed.json', 'all.json'])
def test_05_scores_as_visibility_are_labels(case, prepare, labels):
    code, out, shown, _ = prepare(case('05') / labels, case('05') / 'photos')
    assert code == 0
    assert 'visibilities are scores' in shown and 'num_keypoints said' not in shown
    found = points_of(out)
    assert {v for points in found.values() for _, _, v in points.values()} == {2}
    if labels == 'mixed.json':
        assert found['img_0.jpg'] == dict(zip(NAMES, [(50, 60, 2), (100, 50, 2), (150, 200, 2), (60, 180, 2)]))


def test_06_a_cut_jpeg_is_refused_and_named(case, prepare):
    code, _, shown, err = prepare(case('06') / 'labels.json', case('06') / 'photos')
    assert code == 1 and 'sound images: 5 of 6' in shown
    assert err.splitlines() == [  # no line of libjpeg
        f'error: {case("06") / "labels.json"}: 1 refused: img_2.jpg: is cut off (the JPEG has no end); copy the file '
        'again; mend them, or go on without those images: --leave-out'
    ]
    code, out, _, _ = prepare(case('06') / 'labels.json', case('06') / 'photos', '--leave-out')
    assert code == 0 and len(written(out)['images']) == 5


def test_07_labels_without_a_place_are_none(case, prepare, tmp_path):
    code, out, shown, _ = prepare(case('07') / 'zero_zero_two.json', case('07') / 'photos')
    assert code == 0
    assert shown.count('right_engine at (0, 0) with visibility 2: taken as not labelled') == 6
    assert {points['right_engine'] for points in points_of(out).values()} == {(0, 0, 0)}

    text = (case('07') / 'zero_zero_two.json').read_text()
    for given, said in (('-1, -1, 2', '(-1, -1) with visibility 2'), ('NaN, NaN, 0', ''), ('null, null, 0', '')):
        labels = tmp_path / 'labels.json'
        labels.write_text(text.replace('0, 0, 2', given).replace('"num_keypoints": 4', '"num_keypoints": 3'))
        code, out, shown, _ = prepare(labels, case('07') / 'photos')
        assert code == 0
        assert {points['right_engine'] for points in points_of(out).values()} == {(0, 0, 0)}
        assert said in shown if said else 'problems: refused 0, repaired 0' in shown


def test_07_shares_of_the_image_are_refused(case, prepare):
    code, _, _, err = prepare(case('07') / 'normalised.json', case('07') / 'photos')
    assert code == 1
    assert 'img_0.jpg 1: all keypoints lie within one pixel: are these shares of the image size?' in err


def test_21_names_in_another_unicode_form_are_found(case, prepare):
    folder = case('21') / 'nfc'
    code, out, shown, _ = prepare(folder / 'labels.json', folder / 'photos')
    assert code == 0
    assert 'sound images: 6 of 6' in shown and '6 files have names in another case, Unicode form' in shown
    assert len(written(out)['images']) == 6


@pytest.mark.parametrize(
    'change',
    [
        lambda name: name.replace('.jpg', '.JPG'),
        lambda name: unicodedata.normalize('NFD', name),
        lambda name: name.replace('Ü', '%C3%9C'),
        lambda name: f'C:\\Users\\me\\{name}',
        lambda name: f'https://host/media/{name}?token=1',
        lambda name: f'/data/upload/3/0a1b2c3d-{name}',
    ],
    ids=['case', 'NFD', 'quoted', 'Windows', 'address', 'upload'],
)
def test_21_names_that_systems_and_tools_change_are_found_by_training_too(case, tmp_path, change):
    content = json.loads((case('21') / 'nfc' / 'labels.json').read_text())
    for image in content['images']:
        image['file_name'] = change(image['file_name'])
    shutil.copytree(case('21') / 'nfc' / 'photos', tmp_path / 'photos')
    (tmp_path / 'labels.json').write_text(json.dumps(content))
    (tmp_path / 'object.yaml').write_text(f'name: plane\nkeypoints: [{", ".join(NAMES)}]\nskeleton: []\n')
    images = read_dataset(tmp_path, ObjectModel.load(tmp_path))
    assert [image.path.name[-5] for image in images] == list('012345')
    assert images[0].read().shape == (240, 320, 3)
