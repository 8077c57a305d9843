"""From labels, as any format says them, to the views of one object that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.labels.coco_file import PROPOSED
from custom_pose_ros.core.labels.raw_labels import HIDDEN, NOTE, REFUSED, RawLabels, base_name
from custom_pose_ros.core.limits import MAX_IMAGE_SIDE_PX
from custom_pose_ros.core.measuring.bundle import Views
from custom_pose_ros.inference.camera_calibration import CameraCalibration
from training.pose_training.labels.checking import CheckedImage, check
from training.pose_training.labels.image_files import ImageIndex

_HIDDEN_WEIGHT = 0.25  # of a seen one: the place of a hidden keypoint is inferred, taken as half as exact


@dataclass(frozen=True, eq=False)
class LabelledViews:
    """
    All labelled objects, each in its view.

    Attributes:
        names: of the K keypoints.
        images: (V,) file name of each view.
        annotations: (V,) id of each view.
        views: with weights of 1 for what is seen, less for what is hidden.
        sizes: (C,) width and height of the images of each lens [px].
        focals_px: (C,) of lenses that are calibrated, None where they are to be found.
    """

    names: Sequence[str]
    images: Sequence[str]
    annotations: Sequence[str]
    views: Views
    sizes: Sequence[tuple[int, int]]
    focals_px: Sequence[float] | None = None


def labelled_pictures(labels: RawLabels, folders: Sequence[Path], required: bool) -> list[CheckedImage]:
    """
    Return the pictures with sound labels of people; problems are added to the labels.

    What a program proposed is left out: its errors are those of the few labels or the network that it comes from, so
    that many of them agree, and are all wrong in the same way.

    Args:
        labels: what a label file says.
        folders: where the pictures may be.
        required: False where the sizes that the file states will do, when none of the pictures is there.

    Raises:
        DatasetError: nothing is labelled, or the pictures are needed and not there.
    """
    _leave_out_proposed(labels)
    labels.images = [image for image in labels.images if any(i.keypoints is not None for i in image.instances)]
    index = ImageIndex(folders)
    if required or any(_is_there(index, image.name) for image in labels.images):
        pictures = check(labels, index, MAX_IMAGE_SIDE_PX)
    else:
        pictures = _without_files(labels)
    if not any(picture.instances for picture in pictures):
        first = next((problem.line for problem in labels.problems if problem.kind == REFUSED), 'nothing is labelled')
        raise DatasetError(f'no picture has labels that can be used: {first}')
    return pictures


def _leave_out_proposed(labels: RawLabels) -> None:
    proposed = sum(instance.proposed for image in labels.images for instance in image.instances)
    for image in labels.images:
        image.instances = [instance for instance in image.instances if not instance.proposed]
    if not proposed:
        return
    text = f'{proposed} labels are proposals ({PROPOSED}: true), which repeat the errors of those that a person clicked'
    if not any(image.instances for image in labels.images):
        raise DatasetError(f'all {text}: give the labels that were clicked')
    labels.add(NOTE, '', '', f'{text}: they are left out; remove the mark where a person has corrected every keypoint')


def _is_there(index: ImageIndex, name: str) -> bool:
    try:
        return bool(index.find(name))
    except DatasetError:
        return False


def _without_files(labels: RawLabels) -> list[CheckedImage]:
    """Return the labels in pictures of the sizes that are stated."""
    refused = {problem.image for problem in labels.problems if problem.kind == REFUSED and problem.image}
    pictures = []
    for image in labels.images:
        if not (image.width and image.height):
            text = 'the label file does not state its size, and the picture is not there: give its folder with --images'
            labels.add(REFUSED, image.name, '', text)
            continue
        if image.name in refused:
            continue
        picture = CheckedImage(Path(image.name), base_name(image.name), image.width, image.height)
        for instance in image.instances:
            if instance.keypoints is not None:
                points = np.array(instance.keypoints, float)
                if image.relative:
                    points[:, :2] = points[:, :2] * [image.width, image.height] - 0.5
                picture.keypoints.append(points)
                picture.annotations.append(instance.annotation_id)
        pictures.append(picture)
    text = (
        'the pictures are not there: their sizes are taken as the label file states them; --images names their folder'
    )
    labels.add(NOTE, '', '', text)
    return pictures


def labelled_views(names: Sequence[str], pictures: Sequence[CheckedImage], camera: Path | None) -> LabelledViews:
    """
    Return every labelled object as a view; pictures of one size are taken by one lens.

    Args:
        names: of the K keypoints.
        pictures: with sound labels.
        camera: its calibration, where there is one.

    Raises:
        ConfigError: the calibration cannot be that of the pictures.
    """
    sizes = sorted({(picture.width, picture.height) for picture in pictures if picture.instances})
    lenses: list[CameraIntrinsics | None] = [None] * len(sizes)
    if camera is not None:
        calibration = CameraCalibration(camera)
        try:
            lenses = [calibration.for_size(*size) for size in sizes]
        except ConfigError as error:
            raise ConfigError(f'{camera}: {error}') from error
    pixels, weights, lens, images, annotations = [], [], [], [], []
    for picture in pictures:
        for points, annotation in zip(picture.keypoints, picture.annotations):
            if points is None:
                continue
            number = sizes.index((picture.width, picture.height))
            pixels.append(_from_middle(points[:, :2], sizes[number], lenses[number]))
            weight = np.where(points[:, 2] == HIDDEN, _HIDDEN_WEIGHT, np.sign(points[:, 2]))
            weights.append(np.where(np.isfinite(pixels[-1]).all(1), weight, 0.0))
            lens.append(number)
            images.append(picture.name)
            annotations.append(annotation)
    views = Views(np.nan_to_num(np.array(pixels)), np.array(weights), np.array(lens))
    focals = [float(lens.K[0, 0]) for lens in lenses if lens is not None]
    return LabelledViews(names, images, annotations, views, sizes, focals or None)


def _from_middle(pixels: np.ndarray, size: tuple[int, int], lens: CameraIntrinsics | None) -> np.ndarray:
    """Return pixels (K, 2) from the middle of the image; of a known lens, as it would have them without distortion."""
    if lens is None:
        return pixels - (np.array(size) - 1) / 2
    return lens.undistort(pixels) * lens.K[0, 0]
