"""A folder has one owner among the processes, and none once that has ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from folder_owner import start_owner

from custom_pose_ros.core.errors import ConfigError, OutputError
from custom_pose_ros.core.folder_lock import own_folder


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
        code = 'import sys; from pathlib import Path; from custom_pose_ros.core.folder_lock import own_folder; '
        code += 'own_folder(Path(sys.argv[1]))'
        subprocess.run([sys.executable, '-c', code, str(tmp_path)], check=True, timeout=60)
    finally:
        os.write(done[1], b'x')
        os.waitpid(child, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)


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
