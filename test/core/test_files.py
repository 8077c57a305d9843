"""Files appear complete or not at all, and what is no file is not waited for."""

from __future__ import annotations

import hashlib
import json
import os

import cv2
import numpy as np
import pytest

from custom_pose_ros.core import files
from custom_pose_ros.core.errors import DatasetError, OutputError
from custom_pose_ros.core.files import read_json, replacing, sha256_of, write_image, write_json, write_text
from custom_pose_ros.core.video_file import VideoFile

IMAGE = np.full((48, 64, 3), 90, np.uint8)


def test_text_replaces_the_old_file_and_makes_folders(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    write_text(path, 'ä')
    write_text(path, 'second')
    assert path.read_text(encoding='utf-8') == 'second'
    assert os.listdir(path.parent) == ['a.txt']


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text('half')
        raise ZeroDivisionError
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_folder_replaces_the_old_folder_as_a_whole(tmp_path):
    for content in ('first', 'second'):
        with replacing(tmp_path / 'bag') as temporary:
            assert temporary.name == 'bag'  # storages name their files after the folder
            temporary.mkdir()
            (temporary / f'{content}.mcap').write_text(content)
    assert os.listdir(tmp_path) == ['bag']
    assert os.listdir(tmp_path / 'bag') == ['second.mcap']


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / 'a.txt'
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text('one')
        other.write_text('other')
    assert path.read_text() == 'one'
    assert os.listdir(tmp_path) == ['a.txt']


def test_json_round_trip_without_nan(tmp_path):
    write_json(tmp_path / 'a.json', {'ä': [1, None]})
    assert json.loads((tmp_path / 'a.json').read_text(encoding='utf-8')) == {'ä': [1, None]}
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(tmp_path / 'a.json', float('nan'))


def test_a_name_that_is_no_utf8_is_written_so_that_json_gives_it_back(tmp_path):
    name = os.fsdecode(b'dive_\xff')
    write_json(tmp_path / 'a.json', {'bag': name})
    assert json.loads((tmp_path / 'a.json').read_text(encoding='utf-8')) == {'bag': name}


@pytest.mark.parametrize(('content', 'text'), [(b'[' * 100_000, 'is not valid JSON'), (b'\xff', 'is not valid JSON')])
def test_json_that_cannot_be_used_is_one_line(tmp_path, content, text):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(DatasetError, match=text) as caught:
        read_json(tmp_path / 'a.json')
    assert '\n' not in str(caught.value)


def test_values_of_json_are_counted_before_they_are_built(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'MAX_JSON_VALUES', 1000)
    (tmp_path / 'a.json').write_text('[' + '[],' * 1000 + '[]]')
    with pytest.raises(DatasetError, match=r'a\.json: is not valid JSON \(it has more than 1000 values\)'):
        read_json(tmp_path / 'a.json')


def test_a_sparse_file_is_not_read_for_its_hash(tmp_path):
    with (tmp_path / 'model.onnx').open('wb') as file:
        file.truncate(12 << 30)
    with pytest.raises(OSError, match='it has 12884901888 bytes; at most'):
        sha256_of(tmp_path / 'model.onnx')


def test_hash_of_a_file(tmp_path):
    content = bytes(range(256)) * 10_000  # several blocks
    (tmp_path / 'a').write_bytes(content)
    assert sha256_of(tmp_path / 'a') == hashlib.sha256(content).hexdigest()


def test_image_round_trip_and_unknown_suffix(tmp_path):
    write_image(tmp_path / 'a.png', IMAGE)
    assert np.array_equal(cv2.imread(str(tmp_path / 'a.png')), IMAGE)
    with pytest.raises(OutputError, match="a.xyz: OpenCV cannot write '.xyz' images; use .png or .jpg"):
        write_image(tmp_path / 'a.xyz', IMAGE)
    assert os.listdir(tmp_path) == ['a.png']


def test_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / 'file').write_text('x')
    for write in (
        lambda p: write_text(p, 'x'),
        lambda p: write_image(p, IMAGE),
        lambda p: VideoFile(p, 30).write(IMAGE),
    ):
        with pytest.raises(OutputError, match='file/out.png: cannot be written'):
            write(tmp_path / 'file' / 'out.png')
