"""Bags made to fill the memory or never to end: evaluate_bag ends with a line, soon and in little memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

_MEMORY_BYTES = 3 << 30  # address space; the chunk alone has as much, unpacked


@pytest.fixture(scope='module')
def hostile(shared, root, tmp_path_factory) -> Path:
    """The folder with the bags that the script beside the cases writes."""
    folder = tmp_path_factory.mktemp('hostile')
    (folder / 'test').symlink_to(root / 'test')
    script = shared / 'cases' / 'hostile' / 'bags.py'
    subprocess.run([sys.executable, script], cwd=folder, check=True, capture_output=True, env=_environment(root))
    return folder / 'build' / 'hostile'


def _environment(root: Path) -> dict[str, str]:
    return {'PYTHONPATH': f'{root}:{root / "test"}', 'PATH': '/usr/bin:/bin', 'OMP_NUM_THREADS': '1'}


@pytest.mark.parametrize(
    ('bag', 'said'),
    [('zbomb', 'zbomb.mcap: a damaged chunk'), ('sqlview', "'messages' is no table as rosbag2 writes it")],
)
def test_it_ends_in_a_line(bag, said, hostile, root, tiny_folder, tmp_path):
    done = subprocess.run(
        [
            sys.executable, '-m', 'custom_pose_ros.tools.evaluate_bag', hostile / bag, '--object', tiny_folder,
            '--out', tmp_path / 'out',
        ],
        cwd=root, env=_environment(root), capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES)),
    )  # fmt: skip
    assert done.returncode in (1, 2, 3), done.stderr
    assert 'Traceback' not in done.stderr
    assert said in done.stderr
