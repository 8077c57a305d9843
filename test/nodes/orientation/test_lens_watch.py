"""The watch over the calibration while the node runs: once a minute is seen, in a thread, with the figure."""

from __future__ import annotations

import time

from tracked_block import FOCAL_PX, block_model, camera, found, track

from custom_pose_ros.nodes.orientation.lens_watch import LensWatch


def watched(assumed_px, length_s=61.0, ambiguity=0.0):
    watch, model, lens = LensWatch(), block_model(), camera(assumed_px)
    for stamp_s, pixels, pose in track(0, assumed_px, length_s=length_s):
        keypoints, estimate = found(pixels, pose, ambiguity)
        watch.add(model, lens, stamp_s, [keypoints], [estimate])
    return watch


def answered(watch):
    deadline = time.monotonic() + 60.0
    while watch.verdict is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return watch


def test_a_wrong_calibration_is_a_problem_with_its_figure():
    watch = answered(watched(0.75 * FOCAL_PX))
    assert len(watch.problems) == 1 and 'flat port' in watch.problems[0]
    assert watch.row == watch.problems[0]


def test_a_right_one_is_told_and_no_problem():
    watch = answered(watched(FOCAL_PX))
    assert watch.problems == [] and 'of 600 px fits' in watch.row


def test_nothing_is_said_before_a_minute_or_of_ambiguous_poses():
    for watch in (watched(0.75 * FOCAL_PX, length_s=50.0), watched(0.75 * FOCAL_PX, ambiguity=0.5)):
        assert (watch.verdict, watch.problems, watch.row) == (None, [], 'not known yet')
