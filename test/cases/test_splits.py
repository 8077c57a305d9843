"""Splits of pictures as people bring them: nothing on both sides, and photos that differ are not taken for one."""

from __future__ import annotations

import json
import shutil

import cv2
import pytest

from training.pose_training.labels.splitting import split_images, thumbnail_of
from training.prepare_dataset import main


def test_10_the_three_versions_of_a_photo_by_roboflow_are_on_one_side(shared, tmp_path, capsys):
    case = next((shared / 'cases').glob('10-*')) / 'roboflow'
    for seed in range(4):
        out = tmp_path / str(seed)
        arguments = [str(case / 'labels.json'), '--images', str(case / 'photos'), '--out', str(out)]
        assert main([*arguments, '--seed', str(seed)]) == 0
        train, validation = (sorted(p.name for p in (out / part / 'images').iterdir()) for part in ('train', 'val'))
        assert (len(train), len(validation)) == (21, 3)
        assert not {name[:8] for name in train} & {name[:8] for name in validation}
        assert f'val    3 images: versions of one photo by name ({validation[0]} ... ' in capsys.readouterr().out


def test_10_frames_of_two_recordings_with_a_time_and_a_z_in_the_name(shared, tmp_path, capsys):
    case = next((shared / 'cases').glob('10-*')) / 'roboflow'
    content = json.loads((case / 'labels.json').read_text())
    (tmp_path / 'photos').mkdir()
    for i, image in enumerate(content['images']):  # eight photos 33 ms apart in each of three recordings
        source = case / 'photos' / image['file_name']
        image['file_name'] = f'2024-10-1{1 + i % 3}T12-30-0{1 + i // 3}.{33 * i:03d}Z.jpg'
        shutil.copyfile(source, tmp_path / 'photos' / image['file_name'])
    (tmp_path / 'labels.json').write_text(json.dumps(content))
    out = tmp_path / 'out'
    arguments = [str(tmp_path / 'labels.json'), '--images', str(tmp_path / 'photos'), '--out', str(out)]
    assert main([*arguments, '--val-share', '0.34']) == 0
    # The versions of each photo lie in all three recordings, which their contents join: photos are set aside.
    assert '24 images: 3 recordings with pictures that look alike' in capsys.readouterr().out
    numbers = {name: next(i for i, image in enumerate(content['images']) if image['file_name'] == name) // 3
               for name in (image['file_name'] for image in content['images'])}  # fmt: skip
    train, validation = ({numbers[p.name] for p in (out / part / 'images').iterdir()} for part in ('train', 'val'))
    assert not train & validation
    assert validation


@pytest.mark.parametrize(
    'folder, recordings', [('chessboard/images', 13), ('submarine/images', 3), ('openfield/images', None)]
)
def test_different_photos_are_not_taken_for_one(shared, folder, recordings):
    files = sorted((shared / 'data' / folder).iterdir())
    thumbnails = [thumbnail_of(cv2.imread(str(file))) for file in files]
    unnamed = [file.with_name(f'{chr(97 + i // 26)}{chr(97 + i % 26)}x') for i, file in enumerate(files)]
    split = split_images(unnamed, thumbnails, 0.2, 0)
    # Of the 93 frames of a mouse in a field, about half show it in the place of another frame.
    assert split.recordings == recordings if recordings else 45 <= split.recordings <= 70
    named = split_images(files, thumbnails, 0.1, 0)
    assert 0 < len(named.aside) < len(files) / 3 or len(files) == 3


def test_neighbouring_frames_of_a_video_look_alike_and_distant_ones_do_not(shared):
    capture, frames = cv2.VideoCapture(str(shared / 'data' / 'box' / 'box.mp4')), []
    while (read := capture.read())[0]:
        frames.append(thumbnail_of(read[1]))
    unnamed = [shared / f'{chr(97 + i)}x.png' for i in range(24)]
    assert split_images(unnamed, frames[100:124], 0.2, 0).recordings == 1
    assert split_images(unnamed[:23], frames[::20], 0.2, 0).recordings >= 12
