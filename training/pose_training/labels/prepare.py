"""From labels as people have them to a data set to train on: find, check, repair, resize, split, write, show."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from custom_pose_ros.core.errors import DatasetError
from training.pose_training.labels.coco import write_json
from training.pose_training.labels.image_index import ImageIndex
from training.pose_training.labels.label_set import NOTE, REFUSED, REPAIRED, RawImage, RawInstance, RawLabels
from training.pose_training.labels.pictures import read_picture

_BORDER_TOLERANCE = 0.01  # of the image's size: a point so little outside was meant to be on the border
_JPEG_QUALITY = 95


@dataclass
class ReadyImage:
    """
    One checked image. Labels are in its pixels as they will be written.

    source : the file it comes from. keypoints : for each instance (K, 3) x, y, visibility; None for an ignored box.
    boxes : left, top, right, bottom of each instance. scale : of the written to the source image.
    upright : False when the labels were made without the camera's rotation note.
    """

    source: Path
    name: str
    width: int
    height: int
    keypoints: list[np.ndarray | None] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scale: float = 1.0
    upright: bool = True

    @property
    def recording(self) -> str:
        """Folder and name without the frame number: images of one recording resemble each other."""
        return f'{self.source.parent}/{re.sub(r"[0-9]+$", "", self.source.stem)}'


def check(labels: RawLabels, index: ImageIndex, max_side: int) -> list[ReadyImage]:
    """
    Check every image and annotation; note problems in `labels`; return the images that are sound.

    An image with a refused annotation is left out whole: an object without its label would be learned as background.
    """
    refused = {p.image for p in labels.problems if p.kind == REFUSED and p.image}
    ready = []
    for image in tqdm(labels.images, desc='check', unit='image', leave=False, disable=None):
        checked = _check_image(labels, image, index, max_side)
        if checked is not None and image.name not in refused:
            ready.append(checked)
    ready = _without_duplicates(labels, ready)
    empty = [image.name for image in ready if not image.keypoints]
    if 0 < len(empty) < len(ready):
        text = f'{len(empty)} images without annotation ({empty[0]}{", ..." * (len(empty) > 1)}) are trained on as '
        labels.add(NOTE, '', '', text + 'pictures without the object; --labelled-only leaves them out')
    if not any(k is not None for image in ready for k in image.keypoints):
        if not any(p.kind == REFUSED for p in labels.problems):
            labels.add(REFUSED, '', '', 'nothing is labelled: there is no image with an annotation')
    return ready


def _check_image(labels: RawLabels, image: RawImage, index: ImageIndex, max_side: int) -> ReadyImage | None:
    files = index.find(image.name)
    if len(files) != 1:
        missing = f'no such file in {index}: give the folder that holds it with --images'
        labels.add(REFUSED, image.name, '', f'{len(files)} files match: {files[0]}, {files[1]}' if files else missing)
        return None
    if files[0].parts[-1] != image.name and image.name.startswith('/'):
        labels.add(NOTE, image.name, '', f'container path resolved to {files[0]}')
    pixels, raw = read_picture(files[0]), read_picture(files[0], obey_exif=False)
    if pixels is None or raw is None:
        labels.add(REFUSED, image.name, '', 'cannot be read as an image')
        return None
    placed = _place(labels, image, pixels, raw)
    if placed is None:
        return None
    width, height, per_axis, upright = placed
    scale = min(1.0, max_side / max(width, height))
    ready = ReadyImage(
        files[0], files[0].name, max(1, round(width * scale)), max(1, round(height * scale)),
        scale=scale, upright=upright,
    )  # fmt: skip
    sound = True
    for instance in image.instances:
        sound &= _add_instance(labels, image, instance, ready, per_axis, (width, height))
    return ready if sound else None


def _place(
    labels: RawLabels, image: RawImage, pixels: np.ndarray, raw: np.ndarray
) -> tuple[int, int, tuple[float, float], bool] | None:
    """Return width and height, the factor from label to image pixels for each axis, and whether EXIF is obeyed."""
    height, width = pixels.shape[:2]
    if image.relative:
        return width, height, (width, height), True
    stated = (image.width, image.height)
    if 0 in stated or stated == (width, height):
        if raw.shape == pixels.shape and (raw != pixels).any():
            labels.add(NOTE, image.name, '', 'is turned by its EXIF note: see on the contact sheet that the labels fit')
        return width, height, (1.0, 1.0), True
    if raw.shape[:2] != (height, width) and stated == (raw.shape[1], raw.shape[0]):
        labels.add(REPAIRED, image.name, '', 'labelled without its EXIF rotation: written as it was labelled')
        return raw.shape[1], raw.shape[0], (1.0, 1.0), False
    factors = (width / image.width, height / image.height)
    if abs(image.width * height - image.height * width) <= max(image.width, image.height, width, height):
        labels.add(
            REPAIRED, image.name, '', f'labelled at {stated[0]} x {stated[1]}, is {width} x {height}: labels scaled'
        )
        return width, height, factors, True
    labels.add(REFUSED, image.name, '', f'labels are for {stated[0]} x {stated[1]} px, the file has {width} x {height}')
    return None


def _add_instance(
    labels: RawLabels,
    image: RawImage,
    instance: RawInstance,
    ready: ReadyImage,
    per_axis: tuple[float, float],
    size: tuple[int, int],
) -> bool:
    """Add an instance in pixels of the written image; return False when it is refused."""
    box = None
    if instance.box is not None:
        left, top, width, height = instance.box
        box = np.array([left, top, left + width, top + height]) * np.tile(per_axis, 2)
    if instance.keypoints is None:
        assert box is not None
        _add_ignored(ready, box)
        return True
    points = np.array(instance.keypoints, float)
    # Shares of the image count from its corner, pixels from the centre of the first one.
    points[:, :2] = points[:, :2] * per_axis - (0.5 if image.relative else 0.0)
    labelled = points[:, 2] > 0
    if not _bring_inside(labels, image, instance, points, size):
        return False
    if not labelled.any():
        labels.add(NOTE, image.name, instance.annotation_id, 'no keypoint is labelled: its box will be ignored')
        if box is None:
            labels.add(REFUSED, image.name, instance.annotation_id, 'has neither keypoints nor a box')
            return False
        _add_ignored(ready, box)
        return True
    if labelled.sum() > 1 and len(np.unique(points[labelled, :2].round(1), axis=0)) < labelled.sum():
        labels.add(NOTE, image.name, instance.annotation_id, 'two keypoints lie on each other: look at it')
    points[~labelled] = 0
    corners = points[labelled, :2] if box is None else np.vstack([points[labelled, :2], box.reshape(2, 2)])
    # Pixel centres lie at whole numbers: scaling keeps the image's corner (-0.5, -0.5) in place.
    points[labelled, :2] = (points[labelled, :2] + 0.5) * ready.scale - 0.5
    ready.keypoints.append(points)
    ready.boxes.append(tuple((np.concatenate([corners.min(0), corners.max(0)]) * ready.scale).tolist()))
    return True


def _add_ignored(ready: ReadyImage, box: np.ndarray) -> None:
    ready.keypoints.append(None)
    ready.boxes.append(tuple((box * ready.scale).tolist()))


def _bring_inside(
    labels: RawLabels, image: RawImage, instance: RawInstance, points: np.ndarray, size: tuple[int, int]
) -> bool:
    """Move points (K, 3) that lie just outside of the image onto its border; return False when one lies far outside."""
    labelled = points[:, 2] > 0
    outside = np.maximum(-points[:, :2], points[:, :2] - (np.array(size) - 1)).max(1)
    far = labelled & (outside > np.maximum(1.0, _BORDER_TOLERANCE * max(size)))
    for k in np.flatnonzero(far):
        x, y = points[k, :2]
        text = f'{labels.keypoint_names[k]} at ({x:.0f}, {y:.0f}) lies outside of the image of {size[0]} x {size[1]} px'
        labels.add(REFUSED, image.name, instance.annotation_id, text)
    near = labelled & (outside > 0) & ~far
    points[near, :2] = np.clip(points[near, :2], 0, np.array(size) - 1)
    # Half a pixel is the difference between corners and centres of pixels, no fault.
    if (moved := (near & (outside > 0.5)).sum()) and not far.any():
        labels.add(REPAIRED, image.name, instance.annotation_id, f'{moved} points just outside moved onto the border')
    return not far.any()


def _without_duplicates(labels: RawLabels, images: list[ReadyImage]) -> list[ReadyImage]:
    """Leave out copies of the same file when their labels agree or one has none; refuse both when they differ."""
    groups: dict[str, list[ReadyImage]] = {}
    for image in images:
        groups.setdefault(hashlib.sha256(image.source.read_bytes()).hexdigest(), []).append(image)
    kept = []
    for group in groups.values():
        labelled = [image for image in group if image.keypoints]
        first = (labelled or group)[0]
        if any(not _same_labels(first, other) for other in labelled[1:]):
            names = ', '.join(image.name for image in group)
            for image in group:
                labels.add(REFUSED, image.name, '', f'the same picture is labelled differently: {names}')
            continue
        for image in group:
            if image is not first:
                labels.add(REPAIRED, image.name, '', f'left out, the same picture as {first.name}')
        kept.append(first)
    return kept


def _same_labels(one: ReadyImage, other: ReadyImage) -> bool:
    if len(one.keypoints) != len(other.keypoints):
        return False
    pairs = zip(one.keypoints, other.keypoints)
    return all((a is None) == (b is None) and (a is None or b is None or np.allclose(a, b, atol=1.0)) for a, b in pairs)


def split(images: Sequence[ReadyImage], share: float, seed: int) -> tuple[list[ReadyImage], list[ReadyImage]]:
    """
    Return images to train on and to validate on.

    With three recordings or more, whole recordings are set aside, so that near-duplicates do not leak; with fewer, a
    run of consecutive frames of each.
    """
    rng = np.random.default_rng(seed)
    recordings: dict[str, list[ReadyImage]] = {}
    for image in sorted(images, key=lambda image: str(image.source)):
        recordings.setdefault(image.recording, []).append(image)
    wanted = share * len(images)
    aside: set[int] = set()
    if len(recordings) >= 3:
        groups = list(recordings.values())
        for i in rng.permutation(len(groups)):
            if len(aside) + len(groups[i]) / 2 <= wanted:
                aside.update(map(id, groups[i]))
    else:
        for group in recordings.values():
            count = round(share * len(group))
            start = int(rng.integers(len(group) - count + 1))
            aside.update(map(id, group[start : start + count]))
    return [i for i in images if id(i) not in aside], [i for i in images if id(i) in aside]


def write(folder: Path, images: Sequence[ReadyImage], labels: RawLabels) -> None:
    """Write images and labels.json in COCO form; file names stay unless two images share one."""
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    doubles = {name for name, count in Counter(image.name for image in images).items() if count > 1}
    content_images, annotations = [], []
    for number, image in enumerate(images, 1):
        name = f'{number:05d}_{image.name}' if image.name in doubles else image.name
        _write_image(image, folder / 'images' / name)
        content_images.append({'id': number, 'file_name': name, 'width': image.width, 'height': image.height})
        for points, (left, top, right, bottom) in zip(image.keypoints, image.boxes):
            annotations.append({
                'id': len(annotations) + 1,
                'image_id': number,
                'category_id': 1,
                'iscrowd': int(points is None),
                'keypoints': [] if points is None else [round(float(v), 3) for v in points.ravel()],
                'num_keypoints': 0 if points is None else int((points[:, 2] > 0).sum()),
                'bbox': [round(v, 3) for v in (left, top, right - left, bottom - top)],
                'area': round((right - left) * (bottom - top), 3),
            })
    skeleton = [[a + 1, b + 1] for a, b in labels.skeleton]
    category = {'id': 1, 'name': labels.category, 'keypoints': labels.keypoint_names, 'skeleton': skeleton}
    write_json(folder / 'labels.json', {'images': content_images, 'annotations': annotations, 'categories': [category]})


def load_pixels(image: ReadyImage) -> np.ndarray:
    """Return the (H, W, 3) picture as it is written."""
    pixels = read_picture(image.source, obey_exif=image.upright)
    if pixels is None:
        raise DatasetError(f'{image.source}: can no longer be read as an image')
    return pixels if image.scale == 1 else cv2.resize(pixels, (image.width, image.height), interpolation=cv2.INTER_AREA)


def _write_image(image: ReadyImage, path: Path) -> None:
    pixels = load_pixels(image)
    as_stored = read_picture(image.source, obey_exif=False)
    if image.scale == 1 and image.upright and as_stored is not None and np.array_equal(as_stored, pixels):
        shutil.copyfile(image.source, path)
    elif not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise DatasetError(f'{path}: cannot be written; is the disk full?')


def object_sizes(images: Sequence[ReadyImage]) -> list[float]:
    """Return the longer side of the keypoints' box of every instance, as a share of the image height."""
    return [
        float(np.ptp(k[k[:, 2] > 0, :2], axis=0).max() / image.height)
        for image in images
        for k in image.keypoints
        if k is not None
    ]


def statistics(images: Sequence[ReadyImage], labels: RawLabels) -> dict[str, Any]:
    """Return counts and sizes for statistics.json and the closing lines."""
    instances = [k for image in images for k in image.keypoints if k is not None]
    labelled = [int(sum(k[i, 2] > 0 for k in instances)) for i in range(len(labels.keypoint_names))]
    sizes = object_sizes(images)
    return {
        'images': len(images),
        'images_without_object': sum(not image.keypoints for image in images),
        'instances': len(instances),
        'labelled_by_keypoint': dict(zip(labels.keypoint_names, labelled)),
        'object_size_share_of_height': {
            name: float(np.percentile(sizes, q)) for name, q in (('min', 0), ('median', 50), ('max', 100))
        }
        if sizes
        else {},
        'recordings': len({image.recording for image in images}),
    }
