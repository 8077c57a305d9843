"""Which categories of a label file are the object: one of them, or several with the same keypoints as one object."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError, listed


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
        """
        if missing := [name for name in self.names if name not in keypoints]:
            wanted = ', '.join(map(repr, missing))
            raise DatasetError(f'{path}: wanted a category named {wanted}, the file has {listed(keypoints)}')
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
