"""The settings that decide the result of a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from custom_pose_ros.core.errors import ConfigError
from training.pose_training.data.augmentation import Augmentation
from training.pose_training.learning.engine import OptimiserSettings


@dataclass(frozen=True)
class RunSettings:
    """
    What decides the result of a run; kept in its checkpoints. What is not listed is as in training/train.py --help.

    Attributes:
        data: COCO files or folders to train on.
        weights: Share of the samples from each of `data`; empty for shares by number of images.
        validation: COCO files or folders to validate on.
        validation_share: Without `validation`, the share of the images that is set aside.
        augment: Name of the augmentation.
        object_size: Smallest and largest object extent as a share of the input height; None for that of the data.
        options: Of the architecture.
        crop: Side of the samples [px]; None for one that holds most objects.
        freeze: Keep the first layers of the initial weights as they are.
        start_from: 'auto', 'imagenet', 'none' or a file.
        minutes: Length of the run; one of minutes, epochs and steps is given.
        validate_every: Share of the run between validations.
        validation_limit: Images used in a validation at most.
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

    @property
    def initial_weights(self) -> str:
        """'imagenet', 'none' or a file: what 'auto' means is resolved."""
        if self.start_from != 'auto':
            return self.start_from
        return 'imagenet' if self.architecture == 'light' else 'none'

    def augmentation(self) -> Augmentation:
        """
        Return the augmentation with the sizes of the objects.

        Raises:
            ConfigError: The sizes are not two shares.
            ValueError: There is no such augmentation.
        """
        augmentation = Augmentation.named(self.augment)
        if self.object_size is None:
            return augmentation
        low, high = self.object_size
        if not 0 < low <= high:
            raise ConfigError(f'object size: wanted two shares 0 < MIN <= MAX, got {low:g} and {high:g}')
        return dataclasses.replace(augmentation, object_size=(low, high))
