"""Check of labels against their images: what is certain is repaired, the rest is refused with image and annotation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.files import sha256_of
from custom_pose_ros.core.labels.placement import Placement, bring_inside, place
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, REPAIRED, RawImage, RawInstance, RawLabels
from custom_pose_ros.core.pictures import read_picture
from training.pose_training.labels.image_files import ImageIndex
from training.pose_training.labels.splitting import thumbnail_of


@dataclass
class CheckedImage:
    """
    One image whose labels are sound, in pixels of the image as it will be written.

    Attributes:
        source: The file it comes from.
        name: File name to write.
        width: Of the written image [px].
        height: Of the written image [px].
        keypoints: For each instance (K, 3) x, y, visibility; None for a box to ignore.
        boxes: Left, top, right, bottom of each instance.
        scale: Factor from the source to the written image.
        upright: False when the labels were made without the camera's rotation note.
        renamed: Whether the file's name differs in case, Unicode form or %-signs from that in the labels.
        thumbnail: By which pictures are compared, see `splitting.thumbnail_of`.
        annotations: Id of each instance in the label file.
        proposed: Numbers of the instances that a program proposed and no person changed.
    """

    source: Path
    name: str
    width: int
    height: int
    keypoints: list[np.ndarray | None] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    scale: float = 1.0
    upright: bool = True
    renamed: bool = False
    thumbnail: np.ndarray | None = None
    annotations: list[str] = field(default_factory=list)
    proposed: set[int] = field(default_factory=set)

    @property
    def instances(self) -> list[np.ndarray]:
        """The labelled instances, (K, 3) each, without the boxes to ignore."""
        return [points for points in self.keypoints if points is not None]

    @property
    def object_sizes(self) -> list[float]:
        """Longer side of the keypoints' box of every instance, as a share of the image height."""
        return [float(np.ptp(k[k[:, 2] > 0, :2], axis=0).max() / self.height) for k in self.instances]


def check(labels: RawLabels, index: ImageIndex, max_side: int) -> list[CheckedImage]:
    """
    Check every image and annotation.

    An image with a refused annotation is left out whole: an object without its label would be learned as background.

    Args:
        labels: What a label file says; problems are added to it.
        index: Where the images are.
        max_side: Longer side [px] that images are reduced to.

    Returns:
        The images that are sound.
    """
    refused = {p.image for p in labels.problems if p.kind == REFUSED and p.image}
    sound = []
    for image in progress_bar('check', None, 'image', labels.images):
        checked = _ImageCheck(labels, image).run(index, max_side)
        if checked is not None and image.name not in refused:
            sound.append(checked)
    sound = _without_duplicates(labels, sound)
    if renamed := [image.name for image in sound if image.renamed]:
        text = f'{len(renamed)} files have names in another case, Unicode form or with %-signs ({renamed[0]}'
        labels.add(NOTE, '', '', f'{text}{", ..." * (len(renamed) > 1)})')
    empty = [image.name for image in sound if not image.keypoints]
    if 0 < len(empty) < len(sound):
        text = f'{len(empty)} images without annotation ({empty[0]}{", ..." * (len(empty) > 1)}) are trained on as '
        labels.add(NOTE, '', '', text + 'pictures without the object; --labelled-only leaves them out')
    if not any(image.instances for image in sound) and not any(p.kind == REFUSED for p in labels.problems):
        labels.add(REFUSED, '', '', 'nothing is labelled: there is no image with an annotation')
    return sound


class _ImageCheck:
    """The check of one image of a label file; problems are added to the labels."""

    def __init__(self, labels: RawLabels, image: RawImage):
        self._labels, self._image = labels, image

    def run(self, index: ImageIndex, max_side: int) -> CheckedImage | None:
        """Return the image with its labels, None when anything about it is refused."""
        try:
            file = index.find(self._image.name)
            picture = read_picture(file.path)
            stated = (self._image.width, self._image.height)
            placement = place(picture, stated, self._labels.exif, self._image.relative)
        except MediaError as error:
            self._add(REFUSED, str(error).removeprefix(f'{file.path}: '))
            return None
        except DatasetError as error:
            self._add(REFUSED, str(error))
            return None
        if file.path.name != self._image.name and self._image.name.startswith('/'):
            self._add(NOTE, f'container path resolved to {file.path}')
        if picture.damage:
            self._add(NOTE, f'is damaged inside ({picture.damage}): look at it')
        if placement.repair:
            self._add(REPAIRED, placement.repair)
        width, height = placement.width, placement.height
        scale = min(1.0, max_side / max(width, height))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        checked = CheckedImage(file.path, file.path.name, *size, scale=scale, upright=placement.upright)
        checked.renamed, checked.thumbnail = file.renamed, thumbnail_of(picture.stored)
        accepted = [self._add_instance(instance, placement, checked) for instance in self._image.instances]
        return checked if all(accepted) else None

    def _add_instance(self, instance: RawInstance, placement: Placement, checked: CheckedImage) -> bool:
        """Add an instance in pixels of the written image; return False when it is refused."""
        box = None
        if instance.proposed:
            checked.proposed.add(len(checked.keypoints))
        checked.annotations.append(instance.annotation_id)
        if instance.box is not None:
            left, top, width, height = instance.box
            box = np.array([left, top, left + width, top + height]) * np.tile(placement.factors, 2)
        if instance.keypoints is None:
            assert box is not None
            _append(checked, None, box)
            return True
        points = np.array(instance.keypoints, float)
        # Shares of the image count from its corner, pixels from the centre of the first one.
        points[:, :2] = points[:, :2] * placement.factors - (0.5 if self._image.relative else 0.0)
        said = bring_inside(points, placement.width, placement.height, self._labels.keypoint_names)
        for kind, text in said:
            self._add(kind, text, instance)
        if any(kind == REFUSED for kind, _ in said):
            return False
        labelled = points[:, 2] > 0
        if labelled.sum() > 1 and len(np.unique(points[labelled, :2].round(1), axis=0)) < labelled.sum():
            self._add(NOTE, 'two keypoints lie on each other: look at it', instance)
        points[~labelled] = 0
        corners = points[labelled, :2] if box is None else np.vstack([points[labelled, :2], box.reshape(2, 2)])
        # Pixel centres lie at whole numbers: scaling keeps the image's corner (-0.5, -0.5) in place.
        points[labelled, :2] = (points[labelled, :2] + 0.5) * checked.scale - 0.5
        _append(checked, points, np.concatenate([corners.min(0), corners.max(0)]))
        return True

    def _add(self, kind: str, text: str, instance: RawInstance | None = None) -> None:
        self._labels.add(kind, self._image.name, '' if instance is None else instance.annotation_id, text)


def _append(checked: CheckedImage, points: np.ndarray | None, box: np.ndarray) -> None:
    """Append an instance, or a box to ignore; box (4,) in pixels of the source image."""
    checked.keypoints.append(points)
    checked.boxes.append(tuple((box * checked.scale).tolist()))


def _without_duplicates(labels: RawLabels, images: list[CheckedImage]) -> list[CheckedImage]:
    """Leave out copies of the same file when their labels agree or one has none; refuse both when they differ."""
    sizes = [image.source.stat().st_size for image in images]  # only files of the same size are read again
    times = Counter(sizes)
    groups: dict[str, list[CheckedImage]] = {}
    for image, size in zip(images, sizes):
        groups.setdefault(sha256_of(image.source) if times[size] > 1 else str(image.source), []).append(image)
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


def _same_labels(one: CheckedImage, other: CheckedImage) -> bool:
    if len(one.keypoints) != len(other.keypoints):
        return False
    pairs = zip(one.keypoints, other.keypoints)
    return all((a is None) == (b is None) and (a is None or b is None or np.allclose(a, b, atol=1.0)) for a, b in pairs)
