"""Refinement: brings the keypoints of one camera and the image they were found in together, and counts what it gave."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.timer import Timer

from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.nodes.orientation.recent_frames import RecentFrames
from custom_pose_ros.nodes.ros.conversions import PoseArray, stamp_nanoseconds
from custom_pose_ros.nodes.ros.diagnostics import WINDOW_S
from custom_pose_ros.nodes.ros.frames import FrameExchange, ReceivedImage

NO_IMAGE = 'its image did not come in time'
_FEWEST = 20  # poses that tell whether refining works
_SETTLED_S = 3.0  # as long as this a first track needs to be believed, and more
_TOO_FEW = 0.1  # share of refined poses below which something is wrong


class Refinement:
    """
    Gives each message with its frame to `answer`, without one where that does not come in time.

    All of it happens in the executor of the node, in the order of the messages.
    """

    def __init__(
        self,
        node: LifecycleNode,
        wait_s: Callable[[], float],
        answer: Callable[[PoseArray, ReceivedImage | None], None],
        follow: Callable[[ReceivedImage, bool], None] | None,
        held: ExitStack,
    ):
        """
        Wait for frames and messages.

        Args:
            node: whose executor runs the timers.
            wait_s: how long a message may wait for its frame now.
            answer: is given each message, and its frame or None.
            follow: is given the newest frame that has no message yet, and whether time was set back before it; None:
                frames are used with their messages only.
            held: is given the end of it, which answers the message that still waits.
        """
        self.counts = RefinementCounts()
        self._node, self._wait_s, self._answer, self._follow = node, wait_s, answer, follow
        self._frames = RecentFrames()
        self._set_back = False
        self._waiting: PoseArray | None = None
        self._timer: Timer | None = None
        held.callback(self._give_up)

    def take_from(self, exchange: FrameExchange, camera: str, held: ExitStack) -> None:
        """Take the frames of a camera from another node of this process, whose thread only stores them."""
        news = self._node.create_guard_condition(self._on_news)
        held.callback(self._node.destroy_guard_condition, news)

        def store(frame: ReceivedImage) -> None:
            self._set_back |= self._frames.add(frame)
            news.trigger()

        exchange.take(camera, store, held)

    def on_frame(self, frame: ReceivedImage) -> None:
        """Take in a frame; in the executor of the node."""
        self._set_back |= self._frames.add(frame)
        self._on_news()

    def on_poses(self, message: PoseArray) -> None:
        """Answer a message as soon as its frame is there; in the executor of the node."""
        self._give_up()
        stamp_ns = stamp_nanoseconds(message.header.stamp)
        frame = self._frames.take(stamp_ns)
        wait_s = self._wait_s()
        if frame is None and wait_s > 0.0 and self._frames.may_come(stamp_ns):
            self._waiting = message
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = self._node.create_timer(wait_s, self._give_up, clock=clock)
        else:
            self._answer(message, frame)

    def _on_news(self) -> None:
        if self._waiting is not None:
            stamp_ns = stamp_nanoseconds(self._waiting.header.stamp)
            frame = self._frames.take(stamp_ns)
            if frame is not None or not self._frames.may_come(stamp_ns):
                self._give_up(frame)
        newest = self._frames.newest()
        if self._follow is not None and newest is not None:
            set_back, self._set_back = self._set_back, False
            self._follow(newest, set_back)

    def _give_up(self, frame: ReceivedImage | None = None) -> None:
        """Answer the message that waits, without its frame unless that has come."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        if self._waiting is not None:
            message, self._waiting = self._waiting, None
            self._answer(message, frame)


class RefinementCounts:
    """What became of the poses of the last WINDOW_S; for diagnostics."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._poses: deque[tuple[float, float, str]] = deque()  # when, agreement or NaN, remark
        self._followed: deque[float] = deque()

    def add(self, estimates: Sequence[OrientationEstimate], image_problem: str, follows: bool) -> None:
        """
        Count the estimates of one image.

        Args:
            estimates: of all instances in it.
            image_problem: why there was no image; empty where there was one.
            follows: whether no keypoints were known.
        """
        now = self._clock()
        for estimate in estimates:
            measured = not np.isnan(estimate.outline_agreement)
            remark = estimate.outline_remark or ('' if measured else image_problem)
            if measured or remark:  # else it coasts
                self._poses.append((now, estimate.outline_agreement, remark))
        if follows:
            self._followed.append(now)
        self._forget()

    def _forget(self) -> None:
        begin = self._clock() - WINDOW_S
        while self._poses and self._poses[0][0] < begin:
            self._poses.popleft()
        while self._followed and self._followed[0] < begin:
            self._followed.popleft()

    def _reasons(self) -> Counter[str]:
        """Return why poses were not refined, and how many each."""
        return Counter(remark for _, agreement, remark in self._poses if np.isnan(agreement))

    def rows(self) -> dict[str, str]:
        """Return the rows of diagnostics."""
        self._forget()
        agreements = [agreement for _, agreement, _ in self._poses if not np.isnan(agreement)]
        reasons = self._reasons()
        rows = {
            'refined poses': f'{len(agreements)} of {len(self._poses)}',
            'agreement with the outline': f'{np.mean(agreements):.2f}' if agreements else 'unknown',
            'not refined': '; '.join(f'{reason}: {count}' for reason, count in reasons.most_common()) or 'none',
        }
        if self._followed:
            rows['images answered'] = f'{len(self._followed)} in the last {WINDOW_S:g} s'
        return rows

    def problems(self) -> list[str]:
        """Return a line where hardly any pose is refined, and one where something contradicts those that are."""
        self._forget()
        if len(self._poses) < _FEWEST or self._clock() - self._poses[0][0] < _SETTLED_S:
            return []
        remarks = Counter(remark for _, agreement, remark in self._poses if remark and not np.isnan(agreement))
        problems = [f'{remark} (see docs/outline.md)' for remark in remarks]
        reasons = self._reasons()
        if sum(reasons.values()) <= (1.0 - _TOO_FEW) * len(self._poses):
            return problems
        return [*problems, f'the outline refines hardly any pose: {reasons.most_common(1)[0][0]} (see docs/outline.md)']
