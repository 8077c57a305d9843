"""Batches of training samples: in which order images are used, and how many worker processes make them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.keypoints.preprocessing import STRIDE
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.data.training_set import Ticket, TrainingSample, TrainingSet

_SHARED_BYTES = 40e6  # of shared memory for batches on their way: a docker container has 64 MB of it
_PREFETCH = 2  # batches that every worker is ahead


class TicketBatches(Sampler):
    """
    Endless batches of tickets: each draw picks a source by weight, then that source's next image in shuffled order.

    Every image of a source is used once before any is used again. The stream depends on nothing but its arguments,
    so that a resumed training continues with the batch that would have been next.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float],
        batch: int,
        seed: int = 0,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        """
        Define the stream.

        Args:
            sizes: Number of images of each source.
            weights: Share of the samples from each source.
            batch: Samples in a batch.
            seed: Decides the order.
            first: Number of batches that were already used.
            rank: Of several processes, the number of this one, which gets its own part of the stream.
            world: Number of processes.

        Raises:
            ValueError: The weights are not one number >= 0 for each source with a positive sum.
        """
        if len(sizes) != len(weights) or min(weights) < 0 or not sum(weights) > 0:
            raise ValueError(f'weights must be {len(sizes)} numbers >= 0 with a positive sum, got {list(weights)}')
        self._sizes, self._batch, self._seed, self._first = list(sizes), batch, seed, first
        self._rank, self._world = rank, world
        self._limits = np.cumsum(np.asarray(weights, float)) / sum(weights)

    def __iter__(self) -> Iterator[list[Ticket]]:
        stream = self._stream()
        step = self._batch * self._world
        for number, batch in enumerate(iter(lambda: [next(stream) for _ in range(step)], None)):
            if number >= self._first:
                yield batch[self._rank :: self._world]

    def _stream(self) -> Iterator[Ticket]:
        rng = np.random.default_rng((self._seed, 0x5EED))
        waiting: list[list[int]] = [[] for _ in self._sizes]
        number = 0
        while True:
            source = min(int(np.searchsorted(self._limits, rng.random(), side='right')), len(self._sizes) - 1)
            if not waiting[source]:
                waiting[source] = rng.permutation(self._sizes[source]).tolist()
            yield Ticket(source, waiting[source].pop(), number)
            number += 1


def stream_of_batches(
    dataset: TrainingSet, tickets: TicketBatches, workers: int, batch_bytes: float
) -> Iterator[TrainingSample]:
    """
    Yield batches for ever, made by worker processes or, with none, in this one.

    Args:
        dataset: Makes the samples.
        tickets: Decide which.
        workers: Number of worker processes; they run only so far ahead as shared memory allows.
        batch_bytes: Size of a batch, see `size_of_batch`.

    Raises:
        DatasetError: An image does not fit its labels.
        MediaError: It cannot be read.
    """
    workers, prefetch = affordable_workers(workers, batch_bytes)
    loader = DataLoader(
        dataset, batch_sampler=tickets, num_workers=workers, prefetch_factor=prefetch, worker_init_fn=_start_worker
    )
    try:
        yield from loader
    except (DatasetError, MediaError) as error:  # from a worker with a traceback, whose last line is for the user
        kind = type(error)
        name = f'{kind.__module__}.{kind.__qualname__}: '
        raise kind(str(error.args[0]).strip().splitlines()[-1].removeprefix(name)) from None


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
