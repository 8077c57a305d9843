"""What an evaluation writes: the figures, the curves of errors, and the worst images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure

from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from training.pose_training.judging.accuracy import MISSED_ERROR, Accuracy
from training.pose_training.judging.oks import average_precision
from training.pose_training.labels.coco import LabelledImage

_LIMIT_PERCENT = 10.0
_WORST = 12
_LOST = 0.005  # of the keypoints that are found: what a higher threshold may cost that is recommended
_NOTHING_FOUND = 'none of the labelled keypoints was found'
_NOTHING_HIDDEN = 'no keypoint is labelled as hidden or absent: nothing to compare'


def all_figures(
    accuracy: Accuracy,
    detections: Sequence[Sequence[KeypointPose]],
    images: Sequence[LabelledImage],
    model: ObjectModel,
) -> dict[str, Any]:
    """Return average precision, errors and shares of correct keypoints, also by keypoint; None where unknown."""
    pck = {f'pck_{percent}percent': accuracy.pck(percent / 100) for percent in (2, 5, 10)}
    return {
        **average_precision(images, detections, model),
        **_known({**accuracy.summary(), **pck}),
        'keypoints': {name: _keypoint_figures(accuracy, k) for k, name in enumerate(model.keypoint_names)},
        'ambiguous_instances': sum(pose.ambiguity > AMBIGUOUS for poses in detections for pose in poses),
        'by_keypoint_score': accuracy.by_keypoint_score(model.thresholds.keypoint_score),
        'by_hidden_share': [_known(row) for row in accuracy.by_hidden_share()],
    }


def _keypoint_figures(accuracy: Accuracy, k: int) -> dict[str, Any]:
    errors, relative, states = accuracy.errors_px[:, k], accuracy.relative_errors[:, k], accuracy.states[:, k]
    found, labelled, hidden = np.isfinite(errors), ~np.isnan(errors), states == HIDDEN
    return {
        'labelled': int(labelled.sum()),
        'found': int(found.sum()),
        'mean_px': _mean(errors[found]),
        'median_px': float(np.median(errors[found])) if found.any() else None,
        'mean_percent': _mean(relative[found] * 100),
        'hidden': int(hidden.sum()),
        'found_while_hidden': int((found & hidden).sum()),
        'mean_px_while_hidden': _mean(errors[found & hidden]),
        'absent': int((states == ABSENT).sum()),
        'invented': int(accuracy.invented[:, k].sum()),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _known(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


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
    if figures['ambiguous_instances']:
        lines.append(
            f'{figures["ambiguous_instances"]} instances may be turned: their keypoints have other names as well'
        )
    lines += _hidden_lines(figures)
    width = max(map(len, figures['keypoints']))
    for name, row in figures['keypoints'].items():
        error = 'never found'
        if row['mean_px'] is not None:
            error = f'mean {row["mean_px"]:.2f} px, median {row["median_px"]:.2f} px'
        lines.append(f'  {name:{width}}  {row["found"]} of {row["labelled"]}, {error}')
    return lines


def _hidden_lines(figures: dict[str, Any]) -> list[str]:
    """Return which keypoints were reported while hidden, and the errors by how much of the objects is hidden."""
    lines = []
    for name, row in figures['keypoints'].items():
        if row['absent']:
            lines.append(
                f'  {name}: in {row["invented"]} of {row["absent"]} objects where it is absent '
                f'({row["invented"] / row["absent"]:.1%})'
            )
        if row['hidden']:
            error = f', {row["mean_px_while_hidden"]:.2f} px from its label' if row['found_while_hidden'] else ''
            lines.append(
                f'  {name}: in {row["found_while_hidden"]} of {row["hidden"]} where its place is known '
                f'({row["found_while_hidden"] / row["hidden"]:.1%}{error})'
            )
    if not lines:
        return []
    absent, invented = (sum(row[name] for row in figures['keypoints'].values()) for name in ('absent', 'invented'))
    better = [r for r in figures['by_keypoint_score'] if r['invented'] < invented and r['lost'] <= _LOST * r['found']]
    if better:
        best = min(better, key=lambda row: row['invented'] + row['lost'])
        lines.append(
            f'  keypoint_score: {best["keypoint_score"]:g} under thresholds in the object file would report about '
            f'{best["invented"]} of all {absent} that are absent instead of {invented}, and lose {best["lost"]} of '
            f'{best["found"]} that are found'
        )
    rows = [
        f'  {row["hidden_share"]:.0%} hidden ({_objects(row)}): {row["found"]:.1%} found'
        + ('' if row['mean_percent'] is None else f', mean {row["mean_percent"]:.2f} % of the object')
        for row in figures['by_hidden_share']
    ]
    return ['reported while hidden:', *lines, 'by the share of the keypoints that is not seen:', *rows]


def _objects(row: dict[str, Any]) -> str:
    return f'{row["instances"]} object{"s" * (row["instances"] != 1)}'


def _write_words(figure: Figure, text: str) -> None:
    """Say in the middle of a chart why there is little or nothing in it."""
    figure.text(0.5, 0.6, text, ha='center', fontsize=12, bbox={'facecolor': 'white', 'edgecolor': 'gray'})


def draw_occlusion_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """
    Write a PNG: errors and share of keypoints found against the share of an object's keypoints that is not seen.

    It says so where nothing was found, or where no keypoint is hidden or absent.

    Args:
        path: The file.
        rows: `by_hidden_share` of `all_figures`.

    Raises:
        OutputError: It cannot be written.
    """
    figure, (errors, found) = pyplot.subplots(2, 1, figsize=(7, 5.5), dpi=110, sharex=True)
    hidden = [100 * row['hidden_share'] for row in rows]
    for key, label in (('mean_percent', 'mean'), ('p90_percent', '90 % of them below')):
        errors.plot(hidden, [np.nan if row[key] is None else row[key] for row in rows], marker='o', label=label)
    errors.set_ylabel("error [% of the object's size]")
    errors.set_ylim(bottom=0)
    errors.legend(fontsize=8)
    found.plot(hidden, [100 * row['found'] for row in rows], marker='o', label='found, of those to be found')
    absent = [100 * row['invented'] / row['absent'] if row['absent'] else np.nan for row in rows]
    found.plot(hidden, absent, marker='o', label='reported, of those absent')
    for x, row in zip(hidden, rows):
        found.annotate(_objects(row), (x, 50), fontsize=7, ha='center')
    found.set_ylabel('keypoints [%]')
    found.set_xlabel('keypoints of the object that are not seen [%]')
    found.set_xlim(-5, 105)
    found.set_ylim(-2, 102)
    found.legend(fontsize=8, loc='lower right', bbox_to_anchor=(1, 1), borderaxespad=0, frameon=False, ncols=2)
    for axes in (errors, found):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    if not any(row['found'] or row['invented'] for row in rows):
        _write_words(figure, _NOTHING_FOUND)
    elif not any(hidden):
        _write_words(figure, _NOTHING_HIDDEN)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    pyplot.close(figure)


def draw_error_curves(path: Path, accuracy: Accuracy, names: Sequence[str]) -> None:
    """
    Write a PNG: share of the labelled keypoints within x % of the object's size, for each keypoint and for all.

    It says so where nothing was found.

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
    if not np.isfinite(accuracy.errors_px).any():
        _write_words(figure, _NOTHING_FOUND)
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
    limited = np.where(accuracy.invented, MISSED_ERROR, np.nan_to_num(accuracy.relative_errors, nan=0.0))
    limited = np.minimum(limited, 1.0).mean(1)
    order = dict.fromkeys(int(accuracy.image_of[i]) for i in np.argsort(-limited, kind='stable'))
    tiles = []
    for i in list(order)[:_WORST]:
        image = images[i]
        marks = image.labelled.astype(int) + (image.states == SEEN)  # 1 hidden, 2 seen
        labelled = [np.column_stack(instance) for instance in zip(image.keypoints, marks)]
        found = [np.column_stack([np.nan_to_num(p.keypoints), p.visible]) for p in detections[i]]
        rows = np.flatnonzero(accuracy.image_of == i)
        row = rows[np.argmax(limited[rows])]
        error = f'error {limited[row]:.1%}' if accuracy.reported[row].any() else 'not found'
        tiles.append(draw_tile(image.read(), labelled, found, f'{image.path.name} {error}'))
    write_contact_sheet(path, tiles, names, crosses="found; error: mean, % of the object's size, 100 where missed")
