"""Loss of the maps of every stage against their targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from custom_pose_ros.inference.network import Stage

HEATMAP_PEAK_WEIGHT = 4.0  # extra weight of a cell on a keypoint: most cells are background
PAF_WEIGHT = 0.3
_FROM_HEIGHT = 0.2  # of a predicted peak: below it, there is no position yet
_LOWEST_CELL = 0.02  # as which lower cells are taken, so that no logarithm pulls without limit
_LEAST_CURVATURE = 0.2  # [1 / cell^2], so that no flat place has a position far away
_FARTHEST = 1.5  # [cell]
_ROUND = 0.1  # [cell]; smaller errors count by their square


def pose_losses(
    stages: Sequence[Stage],
    heatmaps: Tensor,
    pafs: Tensor,
    heatmap_mask: Tensor,
    paf_mask: Tensor,
    position_weight: float = 0.0,
) -> dict[str, Tensor]:
    """
    Return the parts of the loss by name, per image; their sum is the loss.

    They are the masked squared errors of the maps, summed over cells and halved; and, with a weight, how far the
    positions decoded from the heatmaps are off, summed over keypoints. A small error of the cells around a peak moves
    the decoded position by much more than it adds to the squared errors.

    N images, K keypoints, L limbs, h x w cells.

    Args:
        stages: Predicted heatmaps (N, K + 1, h, w) and pafs (N, 2L, h, w) of each stage.
        heatmaps: (N, K + 1, h, w) targets, the last is background.
        pafs: (N, 2L, h, w) targets.
        heatmap_mask: (N, K + 1, h, w) weights, 0 where the target is not known. Positions count for 1 at most.
        paf_mask: (N, 2L, h, w), likewise.
        position_weight: Of a keypoint that is off by one cell; 0 leaves positions out.
    """
    weight = 1 + HEATMAP_PEAK_WEIGHT * heatmaps
    weight[:, -1] = 1  # the background map
    weight = weight * heatmap_mask
    known = heatmap_mask[:, :-1].clamp(max=1)  # what it counts more around them is for what is absent there
    losses = {}
    for i, (predicted_heatmaps, predicted_pafs) in enumerate(stages):
        prefix = f'stage{i}/' if len(stages) > 1 else ''
        losses[f'{prefix}heatmaps'] = _half_mean(weight * (predicted_heatmaps.float() - heatmaps) ** 2)
        losses[f'{prefix}pafs'] = PAF_WEIGHT * _half_mean(paf_mask * (predicted_pafs.float() - pafs) ** 2)
        if position_weight:
            off = _position_errors(predicted_heatmaps[:, :-1].float(), heatmaps[:, :-1], known)
            losses[f'{prefix}positions'] = position_weight * off.sum() / len(heatmaps)
    return losses


def decoded_offsets(heatmaps: Tensor) -> Tensor:
    """
    Return how far the maximum lies from each cell [cell], as `find_peaks` decodes it but with gradients.

    Args:
        heatmaps: (N, K, h, w).

    Returns:
        (N, K, 2, h - 2, w - 2) x and y, of all cells but those at the border.
    """
    logs = heatmaps.clamp(_LOWEST_CELL, 1 / _LOWEST_CELL).log()
    centre = logs[..., 1:-1, 1:-1]
    left, right, up, down = logs[..., 1:-1, :-2], logs[..., 1:-1, 2:], logs[..., :-2, 1:-1], logs[..., 2:, 1:-1]
    xx, yy = (2 * centre - a - b for a, b in ((left, right), (up, down)))
    xx, yy = xx.clamp_min(_LEAST_CURVATURE), yy.clamp_min(_LEAST_CURVATURE)
    xy = 0.25 * (logs[..., 2:, 2:] - logs[..., :-2, 2:] - logs[..., 2:, :-2] + logs[..., :-2, :-2])
    limit = 0.9 * (xx * yy).sqrt()  # keeps the form positive definite
    xy = torch.minimum(torch.maximum(xy, -limit), limit)
    slope_x, slope_y = 0.5 * (right - left), 0.5 * (down - up)
    offsets = torch.stack([yy * slope_x + xy * slope_y, xx * slope_y + xy * slope_x], 2)
    return (offsets / (xx * yy - xy * xy).unsqueeze(2)).clamp(-_FARTHEST, _FARTHEST)


def _position_errors(predicted: Tensor, heatmaps: Tensor, known: Tensor) -> Tensor:
    """Return (N, K, h - 2, w - 2) errors of the decoded positions [cell]: 0 but in the cells nearest to a keypoint."""
    highest = (heatmaps == functional.max_pool2d(heatmaps, 3, 1, 1)) & (heatmaps > 0.5)
    weight = (highest & (predicted.detach() > _FROM_HEIGHT)) * known
    offsets, wanted = decoded_offsets(predicted), decoded_offsets(heatmaps)
    errors = functional.smooth_l1_loss(offsets, wanted, beta=_ROUND, reduction='none').sum(2)
    return errors * weight[..., 1:-1, 1:-1]


def _half_mean(errors: Tensor) -> Tensor:
    return errors.sum() / (2 * errors.shape[0])
