"""What is said about this machine, and how many threads it is given."""

from __future__ import annotations

from custom_pose_ros.inference.backends import hardware


def test_default_threads_are_the_physical_cores_up_to_four():
    assert 1 <= hardware.default_threads() <= min(4, hardware.physical_cores())


def test_the_description_names_processor_board_gpu_and_cores(monkeypatch):
    texts = {
        '/proc/cpuinfo': 'processor\t: 0\nmodel name\t: ARMv8 rev 1\n',
        '/proc/device-tree/model': 'NVIDIA Jetson Orin Nano\0',
        '/proc/driver/nvidia/gpus/0/information': 'Model: \t\t NVIDIA RTX 4000\nIRQ: 1\n',
    }
    monkeypatch.setattr(hardware, '_text', lambda path: texts.get(str(path), ''))
    monkeypatch.setattr(hardware, 'physical_cores', lambda: 6)
    monkeypatch.setattr(
        hardware.Path, 'glob', lambda self, pattern: [self / '0/information'] if 'nvidia' in str(self) else []
    )
    assert hardware.description() == 'ARMv8 rev 1, NVIDIA Jetson Orin Nano, NVIDIA RTX 4000, 6 cores'


def test_the_description_of_this_machine_is_one_line():
    text = hardware.description()
    assert text.endswith(f'{hardware.physical_cores()} cores')
    assert '\n' not in text
    assert '\0' not in text
