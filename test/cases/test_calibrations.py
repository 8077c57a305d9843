"""Calibrations that do not belong to the images, and images that are none, as people brought them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.tools.evaluate_bag import main

PINHOLE_YAML = """
image_width: 640
image_height: 480
camera_matrix: {{data: [{f}, 0, 319.5, 0, {f}, 239.5, 0, 0, 1]}}
distortion_model: plumb_bob
distortion_coefficients: {{data: {d}}}
"""


@pytest.fixture
def evaluate(shared, tmp_path, capsys):
    """Return what evaluate_bag makes of a case: exit code, distances [m], stderr."""

    def run(case: str, *options: str) -> tuple[int, list[float], str]:
        (bag,) = (shared / 'cases').glob(case)
        out = tmp_path / 'out'
        code = main([str(bag), '--out', str(out), *options])
        rows = csv.DictReader((out / 'frames.csv').read_text().splitlines()) if (out / 'frames.csv').is_file() else ()
        return code, [float(row['distance_m']) for row in rows if row['distance_m']], capsys.readouterr().err

    return run


def pinhole(folder: Path, focal_px: float, d: list[float]) -> str:
    path = folder / 'pinhole.yaml'
    path.write_text(PINHOLE_YAML.format(f=focal_px, d=d))
    return str(path)


def test_a_roi_beside_full_images_changes_nothing(evaluate):
    _, plain, _ = evaluate('02-*/plain')
    code, distances, said = evaluate('02-*/roi')
    assert (code, distances) == (0, plain)
    assert distances[0] == pytest.approx(1.12, abs=0.01)  # twice that where the roi is believed
    assert said.count('roi of the calibration ignored: images of 640x480 have its full size') == 1


def test_the_topic_of_rectified_images_means_p_without_distortion(evaluate, tmp_path):
    code, distances, said = evaluate('04-*/rect')
    _, wanted, _ = evaluate('04-*/rect', '--camera', pinhole(tmp_path, 540.0, []), '--no-rectified')
    assert (code, distances) == (0, wanted)
    assert 'P is used, without distortion, as the images are rectified' in said
    _, raw, _ = evaluate('04-*/rect', '--no-rectified')
    assert raw[0] > 1.05 * distances[0]


def test_a_real_camera_with_zeros_behind_its_coefficients_serves(evaluate, tmp_path):
    code, distances, said = evaluate('19-*/orbbec')
    lens = [-0.0306, 0.0352, -0.0001, -0.0001, -0.012]
    _, wanted, _ = evaluate('19-*/orbbec', '--camera', pinhole(tmp_path, 600.0, lens))
    assert (code, distances, said) == (0, wanted, said)
    assert 'error' not in said and 'damaged' not in said


@pytest.mark.parametrize(
    ('name', 'count'), [('oakd14', 14), ('orbbec8', 8), ('rational12', 12), ('opencv_filestorage', 5)]
)
def test_calibration_files_are_what_opencv_computes(shared, name, count):
    (path,) = (shared / 'cases').glob(f'19-*/{name}.yaml')
    camera = CameraIntrinsics.from_yaml(path)
    text = path.read_text()
    numbers = text[text.index('data:', text.index('distortion_coefficients')) :].split('[')[1].split(']')[0]
    D = np.array(numbers.split(','), float)
    assert len(D) == count
    points = np.array([[0.2, -0.1, 1.0], [-0.35, 0.3, 1.0]])
    wanted = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K, D)[0][:, 0]
    np.testing.assert_allclose(camera.project(points), wanted, atol=1e-9)


def test_depth_alone_is_named(evaluate):
    code, _, said = evaluate('23-*/depth')
    assert code == 2
    assert said == (
        'error: /camera/depth/image_raw: 16UC1 looks like depth, not like a picture; '
        '--image /camera/depth/image_raw takes it anyway\n'
    )


def test_a_matrix_of_another_size_is_warned_of_or_refused(evaluate, shared):
    code, _, said = evaluate('27-*/binned4')
    assert code == 0
    assert 'principal point is far from the middle of the 2560x1920 image, by 38 % of its width' in said
    code, distances, said = evaluate('27-*/outside')
    assert (code, distances) == (3, [])
    assert 'wanted a principal point inside of the 640x480 image, got (1908, 1046)' in said
    (path,) = (shared / 'cases').glob('27-*/outside.yaml')
    with pytest.raises(ConfigError, match='wanted a principal point inside of the 640x480 image'):
        CameraIntrinsics.from_yaml(path)
