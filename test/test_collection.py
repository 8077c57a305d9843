"""What becomes of a test module that cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ('line', 'code', 'said'),
    [
        ('from custom_pose_ros import gone', 2, "cannot import name 'gone'"),
        ('import custom_pose_ros.gone', 2, "No module named 'custom_pose_ros.gone'"),
        ('raise SystemExit("wrong use")', 2, 'wrong use'),
        ('assert not 1', 2, 'assert not 1'),
        ('import no_such_extra', 5, 'no_such_extra is missing: run `make test`'),
    ],
)
def test_only_a_missing_extra_is_skipped(root: Path, tmp_path: Path, line: str, code: int, said: str):
    conftest = (root / 'test/conftest.py').read_text()
    (tmp_path / 'conftest.py').write_text(
        conftest.replace('Path(__file__).resolve().parents[1]', f'Path({str(root)!r})')
    )
    (tmp_path / 'test_it.py').write_text(f'{line}\n\n\ndef test_nothing():\n    pass\n')
    command = [sys.executable, '-m', 'pytest', '--import-mode=importlib', '-ra', '-p', 'no:cacheprovider', 'test_it.py']
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, said in run.stdout) == (code, True), run.stdout
