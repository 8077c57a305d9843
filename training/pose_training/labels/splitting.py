"""The split of images into those to train on and those to validate on, in which nothing is on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from training.pose_training.labels.recordings import frames_of

THUMBNAIL = 16  # side [px]
# The brightness of different photos correlates by 0 in the median, of one chessboard on one table by 0.5. Nine
# of ten copies with another brightness, blur or noise, cut by 2 % or turned by 2 degrees, correlate by 0.93 and more.
_ALIKE = 0.1  # of what is usually missing to a correlation of 1 is missing between pictures that are the same
_FEW_IMAGES = 8  # of which nothing is usual
_BLOCK = 512  # images compared at a time

Thumbnail = np.ndarray | None


class KeptTogether(NamedTuple):
    """
    Images that belong together.

    Attributes:
        images: Their numbers.
        why: In words.
        side: 'train', 'val', or 'both' where they had to be divided.
    """

    images: list[int]
    why: str
    side: str


class Split(NamedTuple):
    """
    Which images are set aside.

    Attributes:
        aside: Numbers of the images to validate on.
        kept: What was kept together, and what was not.
        recordings: How many groups there are that have nothing in common.
        unused: Numbers of the images that are on neither side: frames before and after those to validate on, in the
            same recording, that look like the nearest of them.
    """

    aside: set[int]
    kept: list[KeptTogether]
    recordings: int
    unused: set[int]


def split_images(files: Sequence[Path], thumbnails: Sequence[Thumbnail], share: float, seed: int) -> Split:
    """
    Return images to validate on that are no versions of those to train on, as far as names and contents tell.

    With three recordings or more, whole recordings are set aside; with fewer, a run of consecutive photos of each, and
    its neighbours that look like its ends are not used at all.
    Where all pictures look alike, they are divided all the same, as far as names allow.

    Args:
        files: All images.
        thumbnails: Of each, see `thumbnail_of`; None where there is none.
        share: Of the images to validate on, in [0, 1).
        seed: Decides which.
    """
    frames = frames_of(files)
    photos = _Partition(len(files))
    photos.join_equal([frame.photo for frame in frames])
    scenes = photos.copy()
    same: dict[int, list[np.ndarray]] = {}
    for image, others in _alike(thumbnails):
        scenes.join(image, others)
        same.setdefault(image, []).append(others)
    recordings = scenes.copy()
    recordings.join_equal([frame.recording for frame in frames])
    order = sorted(range(len(files)), key=lambda i: (frames[i].recording, frames[i].position, str(files[i])))
    groups = recordings.groups(order)
    aside = _choose(groups, scenes.groups(order), photos.groups(order), share, np.random.default_rng(seed))
    kept = []
    for group in groups:
        names = {frames[i].recording for i in group}
        why = 'one recording by name' if len(names) == 1 else f'{len(names)} recordings with pictures that look alike'
        kept.append((group, why, len(set(scenes.of[group])) > 1))
    for scene in scenes.groups(order):
        versions = len(set(photos.of[scene])) == 1
        kept.append((scene, 'versions of one photo by name' if versions else 'look alike', len(scene) > 1))
    told = [KeptTogether(group, why, _side(group, aside)) for group, why, is_told in kept if is_told]
    return Split(aside, told, len(groups), _beside(groups, aside, same))


def thumbnail_of(image: np.ndarray) -> np.ndarray:
    """Return the (16, 16) float32 brightness of an image (H, W, 3) uint8 BGR, by which pictures are compared."""
    small = cv2.resize(image, (4 * THUMBNAIL, 4 * THUMBNAIL), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    return cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float32)


class _Partition:
    """Sets of images: `of` (N,) holds the same number for those in one set."""

    def __init__(self, count: int):
        self.of = np.arange(count)

    def copy(self) -> _Partition:
        other = _Partition(0)
        other.of = self.of.copy()
        return other

    def join(self, image: int, others: np.ndarray) -> None:
        """Join the sets of several images to that of one."""
        different = np.setdiff1d(self.of[others], self.of[image])
        if len(different):
            self.of[np.isin(self.of, different)] = self.of[image]

    def join_equal(self, keys: Sequence[str]) -> None:
        """Join the images that have the same key."""
        members: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            members.setdefault(key, []).append(i)
        for images in members.values():
            self.join(images[0], np.array(images))

    def groups(self, order: Sequence[int]) -> list[list[int]]:
        """Return the sets, and the images in them, in an order."""
        found: dict[int, list[int]] = {}
        for i in order:
            found.setdefault(int(self.of[i]), []).append(i)
        return list(found.values())


def seen_in_training(training: Sequence[Thumbnail], validation: Sequence[Thumbnail]) -> dict[int, int]:
    """Return which images to validate on look like one that is trained on, and like which."""
    found = {}
    for image, others in _alike([*training, *validation]):
        trained_on = others[others < len(training)]
        if image >= len(training) and len(trained_on):
            found[int(image) - len(training)] = int(trained_on[0])
    return found


def _alike(thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, np.ndarray]]:
    """
    Yield images with those that show the same, also when one is mirrored or turned by a quarter.

    What most images have in common, as the background of a fixed camera, makes none of them alike.
    """
    usable = [(i, small) for i, small in enumerate(thumbnails) if small is not None and np.ptp(small) > 0]
    if len(usable) < 2:
        return
    known, stack = np.array([i for i, _ in usable]), np.stack([small for _, small in usable])
    vectors = _normalised(stack)
    some = vectors[:: -(-len(vectors) // _BLOCK)]
    usual = float(np.median((some @ some.T)[np.triu_indices(len(some), 1)])) if len(known) >= _FEW_IMAGES else 0.0
    least = 1 - _ALIKE * (1 - max(usual, 0.0))
    for turned in map(_normalised, _turned(stack)):
        for start in range(0, len(known), _BLOCK):
            rows = slice(start, start + _BLOCK)
            same = vectors[rows] @ turned.T >= least
            for a in np.flatnonzero(same.any(1)):
                yield known[start + a], known[same[a]]


def _turned(stack: np.ndarray) -> list[np.ndarray]:
    """Return images (N, S, S) as they are, mirrored and turned by quarters."""
    flat = [np.rot90(stack, quarters, (1, 2)) for quarters in range(4)]
    return [*flat, *(turned.transpose(0, 2, 1) for turned in flat)]


def _normalised(stack: np.ndarray) -> np.ndarray:
    """Return (N, S * S) images of mean 0 and length 1, so that products are correlations."""
    flat = stack.reshape(len(stack), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _choose(
    groups: Sequence[Sequence[int]],
    scenes: Sequence[Sequence[int]],
    photos: Sequence[Sequence[int]],
    share: float,
    rng: np.random.Generator,
) -> set[int]:
    """Return the images of whole groups, or, where these are too few or too large, of runs of scenes or of photos."""
    aside: set[int] = set()
    wanted = share * sum(map(len, groups))
    if len(groups) >= 3:
        for i in rng.permutation(len(groups)):
            if len(aside) + len(groups[i]) / 2 <= wanted:
                aside.update(groups[i])
    if len(aside) >= wanted / 2 or round(wanted) == 0:
        return aside
    aside = set()
    divided = groups if max(round(share * len(group)) for group in groups) else [[i for group in groups for i in group]]
    for group in divided:
        count, inside = round(share * len(group)), set(group)
        for parts in (scenes, photos):  # photos only where all pictures look alike
            run = _run([part for part in parts if part[0] in inside], count, rng)
            if run:
                break
        aside.update(run)
    return aside


def _beside(groups: Sequence[Sequence[int]], aside: set[int], same: Mapping[int, Sequence[np.ndarray]]) -> set[int]:
    """Return what lies before and after the images set aside in groups, as far as it looks like the nearest of them."""
    unused: set[int] = set()
    for group in groups:
        inside = sum(i in aside for i in group)
        most = min(inside, (len(group) - inside) // 6)  # on each side
        for ordered in (group, group[::-1]):
            nearest, left = -1, 0
            for i in ordered:
                if i in aside:
                    nearest, left = i, most
                elif left and any(i in others for others in same.get(nearest, ())):
                    unused.add(i)
                    left -= 1
                else:
                    left = 0
    return unused


def _run(parts: Sequence[Sequence[int]], count: int, rng: np.random.Generator) -> list[int]:
    """Return a run of parts with `count` images as nearly as possible, at most two thirds of all; [] when none is."""
    sums = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    starts = np.tile(np.arange(len(parts)), 2)
    reached = np.searchsorted(sums, sums[: len(parts)] + count)
    ends = np.minimum(np.concatenate([reached, reached - 1]), len(parts))
    sizes = sums[ends] - sums[starts]
    missed = np.where((sizes > 0) & (sizes <= 2 / 3 * sums[-1]), np.abs(sizes - count), sums[-1])
    if count == 0 or missed.min() >= max(count, 2):
        return []
    best = rng.choice(np.flatnonzero(missed == missed.min()))
    return [i for part in parts[starts[best] : ends[best]] for i in part]


def split_table(split: Split, files: Sequence[Path], limit: int = 20) -> list[str]:
    """Return lines that say which images were kept together and why, and which were not; at most `limit` and one."""
    lines = []
    for images, why, side in split.kept[:limit]:
        names = f'{files[images[0]].name} {"... " * (len(images) > 2)}{files[images[-1]].name}'
        inside = sum(i in split.aside for i in images)
        divided = f', divided: validating on {inside} of them flatters if it is a video' if side == 'both' else ''
        lines.append(f'  {side:5}  {len(images)} images: {why}{divided} ({names})')
    if len(split.kept) > limit:
        lines.append(f'  ... and {len(split.kept) - limit} more')
    return lines


def _side(images: Sequence[int], aside: set[int]) -> str:
    inside = sum(i in aside for i in images)
    return 'val' if inside == len(images) else 'both' if inside else 'train'
