"""Loss of the maps of every stage against their targets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from custom_pose_ros.inference.network import Stage

HEATMAP_PEAK_WEIGHT = 4.0  # extra weight of a cell on a keypoint: most cells are background
PAF_WEIGHT = 0.3


def pose_losses(
    stages: Sequence[Stage], heatmaps: Tensor, pafs: Tensor, heatmap_mask: Tensor, paf_mask: Tensor
) -> dict[str, Tensor]:
    """
    Return the masked squared errors by name, summed over cells and halved, per image; their sum is the loss.

    N images, K keypoints, L limbs, h x w cells.

    Args:
        stages: Predicted heatmaps (N, K + 1, h, w) and pafs (N, 2L, h, w) of each stage.
        heatmaps: (N, K + 1, h, w) targets, the last is background.
        pafs: (N, 2L, h, w) targets.
        heatmap_mask: (N, K + 1, h, w), 1 where the target is known, 0 where it is not.
        paf_mask: (N, 2L, h, w), likewise.
    """
    weight = 1 + HEATMAP_PEAK_WEIGHT * heatmaps
    weight[:, -1] = 1  # the background map
    weight = weight * heatmap_mask
    losses = {}
    for i, (predicted_heatmaps, predicted_pafs) in enumerate(stages):
        prefix = f'stage{i}/' if len(stages) > 1 else ''
        losses[f'{prefix}heatmaps'] = _half_mean(weight * (predicted_heatmaps.float() - heatmaps) ** 2)
        losses[f'{prefix}pafs'] = PAF_WEIGHT * _half_mean(paf_mask * (predicted_pafs.float() - pafs) ** 2)
    return losses


def _half_mean(errors: Tensor) -> Tensor:
    return errors.sum() / (2 * errors.shape[0])
