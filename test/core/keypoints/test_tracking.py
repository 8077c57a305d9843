"""Tracking: ids that stay, end, and are never used twice."""

from __future__ import annotations

import numpy as np
import pytest
import simulated_tracks as simulation
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import GAP_FRAMES, FrameInterval, PoseTracker, nearest_pairs
from custom_pose_ros.core.object_model import ObjectModel

SQUARE = np.array([[0, 0], [60, 0], [60, 60], [0, 60]], float)  # 85 px across
DT = 1 / 30


def model_of(count: int = 4, sigmas=None) -> ObjectModel:
    return ObjectModel(
        name='thing',
        keypoint_names=tuple(f'k{i}' for i in range(count)),
        skeleton=(),
        sigmas=np.full(count, 0.05) if sigmas is None else np.array(sigmas),
    )


def pose_at(x: float, y: float = 100, hidden=(), size: float = 1.0) -> KeypointPose:
    visible = np.array([k not in hidden for k in range(4)])
    points = np.where(visible[:, None], SQUARE * size + [x, y], np.nan)
    return KeypointPose(
        keypoints=points,
        covariances=np.where(visible[:, None, None], np.eye(2), np.nan),
        scores=visible * 0.9,
        visible=visible,
        score=0.9,
    )


def ids(poses) -> list[int]:
    return [pose.track_id for pose in poses]


def test_ids_start_at_zero_and_stay_in_any_order_of_poses():
    tracker = PoseTracker(model_of())
    assert ids(tracker.update([pose_at(0), pose_at(200), pose_at(400)], 0.0)) == [0, 1, 2]
    assert ids(tracker.update([pose_at(405), pose_at(5), pose_at(205)], DT)) == [2, 0, 1]


def test_poses_come_back_unchanged_but_for_the_id():
    given_pose = pose_at(10, hidden=(2,))
    (tracked,) = PoseTracker(model_of()).update([given_pose], 5.0)
    np.testing.assert_array_equal(tracked.keypoints, given_pose.keypoints)
    assert given_pose.track_id is None
    assert (tracked.score, tracked.track_id) == (0.9, 0)


def test_a_new_instance_gets_a_new_id():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0)], 0.0)
    assert ids(tracker.update([pose_at(300), pose_at(0)], DT)) == [1, 0]


def test_a_short_gap_is_bridged_and_a_long_one_is_not():
    tracker = PoseTracker(model_of(), max_gap_s=0.5)
    tracker.update([pose_at(0)], 0.0)
    assert tracker.update([], 0.1) == []
    assert ids(tracker.update([pose_at(3)], 0.5)) == [0]
    tracker.update([], 0.6)
    assert ids(tracker.update([pose_at(3)], 1.01)) == [1]


@pytest.mark.parametrize('rate_hz', [0.3, 0.5, 1.0, 2.0, 5.0])
def test_ids_stay_at_low_rates_with_jitter_and_missing_frames(rate_hz):
    """Jitter of 30 % of the interval on every frame, and one frame in ten is lost."""
    random = np.random.default_rng(0)
    stamps = (np.arange(200) + random.uniform(-0.3, 0.3, 200))[random.random(200) > 0.1] / rate_hz
    tracker = PoseTracker(model_of())
    for stamp in stamps:
        assert ids(tracker.update([pose_at(10.0 * np.sin(stamp))], float(stamp))) == [0]
    lost = stamps[-1] + (GAP_FRAMES + 1.0) / rate_hz
    assert ids(tracker.update([pose_at(0.0)], lost)) == [1]


@pytest.mark.parametrize('rate_hz', [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize('motion', range(4))
def test_an_object_that_moves_keeps_its_id_at_low_rates(rate_hz, motion):
    """It swings and turns by up to 1.8 times its size between two images; it once had up to 35 ids in 54 images."""
    model, stamps = simulation.planar_submarine(), simulation.irregular_stamps(motion, rate_hz, 60)
    track = simulation.simulate_track(motion, 2.0, stamps=stamps)
    poses, tracker = simulation.observe_track(model, track, 1.0, motion), PoseTracker(model)
    assert {ids(tracker.update([pose], stamp))[0] for pose, stamp in zip(poses, stamps.tolist())} == {0}


def test_what_appears_far_away_is_another_one_also_at_low_rates():
    tracker = PoseTracker(model_of())
    for i in range(4):
        assert ids(tracker.update([pose_at(0)], float(i))) == [0]
    assert ids(tracker.update([pose_at(0), pose_at(120)], 4.0)) == [0, 1]
    assert ids(tracker.update([pose_at(400)], 5.0)) == [2]  # 3.3 times its size, in a second


def test_a_pause_does_not_lengthen_what_a_fast_stream_is_followed_through():
    interval = FrameInterval()
    for stamp in [*np.arange(0.0, 1.0, DT), *np.arange(100.0, 101.0, DT)]:
        interval.add(float(stamp))
        assert interval.interval_s == pytest.approx(DT if stamp else 0.0, abs=1e-9)
    assert interval.longest_gap_s(0.5) == 0.5
    first = FrameInterval()
    first.add(0.0)
    first.add(3600.0)  # an hour without images says nothing about the stream
    assert first.longest_gap_s(0.5) == 20.0


def test_velocity_carries_a_track_through_a_gap():
    # 600 px/s: in a gap of 0.3 s the object moves 180 px, twice its size.
    tracker = PoseTracker(model_of())
    for i in range(10):
        assert ids(tracker.update([pose_at(600 * i * DT)], i * DT)) == [0]
    later = 9 * DT + 0.3
    assert ids(tracker.update([pose_at(600 * later), pose_at(180)], later)) == [0, 1]


def test_two_that_cross_keep_their_ids():
    tracker = PoseTracker(model_of())
    for i in range(40):
        left, right = pose_at(10.0 * i, 100), pose_at(400 - 10.0 * i, 112)
        assert ids(tracker.update([right, left] if i % 2 else [left, right], i * DT)) == ([1, 0] if i % 2 else [0, 1])


def test_nearest_pair_wins():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0), pose_at(50)], 0.0)
    assert ids(tracker.update([pose_at(45), pose_at(20)], DT)) == [1, 0]


def test_distance_is_measured_in_sizes():
    # 100 px: more than 0.6 of an object of 85 px, less than 0.6 of one of 424 px.
    small, large = PoseTracker(model_of()), PoseTracker(model_of())
    small.update([pose_at(0)], 0.0)
    large.update([pose_at(0, size=5)], 0.0)
    assert ids(small.update([pose_at(100)], DT)) == [1]
    assert ids(large.update([pose_at(100, size=5)], DT)) == [0]


def test_exact_keypoints_count_more_than_loose_ones():
    tracker = PoseTracker(model_of(sigmas=[0.02, 0.02, 0.2, 0.2]))
    tracker.update([pose_at(0)], 0.0)
    moved = SQUARE.copy()
    moved[2:] += [80, 0]  # the loose two jump by almost a size
    pose = KeypointPose(
        keypoints=moved + [0, 100], covariances=np.tile(np.eye(2), (4, 1, 1)), scores=np.ones(4),
        visible=np.ones(4, bool), score=1.0,
    )  # fmt: skip
    assert ids(tracker.update([pose], DT)) == [0]


def test_hidden_keypoints_are_carried_along():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0)], 0.0)
    for i in range(1, 8):  # moves 70 px while two keypoints are hidden
        assert ids(tracker.update([pose_at(10 * i, hidden=(0, 1))], i * DT)) == [0]
    # Now only the other two are seen: they are compared with where they must have moved.
    assert ids(tracker.update([pose_at(80, hidden=(2, 3))], 8 * DT)) == [0]


def test_no_keypoint_in_common_falls_back_to_the_centres():
    tracker = PoseTracker(model_of(), max_distance=1.2)
    tracker.update([pose_at(0, hidden=(2, 3))], 0.0)
    # Centres 60 px apart, times 1.5, over a size of 85 px or less: 1.5 at most for 60 px wide halves
    assert ids(tracker.update([pose_at(0, y=55, hidden=(0, 1))], DT)) == [0]
    assert ids(tracker.update([pose_at(300, hidden=(2, 3))], 2 * DT)) == [1]


def test_one_keypoint_is_tracked_by_the_smallest_size():
    tracker = PoseTracker(model_of(1), min_size_px=32)

    def dot(x):
        return KeypointPose(
            keypoints=[[x, 0.0]], covariances=[np.eye(2)], scores=[1.0], visible=[True], score=1.0
        )  # fmt: skip

    assert ids(tracker.update([dot(0), dot(100)], 0.0)) == [0, 1]
    assert ids(tracker.update([dot(85), dot(15)], DT)) == [1, 0]
    assert ids(tracker.update([dot(150)], 2 * DT)) == [2]


def test_time_set_back_starts_anew_with_new_ids():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0), pose_at(200)], 100.0)
    assert ids(tracker.update([pose_at(0)], 3.0)) == [2]
    assert ids(tracker.update([pose_at(5)], 3.0 + DT)) == [2]


def test_the_same_stamp_twice_is_the_same_frame():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0)], 1.0)
    assert ids(tracker.update([pose_at(4)], 1.0)) == [0]
    assert ids(tracker.update([pose_at(8)], 1.0 + DT)) == [0]


def test_reset_forgets_but_does_not_reuse():
    tracker = PoseTracker(model_of())
    tracker.update([pose_at(0)], 1.0)
    tracker.reset()
    assert ids(tracker.update([pose_at(0)], 0.5)) == [1]


def test_a_pose_without_keypoints_gets_an_id_of_its_own():
    tracker = PoseTracker(model_of())
    empty = pose_at(0, hidden=range(4))
    assert ids(tracker.update([pose_at(0), empty], 0.0)) == [0, 1]
    assert ids(tracker.update([empty, pose_at(0)], DT)) == [2, 0]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.floats(-1, 3), st.lists(st.tuples(st.floats(-500, 500), st.sets(st.integers(0, 3))), max_size=4)),
        max_size=12,
    )
)
def test_ids_are_unique_in_every_frame_and_never_come_back_after_a_gap(frames):
    tracker, interval = PoseTracker(model_of(), max_gap_s=0.5), FrameInterval()
    last_seen: dict[int, float] = {}
    last_stamp, highest = -np.inf, -1
    for stamp, seen in frames:
        if stamp < last_stamp:
            last_seen.clear()
            interval = FrameInterval()
            newest = highest + 1
        else:
            newest = 0
        interval.add(stamp)
        found = ids(tracker.update([pose_at(x, hidden=tuple(hidden)) for x, hidden in seen], stamp))
        assert len(set(found)) == len(found)
        for track_id in found:
            assert track_id >= newest
            if track_id <= highest:
                assert stamp - last_seen[track_id] <= interval.longest_gap_s(0.5)
            last_seen[track_id] = stamp
        highest = max([highest, *found])
        last_stamp = stamp


@pytest.mark.parametrize(
    ('call', 'facts'),
    [
        (lambda: PoseTracker(model_of()).update([], np.nan), ('stamp_s', 'nan')),
        (lambda: PoseTracker(model_of(3)).update([pose_at(0)], 0.0), ('poses', '4')),
        (lambda: PoseTracker(model_of(), max_gap_s=0), ('max_gap_s', '0')),
        (lambda: PoseTracker(model_of(), max_distance=np.nan), ('max_distance', 'nan')),
        (lambda: PoseTracker(model_of(), min_size_px=-1), ('min_size_px', '-1')),
    ],
)
def test_refusals(call, facts):
    with pytest.raises(ValueError) as error:
        call()
    assert all(fact in str(error.value) for fact in facts)


NONE = [np.inf, np.nan]


@pytest.mark.parametrize(
    ('distances', 'pairs'),
    [
        ([[3.0, 1.0], [1.5, 1.2]], [(0, 1), (1, 0)]),  # the second row would rather have the column that is gone
        ([[1.0, 1.0], [1.0, 1.0]], [(0, 0), (1, 1)]),
        ([NONE, [np.nan, 2.0]], [(1, 1)]),
        ([NONE, NONE], []),
        (np.zeros((0, 3)), []),
        (np.zeros((3, 0)), []),
    ],
)
def test_the_nearest_come_first_and_each_once(distances, pairs):
    assert nearest_pairs(np.array(distances)) == pairs
