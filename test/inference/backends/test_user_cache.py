"""Records in the user's cache folder: read as written, one file for each key, never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from custom_pose_ros.inference.backends import user_cache
from custom_pose_ros.inference.backends.user_cache import cache_folder, read_record, record_path, write_record

KEY = {'model': 'abc', 'threads': 2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    return tmp_path


def test_where_it_is(cache, monkeypatch):
    assert cache_folder() == cache / 'custom_pose_ros'
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')  # to be ignored, as the XDG specification says
    monkeypatch.setenv('HOME', '/home/robot')
    assert cache_folder() == Path('/home/robot/.cache/custom_pose_ros')


def test_a_record_comes_back_under_its_key_only():
    write_record(KEY, [1, 'a'])
    assert read_record(KEY) == [1, 'a']
    assert read_record({**KEY, 'threads': 3}) is None
    write_record(KEY, [2])
    assert read_record(KEY) == [2]
    assert [path.suffix for path in record_path(KEY).parent.iterdir()] == ['.json']  # nothing half written is left


@pytest.mark.parametrize('content', [b'', b'{"key": {', b'[]', b'\xff\xfe', b'{"key": {"model": "other"}, "value": 1}'])
def test_a_damaged_or_foreign_record_is_none(content):
    write_record(KEY, 1)
    record_path(KEY).write_bytes(content)
    assert read_record(KEY) is None


def test_a_folder_that_cannot_be_written_is_only_a_warning(cache, caplog):
    (cache / 'custom_pose_ros').write_text('a file where the folder should be')
    write_record(KEY, 1)
    assert read_record(KEY) is None
    assert 'cannot be written' in caplog.text
    assert 'measured at every start' in caplog.text


def test_a_failing_rename_leaves_the_old_record(monkeypatch, caplog):
    write_record(KEY, 'old')

    def refuse(source, target):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(user_cache.os, 'replace', refuse)
    write_record(KEY, 'new')
    assert read_record(KEY) == 'old'
    assert len(os.listdir(record_path(KEY).parent)) == 1
    assert 'No space left on device' in caplog.text
