"""Images found by the names in label files; what a user has filmed, thinned out evenly."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.files import mark_of, write_image
from training.pose_training.labels.image_files import ImageIndex, find_images, read_frames, sample_images
from training.synthetic.rendering.backgrounds import list_background_photos


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four grey images in two folders, and a video of twelve frames, brighter from one to the next."""
    for i in range(4):
        path = tmp_path / 'photos' / ('a' if i < 2 else 'b') / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((32, 48, 3), 50 * i, np.uint8))
    writer = cv2.VideoWriter(str(tmp_path / 'dive.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return tmp_path


def brightness(images: list[np.ndarray]) -> list[int]:
    return [round(float(image.mean())) for image in images]


def test_all_in_their_order(folder):
    images = sample_images([folder / 'photos', folder / 'dive.avi', folder / 'photos/b/3.png'], 100)
    assert brightness(images)[:4] == [0, 50, 100, 150]
    np.testing.assert_allclose(brightness(images)[4:16], np.arange(12) * 20, atol=3)  # MJPEG rounds
    assert len(images) == 16  # the image that was given twice counts once


def test_thinned_out_evenly(folder):
    assert brightness(sample_images([folder / 'photos'], 2)) == [0, 150]
    np.testing.assert_allclose(brightness(sample_images([folder / 'dive.avi'], 3)), [0, 120, 220], atol=3)


def test_what_predict_drew_beside_the_photos_is_no_photo(folder):
    photos = find_images(folder / 'photos')
    write_image(folder / 'photos' / '0_pose.png', np.zeros((32, 48, 3), np.uint8), mark=mark_of('predict'))
    assert find_images(folder / 'photos') == list_background_photos(folder / 'photos') == photos
    (folder / 'drawn').mkdir()
    (folder / 'photos' / '0_pose.png').rename(folder / 'drawn' / '0.png')
    with pytest.raises(DatasetError, match='drawn: no images found; .*, not drawn by predict'):
        find_images(folder / 'drawn')


def test_what_cannot_be_read_is_named(folder):
    (folder / 'empty').mkdir()
    (folder / 'broken.png').write_bytes(b'PNG, it says')
    (folder / 'broken.mp4').write_bytes(b'video, it says')
    for name, message in {
        'empty': 'empty: no images found; give a folder with',
        'gone': 'gone: no such file or folder',
        'broken.png': r'broken\.png: is damaged or not an image',
        'broken.mp4': r'broken\.mp4: cannot be read as a video',
    }.items():
        with pytest.raises((DatasetError, MediaError), match=message):
            sample_images([folder / name], 10)


def test_a_video_that_ends_early_is_told_once(tmp_path, capsys):
    video = tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'XVID'), 10, (64, 48))
    for noise in np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), np.uint8):
        writer.write(noise)
    writer.release()
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    for _ in range(2):
        assert 0 < len(list(read_frames(video, range(12)))) < 8
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'warning: {video}: ends after ') and 'of the 12 frames' in line


# Names in label files.


def index(tmp_path, *names: str) -> ImageIndex:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return ImageIndex([tmp_path])


NFD = unicodedata.normalize('NFD', 'Übung é 1.jpg')


@pytest.mark.parametrize(
    ('file', 'name', 'renamed'),
    [
        ('IMG_1.JPG', 'IMG_1.jpg', True),
        ('IMG_1.jpg', 'img_1.JPG', True),
        (NFD, 'Übung é 1.jpg', True),
        ('Übung é 1.jpg', NFD, True),
        ('Übung é 1.jpg', 'Übung%20%C3%A9%201.JPG', True),
        ('a b.jpg', 'a%20b.jpg', True),
        ('a%20b.jpg', 'a b.jpg', True),
        ('a b.jpg', 'photos%2Fa%20b.jpg', True),
        ('a b.png', 'a b.png', True),  # screenshots of macOS
        ('a.jpg', 'C:\\Users\\me\\a.jpg', False),
        ('a.jpg', '\\\\server\\share\\a.jpg', False),
        ('a.jpg', 'file:///C:/me/a.jpg', False),
        ('a b.jpg', 's3://bucket/folder/a%20b.jpg', False),
        ('a.jpg', 'https://host/a.jpg?X-Amz-Date=1#top', False),
        ('a.jpg', './a.jpg', False),
        ('a.jpg', '/datasets/x/a.jpg', False),
        ('a.jpg', 'data/upload/3/0a1b2c3d-a.jpg', False),
        ('0a1b2c3d-a.jpg', 'a.jpg', False),  # the folder of Label Studio itself
        ('IMG 12 (1).jpg', '0a1b2c3d-IMG_12_1.jpg', False),
        ('100% sure.jpg', '100% sure.jpg', False),
    ],
)
def test_names_that_only_systems_and_tools_changed_are_found(tmp_path, file, name, renamed):
    found = index(tmp_path, file, 'other.jpg').find(name)
    assert (found.path.name, found.renamed) == (file, renamed)


def test_an_exact_name_wins_and_several_alike_are_refused(tmp_path):
    made = index(tmp_path, 'one/a.jpg', 'one/A.jpg', 'two/B.jpg', 'three/b.JPG')
    assert made.find('a.jpg').path == tmp_path / 'one' / 'a.jpg'
    assert made.find('A.jpg').path == tmp_path / 'one' / 'A.jpg'
    with pytest.raises(DatasetError, match='2 files match: .*three.b.JPG, .*two.B.jpg'):
        made.find('b.jpg')
    assert made.find('TWO/b.jpg').path == tmp_path / 'two' / 'B.jpg'  # the folder tells


def test_a_file_in_the_folder_that_is_written_is_named(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 's1.jpg').touch()
    with pytest.raises(DatasetError, match=r'images/s1\.jpg lies in the folder --out, .*: give another --out'):
        ImageIndex([tmp_path / 'images'], tmp_path).find('s1.jpg')


@pytest.mark.parametrize(
    ('file', 'name', 'hint'),
    [
        ('IMG_1.png', 'IMG_1.jpg', ', but IMG_1.png: if it is meant, correct the name'),
        ('IMG_1.heic', 'IMG_1.jpg', ', but IMG_1.heic, which is no format that is read: convert it'),
        ('frame_0001.png', 'frame_1.png', ', but frame_0001.png: if it is meant'),
        ('Drone_7.jpg', 'Drohne_7.jpg', ', but Drone_7.jpg: if it is meant'),
        ('frame_0001.png', 'frame_0002.png', ': give the folder'),  # another picture, not another name
        ('bench.png', 'flower.png', ': give the folder that holds it with --images'),
        ('IMG_1.json', 'IMG_1.jpg', ': give the folder'),  # its labels
    ],
)
def test_a_file_of_nearly_that_name_is_named(tmp_path, file, name, hint):
    with pytest.raises(DatasetError, match=f'^no such file in {tmp_path}{hint}'):
        index(tmp_path, file).find(name)
