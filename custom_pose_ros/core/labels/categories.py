"""Which categories of a label file are the object, one or several with the same keypoints, and which limbs it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import DatasetError, UsageError, listed
from custom_pose_ros.core.keypoint_names import find_sides
from custom_pose_ros.core.labels.raw_labels import is_number


@dataclass(frozen=True)
class CategoryChoice:
    """
    What the user says about categories.

    Attributes:
        names: Those to read; empty for the only one with labelled keypoints.
        merge: Read all that are labelled.
    """

    names: tuple[str, ...] = ()
    merge: bool = False

    def of(self, path: Path, keypoints: Mapping[str, Sequence[str]], used: Collection[str]) -> list[str]:
        """
        Return the categories to read.

        Args:
            path: The label file, for messages.
            keypoints: Keypoint names by category.
            used: Categories with labelled objects.

        Raises:
            DatasetError: It is not clear which ones are meant, or they have different keypoints.
            UsageError: The file has no category of a name.
        """
        if missing := [name for name in self.names if name not in keypoints]:
            wanted = ', '.join(map(repr, missing))
            raise UsageError(f'{path}: wanted a category named {wanted}, the file has {listed(keypoints)}')
        labelled = [name for name in keypoints if name in used]
        chosen = list(dict.fromkeys(self.names)) or (list(keypoints) if len(keypoints) == 1 else labelled)
        if not chosen:
            raise DatasetError(f'{path}: no object of {listed(keypoints)} has labelled keypoints')
        if len(chosen) > 1 and not self.names and not self.merge:
            alike = len({tuple(keypoints[name]) for name in chosen}) == 1
            way = ', or read them as one object with --merge-categories: they have the same keypoints' if alike else ''
            text = f'has several categories with keypoints ({listed(chosen)}); choose one with --category{way}'
            raise DatasetError(f'{path}: {text}')
        for name in chosen[1:]:
            if list(keypoints[name]) != list(keypoints[chosen[0]]):
                raise DatasetError(
                    f'{path}: categories with different keypoints cannot be one object: '
                    f'{chosen[0]} has {listed(keypoints[chosen[0]])}, {name} has {listed(keypoints[name])}'
                )
        return chosen


THE_ONLY_ONE = CategoryChoice()


def object_name(chosen: Sequence[str]) -> str:
    """Return the name of the object that these categories are."""
    return chosen[0] if len(chosen) == 1 else 'object'


def read_skeleton(stated: Any, names: Sequence[str]) -> tuple[list[tuple[int, int]], str]:
    """
    Return limbs as pairs of indices from 0, and what a person should know about how they were read ('' for nothing).

    COCO counts from 1, but an index 0 proves that a file counts from 0. Where both are possible, it counts from 0
    if only then the limbs of the left side are those of the right. Numbers that fit neither belong to another list of
    keypoints: none of the limbs is used.

    Args:
        stated: What the file says: pairs of numbers, or of names.
        names: The K keypoints.
    """
    if not stated:
        return [], ''
    number = {name: k for k, name in enumerate(names, 1)}
    pairs = stated if isinstance(stated, list) else [stated]
    limbs = [_limb(pair, number) for pair in pairs]
    wrong = [pair for pair, limb in zip(pairs, limbs) if limb is None]
    if wrong:
        return [], f'the skeleton is not used: {str(wrong[0])[:60]} is not a pair of keypoints'
    read = [limb for limb in limbs if limb is not None]
    ends = {end for limb in read for end in limb}
    text, start = '', 1
    if min(ends) == 0:
        text, start = 'the skeleton counts from 0, not from 1 as COCO does: read so', 0
    if min(ends) < 0 or max(ends) >= len(names) + start:
        return [], f'the skeleton is not used: it joins keypoints {min(ends)} to {max(ends)} of {len(names)}'
    numbered = not any(isinstance(end, str) for pair in pairs for end in pair)
    if start == 1 and numbered and max(ends) < len(names) and _alike(read, 0, names) and not _alike(read, 1, names):
        text, start = 'the skeleton counts from 0: only then both sides have the same limbs; read so, check it', 0
    different = {frozenset(limb): limb for limb in reversed(read) if limb[0] != limb[1]}
    return [(a - start, b - start) for a, b in reversed(different.values())], text


def _limb(pair: Any, number: Mapping[str, int]) -> tuple[int, int] | None:
    """Return the two numbers of a pair, of its names where it has those; None when it is something else."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        return None
    a, b = (number.get(end) if isinstance(end, str) else end for end in pair)
    return (int(a), int(b)) if is_number(a) and is_number(b) and a == int(a) and b == int(b) else None


def _alike(limbs: Sequence[tuple[int, int]], start: int, names: Sequence[str]) -> bool:
    """Tell whether every limb, counted from `start`, has its mirror image, and some of them are not their own."""
    other = {k: k for k in range(len(names))}
    for a, b in find_sides(names).pairs:
        other[a], other[b] = b, a
    counted = {frozenset((a - start, b - start)) for a, b in limbs}
    mirrored = {frozenset(other[k] for k in limb) for limb in counted}
    return mirrored == counted and any(other[k] != k for limb in counted for k in limb)
