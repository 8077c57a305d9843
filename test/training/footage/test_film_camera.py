"""The camera of a film from a bag: which calibration is used, and what is said where two of them differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import CAMERA, CAMERA_INFO, IMAGE, SIZE, START_NS, Messages, tiny_entries, trajectory, write_bag

from custom_pose_ros.core.errors import ConfigError
from training.pose_training.footage.film_camera import film_intrinsics, given_calibration
from training.pose_training.labels.film import Film

FOCAL_PX = float(CAMERA.K[0, 0])


def calibration_file(folder: Path, focal_px: float, height: int = SIZE[1]):
    K = np.diag([focal_px, focal_px, 1.0])
    K[:2, 2] = CAMERA.K[:2, 2]
    path = folder / 'camera.yaml'
    path.write_text(yaml.safe_dump(replace(CAMERA, K=K, height=height).to_yaml_dict()))
    return given_calibration(path)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp('bag') / 'dive', tiny_entries(trajectory(2), compressed='.png'))


def test_the_calibration_in_a_bag_is_used_and_named(bag, capsys):
    assert film_intrinsics(Film(bag), None, *SIZE).K[0, 0] == FOCAL_PX
    told = capsys.readouterr().err
    assert told == (
        f'note: {bag}: the calibration is that of {CAMERA_INFO}, focal length {FOCAL_PX:.1f} px, '
        'centre (159.5, 127.5); --camera replaces it\n'
    )


def test_a_given_calibration_goes_before_it_and_the_difference_is_said(bag, tmp_path, capsys):
    """8 % more than 277 px move a corner, 205 px from the centre, by 16 px, back to a shorter focal length by 15."""
    assert film_intrinsics(Film(bag), calibration_file(tmp_path, 1.08 * FOCAL_PX), *SIZE).K[0, 0] == 1.08 * FOCAL_PX
    told = capsys.readouterr().err
    assert 'warning: ' in told and 'they differ by up to 15.1 px in the picture' in told
    film_intrinsics(Film(bag), calibration_file(tmp_path, round(FOCAL_PX, 1)), *SIZE)
    assert capsys.readouterr().err == ''
    with pytest.raises(ConfigError, match=f'{bag}: --camera: .* is for 320x320 and the image has 320x256'):
        film_intrinsics(Film(bag), calibration_file(tmp_path, FOCAL_PX, height=320), *SIZE)


def test_a_calibration_that_is_in_doubt_is_not_used(tmp_path, capsys):
    def told(name: str, *infos, topic: str = CAMERA_INFO) -> str:
        entries = [entry for entry in tiny_entries(trajectory(2)) if entry[0] == IMAGE]
        kind = 'sensor_msgs/msg/CameraInfo'
        entries += [(topic, kind, START_NS + 10**9 + i, info) for i, info in enumerate(infos)]
        assert film_intrinsics(Film(write_bag(tmp_path / name, entries)), None, *SIZE) is None
        return capsys.readouterr().err

    info = Messages().camera_info(START_NS)
    assert told('none') == ''
    assert 'an uncalibrated camera sends zeros' in told('zeros', replace(info, k=np.zeros(9)))
    assert f'{tmp_path / "zoom"}: {CAMERA_INFO}: changes within the bag' in told(
        'zoom', info, replace(info, k=info.k * 1.1 ** (np.arange(9) < 6))
    )
    assert 'is not used: images of 320x256 px: ' in told('size', replace(info, height=320))
    other = replace(info, header=Messages().header(START_NS, 'rear'))
    said = told('other', other, topic='/rear/camera_info')
    assert 'note: other: /rear/camera_info: may be of another camera than /camera/image and is not used; --cam' in said


def test_videos_and_pictures_have_none(tmp_path, capsys):
    assert film_intrinsics(Film(tmp_path), None, *SIZE) is None
    assert film_intrinsics(Film(tmp_path), calibration_file(tmp_path, FOCAL_PX), *SIZE).K[0, 0] == FOCAL_PX
    assert capsys.readouterr().err == ''
