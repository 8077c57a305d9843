"""adapt.py with the shipped network: footage without its object is refused, and the given network stays as it is."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.files import write_image
from training.adapt import main


def test_a_network_that_is_no_better_is_refused(root, tmp_path, capsys):
    """One step on two samples teaches a good network nothing; 28 frames are what a film needs at least."""
    capture = cv2.VideoCapture(str(root / 'config/submarine/demo/clip.mp4'))
    for number in range(28):
        write_image(tmp_path / 'clip' / f'{number:03}.png', capture.read()[1])
    capture.release()
    network, out = root / 'config/submarine/model.onnx', tmp_path / 'out'
    was = hashlib.sha256(network.read_bytes()).hexdigest()
    arguments = ['--model', str(network), '--footage', str(tmp_path / 'clip'), '--out', str(out), '--workers', '0']
    assert main([*arguments, '--threads', '1', '--steps', '1', '--batch', '2', '--learning-rate', '1e-6']) == 1
    told = capsys.readouterr()
    assert 'stays as it is, since what it became is not better: ' in told.err
    assert 'export_onnx' not in told.out  # nobody is told to export what is rejected
    assert hashlib.sha256(network.read_bytes()).hexdigest() == was
    assert not (out / 'model.onnx').exists() and not (out / 'best.pth').exists()
    report = json.loads((out / 'report.json').read_text())
    assert not report['better'] and report['rigid'] and report['films'][0]['frames'] == 28
    assert (out / 'contact_sheet.png').stat().st_size > 10_000
    assert '| keypoints found [%] | ' in (out / 'report.md').read_text()


def test_footage_without_the_object_is_refused_before_training(root, tmp_path, capsys):
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
        write_image(tmp_path / 'film' / f'{number}.png', cv2.resize(noise, (320, 240)))
    arguments = ['--model', str(root / 'config/submarine'), '--footage', str(tmp_path / 'film')]
    assert main([*arguments, '--steps', '1', '--out', str(tmp_path / 'out')]) == 1
    assert 'the network finds the object in 0 of 12 frames: is it in there?' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_folder_of_the_network_is_not_written_to(root, tmp_path, capsys):
    (tmp_path / 'model.onnx').write_bytes((root / 'config/submarine/model.onnx').read_bytes())
    arguments = ['--model', str(tmp_path), '--footage', 'no.mp4', '--steps', '1', '--out', str(tmp_path)]
    assert main(arguments) == 1
    assert 'holds the network to start from; give another --out' in capsys.readouterr().err


def test_an_input_height_that_cannot_be_trained_is_refused_at_once(root, tmp_path, capsys):
    arguments = ['--model', str(root / 'config/submarine'), '--footage', 'no.mp4', '--steps', '1']
    with pytest.raises(SystemExit, match='2'):
        main([*arguments, '--input-height', '100', '--out', str(tmp_path / 'out')])
    assert '--input-height: wanted a multiple of 32 from 64 to 1024, got 100' in capsys.readouterr().err


def test_files_of_others_are_kept(root, tmp_path, capsys):
    (tmp_path / 'model.onnx').touch()
    arguments = ['--model', str(root / 'config/submarine'), '--footage', 'no.mp4', '--steps', '1']
    assert main([*arguments, '--out', str(tmp_path)]) == 1
    assert f'{tmp_path}/model.onnx: is there already; give another --out' in capsys.readouterr().err
