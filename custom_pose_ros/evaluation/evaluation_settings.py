"""What to evaluate and how: the options of evaluate_bag, and the topics and part of a bag that they select."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.object_model import Thresholds
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.topics import choose_camera_info, choose_image_topic, choose_recorded
from custom_pose_ros.evaluation.truth.source import TruthSettings


@dataclass(frozen=True)
class Settings:
    """
    What to evaluate and how; the fields are the options of evaluate_bag.

    Attributes:
        recorded: Topics to score instead of running the estimators, '' to run them.
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
    recorded: str = ''
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


def select(bag: Bag, settings: Settings, truth_topics: tuple[str, ...]) -> Selection:
    """Choose the topics of a bag; UsageError with all choices where the settings do not fit it."""
    poses, orientations = choose_recorded(bag.topics, settings.recorded) if settings.recorded else (None, None)
    image = None
    is_optional = settings.recorded and not (settings.image or settings.truth.tags)
    with contextlib.suppress(UsageError) if is_optional else contextlib.nullcontext():
        image = choose_image_topic(bag.topics, settings.image).name
    info = choose_camera_info(bag.topics, settings.camera_info, image)
    start_ns = bag.start_ns + round(settings.start_s * 1e9)
    return Selection(
        image=image,
        camera_info=info.name if info else None,
        poses=poses.name if poses else None,
        orientations=orientations.name if orientations else None,
        truth=truth_topics,
        start_ns=start_ns if settings.start_s else None,
        stop_ns=None if settings.duration_s is None else start_ns + round(settings.duration_s * 1e9),
    )
