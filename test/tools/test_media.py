"""Reading pictures: what is found, what is refused and how."""

import os

import numpy as np
import pytest

from custom_pose_ros.core.errors import MediaError
from custom_pose_ros.core.files import mark_of
from custom_pose_ros.core.video_file import quiet_opencv
from custom_pose_ros.tools.media import Input, VideoReader, find_inputs


def test_folder_gives_its_images_by_name_without_drawn_ones(tmp_path):
    for name in ('b.png', 'a.JPG', 'strange_pose.png', 'notes.txt', '.hidden'):
        (tmp_path / name).write_bytes(b'x')
    for name in ('a_pose.png', 'b.png_pose.png', 'moved.png'):
        (tmp_path / name).write_bytes(mark_of('predict'))
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
        ('rtsp://10.0.0.9/stream', 'rtsp://10.0.0.9/stream: addresses are not read; download the file'),
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
