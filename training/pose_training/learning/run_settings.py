"""The settings that decide the result of a training run, and the labelled images that they choose."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.data.augmentation import Augmentation
from training.pose_training.labels.coco import LabelledImage, read_dataset
from training.pose_training.labels.splitting import Split, seen_in_training, split_images, thumbnail_of
from training.pose_training.learning.engine import OptimiserSettings

_LEAST_CROP = 256
_MOST_COMPARED = 1000  # images whose contents are compared before a run; of more, as renderings are, only the names
_FAST_RATE, _POSITION_WEIGHT = 4e-3, 1.0  # measured, see docs/benchmarks.md
_CROP_MARGIN = 1.2  # room around the objects in a default crop


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
        rotation_deg: Largest turn of the samples to either side; None for that of the augmentation.
        options: Of the architecture.
        crop: Side of the samples [px]; None for one that holds most objects.
        freeze: Keep the first layers of the initial weights as they are.
        start_from: 'auto', 'imagenet', 'none' or a file.
        learning_rate: At its peak; None for the one that suits the data, see `optimiser`.
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
    rotation_deg: float | None = None
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
    learning_rate: float | None = None
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

    def optimiser(self) -> OptimiserSettings:
        """
        Return how the weights are learned.

        Most data are learned fast, and by the decoded positions too. Where many points are covered they are not: the
        network would learn where those lie to a fraction of a cell, and knew real photos less well.
        """
        chosen = OptimiserSettings()
        if self.augment != 'covered':
            chosen = dataclasses.replace(chosen, position_weight=_POSITION_WEIGHT)
            if self.initial_weights == 'imagenet':
                chosen = dataclasses.replace(chosen, learning_rate=_FAST_RATE)
        if self.learning_rate is not None:
            chosen = dataclasses.replace(chosen, learning_rate=self.learning_rate)
        return chosen

    def augmentation(self) -> Augmentation:
        """
        Return the augmentation with the sizes and turns of the objects.

        Raises:
            ConfigError: The sizes are not two shares.
            ValueError: There is no such augmentation.
        """
        augmentation = Augmentation.named(self.augment)
        if self.rotation_deg is not None:
            augmentation = dataclasses.replace(augmentation, rotation_deg=self.rotation_deg)
        if self.object_size is None:
            return augmentation
        low, high = self.object_size
        if not 0 < low <= high:
            raise ConfigError(f'object size: wanted two shares 0 < MIN <= MAX, got {low:g} and {high:g}')
        return dataclasses.replace(augmentation, object_size=(low, high))


def load_sources(settings: RunSettings, model: ObjectModel) -> tuple[list[list[LabelledImage]], list[LabelledImage]]:
    """
    Read the data sets; without validation sets, set a seeded share of each aside, by recordings.

    Returns:
        The images to train on, by data set, and at most `validation_limit` images to validate on.

    Raises:
        DatasetError: Labels cannot be used, no image is left to train on, or one is in both sets.
    """
    rng = np.random.default_rng(settings.seed)
    sources, validation = [], [i for name in settings.validation for i in read_dataset(name, model)]
    for name in settings.data:
        images = read_dataset(name, model)
        if not settings.validation:
            split = _split(images, settings)
            validation += [image for i, image in enumerate(images) if i in split.aside]
            images = [image for i, image in enumerate(images) if i not in split.aside | split.unused]
        if not images:
            raise DatasetError(f'{name}: no image is left to train on; lower --val-share')
        sources.append(images)
    trained_on = {image.path.resolve() for source in sources for image in source}
    both = [image.path for image in validation if image.path.resolve() in trained_on]
    if both:
        raise DatasetError(
            f'{both[0]}: is in the training and in the validation images ({len(both)} are); take it out of one'
        )
    chosen = [validation[i] for i in rng.permutation(len(validation))[: settings.validation_limit]]
    if settings.validation:
        _warn_of_copies([image for source in sources for image in source], chosen)
    return sources, chosen


def _warn_of_copies(training: Sequence[LabelledImage], validation: Sequence[LabelledImage]) -> None:
    """Say on stderr that images to validate on look like some that are trained on."""
    if len(training) > _MOST_COMPARED:
        return
    seen = seen_in_training(*([thumbnail_of(i.read()) for i in images] for images in (training, validation)))
    for own, other in sorted(seen.items())[:1]:
        say(
            f'warning: {len(seen)} of {len(validation)} images to validate on look like some that are trained on '
            f'({validation[own].path} like {training[other].path}): the error that is shown flatters'
        )


def _split(images: Sequence[LabelledImage], settings: RunSettings) -> Split:
    """Return which images to validate on, none of them a version of one that is trained on."""
    few = settings.validation_share > 0 and len(images) <= _MOST_COMPARED
    thumbnails = [thumbnail_of(image.read()) if few else None for image in images]
    return split_images([image.path for image in images], thumbnails, settings.validation_share, settings.seed)


def default_crop(sources: Iterable[Sequence[LabelledImage]], input_height: int) -> int:
    """Return the side [px] of a square that holds nine of ten objects as the network sees them; time grows with it."""
    sizes = [
        float(np.ptp(points[labelled], axis=0).max()) * input_height / image.height
        for source in sources
        for image in source
        for points, labelled in zip(image.keypoints, image.labelled)
        if labelled.any()
    ]
    wanted = math.ceil(_CROP_MARGIN * float(np.percentile(sizes, 90)) / SIZE_MULTIPLE) * SIZE_MULTIPLE if sizes else 0
    return min(input_height, max(wanted, _LEAST_CROP))
