"""A disk that is full while something is saved: one line, exit status 1, the old file stays, nothing half is left."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from bag_maker import TRUTH, tiny_bag

from custom_pose_ros.core.files import LOCK, mark_of

ROOT = Path(__file__).resolve().parents[2]
DISK_BYTES = 256 << 10
OLD = b'what was there before' + mark_of('predict')

Run = Callable[..., subprocess.CompletedProcess]


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond the size: writing more fails as it does on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture(params=['disk', 'file'])
def scarce(request, tmp_path: Path) -> Iterator[tuple[Path, Run]]:
    """Return a folder where little fits, and what runs a python command that writes there: a tiny disk, or a limit."""
    folder = tmp_path / 'scarce'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={DISK_BYTES}', 'tmpfs', str(folder)]
    on_disk = request.param == 'disk'
    if on_disk and subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('a disk of its own needs the right to mount one')

    def run(*command: str, free: int) -> subprocess.CompletedProcess:
        if on_disk:
            (folder / 'filler').write_bytes(bytes(DISK_BYTES - free - (16 << 10)))
        return subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            preexec_fn=None if on_disk else lambda: limit_files(free),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield folder, run
    if on_disk:
        subprocess.run(['umount', str(folder)], check=True)


def assert_refused(process: subprocess.CompletedProcess, path: Path) -> None:
    """One line with the file, exit status 1, no traceback; what was there before is there."""
    assert process.returncode == 1, process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, process.stderr
    assert str(path) in lines[0]
    assert 'cannot be written' in lines[0]
    assert 'Traceback' not in process.stderr
    assert path.read_bytes() == OLD
    assert {p.name for p in path.parent.iterdir()} - {'filler'} == {path.name}


def old_file(path: Path) -> Path:
    path.write_bytes(OLD)
    return path


def test_predict_does_not_lose_the_old_picture(scarce, tiny_folder: Path, tmp_path: Path) -> None:
    folder, run = scarce
    picture = tmp_path / 'noise.png'
    cv2.imwrite(str(picture), cv2.randu(cv2.UMat(600, 800, cv2.CV_8UC3).get(), 0, 255))
    path = old_file(folder / 'out.png')
    process = run(
        '-m', 'custom_pose_ros.tools.predict', str(picture), '--object', str(tiny_folder), '--out', str(path), free=9000
    )
    assert_refused(process, path)


def test_predict_does_not_call_half_a_video_saved(scarce, tiny_folder: Path, tmp_path: Path) -> None:
    folder, run = scarce
    clip = ROOT / 'config/submarine/demo/clip.mp4'
    path = old_file(folder / 'out.mp4')
    process = run(
        '-m', 'custom_pose_ros.tools.predict', str(clip), '--object', str(tiny_folder), '--out', str(path),
        '--frames', '40', free=20000,
    )  # fmt: skip
    assert_refused(process, path)


def test_evaluate_bag_does_not_lose_the_old_report(scarce, tiny_folder: Path, tmp_path: Path) -> None:
    folder, run = scarce
    bag, _ = tiny_bag(tmp_path / 'dive', 30)
    path = old_file(folder / 'report.html')
    (folder / 'metrics.json').write_text('{"schema": "custom_pose_ros/metrics/1"}')  # both of an evaluation before
    process = run(
        '-m', 'custom_pose_ros.tools.evaluate_bag', str(bag), '--object', str(tiny_folder), '--truth', TRUTH,
        '--out', str(folder), free=1500,
    )  # fmt: skip
    assert process.returncode == 1, process.stdout
    assert 'Traceback' not in process.stderr
    assert 'cannot be written' in process.stderr
    assert path.read_bytes() == OLD
    names = {p.name for p in folder.iterdir()} - {LOCK}
    assert not [name for name in names if name.startswith('.') or 'partial' in name]


SAVE = """
import sys, torch
from pathlib import Path
from custom_pose_ros.core.errors import CustomPoseError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.checkpoints import Checkpoint
from custom_pose_ros.inference.checkpoints import save_checkpoint
try:
    weights = {'weight': torch.randn(200_000)}
    save_checkpoint(Path(sys.argv[1]), Checkpoint('light', {}, ObjectModel.load('submarine'), weights))
except CustomPoseError as error:
    sys.exit(f'error: {error}')
"""


def test_training_does_not_lose_the_old_checkpoint(scarce) -> None:
    pytest.importorskip('torch')
    folder, run = scarce
    path = old_file(folder / 'last.pth')
    process = run('-c', SAVE, str(path), free=9000)
    assert_refused(process, path)
