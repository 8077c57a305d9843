"""Tests of custom_pose_ros.nodes.image_queue: newest frame wins, per camera, and closing wakes the worker."""

from __future__ import annotations

import threading

from custom_pose_ros.nodes.image_queue import NewestFrames


def test_the_newest_frame_of_each_camera_is_taken_once() -> None:
    frames = NewestFrames()
    assert [frames.put('front', 1), frames.put('front', 2), frames.put('down', 9)] == [False, True, False]
    assert frames.take() == {'front': 2, 'down': 9}
    assert frames.put('front', 3) is False  # nothing waited any more
    assert frames.take() == {'front': 3}


def test_a_waiting_worker_gets_the_next_frame() -> None:
    frames, taken = NewestFrames(), []
    worker = threading.Thread(target=lambda: taken.append(frames.take()))
    worker.start()
    frames.put('', 'image')
    worker.join(10)
    assert taken == [{'': 'image'}]


def test_closing_ends_every_wait_also_later_ones() -> None:
    frames, taken = NewestFrames(), []
    worker = threading.Thread(target=lambda: taken.append(frames.take()))
    worker.start()
    frames.close()
    worker.join(10)
    assert taken == [None]
    frames.put('', 'late')
    assert frames.take() is None


def test_no_frame_is_lost_uncounted_between_threads() -> None:
    frames, total = NewestFrames(), 5000
    taken, dropped = [], 0

    def work() -> None:
        while (waiting := frames.take()) is not None:
            taken.append(waiting[''])

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(total):
        dropped += frames.put('', number)
    done = threading.Event()
    while not done.wait(0.001) and (not taken or taken[-1] != total - 1):
        assert worker.is_alive()
    frames.close()
    worker.join(10)
    assert len(taken) + dropped == total
    assert taken == sorted(taken)
