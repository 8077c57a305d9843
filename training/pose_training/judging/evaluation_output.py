"""What an evaluation writes: the figures, the curves of errors, and the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import numpy as np
from matplotlib import pyplot

from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.judging.oks import average_precision
from training.pose_training.labels.coco import LabelledImage

_LIMIT_PERCENT = 10.0
_WORST = 12


def all_figures(
    accuracy: Accuracy,
    detections: Sequence[Sequence[KeypointPose]],
    images: Sequence[LabelledImage],
    model: ObjectModel,
) -> dict[str, Any]:
    """Return average precision, errors and shares of correct keypoints, also by keypoint; None where unknown."""
    by_keypoint = {}
    for k, name in enumerate(model.keypoint_names):
        errors, relative = accuracy.errors_px[:, k], accuracy.relative_errors[:, k]
        found, labelled = np.isfinite(errors), ~np.isnan(errors)
        by_keypoint[name] = {
            'labelled': int(labelled.sum()),
            'found': int(found.sum()),
            'mean_px': float(errors[found].mean()) if found.any() else None,
            'median_px': float(np.median(errors[found])) if found.any() else None,
            'mean_percent': float(relative[found].mean() * 100) if found.any() else None,
        }
    pck = {f'pck_{percent}percent': accuracy.pck(percent / 100) for percent in (2, 5, 10)}
    summary = {**accuracy.summary(), **pck}
    known = {name: value if np.isfinite(value) else None for name, value in summary.items()}
    return {**average_precision(images, detections, model), **known, 'keypoints': by_keypoint}


def figure_lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures of `all_figures` as lines, one for each keypoint at the end."""
    lines = [
        f'{figures["instances"]} objects, {figures["found"]:.1%} of the keypoints found',
        f'AP {figures["AP"]:.3f}  AP50 {figures["AP50"]:.3f}  AP75 {figures["AP75"]:.3f}  AR {figures["AR"]:.3f}',
    ]
    if figures['mean_px'] is not None:
        lines.append(
            f'error: mean {figures["mean_px"]:.2f} px, median {figures["median_px"]:.2f} px, '
            f'rms {figures["rmse_px"]:.2f} px, mean {figures["mean_percent"]:.2f} % of the object'
        )
    lines.append(f'within 5 px {figures["pck_5px"]:.1%}, within 5 % of the object {figures["pck_5percent"]:.1%}')
    lines.append(f'left/right swapped {figures["swapped"]}, false instances {figures["false_instances"]}')
    width = max(map(len, figures['keypoints']))
    for name, row in figures['keypoints'].items():
        error = 'never found'
        if row['mean_px'] is not None:
            error = f'mean {row["mean_px"]:.2f} px, median {row["median_px"]:.2f} px'
        lines.append(f'  {name:{width}}  {row["found"]} of {row["labelled"]}, {error}')
    return lines


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
