"""Choosing the topics of a bag: the only candidate, or the one that an option names."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from custom_pose_ros.core.errors import UsageError, listed
from custom_pose_ros.evaluation.bags.stored import Topic

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
POSES_TYPE, ORIENTATIONS_TYPE = 'custom_pose_msgs/msg/PoseArray', 'custom_pose_msgs/msg/OrientationArray'
FOREIGN_TYPES = (
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/PoseArray',
    'geometry_msgs/msg/TransformStamped',
    'tf2_msgs/msg/TFMessage',
    'vision_msgs/msg/Detection3DArray',
)  # what other programs publish poses in
TF_TYPES = ('tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage')
TRUTH_TYPES = (
    'geometry_msgs/msg/PoseStamped',
    'geometry_msgs/msg/PoseWithCovarianceStamped',
    'geometry_msgs/msg/TransformStamped',
    'nav_msgs/msg/Odometry',
)
_NOT_CAMERAS = ('/overlay', '/compressedDepth')  # drawn pictures of pose_node; depth in a private format
_LISTED, _LONGEST_NAME = 12, 80  # topics in one line, characters of a name
_TRANSPORTS = ('/compressed', '/image_raw', '/image_rect_color', '/image_rect', '/image_color', '/image_mono', '/image')


def image_topics(topics: Mapping[str, Topic]) -> list[Topic]:
    """Return the topics that may have the pictures of a camera."""
    return [t for t in topics.values() if t.msgtype in IMAGE_TYPES and not t.name.endswith(_NOT_CAMERAS)]


def choose_image_topic(
    topics: Mapping[str, Topic], wanted: str | None, depth: Mapping[str, str] = {}, outline: bool | None = None
) -> Topic:
    """
    Return the image topic to use; UsageError with all choices unless it is clear. Raw goes before compressed.

    `depth` has the encodings of the topics that look like depth; they are taken only by name. `outline` tells whether
    they shall be measured by one, which what was recorded cannot be; None where nothing but images will do.
    """
    if wanted is not None:
        return _named(topics, wanted, IMAGE_TYPES, '--image')
    images = image_topics(topics)
    filled = [t for t in images if t.count and t.name not in depth]
    raw = {t.name for t in filled}
    choices = [
        t
        for t in filled
        if t.name.removesuffix('/compressed') == t.name or t.name.removesuffix('/compressed') not in raw
    ]
    if len(choices) == 1:
        return choices[0]
    if choices:
        raise UsageError(f'the bag has {len(choices)} cameras; choose one with --image: {_listing(choices)}')
    if depth:
        name, encoding = next(iter(depth.items()))
        raise UsageError(f'{name}: {encoding} looks like depth, not like a picture; --image {name} takes it anyway')
    if images:
        raise UsageError(f'no message on the image topic {_listing(images)}: nothing to evaluate')
    problem = f'no topic of type {_types(IMAGE_TYPES)}' + ' with pictures of a camera' * any(
        t.msgtype in IMAGE_TYPES for t in topics.values()
    )
    results = [t for t in topics.values() if t.count and t.msgtype in (POSES_TYPE, ORIENTATIONS_TYPE)]
    way = ''
    if results and outline is not None:
        names = ','.join(t.name for t in results)
        way = f'; {"without --outline, " * outline}--recorded {names} scores what was recorded'
    raise UsageError(f'the bag has {problem}; it holds: {_listing(topics.values())}{way}')


def choose_camera_info(topics: Mapping[str, Topic], wanted: str | None, image: str | None) -> Topic | None:
    """Return the calibration topic of a topic with images or results: the one beside it, or else None."""
    if wanted is not None:
        return _named(topics, wanted, (CAMERA_INFO_TYPE,), '--camera-info')
    beside = None if image is None else topics.get(camera_namespace(image) + '/camera_info')
    return beside if beside in camera_info_topics(topics) else None


def camera_info_topics(topics: Mapping[str, Topic]) -> list[Topic]:
    """Return the topics with calibrations."""
    return [t for t in topics.values() if t.msgtype == CAMERA_INFO_TYPE and t.count]


def camera_namespace(image: str) -> str:
    """Return the namespace of a camera: '/front' of '/front/image_raw/compressed'."""
    name = image.removesuffix('/compressed')
    return next((name.removesuffix(s) for s in _TRANSPORTS if name.endswith(s)), name.rpartition('/')[0])


def choose_truth_topic(topics: Mapping[str, Topic], wanted: str) -> Topic:
    """Return the named topic with true poses; UsageError for a missing or empty one or one of another type."""
    return _named(topics, wanted, TRUTH_TYPES, '--truth')


def choose_recorded(topics: Mapping[str, Topic], wanted: str) -> tuple[Topic | None, Topic | None]:
    """
    Resolve the recorded topics to score: `poses,orientations`, or one with poses of another program.

    Names, or their last parts when unique. Returns (poses, orientations or foreign poses), told by message type; one
    may be None. UsageError otherwise.
    """
    chosen: dict[bool, Topic] = {}
    for name in (part.strip() for part in wanted.split(',')):
        topic = _named(topics, name, (POSES_TYPE, ORIENTATIONS_TYPE, *FOREIGN_TYPES), '--recorded')
        other = chosen.setdefault(topic.msgtype == POSES_TYPE, topic)
        if other is not topic:
            raise UsageError(f'--recorded {wanted}: {other.name} and {topic.name} are of one kind; choose one')
    orientations = chosen.get(False)
    if len(chosen) == 2 and orientations.msgtype in FOREIGN_TYPES:
        raise UsageError(f'--recorded {wanted}: {orientations.name} is of another program: it is scored alone')
    return chosen.get(True), orientations


def _named(topics: Mapping[str, Topic], wanted: str, msgtypes: Collection[str], option: str) -> Topic:
    fitting = [t for t in topics.values() if t.msgtype in msgtypes]
    found = [t for t in topics.values() if t.name.lstrip('/') == wanted.lstrip('/')]
    found = found or [t for t in fitting if t.name.endswith('/' + wanted.lstrip('/'))]
    kinds = _types(msgtypes)
    if len(found) != 1:
        problem = 'is not in the bag' if not found else f'is ambiguous: {_listing(found)}'
        raise UsageError(f'{option} {wanted}: {problem}; topics of type {kinds}: {_listing(fitting)}')
    topic = found[0]
    if topic.msgtype not in msgtypes:
        raise UsageError(
            f'{option} {wanted}: wanted {kinds}, got {_types([topic.msgtype])}; such topics: {_listing(fitting)}'
        )
    if not topic.count:
        raise UsageError(f'{option} {wanted}: the topic has no message')
    return topic


def _types(msgtypes: Collection[str]) -> str:
    return ', '.join(msgtype.replace('/msg/', '/')[:_LONGEST_NAME] for msgtype in msgtypes)


def _listing(topics: Collection[Topic]) -> str:
    """Return names, types and numbers of messages, those about images first."""
    ordered = sorted(topics, key=lambda t: ('image' not in f'{t.name}{t.msgtype}'.lower(), t.name))
    shown = [f'{t.name[:_LONGEST_NAME]} ({_types([t.msgtype])}, {t.count})' for t in ordered]
    return listed(shown, _LISTED) or 'none'
