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


def test_a_gpu_is_seen_by_its_device_file(monkeypatch):
    files = set()
    monkeypatch.setattr(hardware.os.path, 'exists', lambda path: path in files)
    assert not hardware.has_nvidia_gpu()
    files.add('/dev/nvhost-gpu')
    assert hardware.has_nvidia_gpu()
