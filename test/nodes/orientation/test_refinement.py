"""The outline in orientation_node: real nodes over DDS, on drawn pictures of a cuboid with exact views."""

from __future__ import annotations

import numpy as np
import outlined_box
import pytest
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from example_estimate import an_estimate
from outlined_box import CAMERA, MODEL, box_views, keypoints, picture
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.geometry.rotations import quaternion_from_matrix
from custom_pose_ros.core.orientation.track import OTHER_SIZE
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.orientation.refinement import RefinementCounts
from custom_pose_ros.nodes.ros.conversions import OrientationArray, PoseArray, bgr_to_image, poses_to_message

TRUTH = outlined_box.TILTED
STEP_NS = 100_000_000  # between images: after a second the outline is believed
BELIEVED = 12  # images


@pytest.fixture(scope='module')
def pictures() -> list[np.ndarray]:
    return [picture(TRUTH, seed) for seed in range(BELIEVED)]


@pytest.fixture(scope='module')
def box(tmp_path_factory):
    """The folder of the cuboid with its outline."""
    folder = tmp_path_factory.mktemp('box')
    (folder / 'object.yaml').write_text(yaml.safe_dump(MODEL.to_dict()))
    box_views().save(folder / 'outline.npz')
    return folder


def header(number: int) -> Header:
    return Header(stamp=Time(sec=100 + number * STEP_NS // 10**9, nanosec=number * STEP_NS % 10**9), frame_id='optical')


def poses_of(number: int) -> PoseArray:
    return poses_to_message([keypoints(TRUTH, number)], MODEL, header(number), CAMERA.width, CAMERA.height)


class Robot:
    """An orientation_node that refines, with a camera and the keypoints of a detector."""

    def __init__(self, graph, box, **parameters):
        self.graph = graph
        self.node = graph.start(
            OrientationNode,
            **{
                'object': str(box),
                'refine': 'outline',
                'image_reliability': 'reliable',
                'refine_wait': 1.0,
                **parameters,
            },
        )
        self.answers = graph.listen('orientations', OrientationArray)
        self._images = graph.advertise('image', Image)
        self._poses = graph.advertise('poses', PoseArray)
        infos = graph.advertise('camera_info', CameraInfo)
        info = CameraInfo(width=CAMERA.width, height=CAMERA.height, k=CAMERA.K.ravel(), d=list(CAMERA.D))
        info.distortion_model, info.header = CAMERA.distortion_model, header(0)
        source = self.node._cameras[''].source
        graph.wait(lambda: infos.publish(info) or source.state.startswith('camera_info'), 'camera_info', 0.02)

    def image(self, number: int, bgr: np.ndarray) -> None:
        self._images.publish(bgr_to_image(bgr, header(number)))

    def first_image(self, bgr: np.ndarray) -> None:
        """Publish an image that keypoints do not overtake: before the first one nothing waits."""
        self.image(0, bgr)
        frames = self.node._cameras['']._refinement._frames
        self.graph.wait(lambda: frames.newest() is not None, 'the first image')

    def poses(self, number: int) -> None:
        self._poses.publish(poses_of(number))

    def answer(self, number: int) -> OrientationArray:
        return self.answers.wait(lambda answer: answer.header.stamp == header(number).stamp)

    def rows(self) -> dict[str, str]:
        return self.node._cameras[''].rows()


def error_deg(orientation) -> float:
    q = orientation.pose.pose.orientation
    cosine = abs(np.dot([q.x, q.y, q.z, q.w], quaternion_from_matrix(TRUTH.rotation)))
    return float(np.degrees(2.0 * np.arccos(min(1.0, cosine))))


def test_keypoints_that_come_before_their_image_wait_for_it_and_the_message_says_what_was_refined(graph, box, pictures):
    robot = Robot(graph, box)
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    robot.first_image(pictures[0])
    for number in range(1, BELIEVED):
        robot.poses(number)
        robot.image(number, pictures[number])
        robot.answer(number)
    (first,), (last,) = robot.answer(1).orientations, robot.answer(BELIEVED - 1).orientations
    assert np.isnan(first.outline_agreement)
    assert last.outline_agreement > 0.7
    assert error_deg(last) < 1.0  # keypoints alone: 2 to 4 degrees
    rows = robot.rows()
    refined, of = (int(word) for word in rows['refined poses'].split(' of '))
    assert (of, refined >= 4) == (BELIEVED - 1, True)
    assert float(rows['agreement with the outline']) > 0.7
    assert 'over the last second the images did not show it' in rows['not refined']
    mine = f'{graph.namespace[1:]}/orientation_node'
    diagnostics.wait(
        lambda m: any(s.name.startswith(mine) and any(v.key == 'refined poses' for v in s.values) for s in m.status)
    )


def test_without_its_image_the_pose_goes_out_after_the_wait_unrefined(graph, box, pictures):
    robot = Robot(graph, box, refine_wait=0.05)
    robot.poses(0)  # no image was ever seen: nothing waits
    (alone,) = robot.answer(0).orientations
    robot.image(1, pictures[1])
    robot.image(3, pictures[3])
    robot.poses(2)  # a newer image has come: this one was lost, nothing waits
    robot.answer(2)
    robot.poses(4)  # it may still come
    (late,) = robot.answer(4).orientations
    assert np.isnan(alone.outline_agreement)
    assert np.isnan(late.outline_agreement)
    assert robot.rows()['not refined'] == 'its image did not come in time: 3'
    assert robot.rows()['images'] == f'{graph.namespace}/image, 1 publishers'


def test_an_image_that_cannot_be_used_leaves_the_pose_of_the_keypoints(graph, box, pictures):
    robot = Robot(graph, box)
    damaged = bgr_to_image(pictures[1], header(1))
    damaged.encoding = 'of another world'
    robot.first_image(pictures[0])
    for number, image in ((1, damaged), (2, bgr_to_image(pictures[2][:100], header(2)))):
        robot.poses(number)
        robot._images.publish(image)
        (answer,) = robot.answer(number).orientations
        assert np.isnan(answer.outline_agreement)
    assert robot.rows()['not refined'] == (
        'its image cannot be read: 1; its image has 320x100 pixels, that of the keypoints 320x240: 1'
    )


def test_remapping_image_moves_its_compressed_topic_along(graph, box):
    node = graph.start(
        OrientationNode, '-r', 'image:=rig/color', object=str(box), refine='outline', image_transport='compressed'
    )
    assert node._cameras[''].inputs[1].topic_name == f'{graph.namespace}/rig/color/compressed'


def test_at_the_rate_of_the_camera_every_image_is_answered_and_late_keypoints_count(graph, box, pictures):
    """The network answers every third image, two images later."""
    robot = Robot(graph, box, camera_rate=True)
    overlay = graph.listen('orientation_node/overlay', Image)
    graph.wait(lambda: robot.node._cameras['']._overlay.get_subscription_count(), 'the listener of the overlay')
    for number in range(BELIEVED):
        robot.image(number, pictures[number])
        robot.answer(number)
        if number >= 2 and number % 3 == 2:
            before = graph.counts(robot.node).processed
            robot.poses(number - 2)
            graph.wait(lambda b=before: graph.counts(robot.node).processed > b, 'the keypoints to be taken in')
    stamps = [answer.header.stamp.sec * 10**9 + answer.header.stamp.nanosec for answer in robot.answers]
    assert stamps == sorted(set(stamps))
    assert len(stamps) == BELIEVED  # one for each image, none for keypoints of an image that was answered
    assert [len(robot.answer(number).orientations) for number in range(BELIEVED)] == [0] * 3 + [1] * (BELIEVED - 3)
    (last,) = robot.answer(BELIEVED - 1).orientations
    assert last.keypoints_used == 0
    assert last.outline_agreement > 0.7
    assert error_deg(last) < 1.0
    drawn = overlay.wait(lambda image: image.header.stamp == header(BELIEVED - 1).stamp)
    assert bytes(drawn.data) != pictures[-1].tobytes()


NO_OUTLINE = (
    r'^parameter refine: outline wants outline.npz beside .*object.yaml, got none: '
    r'make it with training/outline.py, or name it by outline_file$'
)
TOGETHER = '^parameter camera_rate: wanted refine: outline and smoothing: true with it, got off and true$'


def test_an_outline_that_is_missing_or_of_another_object_is_refused_in_one_line(graph, box, tmp_path, tiny_object):
    for parameters, error, text in (
        ({'object': tiny_object}, ConfigError, NO_OUTLINE),
        ({'object': tiny_object, 'outline_file': str(box / 'outline.npz')}, ModelError, 'npz: was made for box'),
        ({'object': str(box), 'outline_file': str(tmp_path / 'no.npz')}, ModelError, 'no.npz: cannot be read'),
        ({'object': str(box), 'camera_rate': True, 'refine': 'off'}, ConfigError, TOGETHER),
    ):
        with pytest.raises(error, match=text):
            graph.start(OrientationNode, **{'refine': 'outline', **parameters})


def test_a_line_says_why_hardly_any_pose_is_refined_and_ends_when_that_is_over():
    now_s = 0.0
    counts = RefinementCounts(lambda: now_s)
    for step in range(40):
        now_s = 0.1 * step
        told = counts.problems()
        assert not told or now_s > 2.9  # a track needs its time
        counts.add([an_estimate(outline_remark='the image does not show it')], '', follows=False)
    assert told == ['the outline refines hardly any pose: the image does not show it (see docs/outline.md)']
    counts.add([an_estimate(outline_agreement=0.75)] * 20, '', follows=True)
    assert counts.problems() == []
    assert counts.rows() == {
        'refined poses': '20 of 60',
        'agreement with the outline': '0.75',
        'not refined': 'the image does not show it: 40',
        'images answered': '1 in the last 10 s',
    }
    now_s = 20.0
    assert counts.rows()['refined poses'] == '0 of 0'


def test_a_line_says_what_contradicts_poses_that_are_refined():
    now_s = 0.0
    counts = RefinementCounts(lambda: now_s)
    for step in range(40):
        now_s = 0.1 * step
        counts.add([an_estimate(outline_agreement=0.9, outline_remark=OTHER_SIZE)], '', follows=False)
    assert counts.problems() == [f'{OTHER_SIZE} (see docs/outline.md)']
    assert counts.rows()['refined poses'] == '40 of 40'
    assert counts.rows()['not refined'] == 'none'
