"""From checked images to a data set on disk: split into training and validation, reduced, written as COCO."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.files import write_image, write_json
from custom_pose_ros.core.labels.coco_file import PROPOSED, coco_category, coco_points
from custom_pose_ros.core.labels.raw_labels import RawLabels
from custom_pose_ros.core.pictures import Picture, read_picture
from training.pose_training.labels.checking import CheckedImage


def write_dataset(folder: Path, images: Sequence[CheckedImage], labels: RawLabels) -> None:
    """
    Write images and labels.json in COCO form; file names stay unless two images share one.

    Raises:
        MediaError: An image can no longer be read.
        OutputError: A file cannot be written.
    """
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    doubles = {name for name, count in Counter(image.name for image in images).items() if count > 1}
    content_images, annotations = [], []
    for number, image in enumerate(images, 1):
        name = f'{number:05d}_{image.name}' if image.name in doubles else image.name
        _write_image(image, folder / 'images' / name)
        content_images.append({'id': number, 'file_name': name, 'width': image.width, 'height': image.height})
        for i, (points, (left, top, right, bottom)) in enumerate(zip(image.keypoints, image.boxes)):
            annotations.append({
                'id': len(annotations) + 1,
                'image_id': number,
                'category_id': 1,
                'iscrowd': int(points is None),
                'keypoints': [] if points is None else coco_points(points),
                'num_keypoints': 0 if points is None else int((points[:, 2] > 0).sum()),
                'bbox': [round(v, 3) for v in (left, top, right - left, bottom - top)],
                'area': round((right - left) * (bottom - top), 3),
                **({PROPOSED: True} if i in image.proposed else {}),
            })
    category = coco_category(labels.category, labels.keypoint_names, labels.skeleton)
    content = {'images': content_images, 'annotations': annotations, 'categories': [category]}
    write_json(folder / 'labels.json', content, indent=None)


def load_pixels(image: CheckedImage) -> np.ndarray:
    """
    Return the (H, W, 3) uint8 BGR image as it is written.

    Raises:
        MediaError: The source can no longer be read.
    """
    return _pixels(image, read_picture(image.source))


def _pixels(image: CheckedImage, picture: Picture) -> np.ndarray:
    pixels = picture.upright if image.upright else picture.stored
    return pixels if image.scale == 1 else cv2.resize(pixels, (image.width, image.height), interpolation=cv2.INTER_AREA)


def _write_image(image: CheckedImage, path: Path) -> None:
    picture = read_picture(image.source)
    if image.scale == 1 and picture.orientation == 1:
        shutil.copyfile(image.source, path)
    else:
        write_image(path, _pixels(image, picture))


def statistics(images: Sequence[CheckedImage], labels: RawLabels) -> dict[str, Any]:
    """Return counts and sizes for statistics.json and the closing lines."""
    instances = [points for image in images for points in image.instances]
    labelled = [int(sum(points[k, 2] > 0 for points in instances)) for k in range(len(labels.keypoint_names))]
    sizes = [size for image in images for size in image.object_sizes]
    percentiles = {'min': 0, 'median': 50, 'max': 100} if sizes else {}
    return {
        'images': len(images),
        'images_without_object': sum(not image.keypoints for image in images),
        'instances': len(instances),
        'labelled_by_keypoint': dict(zip(labels.keypoint_names, labelled)),
        'object_size_share_of_height': {name: float(np.percentile(sizes, q)) for name, q in percentiles.items()},
    }
