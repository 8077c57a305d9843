"""
Malformed messages, every field of every input at random: each is answered or refused, and every refusal counted.

MALFORMED_CASES=10000 .venv/bin/python -m pytest test/nodes/test_malformed_messages.py    is the long form.
"""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from malformed_messages import camera_infos, compressed_images, images, pose_arrays
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, poses_to_message
from custom_pose_ros.nodes.ros.frames import ReceivedImage

CASES = int(os.environ.get('MALFORMED_CASES', '400'))  # of all four kinds together
HANG_S = 20.0  # a message takes milliseconds; a busy machine may be a thousand times slower
NAMES = ('front', 'left', 'right', 'top')  # of the tiny object
# of one that a camera of 60 deg sees at 3 m
PIXELS = ((280.1, 165.9), (387.1, 189.3), (293.9, 214.4), (338.1, 153.7))

some = settings(
    max_examples=CASES // 4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Witness:
    """Shows messages to a node and counts what became of them."""

    def __init__(self, node: PoseNode | OrientationNode):
        self.statistics = node.health.statistics['']

    def show(self, callback, message) -> str:
        """Call back with the message; return '' when it was taken, or the one line that says why it was refused."""
        before, begin = self.statistics.counts, time.monotonic()
        callback(message)
        assert time.monotonic() - begin < HANG_S
        since = self.statistics.counts.minus(before)
        assert since.processed + since.errors <= 1
        if not since.errors:
            return ''
        reason = self.statistics.last_error
        assert reason.isprintable(), f'one line that a terminal can show, not {reason!r}'
        assert len(reason) < 1000, reason
        # A refusal that somebody has thought of, not an exception that the last net has caught.
        assert not reason.split(':')[0].endswith(('Error', 'Exception')), reason
        return reason


@pytest.fixture
def pose_node(graph, tiny_object) -> PoseNode:
    return graph.start(PoseNode, object=tiny_object, threads=1)


@pytest.fixture
def orientation_node(graph, tiny_object) -> OrientationNode:
    return graph.start(OrientationNode, object=tiny_object, camera_info_timeout=0.0)


def good_pose_array(tiny_object: str) -> PoseArray:
    pose = KeypointPose(
        keypoints=np.array(PIXELS),
        covariances=np.tile(np.eye(2), (len(NAMES), 1, 1)),
        scores=np.ones(len(NAMES)),
        visible=np.ones(len(NAMES), bool),
        score=1.0,
    )
    return poses_to_message([pose], ObjectModel.load(tiny_object), Header(frame_id='camera'), 640, 480)


@pytest.mark.parametrize('messages', [images(), compressed_images], ids=['Image', 'CompressedImage'])
def test_every_image_is_answered_or_refused(pose_node: PoseNode, messages) -> None:
    witness, fates = Witness(pose_node), {True: 0, False: 0}

    @some
    @given(messages)
    def check(message: Image | CompressedImage) -> None:
        answered = pose_node.health.statistics[''].counts.processed
        refused = witness.show(lambda m: pose_node._process({'': ReceivedImage(m)}), message)
        assert bool(refused) == (pose_node.health.statistics[''].counts.processed == answered)
        fates[bool(refused)] += 1

    check()
    assert min(fates.values()) > 0, 'the strategy reaches both fates'
    assert pose_node.health.statistics[''].counts.errors == fates[True]


def test_every_camera_info_is_taken_or_refused_and_the_poses_go_on(orientation_node: OrientationNode) -> None:
    witness, fates = Witness(orientation_node), {True: 0, False: 0}

    @some
    @given(camera_infos(), pose_arrays(NAMES, PIXELS, 1))
    def check(message: CameraInfo, poses: PoseArray) -> None:
        fates[bool(witness.show(orientation_node._cameras['']._on_camera_info, message))] += 1
        witness.show(orientation_node._cameras['']._answer, poses)

    check()
    assert min(fates.values()) > 0, 'the strategy reaches both fates'


def test_every_pose_array_is_answered_and_refusals_are_counted(graph, orientation_node, tiny_object) -> None:
    answers = graph.listen('orientations', OrientationArray)
    orientation_node._cameras['']._answer(good_pose_array(tiny_object))
    graph.wait(lambda: answers and answers[0].orientations, 'an orientation of a good one')
    witness, fates = Witness(orientation_node), {True: 0, False: 1}

    @some
    @given(pose_arrays(NAMES, PIXELS), st.booleans())
    def check(message: PoseArray, twice: bool) -> None:
        for _ in range(1 + twice):
            fates[bool(witness.show(orientation_node._cameras['']._answer, message))] += 1
            graph.wait(lambda: len(answers) == sum(fates.values()), 'the answer')

    check()
    assert min(fates.values()) > 0, 'the strategy reaches both fates'
    assert orientation_node.health.statistics[''].counts.errors == fates[True]
    for orientation in (one for answer in answers for one in answer.orientations):
        pose = orientation.pose.pose
        numbers = [*orientation.pose.covariance, orientation.roll, orientation.pitch, orientation.yaw]
        numbers += [getattr(pose.position, axis) for axis in 'xyz'] + [
            getattr(pose.orientation, axis) for axis in 'xyzw'
        ]
        assert np.isfinite(numbers).all(), orientation
