"""Files appear complete or not at all, and what is no file is not waited for."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from folder_owner import start_owner

from custom_pose_ros.core import files
from custom_pose_ros.core.errors import ConfigError, DatasetError, OutputError
from custom_pose_ros.core.files import (
    IMAGE_SUFFIXES,
    check_own,
    has_mark,
    holds_json,
    mark_of,
    own_folder,
    read_json,
    replacing,
    sha256_of,
    write_image,
    write_json,
    write_text,
)
from custom_pose_ros.core.pictures import read_image
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


def test_only_what_a_command_wrote_itself_is_replaced(tmp_path):
    path, is_own = tmp_path / 'a.json', holds_json(lambda content: content == [1])
    check_own(path, 'me', is_own, ('b.png',))
    for content in ('[2]', 'no JSON'):
        path.write_text(content)
        with pytest.raises(OutputError, match=r'a\.json: is there already and was not written by me: move it away'):
            check_own(path, 'me', is_own)
    path.write_text('[1]')
    (tmp_path / 'b.png').write_text('')
    check_own(path, 'me', is_own, ('b.png',))  # written with the first
    path.unlink()
    with pytest.raises(OutputError, match=r'b\.png: is there already'):
        check_own(path, 'me', is_own, ('b.png',))
    path.symlink_to(tmp_path)  # neither a file of ours nor nothing
    with pytest.raises(OutputError, match=r'a\.json: is there already'):
        check_own(path, 'me', is_own)


@pytest.mark.parametrize('suffix', IMAGE_SUFFIXES)
def test_a_picture_with_a_mark_is_known_again_and_read_as_ever(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    write_image(path, IMAGE)
    assert not has_mark('me')(path)
    write_image(path, IMAGE, mark=mark_of('me'))
    check_own(path, 'me', has_mark('me'))
    assert not has_mark('you')(path)
    assert np.abs(read_image(path).astype(int) - IMAGE).max() < 9
    path.write_bytes(b'')
    assert not has_mark('me')(path)


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


def test_json_that_ends_early_is_cut_off_and_other_faults_are_not(tmp_path):
    path = tmp_path / 'a.json'
    whole = '{"name": ["part", 1.5, true, null, -2]}\n'
    for length in range(1, len(whole) - 2):
        path.write_text(whole[:length])
        with pytest.raises(DatasetError, match=r'a\.json: is cut off: it ends early \('):
            read_json(path)
    for wrong in ('', '{"a": 1,}', '{"a": tree}', '{"a": 1}}', '[1 2'):
        path.write_text(wrong)
        with pytest.raises(DatasetError, match=r'a\.json: is not valid JSON'):
            read_json(path)


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


@pytest.mark.parametrize('killed', [True, False])
def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path, killed):
    folder = tmp_path / 'new' / 'run'
    with start_owner(folder) as owner:
        with pytest.raises(ConfigError, match=rf'^{folder}: process {owner.pid} writes into it: [^\n]*$'):
            own_folder(folder)
        if killed:
            owner.kill()
        owner.stdin.close()
        owner.wait(timeout=60)
    own_folder(folder).close()


def test_processes_that_the_owner_forked_do_not_hold_the_folder(tmp_path):
    """Workers that outlive a killed training would lock its folder for ever."""
    lock = own_folder(tmp_path)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b'x')
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    lock.close()
    try:
        code = 'import sys; from pathlib import Path; from custom_pose_ros.core.files import own_folder; '
        code += 'own_folder(Path(sys.argv[1]))'
        assert subprocess.run([sys.executable, '-c', code, str(tmp_path)], timeout=60).returncode == 0
    finally:
        os.write(done[1], b'x')
        os.waitpid(child, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)


@pytest.mark.parametrize('there', ['', 'a', 'a/run'])
def test_a_refused_run_leaves_nothing_that_it_made(tmp_path, there):
    (tmp_path / there).mkdir(parents=True, exist_ok=True)
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ConfigError), own_folder(tmp_path / 'a' / 'run'):
        raise ConfigError('refused')
    assert sorted(tmp_path.rglob('*')) == before


def test_a_refused_run_keeps_files_of_others_and_leaves_no_lock_beside_them(tmp_path):
    (tmp_path / 'last.pth').touch()
    with pytest.raises(ConfigError), own_folder(tmp_path):
        raise ConfigError('refused')
    assert os.listdir(tmp_path) == ['last.pth']


def test_a_failed_run_keeps_what_it_wrote(tmp_path):
    with pytest.raises(ConfigError), own_folder(tmp_path / 'run'):
        (tmp_path / 'run' / 'picture.png').write_text('')
        raise ConfigError('failed')
    assert sorted(os.listdir(tmp_path / 'run')) == ['.lock', 'picture.png']


@pytest.mark.parametrize('kind', ['pipe', 'link', 'folder'])
def test_something_else_under_the_name_of_the_lock_is_refused_at_once(tmp_path, kind):
    path = tmp_path / '.lock'
    if kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'link':
        path.symlink_to(tmp_path / 'elsewhere')
    else:
        path.mkdir()
    with pytest.raises(OutputError, match=r'\.lock: cannot be written'):
        own_folder(tmp_path)
    assert not (tmp_path / 'elsewhere').exists()


def test_a_lock_that_another_process_has_made_anew_is_not_owned(tmp_path, monkeypatch):
    """A refused process removed the file between opening and locking it, and a third one made it again."""
    lock, owners = fcntl.lockf, []

    def late_lock(*arguments):
        if not owners:
            (tmp_path / files.LOCK).unlink()
            owners.append(start_owner(tmp_path))
        return lock(*arguments)

    monkeypatch.setattr(files.fcntl, 'lockf', late_lock)
    with pytest.raises(ConfigError, match='writes into it'):
        own_folder(tmp_path)
    with owners[0] as owner:
        owner.stdin.close()


def test_a_run_whose_folder_is_gone_still_says_what_ended_it(tmp_path):
    with pytest.raises(ConfigError, match='refused'), own_folder(tmp_path / 'run'):
        shutil.rmtree(tmp_path / 'run')
        raise ConfigError('refused')
