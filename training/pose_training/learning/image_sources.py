"""The labelled images of a training run: those to train on, those set aside to validate on, and the size of crops."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.coco import LabelledImage, read_dataset
from training.pose_training.learning.run_settings import RunSettings

_LEAST_CROP = 256
_CROP_MARGIN = 1.2  # room around the objects in a default crop


def load_sources(settings: RunSettings, model: ObjectModel) -> tuple[list[list[LabelledImage]], list[LabelledImage]]:
    """
    Read the data sets; without validation sets, set a seeded share of each aside.

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
            order = rng.permutation(len(images))
            aside = round(len(images) * settings.validation_share)
            validation += [images[i] for i in order[:aside]]
            images = [images[i] for i in order[aside:]]
        if not images:
            raise DatasetError(f'{name}: no image is left to train on; lower --val-share')
        sources.append(images)
    trained_on = {image.path.resolve() for source in sources for image in source}
    both = [image.path for image in validation if image.path.resolve() in trained_on]
    if both:
        raise DatasetError(
            f'{both[0]}: is in the training and in the validation images ({len(both)} are); take it out of one'
        )
    chosen = rng.permutation(len(validation))[: settings.validation_limit]
    return sources, [validation[i] for i in chosen]


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
