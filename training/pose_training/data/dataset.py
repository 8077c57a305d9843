"""Training samples: an infinite, seeded stream of augmented crops with their target maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from torch.utils.data import Dataset, Sampler

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.keypoints.preprocessing import STRIDE
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.data.augmentation import (
    Augmentation,
    Warp,
    halved,
    halvings,
    photometric,
    random_border,
    random_warp,
    warp_image,
    warp_of_halved,
)
from training.pose_training.labels.coco import LabelledImage
from training.pose_training.labels.pictures import read_picture

_LEVELS = 5  # an image and its halvings
_UNLABELLED_MARGIN = 0.15  # of the box: how far outside of it an unlabelled keypoint may be


class Ticket(NamedTuple):
    """Which image becomes which sample: source and image choose the picture, number seeds its random changes."""

    source: int
    image: int
    number: int


class Sample(NamedTuple):
    """
    One training sample of S x S pixels, or a batch of them with a leading dimension N. h = w = S / 8.

    image : (S, S, 3) uint8 BGR.
    heatmaps : (K + 1, h, w) float32. pafs : (2L, h, w) float32.
    heatmap_mask, paf_mask : the same shapes, 1 where the target is known, 0 where it is not.
    """

    image: np.ndarray
    heatmaps: np.ndarray
    pafs: np.ndarray
    heatmap_mask: np.ndarray
    paf_mask: np.ndarray


@dataclass(frozen=True)
class TargetSettings:
    """Width of the heatmap Gaussians [px of the network input] and half-width of the limbs [cells]."""

    sigma_px: float = 7.0
    limb_thickness: float = 1.0


class TrainingSet(Dataset):
    """
    Augmented samples by ticket.

    sources : one list of images for each data set that is mixed.
    input_height : height [px] that inference scales images to. crop : side of the samples [px].
    seed : together with the ticket's number it decides every random change, whatever process makes the sample.
    cache_bytes : decoded images are kept up to this size (in each worker process).
    """

    def __init__(
        self,
        sources: Sequence[Sequence[LabelledImage]],
        model: ObjectModel,
        input_height: int,
        crop: int,
        augmentation: Augmentation,
        targets: TargetSettings | None = None,
        seed: int = 0,
        cache_bytes: int = 512 * 2**20,
    ):
        self._sources = sources
        self._model = model
        self._input_height, self._crop = input_height, crop
        self._augmentation = augmentation
        self._targets = targets or TargetSettings()
        self._seed = seed
        self._cache: dict[tuple[int, int], list[np.ndarray]] = {}
        self._cache_left = cache_bytes

    def __getitem__(self, ticket: Ticket) -> Sample:
        labels = self._sources[ticket.source][ticket.image]
        rng = np.random.default_rng((self._seed, ticket.number))
        warp = self._warp(labels, rng)
        image = self._warped(ticket, labels, warp, rng)
        keypoints, labelled = transformed_keypoints(labels, warp, self._model.flip_order)
        inside = ((keypoints > -0.5) & (keypoints < self._crop - 0.5)).all(-1)
        visible = labelled & inside
        image = photometric(image, keypoints[visible], self._augmentation, rng)
        shape = (self._crop // STRIDE, self._crop // STRIDE)
        heatmaps = encode_heatmaps(keypoints, visible, shape, STRIDE, self._targets.sigma_px)
        pafs = encode_pafs(keypoints, visible, self._model.skeleton, shape, STRIDE, self._targets.limb_thickness)
        return Sample(image, heatmaps, pafs, *known_masks(labels, labelled, warp, shape, self._model))

    def _warp(self, labels: LabelledImage, rng: np.random.Generator) -> Warp:
        natural = self._input_height / labels.height
        if len(labels.keypoints):
            chosen = int(rng.integers(len(labels.keypoints)))
            points = labels.keypoints[chosen][labels.labelled[chosen]]
            centre = (points.min(0) + points.max(0)) / 2
            extent = float(np.ptp(points, axis=0).max()) if len(points) > 1 else 0.0
        else:
            centre = rng.uniform(0, (labels.width, labels.height))
            extent = 0.0
        return random_warp(centre, extent, natural, self._input_height, self._crop, self._augmentation, rng)

    def _warped(self, ticket: Ticket, labels: LabelledImage, warp: Warp, rng: np.random.Generator) -> np.ndarray:
        levels = self._levels(ticket, labels)
        level = min(halvings(warp), len(levels) - 1)
        return warp_image(levels[level], warp_of_halved(warp, levels[0], levels[level]), self._crop, random_border(rng))

    def _levels(self, ticket: Ticket, labels: LabelledImage) -> list[np.ndarray]:
        """Return the image and its reductions to a half, a quarter, ..., from the cache where they are kept."""
        key = (ticket.source, ticket.image)
        levels = self._cache.get(key)
        if levels is None:
            image = read_image(labels)
            levels = [halved(image, times) for times in range(_LEVELS)]
            size = sum(level.nbytes for level in levels)
            if size <= self._cache_left:
                self._cache[key] = levels
                self._cache_left -= size
        return levels


def read_image(labels: LabelledImage) -> np.ndarray:
    """Return the (H, W, 3) uint8 BGR image. Raises DatasetError when it is damaged or not of the labelled size."""
    image = read_picture(labels.path)
    if image is None:
        raise DatasetError(f'{labels.path}: cannot be read as an image; replace it or remove it from the labels')
    if image.shape[:2] != (labels.height, labels.width):
        raise DatasetError(
            f'{labels.path}: is {image.shape[1]} x {image.shape[0]} px, but its labels are for '
            f'{labels.width} x {labels.height}; let training/prepare_dataset.py repair them'
        )
    return image


def transformed_keypoints(labels: LabelledImage, warp: Warp, flip_order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (A, K, 2) in crop px and labelled (A, K); in a mirrored crop left and right change places."""
    keypoints, labelled = warp.points(labels.keypoints), labels.labelled
    return (keypoints[:, flip_order], labelled[:, flip_order]) if warp.mirrored else (keypoints, labelled)


def known_masks(
    labels: LabelledImage, labelled: np.ndarray, warp: Warp, shape: tuple[int, int], model: ObjectModel
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return where the targets are known: (K + 1, h, w) for heatmaps and (2L, h, w) for pafs, float32 of 0 and 1.

    Unknown are all maps in crowds, and the maps of an unlabelled keypoint in the box of its instance.
    labelled : (A, K) as in the crop.
    """
    heatmaps = np.ones((model.keypoint_count + 1, *shape), np.float32)
    pafs = np.ones((2 * model.limb_count, *shape), np.float32)
    for box in labels.crowds:
        inside = _warped_box(box, 0.0, warp, shape)
        heatmaps[:, inside] = 0
        pafs[:, inside] = 0
    for box, known in zip(labels.boxes, labelled):
        if known.all():
            continue
        inside = _warped_box(box, _UNLABELLED_MARGIN, warp, shape)
        heatmaps[[*np.flatnonzero(~known), model.keypoint_count]] *= ~inside
        limbs = [i for i, (a, b) in enumerate(model.skeleton) if not (known[a] and known[b])]
        pafs[[c for i in limbs for c in (2 * i, 2 * i + 1)]] *= ~inside
    return heatmaps, pafs


def _warped_box(box: np.ndarray, margin: float, warp: Warp, shape: tuple[int, int]) -> np.ndarray:
    """Return (h, w) bool: cells inside a box of source px, grown by a share of its size."""
    left, top, right, bottom = box
    dx, dy = margin * (right - left), margin * (bottom - top)
    corners = np.array([
        (left - dx, top - dy),
        (right + dx, top - dy),
        (right + dx, bottom + dy),
        (left - dx, bottom + dy),
    ])
    cells = (warp.points(corners) - (STRIDE - 1) / 2) / STRIDE
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(np.clip(cells, -1e4, 1e4)).astype(np.int32), 1)
    return mask.astype(bool)


class TicketBatches(Sampler):
    """
    Endless batches of tickets: each draw picks a source by weight, then that source's next image in shuffled order.

    Every image of a source is used once before any is used again. The stream depends on nothing but its arguments,
    so that a resumed training goes on with the batch that would have been next.

    sizes, weights : number of images and share of the samples of each source.
    first : number of batches that were already used.
    rank, world : with several processes, each gets its own part of the stream.
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
