"""Training samples: an augmented crop of a labelled image, its target maps, and masks of what the labels know."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from torch.utils.data import Dataset

from custom_pose_ros.core.keypoints.heatmaps import encode_heatmaps
from custom_pose_ros.core.keypoints.pafs import encode_pafs
from custom_pose_ros.core.keypoints.preprocessing import STRIDE
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.data.augmentation import (
    Augmentation,
    Warp,
    halved,
    halvings,
    random_border,
    random_warp,
    warp_image,
    warp_of_halved,
)
from training.pose_training.data.photometric import photometric
from training.pose_training.labels.coco import LabelledImage

SIGMA_PX = 7.0  # width of the heatmap Gaussians, in the network input
LIMB_THICKNESS = 1.0  # half-width of the limbs in the part affinity fields, in cells
HIDDEN_WEIGHT = 0.2  # of a hidden keypoint's peak: as of background, without losses.HEATMAP_PEAK_WEIGHT
ABSENT_WEIGHT = 5.0  # of an absent keypoint in the box of its instance: as of a seen one's peak, with that weight
_LEVELS = 5  # an image and its halvings
_BOX_MARGIN = 0.15  # of the box: how far outside of it an unknown or absent keypoint may be


class Ticket(NamedTuple):
    """
    Which image becomes which sample.

    Attributes:
        source: Number of the data set.
        image: Number of the image in it.
        number: Of the sample; seeds its random changes.
    """

    source: int
    image: int
    number: int


class TrainingSample(NamedTuple):
    """
    One training sample of S x S pixels, or a batch of them with a leading dimension N; h = w = S / 8.

    Attributes:
        image: (S, S, 3) uint8 BGR.
        heatmaps: (K + 1, h, w) float32, the last is background.
        pafs: (2L, h, w) float32.
        heatmap_mask: (K + 1, h, w) float32 weights; 0 where the target is not known, 1 where nothing else is known.
        paf_mask: (2L, h, w) float32, 0 or 1.
    """

    image: np.ndarray
    heatmaps: np.ndarray
    pafs: np.ndarray
    heatmap_mask: np.ndarray
    paf_mask: np.ndarray


class TrainingSet(Dataset):
    """Augmented samples by ticket."""

    def __init__(
        self,
        sources: Sequence[Sequence[LabelledImage]],
        model: ObjectModel,
        input_height: int,
        crop: int,
        augmentation: Augmentation,
        seed: int = 0,
        cache_bytes: int = 512 * 2**20,
    ):
        """
        Keep the images to draw from.

        Args:
            sources: One list of images for each data set that is mixed.
            model: The object.
            input_height: Height [px] that inference scales images to.
            crop: Side of the samples [px].
            augmentation: Strength of the random changes; nothing is mirrored where the object says so.
            seed: With the ticket's number it decides every random change, whatever process makes the sample.
            cache_bytes: Decoded images are kept up to this size, in each worker process.
        """
        self._sources = sources
        self._model = model
        self._input_height, self._crop = input_height, crop
        self._augmentation = augmentation if model.mirroring[0] else dataclasses.replace(augmentation, p_flip=0.0)
        self._seed = seed
        self._cache: dict[tuple[int, int], list[np.ndarray]] = {}
        self._cache_left = cache_bytes

    def __getitem__(self, ticket: Ticket) -> TrainingSample:
        labels = self._sources[ticket.source][ticket.image]
        rng = np.random.default_rng((self._seed, ticket.number))
        warp = self._warp(labels, rng)
        levels = self._levels(ticket, labels)
        level = min(halvings(warp), len(levels) - 1)
        reduced = warp_of_halved(warp, levels[0], levels[level])
        image = warp_image(levels[level], reduced, self._crop, random_border(rng))
        keypoints, states = transformed_keypoints(labels, warp, self._model.flip_order)
        inside = ((keypoints > -0.5) & (keypoints < self._crop - 0.5)).all(-1)
        drawn = inside & (states >= HIDDEN)
        image = photometric(image, keypoints[inside & (states > HIDDEN)], self._augmentation, rng)
        shape = (self._crop // STRIDE, self._crop // STRIDE)
        heatmaps = encode_heatmaps(keypoints, drawn, shape, STRIDE, SIGMA_PX)
        pafs = encode_pafs(keypoints, drawn, self._model.skeleton, shape, STRIDE, LIMB_THICKNESS)
        heatmap_mask, paf_mask = known_masks(labels, states != UNKNOWN, warp, shape, self._model)
        weighed = np.where(inside | (states == ABSENT), states, UNKNOWN)
        heatmap_mask[:-1] *= state_weights(labels, keypoints, weighed, warp, heatmaps[:-1])
        return TrainingSample(image, heatmaps, pafs, heatmap_mask, paf_mask)

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

    def _levels(self, ticket: Ticket, labels: LabelledImage) -> list[np.ndarray]:
        """Return the image and its reductions to a half, a quarter, ..., from the cache where they are kept."""
        key = (ticket.source, ticket.image)
        levels = self._cache.get(key)
        if levels is None:
            image = labels.read()
            levels = [halved(image, times) for times in range(_LEVELS)]
            size = sum(level.nbytes for level in levels)
            if size <= self._cache_left:
                self._cache[key] = levels
                self._cache_left -= size
        return levels


def transformed_keypoints(labels: LabelledImage, warp: Warp, flip_order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (A, K, 2) in crop px and states (A, K); in a mirrored crop left and right change places."""
    keypoints, states = warp.points(labels.keypoints), labels.states
    return (keypoints[:, flip_order], states[:, flip_order]) if warp.mirrored else (keypoints, states)


def known_masks(
    labels: LabelledImage, known: np.ndarray, warp: Warp, shape: tuple[int, int], model: ObjectModel
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return where the targets are known.

    Unknown are all maps in crowds, and the maps of an unknown keypoint in the box of its instance.

    Args:
        labels: Labels of the source image.
        known: (A, K) bool, whether anything is known of the keypoint, in the order of the crop.
        warp: From the source image to the crop.
        shape: (h, w) of the maps.
        model: The object.

    Returns:
        (K + 1, h, w) for heatmaps and (2L, h, w) for pafs, float32 of 0 and 1.
    """
    heatmaps = np.ones((model.keypoint_count + 1, *shape), np.float32)
    pafs = np.ones((2 * model.limb_count, *shape), np.float32)
    for box in labels.crowds:
        inside = _warped_box(box, 0.0, warp, shape)
        heatmaps[:, inside] = 0
        pafs[:, inside] = 0
    for box, is_known in zip(labels.boxes, known):
        if is_known.all():
            continue
        inside = _warped_box(box, _BOX_MARGIN, warp, shape)
        heatmaps[[*np.flatnonzero(~is_known), model.keypoint_count]] *= ~inside
        limbs = [i for i, (a, b) in enumerate(model.skeleton) if not (is_known[a] and is_known[b])]
        pafs[[c for i in limbs for c in (2 * i, 2 * i + 1)]] *= ~inside
    return heatmaps, pafs


def state_weights(
    labels: LabelledImage, keypoints: np.ndarray, states: np.ndarray, warp: Warp, heatmaps: np.ndarray
) -> np.ndarray:
    """
    Return how much each cell counts by what is known of the keypoints.

    The peak of a hidden keypoint counts less. An absent one counts as much as if it were seen, wherever it could be:
    where both are equally likely the network then answers 0.5, and not the 0.83 to which a seen peak's weight pulls.

    Args:
        labels: Labels of the source image, with A boxes.
        keypoints: (A, K, 2) in crop px.
        states: (A, K), in the order of the crop.
        warp: From the source image to the crop.
        heatmaps: (K, h, w) targets.

    Returns:
        (K, h, w) float32.
    """
    weights = np.ones_like(heatmaps)
    hidden, absent = states == HIDDEN, states == ABSENT
    if hidden.any():
        weights -= (1 - HIDDEN_WEIGHT) * encode_heatmaps(keypoints, hidden, heatmaps.shape[1:], STRIDE, SIGMA_PX)[:-1]
    for k in np.flatnonzero(absent.any(0)):
        boxes = [_warped_box(box, _BOX_MARGIN, warp, heatmaps.shape[1:]) for box in labels.boxes[absent[:, k]]]
        weights[k] += (ABSENT_WEIGHT - 1) * np.any(boxes, 0) * (1 - heatmaps[k])
    return weights


def _warped_box(box: np.ndarray, margin: float, warp: Warp, shape: tuple[int, int]) -> np.ndarray:
    """Return (h, w) bool: cells inside a box of source px, grown by a share of its size."""
    left, top, right, bottom = box
    grow = margin * np.array([right - left, bottom - top])
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    corners += grow * [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    cells = (warp.points(corners) - (STRIDE - 1) / 2) / STRIDE
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(np.clip(cells, -1e4, 1e4)).astype(np.int32), 1)
    return mask.astype(bool)
