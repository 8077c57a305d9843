"""Files appear complete or not at all; YAML is read, and nothing else can hold it up or fill the memory."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core import files
from custom_pose_ros.core.errors import ConfigError, DatasetError, OutputError
from custom_pose_ros.core.files import (
    VideoFile,
    read_json,
    read_yaml,
    replacing,
    sha256_of,
    write_image,
    write_json,
    write_text,
)
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.limits import MAX_YAML_BYTES
from custom_pose_ros.tools.media import VideoReader

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


def write_frames(path, count, error=None):
    with VideoFile(path, 30.0) as video:
        for _ in range(count):
            video.write(IMAGE)
        assert not path.exists()
        if error:
            raise error
    return video


def test_video_appears_at_the_end(tmp_path):
    assert write_frames(tmp_path / 'a.mp4', 5).saved
    with VideoReader(tmp_path / 'a.mp4') as reader:
        assert len(list(reader)) == 5
    assert os.listdir(tmp_path) == ['a.mp4']


def test_video_is_kept_after_ctrl_c_and_dropped_after_an_error_or_without_frames(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_frames(tmp_path / 'kept.mp4', 5, KeyboardInterrupt())
    with pytest.raises(ZeroDivisionError):
        write_frames(tmp_path / 'dropped.mp4', 5, ZeroDivisionError())
    assert not write_frames(tmp_path / 'none.mp4', 0).saved
    assert os.listdir(tmp_path) == ['kept.mp4']


def test_values_and_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_text('a: &x [1, 2.5, yes]\nb: *x\n', encoding='utf-8')
    assert read_yaml(path, '') == {'a': [1, 2.5, True], 'b': [1, 2.5, True]}
    path.write_text('', encoding='utf-8')
    assert read_yaml(path, '') is None


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'a: [', r'is not valid YAML: while parsing .* in line \d'),
        (b'a: 2020-13-45', 'is not valid YAML: month must be in 1..12'),
        (b'\xff\xfe\xff', 'is not valid YAML: '),
        (b'a: b\n---\nc: d\n', 'is not valid YAML: it has 2 documents, wanted one'),
        (b'a: !!python/object/apply:os.system ["true"]', 'could not determine a constructor for the tag'),
        (b'a: &a [*a, *a]', r'its aliases stand for more than \d+ values'),
        (b'[' * 10_000, 'it is nested more than 50 levels deep'),
        (b'[' + b'1,' * 200_000 + b']', 'it has more than 100000 values'),
        (b'a: ' + b'1:' * 50_000 + b'1', 'a value has 100001 characters; at most 20000 are read'),
        (b'a: !!int ""', 'is not valid YAML: '),
        (b'a: !!bool x', 'is not valid YAML: '),
        (b'a: !!timestamp x', 'is not valid YAML: '),
        (b'a: ' + b'9:' * 400 + b'9.0', 'is not valid YAML: '),
        (b'#' * (MAX_YAML_BYTES + 1), r'cannot be read \(it has 1048577 bytes; at most 1048576 are read\); give one'),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / 'a.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text) as caught:
        read_yaml(path, 'give one')
    assert '\n' not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ['a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]' for i in range(1, 30)]  # 10^30 values
    path = tmp_path / 'laughs.yaml'
    path.write_text('\n'.join([*lines, 'camera_matrix: *a29']), encoding='utf-8')
    with pytest.raises(ConfigError, match='its aliases stand for more than'):
        CameraIntrinsics.from_yaml(path)


def test_only_files_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    for path, text in [
        (pipe, 'it is no regular file'),
        ('/dev/zero', 'it is no regular'),
        (tmp_path, 'Is a directory'),
    ]:
        begin = time.monotonic()
        with pytest.raises(ConfigError, match=f'cannot be read .{text}.*; give one'):
            read_yaml(path, 'give one')
        assert time.monotonic() - begin < 20.0  # else it waited for a writer


@pytest.mark.parametrize('path', ['http://127.0.0.1:9/a.yaml', 'file:///etc/passwd', '$(touch x)', '| touch x', '~'])
def test_a_path_is_a_path_and_nothing_else(path: str) -> None:
    with pytest.raises(ConfigError, match='cannot be read .No such file or directory.; give one'):
        read_yaml(path, 'give one')
