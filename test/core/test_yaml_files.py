"""YAML is read, and nothing else can hold it up or fill the memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.limits import MAX_YAML_BYTES
from custom_pose_ros.core.yaml_files import read_yaml


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
