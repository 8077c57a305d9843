"""What is found out about this machine."""

from __future__ import annotations

import pytest

from custom_pose_ros.inference.backends import hardware


def test_default_threads_are_the_physical_cores_up_to_four():
    assert 1 <= hardware.default_threads() <= min(4, hardware.physical_cores())


@pytest.mark.parametrize(
    ('cpuinfo', 'fast'),
    [
        ('processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n', True),
        ('processor\t: 0\nFeatures\t: fp asimd asimddp\n', True),
        ('processor\t: 0\nflags\t\t: fpu avx2\n', False),
        ('', False),  # not Linux
    ],
)
def test_int8_is_fast_where_the_processor_has_instructions_for_it(monkeypatch, cpuinfo, fast):
    monkeypatch.setattr(hardware, '_text', lambda path: cpuinfo)
    assert hardware.has_fast_int8() == fast


@pytest.mark.parametrize(('file', 'seen'), [('nvidia3', True), ('nvhost-gpu', True), ('nvidiactl', False)])
def test_a_gpu_is_seen_by_its_device_file(monkeypatch, tmp_path, file, seen):
    patterns = [str(tmp_path / pattern.removeprefix('/dev/')) for pattern in hardware._GPU_FILES]
    monkeypatch.setattr(hardware, '_GPU_FILES', patterns)
    assert not hardware.has_nvidia_gpu()
    (tmp_path / file).touch()
    assert hardware.has_nvidia_gpu() == seen
