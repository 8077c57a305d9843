"""A contact sheet: a grid of labelled pictures to look at before training on them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from training.synthetic.scenes.annotation import HIDDEN, OUTSIDE

COLUMNS = 4
PICTURE_WIDTH = 400


def write_contact_sheet(labels: Path, images: Path, out: Path, count: int = 24) -> None:
    """Draw `count` pictures of a COCO file with keypoints (filled: seen, ring: hidden), skeleton and box."""
    content = json.loads(labels.read_text(encoding='utf-8'))
    chosen = content['images'][:: max(1, len(content['images']) // count)][:count]
    found: dict[int, list[dict[str, Any]]] = {}
    for item in content['annotations']:
        found.setdefault(item['image_id'], []).append(item)
    pictures = []
    for record in chosen:
        image = cv2.imread(str(images / record['file_name']))
        for item in found.get(record['id'], []):
            _draw(image, item, content['categories'][0]['skeleton'])
        height = round(PICTURE_WIDTH * image.shape[0] / image.shape[1])
        pictures.append(cv2.resize(image, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA))
    pictures += [np.zeros_like(pictures[0])] * (-len(pictures) % COLUMNS)
    rows = [np.hstack(pictures[i : i + COLUMNS]) for i in range(0, len(pictures), COLUMNS)]
    beside = out.with_name('.' + out.name)
    cv2.imwrite(str(beside), np.vstack(rows))
    os.replace(beside, out)


def _draw(image: np.ndarray, item: dict[str, Any], skeleton: list[list[int]]) -> None:
    keypoints = np.array(item['keypoints']).reshape(-1, 3)
    at = np.int32(np.round(keypoints[:, :2] * 16))
    for first, second in skeleton:
        if keypoints[first - 1, 2] and keypoints[second - 1, 2]:
            cv2.line(
                image,
                tuple(map(int, at[first - 1])),
                tuple(map(int, at[second - 1])),
                (255, 255, 255),
                1,
                cv2.LINE_AA,
                4,
            )
    x, y, width, height = (int(v) for v in item['bbox'])
    cv2.rectangle(image, (x, y), (x + width, y + height), (200, 200, 200), 1)
    for number, (position, flag) in enumerate(zip(at, keypoints[:, 2])):
        hue = np.uint8([[[180 * number // len(keypoints), 255, 255]]])
        color = tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0])
        if flag != OUTSIDE:
            cv2.circle(image, tuple(map(int, position)), 5 * 16, color, 2 if flag == HIDDEN else -1, cv2.LINE_AA, 4)
