"""Reading of label files in any known format."""

from __future__ import annotations

from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from training.pose_training.labels.coco import parse_json
from training.pose_training.labels.coco_export import read_coco_export
from training.pose_training.labels.deeplabcut import read_deeplabcut
from training.pose_training.labels.label_studio import read_label_studio
from training.pose_training.labels.raw_labels import RawLabels


def read_labels(path: Path, category: str | None = None) -> RawLabels:
    """
    Read a label file of coco-annotator, CVAT, Label Studio or DeepLabCut.

    Args:
        path: .json or .csv file.
        category: Name of the category to read; needed where a file has several with labelled keypoints.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    if path.suffix.lower() == '.csv':
        return read_deeplabcut(path)
    content = parse_json(path)
    if isinstance(content, list):
        return read_label_studio(path, content)
    if isinstance(content, dict):
        return read_coco_export(path, content, category)
    raise DatasetError(f'{path}: wanted COCO, a Label Studio export or a DeepLabCut .csv, got {type(content).__name__}')
