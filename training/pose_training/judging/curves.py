"""A picture of how many keypoints lie within which distance of their label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import numpy as np
from matplotlib import pyplot

from training.pose_training.judging.accuracy import Accuracy

_LIMIT_PERCENT = 10.0


def draw_error_curves(path: Path, accuracy: Accuracy, names: Sequence[str]) -> None:
    """Write a PNG: share of the labelled keypoints within x % of the object's size, for each keypoint and for all."""
    figure, axes = pyplot.subplots(figsize=(7, 4.5), dpi=110)
    limits = np.linspace(0, _LIMIT_PERCENT, 201)
    for k, name in enumerate([*names, 'all']):
        errors = accuracy.relative_errors if name == 'all' and k == len(names) else accuracy.relative_errors[:, k]
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
    figure.savefig(path)
    pyplot.close(figure)
