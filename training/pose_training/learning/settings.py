"""What decides the result of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.pose_training.learning.engine import OptimiserSettings


@dataclass(frozen=True)
class RunSettings:
    """
    What decides the result of a run; kept in its checkpoints.

    data, weights, validation : COCO files or folders, and the share of the samples from each of `data`.
    start_from : 'auto', 'imagenet', 'none' or a file.
    minutes, epochs, steps : length of the run, one of them.
    crop : side of the samples [px]; None for one that holds most objects.
    freeze : keep the first layers of ImageNet's weights as they are.
    The rest is as on the command line of training/train.py.
    """

    data: list[str]
    weights: list[float] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    validation_share: float = 0.1
    augment: str = 'strong'
    object_size: list[float] | None = None
    architecture: str = 'light'
    options: dict[str, int] = field(default_factory=dict)
    input_height: int | None = None
    crop: int | None = None
    freeze: bool = True
    start_from: str = 'auto'
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    batch: int = 8
    learning_rate: float = OptimiserSettings.learning_rate
    precision: str = 'auto'
    seed: int = 0
    validate_every: float = 0.1
    validation_limit: int = 100
