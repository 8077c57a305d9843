"""A tiny data set of coloured discs that a network can learn in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.object_model import ObjectModel

COLOURS = ((60, 220, 60), (60, 60, 220), (220, 120, 60))


@pytest.fixture(scope='session')
def dots() -> ObjectModel:
    """Three discs; the second and third change places in a mirror."""
    return ObjectModel.from_dict(
        {
            'name': 'dots',
            'keypoints': ['nose', 'left', 'right'],
            'skeleton': [['nose', 'left'], ['nose', 'right']],
            'swaps': [['left', 'right']],
            'input_height': 64,
        },
        'dots/object.yaml',
    )


@pytest.fixture
def dots_folder(tmp_path: Path, dots: ObjectModel) -> Path:
    """Folder with object.yaml, labels.json and eight images of 96 x 72 px."""
    folder = tmp_path / 'dots'
    (folder / 'images').mkdir(parents=True)
    (folder / 'object.yaml').write_text(json.dumps(dots.to_dict()), encoding='utf-8')  # JSON is YAML
    random = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(8):
        image = random.integers(90, 130, (72, 96, 3), np.uint8)
        nose = random.uniform((25, 20), (70, 50))
        points = nose + np.array([[0, 0], [-14, 12], [14, 12]])
        for point, colour in zip(points, COLOURS):
            cv2.circle(image, np.round(point * 16).astype(int).tolist(), 5 * 16, colour, -1, cv2.LINE_AA, 4)
        name = f'{i}.png'
        cv2.imwrite(str(folder / 'images' / name), image)
        images.append({'id': i + 1, 'file_name': name, 'width': 96, 'height': 72})
        keypoints = np.column_stack([points, [2, 2, 2]]).ravel().tolist()
        annotations.append({
            'id': i + 1,
            'image_id': i + 1,
            'category_id': 1,
            'keypoints': keypoints,
            'num_keypoints': 3,
            'iscrowd': 0,
        })
    content = {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'dots', 'keypoints': list(dots.keypoint_names), 'skeleton': [[1, 2], [1, 3]]}],
    }
    (folder / 'labels.json').write_text(json.dumps(content), encoding='utf-8')
    return folder
