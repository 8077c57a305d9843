"""adapt.py with the shipped network and clip: the given network stays, a worse one is refused, bad footage is named."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.files import write_image
from training.adapt import main


@pytest.fixture(scope='module')
def clip(root, tmp_path_factory):
    """The first 40 frames of the shipped clip, every one of them."""
    folder = tmp_path_factory.mktemp('clip')
    capture = cv2.VideoCapture(str(root / 'config/submarine/demo/clip.mp4'))
    for number in range(40):
        write_image(folder / f'{number:03}.png', capture.read()[1])
    capture.release()
    return folder


def test_a_network_that_gets_worse_is_refused(root, clip, tmp_path, capsys):
    """Two steps at 25 times the usual rate ruin a good network."""
    network = root / 'config/submarine/model.onnx'
    was = hashlib.sha256(network.read_bytes()).hexdigest()
    out = tmp_path / 'out'
    arguments = ['--model', str(network), '--footage', str(clip), '--out', str(out), '--threads', '1', '--workers', '0']
    assert main([*arguments, '--steps', '2', '--batch', '2', '--learning-rate', '0.05']) == 1
    error = capsys.readouterr().err
    assert 'stays as it is, since what it became is not better: its error on held-out footage is' in error
    assert hashlib.sha256(network.read_bytes()).hexdigest() == was
    assert not (out / 'model.onnx').exists() and not (out / 'best.pth').exists()
    report = json.loads((out / 'report.json').read_text())
    assert not report['better'] and report['rigid'] and report['films'][0]['frames'] == 40
    assert report['frames_trained'] >= 12 and report['frames_held_out'] >= 5
    assert (out / 'contact_sheet.png').stat().st_size > 10_000
    assert '| keypoints found [%] | ' in (out / 'report.md').read_text()
    assert main([*arguments, '--steps', '2']) == 1  # the folder is taken
    assert 'holds an adaptation already' in capsys.readouterr().err


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
