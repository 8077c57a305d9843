"""adapt.py with the shipped network: footage without its object is refused, and the given network stays as it is."""

from __future__ import annotations

import cv2
import numpy as np

from custom_pose_ros.core.files import write_image
from training.adapt import main


def test_footage_without_the_object_is_refused_before_training(root, tmp_path, capsys):
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        write_image(tmp_path / 'film' / f'{number}.png', cv2.resize(noise, (320, 240)))
    arguments = ['--model', str(root / 'config/submarine'), '--footage', str(tmp_path / 'film')]
    assert main([*arguments, '--steps', '1', '--out', str(tmp_path / 'out')]) == 1
    assert 'the network finds the object in 0 of 12 frames: is it in there?' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'training').exists()


def test_the_folder_of_the_network_is_not_written_to(root, tmp_path, capsys):
    (tmp_path / 'model.onnx').write_bytes((root / 'config/submarine/model.onnx').read_bytes())
    arguments = ['--model', str(tmp_path), '--footage', 'no.mp4', '--steps', '1', '--out', str(tmp_path)]
    assert main(arguments) == 1
    assert 'holds the network to start from; give another --out' in capsys.readouterr().err
