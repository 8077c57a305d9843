"""Pictures of the errors: how many keypoints lie within which distance of their label, and the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import numpy as np
from matplotlib import pyplot

from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.keypoints.poses import KeypointPose
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.labels.coco import LabelledImage

_LIMIT_PERCENT = 10.0
_WORST = 12


def draw_error_curves(path: Path, accuracy: Accuracy, names: Sequence[str]) -> None:
    """
    Write a PNG: share of the labelled keypoints within x % of the object's size, for each keypoint and for all.

    Raises:
        OutputError: It cannot be written.
    """
    figure, axes = pyplot.subplots(figsize=(7, 4.5), dpi=110)
    limits = np.linspace(0, _LIMIT_PERCENT, 201)
    for k, name in enumerate([*names, 'all']):
        errors = accuracy.relative_errors if k == len(names) else accuracy.relative_errors[:, k]
        labelled = errors[~np.isnan(errors)] * 100
        if labelled.size:
            share = np.searchsorted(np.sort(labelled), limits, side='right') / labelled.size
            axes.plot(limits, share * 100, label=name, color='black' if k == len(names) else None, linewidth=1.5)
    axes.set_xlabel("distance from the label [% of the object's size]")
    axes.set_ylabel('keypoints within this distance [%]')
    axes.set_xlim(0, _LIMIT_PERCENT)
    axes.set_ylim(0, 101)
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right', fontsize=8, ncols=1 if len(names) < 10 else 3)
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary)
    pyplot.close(figure)


def write_worst_images(
    path: Path,
    accuracy: Accuracy,
    detections: Sequence[Sequence[KeypointPose]],
    images: Sequence[LabelledImage],
    names: Sequence[str],
) -> None:
    """
    Write the images with the largest errors: labels are rings, what was found crosses.

    Raises:
        OutputError: The file cannot be written.
    """
    limited = np.minimum(np.nan_to_num(accuracy.relative_errors, nan=0.0), 1.0).mean(1)
    order = dict.fromkeys(int(accuracy.image_of[i]) for i in np.argsort(-limited, kind='stable'))
    tiles = []
    for i in list(order)[:_WORST]:
        image = images[i]
        labelled = [np.column_stack([k, seen]) for k, seen in zip(image.keypoints, image.labelled)]
        found = [np.column_stack([np.nan_to_num(p.keypoints), p.visible]) for p in detections[i]]
        worst = limited[accuracy.image_of == i].max()
        tiles.append(draw_tile(image.read(), labelled, found, f'{image.path.name} {worst:.1%}'))
    write_contact_sheet(path, tiles, names)
