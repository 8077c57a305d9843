"""Reading pictures: what is found, what is refused and how."""

import os
import shutil

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import MediaError
from custom_pose_ros.tools.media import Input, VideoReader, find_inputs, quiet_opencv, read_image


def write_jpeg_with_orientation(path, image, orientation):
    """Write a JPEG with an EXIF block that holds nothing but the orientation tag (0x0112)."""
    jpeg = cv2.imencode('.jpg', image)[1].tobytes()
    tiff = b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0' + bytes([orientation]) + b'\0\0\0\0\0\0\0'
    exif = b'Exif\0\0' + tiff
    path.write_bytes(jpeg[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + jpeg[2:])


def test_folder_gives_its_images_by_name_without_drawn_ones(tmp_path):
    for name in ('b.png', 'a.JPG', 'a_pose.png', 'b.png_pose.png', 'strange_pose.png', 'notes.txt', '.hidden'):
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'sub.png').mkdir()
    assert [i.source.name for i in find_inputs(str(tmp_path))] == ['a.JPG', 'b.png', 'strange_pose.png']


def test_a_data_set_gives_the_images_it_was_made_of(tmp_path):
    """As prepare_dataset and synthesize write it: images/ beside labels.json."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'b.png').touch()
    (tmp_path / 'labels.json').touch()
    assert [i.source for i in find_inputs(str(tmp_path))] == [tmp_path / 'images' / 'b.png']


def test_kinds_by_suffix_and_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.MOV').write_bytes(b'x')
    (tmp_path / '7.png').write_bytes(b'x')
    assert find_inputs('a.MOV')[0].kind == 'video'
    assert find_inputs('7.png')[0].kind == 'image'
    assert find_inputs('7') == [Input(7, 'webcam')]
    assert (find_inputs('7')[0].name, find_inputs('7')[0].stem) == ('webcam 7', 'webcam7')


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('gone.png', 'gone.png: not found; give an image, a folder of images, a video or the number of a webcam'),
        ('-1', '-1: not found'),
        ('notes.txt', 'notes.txt: is neither an image nor a video by its suffix; wanted one of .bmp'),
        ('empty', 'empty: no image in this folder; wanted files ending in .bmp'),
    ],
)
def test_inputs_refused(tmp_path, monkeypatch, name, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(MediaError, match='^' + text):
        find_inputs(name)


@pytest.mark.parametrize(
    'encode',
    [
        lambda image: image,
        lambda image: np.dstack([image, np.full(image.shape[:2], 9, np.uint8)]),
        lambda image: image.astype(np.uint16) * 257,
    ],
    ids=['bgr', 'alpha', '16 bit'],
)
def test_read_image_gives_8_bit_bgr(tmp_path, encode):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), encode(image))
    read = read_image(tmp_path / 'a.png')
    assert read.dtype == np.uint8
    assert np.array_equal(read, image)  # PNG is lossless; 257 v / 256 cut to 8 bits is v


def test_read_image_turns_by_exif_orientation(tmp_path):
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40] = 255  # white left half
    write_jpeg_with_orientation(tmp_path / 'turned.jpg', image, 6)  # 6: turn clockwise to show
    upright = read_image(tmp_path / 'turned.jpg')
    assert upright.shape == (80, 40, 3)
    assert upright[:36].min() > 200 > 50 > upright[44:].max()  # the left half is on top now; JPEG blurs the edge


def test_unreadable_images_are_refused(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg, png = (cv2.imencode(suffix, image)[1].tobytes() for suffix in ('.jpg', '.png'))
    cases = {
        'cut.jpg': (jpeg[: len(jpeg) // 2], r'is cut off \(the JPEG has no end\); copy the file again'),
        'head.jpg': (jpeg[:3], r'is cut off'),
        'cut.png': (png[: len(png) // 2], 'is damaged or not an image'),
        'text.jpg': (b'hello', 'is damaged or not an image'),
        'empty.png': (b'', 'is empty'),
    }
    for name, (data, text) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MediaError, match=f'{name}: {text}'):
            read_image(tmp_path / name)
    with pytest.raises(MediaError, match=r'gone.png: cannot be read \(No such file or directory\)'):
        read_image(tmp_path / 'gone.png')


def test_jpeg_with_data_after_its_end_is_read(tmp_path):
    jpeg = cv2.imencode('.jpg', np.full((16, 16, 3), 128, np.uint8))[1].tobytes()
    (tmp_path / 'motion.jpg').write_bytes(jpeg + b'\xff\xda trailing film of a phone')
    assert read_image(tmp_path / 'motion.jpg').shape == (16, 16, 3)


def test_video_gives_all_frames_with_rising_stamps(make_video):
    for name in ('dive.avi', 'dive.mp4'):
        with VideoReader(make_video(name, frames=12)) as reader:
            frames = list(reader)
            assert (reader.fps, reader.length) == (30.0, 12)
        assert [f.index for f in frames] == list(range(12))
        assert np.allclose([f.stamp_s for f in frames], np.arange(12) / 30, atol=1e-3)  # containers round to a ms
        assert frames[0].image.shape == (256, 320, 3)


def test_video_that_ends_early_gives_its_frames_then_says_so(make_video):
    path = make_video(frames=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames = []
    with VideoReader(path) as reader, pytest.raises(MediaError, match=r'dive.avi: ends early, \d+ of 40 frames'):
        for frame in reader:
            frames.append(frame)
    assert 10 <= len(frames) <= 30  # about half of the file


def test_video_that_cannot_be_opened_is_refused(make_video, capfd):
    quiet_opencv()
    path = make_video('dive.mp4')
    path.write_bytes(path.read_bytes()[:2000])  # the index of an MP4 is at its end
    with pytest.raises(MediaError, match='dive.mp4: cannot be opened; is it a complete video file?'):
        VideoReader(path)


@pytest.mark.skipif(os.path.exists('/dev/video63'), reason='this machine has a camera number 63')
def test_missing_webcam_is_refused_without_a_word_of_opencv(capfd):
    quiet_opencv()
    with pytest.raises(MediaError, match='webcam 63: cannot be opened; is there a camera, and is it free?'):
        VideoReader(63)
    assert capfd.readouterr().err == ''


def test_non_ascii_names_are_read(picture, tmp_path):
    shutil.copy(picture, tmp_path / 'Unterwasser-Fähre 潜水艇.png')
    assert read_image(tmp_path / 'Unterwasser-Fähre 潜水艇.png').shape == (256, 320, 3)
