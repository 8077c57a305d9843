"""What a training run reads: images to train and to validate on, and the stream of batches that workers make."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE, STRIDE
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.data.dataset import Sample, TicketBatches, TrainingSet
from training.pose_training.labels.coco import LabelledImage, read_dataset
from training.pose_training.learning.settings import RunSettings

_LEAST_CROP = 256
_CROP_MARGIN = 1.2  # room around the objects in a default crop
_SHARED_BYTES = 40e6  # of shared memory for batches on their way: a docker container has 64 MB of it
_PREFETCH = 2  # batches that every worker is ahead


def load_sources(settings: RunSettings, model: ObjectModel) -> tuple[list[list[LabelledImage]], list[LabelledImage]]:
    """
    Read the data sets; without validation sets, set a seeded share of each aside.

    Returns the images to train on, by data set, and at most `validation_limit` images to validate on.
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


def stream_of_batches(
    dataset: TrainingSet, tickets: TicketBatches, workers: int, batch_bytes: float
) -> Iterator[Sample]:
    """
    Yield batches for ever, made by worker processes or, with none, in this one.

    batch_bytes : size of a batch, see `size_of_batch`; the workers run only so far ahead as shared memory allows.
    Raises DatasetError, in one line, for an image that cannot be read.
    """
    workers, prefetch = affordable_workers(workers, batch_bytes)
    loader = DataLoader(
        dataset, batch_sampler=tickets, num_workers=workers, prefetch_factor=prefetch, worker_init_fn=_start_worker
    )
    try:
        yield from loader
    except DatasetError as error:  # from a worker it comes with a traceback, whose last line is for the user
        name = f'{DatasetError.__module__}.{DatasetError.__qualname__}: '
        raise DatasetError(str(error).strip().splitlines()[-1].removeprefix(name)) from None


def size_of_batch(model: ObjectModel, batch: int, crop: int) -> int:
    """Return the bytes of a batch: images, and float32 maps with their masks."""
    maps = model.keypoint_count + 1 + 2 * model.limb_count
    return batch * (3 * crop**2 + 2 * 4 * maps * (crop // STRIDE) ** 2)


def affordable_workers(workers: int, batch_bytes: float) -> tuple[int, int | None]:
    """Return how many workers may run how many batches ahead, so that shared memory holds what is on its way."""
    for ahead in range(_PREFETCH, 0, -1):
        if (workers * ahead + 1) * batch_bytes <= _SHARED_BYTES:
            return workers, ahead if workers else None
    fewer = max(0, int(_SHARED_BYTES / batch_bytes) - 1)
    return fewer, 1 if fewer else None


def default_workers() -> int:
    """Return the number of processes that make samples: none on one or two cores, where the network needs them all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return 0 if cores <= 2 else min(4, cores // 2)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
