"""What to evaluate and how: the options of evaluate_bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from custom_pose_ros.core.object_model import Thresholds
from custom_pose_ros.evaluation.truth.source import TruthSettings


@dataclass(frozen=True)
class Settings:
    """
    What to evaluate and how; the fields are the options of evaluate_bag.

    Attributes:
        recorded: Topics to score instead of running the estimators, '' to run them.
        fov_deg: Horizontal field of view assumed without a calibration.
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
    recorded: str = ''
    truth: TruthSettings = field(default_factory=TruthSettings)
    labels: Path | None = None
    start_s: float = 0.0
    duration_s: float | None = None
    write_bag: Path | None = None
