"""What a network finds in a film: which frames are worth a label, and keypoints of poses smoothed over time."""

from __future__ import annotations

from dataclasses import replace

import moving_box
import numpy as np
import pytest
from moving_box import BOX

from training.pose_training.footage.network_film import (
    FoundFrame,
    pose_camera,
    smoothed_objects,
    window,
    worth_of_label,
)

NOISE_PX = 2.0
SIZE = (moving_box.WIDTH, moving_box.HEIGHT)


@pytest.fixture
def found() -> dict[int, FoundFrame]:
    rng = np.random.default_rng(3)
    return {n: FoundFrame(n / 30, SIZE, [moving_box.found_at(0.4 + n / 400, NOISE_PX, rng)]) for n in range(60)}


def test_proposals_of_smoothed_poses_are_nearer_than_what_was_found(found) -> None:
    raw, smoothed = [], []
    for number in range(10, 50, 4):
        truth = moving_box.labels_at(0.4 + number / 400)
        (proposed,), left_out = smoothed_objects(number, found, BOX, moving_box.CAMERA)
        assert left_out == 0
        seen = truth[:, 2] > 0
        assert (proposed.points[seen, 2] == 2).all() and (proposed.points[~seen, 2] == 1).all()
        smoothed.append(np.linalg.norm(proposed.points[:, :2] - truth[:, :2], axis=1)[seen])
        raw.append(np.linalg.norm(found[number].poses[0].keypoints - truth[:, :2], axis=1)[seen])
    # Seven noisy points give six numbers of a pose in one image; seventeen images share it.
    assert np.mean(np.concatenate(smoothed)) < 0.6 * np.mean(np.concatenate(raw))


def test_a_frame_that_contradicts_those_around_it_has_no_proposal(found) -> None:
    pose = found[30].poses[0]
    turned = replace(
        pose, keypoints=pose.keypoints[[2, 3, 0, 1, 6, 7, 4, 5]], visible=pose.visible[[2, 3, 0, 1, 6, 7, 4, 5]]
    )
    found[30] = FoundFrame(1.0, SIZE, [turned])
    assert smoothed_objects(30, found, BOX, moving_box.CAMERA) == ([], 1)


def test_frames_are_wanted_where_the_network_is_unsure_or_contradicts_the_body(found) -> None:
    sure, pose = found[0], found[0].poses[0]
    moved = pose.keypoints.copy()
    moved[1] += 60
    frames = {
        0: sure,
        1: FoundFrame(0.1, SIZE, [replace(pose, score=0.2)]),
        2: FoundFrame(0.2, SIZE, []),
        3: FoundFrame(0.3, SIZE, [replace(pose, keypoints=moved)]),
    }
    worth, reasons = worth_of_label(frames, BOX, moving_box.CAMERA)
    assert worth.argmin() == 0
    assert reasons == ['', 'score 0.20', 'nothing found', 'not rigid']


def test_without_points_or_calibration_there_is_no_pose() -> None:
    flat = replace(BOX, model_points=None)
    assert pose_camera(flat, SIZE, lambda width, height: moving_box.CAMERA) is None
    assert pose_camera(BOX, SIZE, lambda width, height: None) is None
    assert pose_camera(BOX, SIZE, lambda width, height: moving_box.CAMERA) is moving_box.CAMERA


def test_the_window_ends_where_the_film_does() -> None:
    assert window([2], 5) == [0, 1, 2, 3, 4]
