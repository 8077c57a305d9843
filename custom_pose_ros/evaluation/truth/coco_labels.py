"""Hand-made labels as truth: COCO keypoints for some frames of the bag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_json
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.frame_result import FrameResult

MATCH_RADIUS = 0.5  # an instance whose keypoints are off by more than this share of the label's size is another thing
_STAMP_DIGITS = 16  # a number in a file name with at least so many digits is a stamp [ns], a shorter one counts frames
_MIN_SIZE_PX = 16.0


@dataclass(eq=False)
class LabelScore:
    """
    One labelled instance.

    Attributes:
        errors_px: (K,), NaN where not labelled or not found.
        size_px: Diagonal of the label.
        found: Whether an instance matches it.
    """

    errors_px: np.ndarray
    size_px: float
    found: bool


class CocoLabels:
    """
    Labelled frames of a bag.

    An image of the file belongs to the frame with its `stamp_ns` entry, else with the number in its file name: a stamp
    [ns] (16 digits or more, as in 1700000000123456789.png) or the number of the frame, from 0 (frame_000120.png).
    Raises DatasetError naming the file and the image or annotation id.
    """

    def __init__(self, path: str | Path, model: ObjectModel):
        self.path, self.model = Path(path), model
        data = read_json(self.path)
        if not isinstance(data, Mapping):
            raise DatasetError(f'{self.path}: wanted a COCO file with images, annotations and categories')
        self._order = self._keypoint_order(data.get('categories'))
        self._stamps: dict[int, list[np.ndarray]] = {}
        self._numbers: dict[int, list[np.ndarray]] = {}
        instances = self._instances(data.get('annotations'))
        for image in self._list(data, 'images'):
            kind, key = self._frame_of(image)
            (self._stamps if kind == 'stamp' else self._numbers)[key] = instances.get(image.get('id'), [])

    @property
    def frames(self) -> int:
        return len(self._stamps) + len(self._numbers)

    def of(self, index: int, stamp_ns: int) -> list[np.ndarray] | None:
        """Return the (K, 2) labels [px] of a frame, NaN where not labelled; None for frames that nobody looked at."""
        return self._stamps.get(stamp_ns, self._numbers.get(index))

    def score(self, result: FrameResult, labels: Sequence[np.ndarray]) -> tuple[list[LabelScore], int]:
        """Match instances to labels, nearest first; returns a score for each label and the instances left over."""
        sizes = [max(float(np.linalg.norm(np.nanmax(p, 0) - np.nanmin(p, 0))), _MIN_SIZE_PX) for p in labels]
        distances = []
        for i, label in enumerate(labels):
            for j, keypoints in enumerate(result.keypoints):
                errors = np.linalg.norm(keypoints[:, :2] - label, axis=1)
                if np.isfinite(errors).any() and np.nanmean(errors) < MATCH_RADIUS * sizes[i]:
                    distances.append((float(np.nanmean(errors)), i, j, errors))
        scores = [LabelScore(np.full(self.model.keypoint_count, np.nan), size, False) for size in sizes]
        used: set[int] = set()
        for _, i, j, errors in sorted(distances, key=lambda item: item[:3]):
            if not scores[i].found and j not in used:
                used.add(j)
                scores[i] = LabelScore(errors, sizes[i], True)
        return scores, len(result.keypoints) - len(used)

    def _list(self, data: Mapping, key: str) -> list[Any]:
        entries = data.get(key)
        if not isinstance(entries, list) or not entries or not all(isinstance(e, Mapping) for e in entries):
            raise DatasetError(f'{self.path}: {key}: wanted a list of objects, got {entries!r:.60}')
        return entries

    def _keypoint_order(self, categories: Any) -> list[int]:
        """Return for each keypoint of the object its place in the annotations."""
        names = list(self.model.keypoint_names)
        listed = [c.get('keypoints') for c in categories or [] if isinstance(c, Mapping) and c.get('keypoints')]
        if not listed:
            return list(range(len(names)))
        for given in listed:
            if set(names) <= set(given):
                return [given.index(name) for name in names]
        raise DatasetError(
            f'{self.path}: categories: wanted one with the keypoints {", ".join(names)}, got {listed[0]!r:.120}'
        )

    def _instances(self, annotations: Any) -> dict[Any, list[np.ndarray]]:
        found: dict[Any, list[np.ndarray]] = {}
        for annotation in annotations if isinstance(annotations, list) else []:
            values = annotation.get('keypoints') if isinstance(annotation, Mapping) else None
            if values is None:
                continue
            good = (
                isinstance(values, list) and all(isinstance(v, (int, float)) for v in values) and len(values) % 3 == 0
            )
            if not good or len(values) <= 3 * max(self._order):
                wanted = 3 * len(self._order)
                raise DatasetError(
                    f'{self.path}: annotation {annotation.get("id")}: keypoints: '
                    f'wanted {wanted} numbers, got {values!r:.60}'
                )
            rows = np.array(values, float).reshape(-1, 3)[self._order]
            if (rows[:, 2] > 0).any():
                found.setdefault(annotation.get('image_id'), []).append(np.where(rows[:, 2:] > 0, rows[:, :2], np.nan))
        return found

    def _frame_of(self, image: Mapping) -> tuple[str, int]:
        if isinstance(image.get('stamp_ns'), int):
            return 'stamp', image['stamp_ns']
        digits = re.findall(r'\d+', Path(str(image.get('file_name', ''))).stem)
        if not digits:
            raise DatasetError(
                f'{self.path}: image {image.get("id")}: wanted stamp_ns, or a file name with a frame number or stamp, '
                f'got {image.get("file_name")!r:.80}'
            )
        return ('stamp' if len(digits[-1]) >= _STAMP_DIGITS else 'number'), int(digits[-1])
