"""Hand-made labels as truth: COCO keypoints for some frames of the bag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import DatasetError, UsageError
from custom_pose_ros.core.keypoints.tracking import mean_distances, nearest_pairs
from custom_pose_ros.core.labels.coco_file import read_object_labels
from custom_pose_ros.core.labels.placement import bring_inside, same_shape
from custom_pose_ros.core.labels.raw_labels import REFUSED, RawImage
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.frame_result import FrameResult

MATCH_RADIUS = 0.5  # an instance whose keypoints are off by more than this share of the label's size is another thing
_STAMP_DIGITS = 16  # a number in a file name with at least so many digits is a stamp [ns], a shorter one counts frames
_MIN_SIZE_PX = 16.0
_ROBOFLOW_SUFFIX = re.compile(r'_[a-z]+\.rf\.[0-9a-f]+$')  # frame_000120_png.rf.0a1b2c: its digits are no number


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

    Attributes:
        misfits: Images whose labels do not fit their frame, and why; they are not scored.
    """

    def __init__(self, path: str | Path, model: ObjectModel):
        self.path, self.model = Path(path), model
        self.misfits: list[str] = []
        self._images: dict[tuple[str, int], RawImage] = {}
        labels, entries = read_object_labels(self.path, model)
        for image, entry in zip(labels.images, entries):
            frame = self._frame_of(entry)
            if (other := self._images.setdefault(frame, image)) is not image:
                raise DatasetError(f'{self.path}: {other.name} and {image.name} belong to the same frame, {frame[1]}')

    @property
    def frames(self) -> int:
        return len(self._images)

    @property
    def note(self) -> str:
        """How file names were taken as numbers of frames; '' where none was."""
        numbered = [(index, image.name) for (kind, index), image in self._images.items() if kind == 'number']
        if not numbered:
            return ''
        return (
            f'{len(numbered)} labelled images are taken as the frames, counted from 0, whose number their file names '
            f'end with, as {numbered[0][1]} for frame {numbered[0][0]}: right only where they were cut from this bag'
        )

    def of(self, index: int, stamp_ns: int, width: int = 0, height: int = 0) -> list[np.ndarray] | None:
        """
        Return the labels of a frame.

        Args:
            index: Of the frame, from 0.
            stamp_ns: Of the frame.
            width: Of the frame [px], to which the labels are scaled; 0 where it is not known.
            height: Of the frame [px].

        Returns:
            (K, 2) [px] of each instance, NaN where not labelled; None for frames that nobody labelled as they are.

        Raises:
            UsageError: the image was found by its number, and is of another size: it may be of another recording.
        """
        image = self._images.get(('stamp', stamp_ns), self._images.get(('number', index)))
        if image is None:
            return None
        self.require_size(index, stamp_ns, width, height)
        points = [np.array(i.keypoints, float) for i in image.instances if i.keypoints is not None]
        if width and height and (misfit := self._fit(image, points, width, height)):
            self.misfits.append(f'{image.name}: {misfit}')
            return None
        return [np.where(p[:, 2:] > 0, p[:, :2], np.nan) for p in points]

    def require_size(self, index: int, stamp_ns: int, width: int, height: int) -> None:
        """Raise UsageError where the label of a frame, see `of`, was found by number and is of another size."""
        image = None if ('stamp', stamp_ns) in self._images else self._images.get(('number', index))
        if image and width and image.width and (image.width, image.height) != (width, height):
            raise UsageError(
                f'--truth-coco {self.path}: {image.name} has {image.width}x{image.height} px, and frame {index}, which '
                f'its name stands for, {width}x{height}: give labels of this bag, with stamp_ns where its frames were '
                'resized'
            )

    def _fit(self, image: RawImage, points: Sequence[np.ndarray], width: int, height: int) -> str:
        """Scale (K, 3) labels to the frame in place; return why that cannot be, '' when it can."""
        if image.width and image.height:
            if not same_shape((image.width, image.height), (width, height)):
                return f'labelled at {image.width} x {image.height} px, the frame has {width} x {height}'
            for each in points:
                each[:, :2] *= (width / image.width, height / image.height)
        said = [line for each in points for line in bring_inside(each, width, height, self.model.keypoint_names)]
        return next((text for kind, text in said if kind == REFUSED), '')

    def score(self, result: FrameResult, labels: Sequence[np.ndarray]) -> tuple[list[LabelScore], int]:
        """Match instances to labels, nearest first; returns a score for each label and the instances left over."""
        sizes = [max(float(np.linalg.norm(np.nanmax(p, 0) - np.nanmin(p, 0))), _MIN_SIZE_PX) for p in labels]
        found = result.keypoints[:, :, :2]
        pairs = nearest_pairs(mean_distances(labels, found, [MATCH_RADIUS * size for size in sizes]))
        scores = [LabelScore(np.full(self.model.keypoint_count, np.nan), size, False) for size in sizes]
        for i, j in pairs:
            scores[i] = LabelScore(np.linalg.norm(found[j] - labels[i], axis=1), sizes[i], True)
        return scores, len(found) - len(pairs)

    def _frame_of(self, image: Mapping[str, Any]) -> tuple[str, int]:
        if isinstance(image.get('stamp_ns'), int):
            return 'stamp', image['stamp_ns']
        digits = re.findall(r'\d+', _ROBOFLOW_SUFFIX.sub('', Path(str(image.get('file_name', ''))).stem))
        if not digits:
            raise DatasetError(
                f'{self.path}: image {image.get("id")}: wanted stamp_ns, or a file name with a frame number or stamp, '
                f'got {image.get("file_name")!r:.80}'
            )
        return ('stamp' if len(digits[-1]) >= _STAMP_DIGITS else 'number'), int(digits[-1])
