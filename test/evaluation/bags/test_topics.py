"""Topics are found where there is one choice; otherwise the error names all of them."""

from __future__ import annotations

import pytest

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.bags.stored import Topic
from custom_pose_ros.evaluation.bags.topics import (
    camera_namespace,
    choose_camera_info,
    choose_image_topic,
    choose_recorded,
    choose_truth_topic,
)

RAW, COMPRESSED, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/CameraInfo'
POSES, ORIENTATIONS = 'custom_pose_msgs/msg/PoseArray', 'custom_pose_msgs/msg/OrientationArray'


def topics(*entries: tuple[str, str] | tuple[str, str, int]) -> dict[str, Topic]:
    return {name: Topic(name, msgtype, count=rest[0] if rest else 5) for name, msgtype, *rest in entries}


def test_the_only_image_topic_is_taken_and_overlay_and_empty_ones_do_not_count():
    found = topics(
        ('/front/image', RAW), ('/pose_node/overlay', RAW), ('/down/image', RAW, 0),
        ('/front/depth/compressedDepth', COMPRESSED),
    )  # fmt: skip
    assert choose_image_topic(found, None).name == '/front/image'


def test_raw_goes_before_compressed_of_the_same_camera():
    found = topics(('/front/image/compressed', COMPRESSED), ('/front/image', RAW))
    assert choose_image_topic(found, None).name == '/front/image'
    assert choose_image_topic(found, '/front/image/compressed').name == '/front/image/compressed'


def test_two_cameras_are_a_choice_that_names_both():
    found = topics(('/front/image', RAW, 7), ('/down/image/compressed', COMPRESSED, 3))
    with pytest.raises(
        UsageError, match=r'2 cameras; choose one with --image: /down/image/compressed .*3\), /front/image .*7\)'
    ):
        choose_image_topic(found, None)
    assert choose_image_topic(found, 'front/image').name == '/front/image'


@pytest.mark.parametrize(
    ('found', 'wanted', 'text'),
    [
        (topics(('/imu', 'sensor_msgs/msg/Imu')), None, 'no topic of type sensor_msgs/Image, .*; it holds: /imu'),
        (topics(('/poses', 'custom_pose_msgs/msg/PoseArray')), None, '; --recorded /poses scores what'),
        (topics(('/front/image', RAW, 0)), None, 'no message on the image topic /front/image'),
        (topics(('/front/image', RAW)), '/rear/image', '--image /rear/image: is not in the bag; .* /front/image'),
        (
            topics(('/front/image', RAW), ('/imu', 'sensor_msgs/msg/Imu')),
            '/imu',
            'wanted sensor_msgs/Image, sensor_msgs/CompressedImage, got sensor_msgs/Imu',
        ),
        (topics(('/front/image', RAW, 0)), '/front/image', 'the topic has no message'),
    ],
)
def test_images_that_cannot_be_used_are_refused(found, wanted, text):
    with pytest.raises(UsageError, match=text):
        choose_image_topic(found, wanted, outline=False)


def test_where_only_images_will_do_no_other_way_is_named():
    with pytest.raises(UsageError, match='it holds: /poses [^;]*$'):
        choose_image_topic(topics(('/poses', 'custom_pose_msgs/msg/PoseArray')), None)


def test_with_an_outline_what_was_recorded_is_no_way_on():
    found = topics(('/poses', 'custom_pose_msgs/msg/PoseArray'))
    with pytest.raises(UsageError, match='; without --outline, --recorded /poses scores what was recorded$'):
        choose_image_topic(found, None, outline=True)


@pytest.mark.parametrize(
    ('image', 'namespace'),
    [
        ('/front/image_raw/compressed', '/front'),
        ('/front/image', '/front'),
        ('/a/b/image_rect_color', '/a/b'),
        ('/frames', ''),
    ],
)
def test_the_namespace_of_a_camera(image, namespace):
    assert camera_namespace(image) == namespace


def test_depth_is_no_camera_but_by_name():
    found = topics(('/color/image_raw', RAW), ('/depth/image_raw', RAW))
    depth = {'/depth/image_raw': '16UC1'}
    assert choose_image_topic(found, None, depth).name == '/color/image_raw'
    assert choose_image_topic(found, '/depth/image_raw', depth).name == '/depth/image_raw'
    with pytest.raises(UsageError, match='/depth/image_raw: 16UC1 looks like depth, .* --image /depth/image_raw takes'):
        choose_image_topic(topics(('/depth/image_raw', RAW)), None, depth)


def test_other_types_of_images_are_named_with_their_package():
    other = ('/cam/image', 'foxglove_msgs/msg/CompressedImage')
    with pytest.raises(UsageError, match=r'it holds: /cam/image \(foxglove_msgs/CompressedImage, 5\), /a '):
        choose_image_topic(topics(('/a', 'sensor_msgs/msg/Imu'), other), None)
    with pytest.raises(UsageError, match=r'got foxglove_msgs/CompressedImage; such topics: none'):
        choose_image_topic(topics(other), '/cam/image')


def test_a_list_of_topics_stays_readable():
    many = topics(*((f'/{"long" * 100}/{i}', 'sensor_msgs/msg/Imu') for i in range(500)))
    with pytest.raises(UsageError, match='and 488 more') as error:
        choose_image_topic(many, None)
    assert len(str(error.value)) < 2000


def test_only_the_calibration_beside_the_images_is_taken():
    two = topics(('/front/camera_info', INFO), ('/down/camera_info', INFO))
    assert choose_camera_info(two, None, '/down/image_raw').name == '/down/camera_info'
    assert choose_camera_info(two, None, '/rear/image_raw') is None
    assert choose_camera_info(topics(('/cal', INFO)), None, '/rear/image') is None
    assert choose_camera_info(topics(('/cal', INFO)), '/cal', '/rear/image').name == '/cal'
    assert choose_camera_info(topics(('/rear/camera_info', INFO, 0)), None, '/rear/image') is None


def test_recorded_results_are_told_by_their_type_and_last_name():
    found = topics(('/front/poses', POSES), ('/front/orientations', ORIENTATIONS))
    poses, orientations = choose_recorded(found, 'orientations, poses')
    assert (poses.name, orientations.name) == ('/front/poses', '/front/orientations')
    assert choose_recorded(found, '/front/poses')[1] is None


@pytest.mark.parametrize(
    ('wanted', 'text'),
    [
        ('poses', r'poses: is ambiguous: /down/poses .*, /front/poses'),
        ('/front/poses,/down/poses', '/front/poses and /down/poses are of one kind; choose one'),
        ('/front/poses,/dope', '/dope is of another program: it is scored alone'),
        ('tracks', r'--recorded tracks: is not in the bag; .*: /dope'),
    ],
)
def test_recorded_results_that_are_not_clear_are_refused(wanted, text):
    with pytest.raises(UsageError, match=text):
        found = topics(('/front/poses', POSES), ('/down/poses', POSES), ('/dope', 'geometry_msgs/msg/PoseStamped'))
        choose_recorded(found, wanted)


def test_a_truth_of_another_type_is_refused():
    with pytest.raises(UsageError, match='--truth /imu: wanted geometry_msgs/PoseStamped, .*, got sensor_msgs/Imu'):
        choose_truth_topic(topics(('/imu', 'sensor_msgs/msg/Imu')), '/imu')
