"""The figures of an evaluation: for metrics.json and as lines to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.judging.oks import average_precision
from training.pose_training.labels.coco import LabelledImage


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
