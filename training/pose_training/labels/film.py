"""A film: the frames of a video or of a bag's image topic, or the pictures of a folder in the order of their names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.command_line import optional_packages, say
from custom_pose_ros.core.errors import ConfigError, DatasetError, MediaError, MessageError, UsageError
from custom_pose_ros.core.files import VIDEO_SUFFIXES
from custom_pose_ros.core.pictures import read_image
from custom_pose_ros.inference.camera_calibration import CameraCalibration, shows_rectified_images
from custom_pose_ros.inference.image_messages import image_to_bgr
from training.pose_training.labels.image_files import find_images, frame_count, open_video, read_frames

if TYPE_CHECKING:
    from custom_pose_ros.evaluation.bags.reader import Bag
    from custom_pose_ros.evaluation.bags.topics import Topic

_USUAL_FPS = 30.0  # of videos that do not tell theirs, and of pictures


class FilmFrame(NamedTuple):
    """
    One frame.

    Attributes:
        number: From 0, of all frames of the film.
        stamp_s: Since the first frame [s].
        image: (H, W, 3) uint8 BGR.
    """

    number: int
    stamp_s: float
    image: np.ndarray


def is_recording(source: Path) -> bool:
    """Say whether a path is a video or a bag, rather than a folder of pictures."""
    if source.is_dir():
        return any(source.glob('metadata.yaml')) or any(map(_is_bag_file, source.iterdir()))
    return source.suffix.lower() in VIDEO_SUFFIXES or _is_bag_file(source)


def _is_bag_file(path: Path) -> bool:
    return not {'.mcap', '.db3', '.bag'}.isdisjoint(path.suffixes[-2:])


class RecordedCamera(NamedTuple):
    """
    What a bag says of the camera of its images.

    Attributes:
        rectified: Whether the images are rectified, by the name of their topic.
        topic: Of the calibration.
        calibration: None where the bag has none for these images.
    """

    rectified: bool = False
    topic: str = ''
    calibration: CameraCalibration | None = None


class Film:
    """
    The frames of a source that can be read as often as needed; all of them at once may be gigabytes.

    Attributes:
        source: Video, bag (rosbag2 or ROS 1) or folder of pictures.
    """

    def __init__(self, source: Path, topic: str | None = None):
        """
        Look at what the source is.

        Args:
            source: Video, bag or folder of pictures.
            topic: Of the images of a bag; None for the only one.

        Raises:
            DatasetError: It is none of these.
        """
        if not source.exists():
            raise DatasetError(f'{source}: no such video, bag or folder with pictures')
        self.source, self._topic = source, topic
        self._told: set[str] = set()  # of the damage of a bag, which is met each time that it is read
        self._is_video = source.suffix.lower() in VIDEO_SUFFIXES
        self._is_folder = not is_recording(source)
        if self._is_folder and not source.is_dir():
            raise DatasetError(f'{source}: is neither a video, a bag nor a folder with pictures')

    @cached_property
    def count(self) -> int:
        """Number of frames, as announced."""
        if self._is_folder:
            return len(self._pictures)
        if self._is_video:
            return frame_count(self.source)
        with self._bag() as (_, images):
            return images.count

    @property
    def is_bag(self) -> bool:
        """Whether it is a bag, of which a topic may be chosen."""
        return not (self._is_folder or self._is_video)

    @cached_property
    def _pictures(self) -> list[Path]:
        return find_images(self.source)

    def name(self, number: int) -> str:
        """Return a file name for a frame that tells the film and the number."""
        return f'{self.source.resolve().stem}_{number:06d}.png'

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[FilmFrame]:
        """
        Yield the frames with these numbers, or all, that can be read.

        Raises:
            DatasetError: It cannot be read at all.
            UsageError: The bag has several cameras, or none.
        """
        if self.is_bag:
            yield from self._read_bag(wanted)
            return
        numbers = range(self.count) if wanted is None else wanted
        if self._is_folder:
            yield from self._read_pictures(numbers)
        else:
            for number, image in read_frames(self.source, numbers):
                yield FilmFrame(number, number / self._fps, image)

    @cached_property
    def _fps(self) -> float:
        capture = open_video(self.source)
        fps = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        return fps if 0 < fps <= 1000 else _USUAL_FPS

    def _read_pictures(self, numbers: Collection[int]) -> Iterator[FilmFrame]:
        for number, path in enumerate(self._pictures):
            if number in numbers:
                try:
                    yield FilmFrame(number, number / _USUAL_FPS, read_image(path))
                except MediaError as error:
                    say(f'warning: {error}; left out')

    @cached_property
    def recorded_camera(self) -> RecordedCamera:
        """What a bag says of the camera; nothing of videos and folders. What is not used is told."""
        if not self.is_bag:
            return RecordedCamera()
        with self._bag() as (bag, images):
            from custom_pose_ros.evaluation.evaluation_settings import select_camera_info

            recorded = RecordedCamera(shows_rectified_images(images.name))
            topic = select_camera_info(bag, None, images.name, bag.notes, '--camera FILE gives the right one')
            if topic is None:
                return recorded
            calibration = CameraCalibration(
                rectified=recorded.rectified, report=lambda text: say(f'note: {self.source}: {topic}: {text}')
            )
            for content in filter(None, map(bag.decode, bag.messages([topic]))):
                was_known = calibration.is_known
                try:
                    changed = calibration.accept(content)
                except ConfigError as error:
                    bag.notes.damage(f'{self.source}: {topic}: is not a calibration ({error})')
                    continue
                if changed and was_known:
                    bag.notes.damage(
                        f'{self.source}: {topic}: changes within the bag, so that it is not used; '
                        '--camera FILE says what holds'
                    )
                    return recorded
            return recorded._replace(topic=topic, calibration=calibration if calibration.is_known else None)

    @contextmanager
    def _bag(self) -> Iterator[tuple[Bag, Topic]]:
        with optional_packages('reading a bag', ['bags']):
            from custom_pose_ros.evaluation.bags.reader import Bag
            from custom_pose_ros.evaluation.bags.topics import choose_image_topic
        with Bag([self.source]) as bag:
            try:
                yield bag, choose_image_topic(bag.topics, self._topic)
            except UsageError as error:
                raise UsageError(f'{self.source}: {error}') from error
            finally:
                for kind, damaged in (('warning', True), ('note', False)):
                    for line in bag.notes.lines(damaged):
                        if line not in self._told:
                            self._told.add(line)
                            say(f'{kind}: {line}')

    def _read_bag(self, numbers: Collection[int] | None) -> Iterator[FilmFrame]:
        first = None
        with self._bag() as (bag, images):
            for number, message in enumerate(bag.messages([images.name])):
                first = message.time_ns if first is None else first
                wanted = numbers is None or number in numbers
                content = bag.decode(message) if wanted else None
                if content is None:
                    continue
                try:
                    yield FilmFrame(number, (message.time_ns - first) / 1e9, image_to_bgr(content))
                except MessageError as error:
                    bag.notes.damage(f'{images.name}: {error}; left out', counted=True)


def open_films(sources: Sequence[Path], topic: str | None) -> list[Film]:
    """
    Return the films of footage.

    Args:
        sources: Videos, bags or folders of pictures.
        topic: Of the images of the bags; None for the only one.

    Raises:
        DatasetError: One is none of these.
        UsageError: A topic is given, and none of them is a bag.
    """
    films = [Film(source, topic) for source in sources]
    if topic is not None and not any(film.is_bag for film in films):
        raise UsageError(f'--image {topic} chooses a topic of a bag, and {sources[0]} is none: leave it out')
    return films
