"""What to evaluate and how: the options of evaluate_bag, and the topics and part of a bag that they select."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.topics import (
    camera_info_topics,
    choose_camera_info,
    choose_image_topic,
    choose_recorded,
    image_topics,
)
from custom_pose_ros.evaluation.notes import Notes
from custom_pose_ros.evaluation.truth.source import TruthSettings
from custom_pose_ros.inference.image_messages import looks_like_depth


@dataclass(frozen=True)
class Settings:
    """
    What to evaluate and how; the fields are the options of evaluate_bag.

    Attributes:
        recorded: Topics to score instead of running the estimators, '' to run them.
        recorded_class: Which of the classes that another program has recorded is the object, '' where that is clear.
        outline: 'auto', 'off', or the file to measure poses by.
        fov_deg: Horizontal field of view assumed without a calibration.
        rectified: Whether the images are rectified; None: by the name of their topic.
        start_s, duration_s: Part of the bag, from its first message [s].
    """

    bags: tuple[Path, ...]
    object: str = 'submarine'
    model: Path | None = None
    backend: str = 'auto'
    precision: str = 'auto'
    threads: int | None = None
    input_height: int | None = None
    thresholds: Thresholds | None = None
    image: str | None = None
    camera_info: str | None = None
    camera: Path | None = None
    fov_deg: float | None = None
    rectified: bool | None = None
    outline: str = 'auto'
    recorded: str = ''
    recorded_class: str = ''
    truth: TruthSettings = field(default_factory=TruthSettings)
    labels: Path | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    write_bag: Path | None = None


@dataclass(frozen=True)
class Selection:
    """Topics in use and the part of the bag [ns, recording time]; None where there is no such topic or limit."""

    image: str | None
    camera_info: str | None = None
    poses: str | None = None
    orientations: str | None = None
    truth: tuple[str, ...] = ()
    start_ns: int | None = None
    stop_ns: int | None = None

    @property
    def names(self) -> set[str]:
        return {name for name in (self.image, self.camera_info, self.poses, self.orientations, *self.truth) if name}


def select(bag: Bag, settings: Settings, truth_topics: tuple[str, ...], notes: Notes) -> Selection:
    """Choose the topics of a bag; UsageError with all choices where the settings do not fit it."""
    poses, orientations = choose_recorded(bag.topics, settings.recorded) if settings.recorded else (None, None)
    image = None
    is_optional = settings.recorded and not (settings.image or settings.truth.tags)
    with contextlib.suppress(UsageError) if is_optional else contextlib.nullcontext():
        image = _choose_image(bag, settings, notes)
    results = poses or orientations
    info = None
    if not settings.camera:
        info = select_camera_info(bag, settings.camera_info, image or (results.name if results else None), notes)
    start_ns = bag.start_ns + round(settings.start_s * 1e9)
    return Selection(
        image=image,
        camera_info=info,
        poses=poses.name if poses else None,
        orientations=orientations.name if orientations else None,
        truth=truth_topics,
        start_ns=start_ns if settings.start_s else None,
        stop_ns=None if settings.duration_s is None else start_ns + round(settings.duration_s * 1e9),
    )


def _choose_image(bag: Bag, settings: Settings, notes: Notes) -> str:
    """Return the image topic; depth images are taken only by name, with a note."""
    wanted = settings.image
    candidates = [choose_image_topic(bag.topics, wanted)] if wanted else image_topics(bag.topics)
    messages = {topic.name: bag.first(topic.name) for topic in candidates}
    encodings = {name: looks_like_depth(message) for name, message in messages.items() if message is not None}
    depth = {name: encoding for name, encoding in encodings.items() if encoding}
    image = choose_image_topic(bag.topics, wanted, depth, settings.outline not in ('auto', 'off')).name
    if image in depth:
        notes.info(f'{image}: {depth[image]} looks like depth, not like a picture')
    return image


def select_camera_info(
    bag: Bag, wanted: str | None, images: str | None, notes: Notes, way: str = '--camera-info TOPIC takes it anyway'
) -> str | None:
    """
    Return the calibration topic beside the images, or else the only one with their frame; the latter with a note.

    Args:
        bag: An open bag.
        wanted: The topic, where an option names it.
        images: Topic of the images, or of results.
        notes: Are told of what is taken by its frame, or left out.
        way: What a user can do about a calibration that is left out.
    """
    found = choose_camera_info(bag.topics, wanted, images)
    others = [topic.name for topic in camera_info_topics(bag.topics)]
    if found or not others:
        return found.name if found else None
    frame = _frame_of(bag, images)
    same = [name for name in others if frame and _frame_of(bag, name) == frame]
    if len(same) == 1:
        notes.info(f'{bag.name}: {same[0]}: is used for {images}, as it has the same frame, {frame}')
        return same[0]
    notes.info(f'{bag.name}: {", ".join(others)}: may be of another camera than {images} and is not used; {way}')
    return None


def _frame_of(bag: Bag, topic: str | None) -> str:
    message: Any = bag.first(topic) if topic else None
    return message.header.frame_id if message is not None else ''
