"""What metrics.json says of the calibration, from the results of frames."""

from __future__ import annotations

import pytest
import yaml
from tracked_block import FOCAL_PX, block_model, camera, found, track

from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.frame_sources import CameraSupply
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.scoring.run_metrics import calibration_metrics


def results(assumed_px, **motion):
    answers = []
    for stamp_s, pixels, pose in track(0, assumed_px, **motion):
        result = FrameResult(int(stamp_s * 1e9) + 1, int(stamp_s * 1e9) + 1, 640, 480)
        keypoints, estimate = found(pixels, pose)
        result.set_poses([keypoints], 8)
        result.estimates = [estimate]
        answers.append(result)
    return answers


@pytest.fixture
def cameras(tmp_path):
    def supply(focal_px):
        path = tmp_path / 'camera.yaml'
        path.write_text(yaml.safe_dump(camera(focal_px).to_yaml_dict()))
        return CameraSupply(Notes(), path)

    return supply


def test_a_calibration_that_does_not_fit_is_noted_with_the_figure(cameras):
    supply = cameras(0.9 * FOCAL_PX)
    metrics = calibration_metrics(results(0.9 * FOCAL_PX), block_model(), supply)
    assert (metrics['given_focal_px'], metrics['fits']) == (pytest.approx(540.0), False)
    assert metrics['focal_low_px'] < FOCAL_PX < metrics['focal_high_px']
    assert metrics['k1_change_low'] < 0.0 < metrics['k1_change_high']
    assert 'camera.yaml: the focal length of the calibration of 540 px does not fit' in supply.notes.lines()[0]


def test_a_short_bag_says_nothing(cameras):
    supply = cameras(FOCAL_PX)
    assert calibration_metrics(results(FOCAL_PX, length_s=20.0), block_model(), supply) is None
    assert supply.notes.lines() == []
