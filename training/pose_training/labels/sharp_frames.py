"""A few sharp frames of a recording that differ from each other: of a video, or of a bag's image topic."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.command_line import optional_packages
from custom_pose_ros.core.errors import DatasetError, MessageError
from custom_pose_ros.core.files import VIDEO_SUFFIXES
from training.pose_training.labels.image_files import frame_count, read_frames

LOOKED_AT = 240  # frames of a recording, evenly spread
THUMBNAIL = (16, 12)
BLURRED = 0.4  # of the median sharpness: what is below it is not taken
SAME = 4.0  # grey levels between the thumbnails of pictures that show the same


def is_recording(source: Path) -> bool:
    """Say whether a path is a video or a bag, rather than a folder of pictures."""
    if source.is_dir():
        return any(source.glob('metadata.yaml')) or any(map(_is_bag_file, source.iterdir()))
    return source.suffix.lower() in VIDEO_SUFFIXES or _is_bag_file(source)


def _is_bag_file(path: Path) -> bool:
    return not {'.mcap', '.db3', '.bag'}.isdisjoint(path.suffixes[-2:])


def sharp_frames(source: Path, count: int, topic: str | None = None) -> list[np.ndarray]:
    """
    Return at most `count` frames (H, W, 3) uint8 BGR of a recording.

    Args:
        source: a video, or a bag (rosbag2 or ROS 1).
        count: of the frames.
        topic: of the images of a bag; None for the only one.

    Raises:
        DatasetError: there is no frame in it.
        UsageError: the bag has several cameras, or none.
    """
    numbers, sharpness, thumbnails = [], [], []
    for number, image in _frames(source, topic):
        small = cv2.cvtColor(cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        numbers.append(number)
        sharpness.append(cv2.Laplacian(small, cv2.CV_32F).var())
        thumbnails.append(cv2.resize(small, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel())
    if not numbers:
        raise DatasetError(f'{source}: no picture in it can be read')
    chosen = {numbers[i] for i in _different(np.array(sharpness), np.array(thumbnails), count)}
    return [image for _, image in _frames(source, topic, chosen)]  # again: all at once are gigabytes


def _different(sharpness: np.ndarray, thumbnails: np.ndarray, count: int) -> list[int]:
    """Return the sharpest frame, and always the next one that differs most from those taken, in their order."""
    chosen = [int(sharpness.argmax())]
    sharp = sharpness >= BLURRED * np.median(sharpness)
    distance = np.abs(thumbnails - thumbnails[chosen[0]]).mean(1)
    while len(chosen) < count:
        farthest = int(np.where(sharp, distance, -1).argmax())
        if distance[farthest] < SAME:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.abs(thumbnails - thumbnails[farthest]).mean(1))
    return sorted(chosen)


def _spread(count: int) -> set[int]:
    return set(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int)) if count else set()


def _frames(source: Path, topic: str | None, wanted: Collection[int] | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and image of the wanted frames of a recording that can be read; without any, of those looked at."""
    if source.suffix.lower() not in VIDEO_SUFFIXES:
        yield from _bag_frames(source, topic, wanted)
    else:
        yield from read_frames(source, _spread(frame_count(source)) if wanted is None else wanted)


def _bag_frames(source: Path, topic: str | None, wanted: Collection[int] | None) -> Iterator[tuple[int, np.ndarray]]:
    with optional_packages('synthesize', ['bags']):
        from custom_pose_ros.evaluation.bags.reader import Bag
        from custom_pose_ros.evaluation.bags.topics import choose_image_topic
        from custom_pose_ros.inference.image_messages import image_to_bgr
    with Bag([source]) as bag:
        images = choose_image_topic(bag.topics, topic)
        numbers = _spread(images.count) if wanted is None else wanted
        for number, message in enumerate(bag.messages([images.name])):
            content = message.decode() if number in numbers else None
            if content is None:
                continue
            try:
                yield number, image_to_bgr(content)
            except MessageError:  # one damaged picture of many
                continue
