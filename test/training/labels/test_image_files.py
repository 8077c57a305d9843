"""What a user has filmed: images, folders and videos, thinned out evenly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError, MediaError
from training.pose_training.labels.image_files import sample_images


@pytest.fixture
def folder(tmp_path) -> Path:
    """Four grey images in two folders, and a video of twelve frames, brighter from one to the next."""
    for i in range(4):
        path = tmp_path / 'photos' / ('a' if i < 2 else 'b') / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((32, 48, 3), 50 * i, np.uint8))
    writer = cv2.VideoWriter(str(tmp_path / 'dive.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()
    return tmp_path


def brightness(images: list[np.ndarray]) -> list[int]:
    return [round(float(image.mean())) for image in images]


def test_all_in_their_order(folder):
    images = sample_images([folder / 'photos', folder / 'dive.avi', folder / 'photos/b/3.png'], 100)
    assert brightness(images)[:4] == [0, 50, 100, 150]
    np.testing.assert_allclose(brightness(images)[4:16], np.arange(12) * 20, atol=3)  # MJPEG rounds
    assert len(images) == 16  # the image that was given twice counts once


def test_thinned_out_evenly(folder):
    assert brightness(sample_images([folder / 'photos'], 2)) == [0, 150]
    np.testing.assert_allclose(brightness(sample_images([folder / 'dive.avi'], 3)), [0, 120, 220], atol=3)


def test_what_cannot_be_read_is_named(folder):
    (folder / 'empty').mkdir()
    (folder / 'broken.png').write_bytes(b'PNG, it says')
    (folder / 'broken.mp4').write_bytes(b'video, it says')
    for name, message in {
        'empty': 'empty: no images found; give a folder with',
        'gone': 'gone: no such file or folder',
        'broken.png': r'broken\.png: is damaged or not an image',
        'broken.mp4': r'broken\.mp4: cannot be read as a video',
    }.items():
        with pytest.raises((DatasetError, MediaError), match=message):
            sample_images([folder / name], 10)
