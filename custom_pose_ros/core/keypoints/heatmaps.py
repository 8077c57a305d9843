"""Keypoint heatmaps: encode positions as Gaussians, decode peaks with sub-pixel position and covariance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

# A Gaussian centred between four cells has only 0.72 of its height in them (sigma 7 px, stride 8), so cells are
# accepted from this share of the threshold on, and the height of the fitted peak decides.
_CELL_SHARE = 0.7
_LOG_FLOOR = 1e-3  # heights below this are taken as this before the logarithm
_MIN_CURVATURE = 0.02  # [1 / cell^2]; a peak is taken as at most 7 cells wide (one sigma)
_CORNER_CURVATURE = (8 / 7) ** 2  # [1 / cell^2]; in a corner of the map there is nothing to measure it from
_MAP_NOISE = 0.03  # one sigma of a heatmap cell, as a share of a full peak
_CENTRE = 4  # index of the cell itself in what `_steps` returns
_POSITION_FLOOR = 0.125  # [cell], one sigma: error left at the clearest peaks (labels, sampling); measured on a network


@dataclass(frozen=True, eq=False)
class Peaks:
    """
    M peaks of one or more heatmaps.

    Attributes:
        positions: (M, 2) float64, x and y in pixels of the network input.
        covariances: (M, 2, 2) float64, px^2.
        scores: (M,) float64 in [0, 1], heights of the fitted peaks.
    """

    positions: np.ndarray
    covariances: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: np.ndarray) -> Peaks:
        """Return some of the peaks."""
        return Peaks(self.positions[keep], self.covariances[keep], self.scores[keep])


def encode_heatmaps(
    keypoints: np.ndarray, visible: np.ndarray, shape: tuple[int, int], stride: int, sigma_px: float
) -> np.ndarray:
    """
    Draw keypoints as Gaussians of height 1; where instances overlap, the higher value stays.

    Args:
        keypoints: (A, K, 2) x and y in pixels of the network input; ignored where not visible (NaN is fine).
        visible: (A, K) bool, which of them are drawn.
        shape: rows h and columns w of the maps; cell i is centred on pixel i * stride + (stride - 1) / 2.
        stride: pixels of the network input for each cell of the maps.
        sigma_px: width of the Gaussians [px of the network input].

    Returns:
        (K + 1, h, w) float32; the last map is the background, 1 minus the highest other value.
    """
    keypoints, visible = check_instances(keypoints, visible)
    if not sigma_px > 0:
        raise ValueError(f'sigma_px must be positive, got {sigma_px}')
    height, width = shape
    # Cell units; an absent keypoint is moved so far away that its Gaussian is exactly 0.
    cells = np.where(visible[..., None], (keypoints - (stride - 1) / 2) / stride, -1e6)
    scale = -0.5 * (stride / sigma_px) ** 2
    along_x = np.exp(scale * (np.arange(width) - cells[..., :1]) ** 2).astype(np.float32)  # (A, K, w)
    along_y = np.exp(scale * (np.arange(height) - cells[..., 1:]) ** 2).astype(np.float32)  # (A, K, h)
    heatmaps = np.zeros((keypoints.shape[1] + 1, height, width), np.float32)
    for row, column in zip(along_y, along_x):
        np.maximum(heatmaps[:-1], row[:, :, None] * column[:, None, :], out=heatmaps[:-1])
    heatmaps[-1] = 1 - heatmaps[:-1].max(0, initial=0)
    return heatmaps


def find_peaks(
    heatmaps: np.ndarray, threshold: float, stride: int = 8, max_peaks: int = 50
) -> tuple[np.ndarray, Peaks]:
    """
    Find the peaks of C heatmaps; every map given is searched, so leave the background out.

    A peak is a cell that no neighbour of its 3 x 3 exceeds; a plateau is one peak. A quadratic form through the
    logarithms of the 3 x 3 cells, exact for a Gaussian of any width and direction, has its maximum at the position (at
    most half a cell off along each axis) and the score as its height; k is its curvature (negative Hessian). At the
    border of the map the missing cells are supplied from the curvature along the other axis.

    Covariance, with S = inverse of k (the squared width of the peak) and the height a:
    ``(1 - a) S  +  noise^2 exp(mean of k) / (2 a^2) S^2  +  floor^2 I``.
    The first term follows from training by squared error: such a network predicts the mean of the target over all it
    holds possible, i.e. the Gaussian target, of squared width T, blurred by the network's own uncertainty P. For a
    round P, S = T + P and a = T / S, from which P = (1 - a) S follows without knowing T. The second term carries the
    noise of the cells through the fit, so that a flat peak is uncertain even where it is high. The third is a floor.

    Args:
        heatmaps: (C, h, w) float; never changed. NaN and negative cells count as 0.
        threshold: lowest height of a peak.
        stride: pixels of the network input for each cell.
        max_peaks: the highest so many cells of each map become peaks, so that pure noise stays cheap.

    Returns:
        The map of each peak, (M,) int, ascending, and M peaks, those of each map highest first.
    """
    heatmaps = np.asarray(heatmaps)
    if heatmaps.ndim != 3:
        raise ValueError(f'heatmaps must have shape (C, h, w), got {heatmaps.shape}')
    channels, height, width = heatmaps.shape
    if not heatmaps.size:
        return np.zeros(0, int), Peaks(np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0))
    # A rim of zeros keeps the maps apart when they are stacked into one image and gives every cell eight neighbours.
    padded = np.zeros((channels, height + 2, width + 2), np.float32)
    padded[:, 1:-1, 1:-1] = heatmaps

    index, plateau_shift = _local_maxima(padded.reshape(-1, width + 2), _CELL_SHARE * threshold)
    if len(index) > max_peaks and np.bincount(index // padded[0].size).max() > max_peaks:
        keep = _highest_of_each(index // padded[0].size, padded.ravel()[index], max_peaks)
        index, plateau_shift = index[keep], plateau_shift[:, keep]
    row, column = np.divmod(index, width + 2)
    channel, row = np.divmod(row, height + 2)
    cells = np.array([column, row]) - 1

    form = _fit(padded, index, cells, plateau_shift)
    scores = np.minimum(form.height, 1.0)
    positions = ((cells + (form.offset + 0.5)) * stride - 0.5).T
    covariances = stride**2 * _covariances(form, scores)
    order = np.lexsort((-scores, channel))
    order = order[scores[order] >= threshold]
    return channel[order], Peaks(positions[order], covariances[order], scores[order])


def check_instances(keypoints: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (A, K, 2) as float64 and visible (A, K) as bool; raise ValueError on other shapes."""
    keypoints, visible = np.asarray(keypoints, float), np.asarray(visible, bool)
    if keypoints.ndim != 3 or keypoints.shape[2] != 2:
        raise ValueError(f'keypoints must have shape (A, K, 2), got {keypoints.shape}')
    if visible.shape != keypoints.shape[:2]:
        raise ValueError(f'visible must have shape {keypoints.shape[:2]}, got {visible.shape}')
    return keypoints, visible


@lru_cache(maxsize=16)
def _steps(width: int) -> np.ndarray:
    """Return (9, 1) index steps from a cell: before it along x and y, after it, the cell itself, the four corners."""
    return np.array([-1, -width, 1, width, 0, -width - 1, -width + 1, width - 1, width + 1])[:, None]


def _local_maxima(stacked: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the flat indices (M,) of the local maxima, and how far the centre of each one's plateau lies from it (2, M).

    The shift is in cells and 0 for single cells. Of a plateau, the cell nearest to its centre is returned.
    """
    flat, width = stacked.reshape(-1), stacked.shape[1]
    high = (flat >= max(threshold, _LOG_FLOOR)).nonzero()[0]  # few of all cells
    around = np.fmax(flat[high + _steps(width)], 0)
    highest = np.logical_and.reduce(around <= around[_CENTRE])
    index, around = high[highest], around[:, highest]
    if np.count_nonzero(around == around[_CENTRE]) == len(index):
        return index, np.zeros((2, len(index)))
    mask = np.zeros(stacked.shape, np.uint8)
    mask.reshape(-1)[index] = 1
    _, labels, _, centroids = cv2.connectedComponentsWithStats(mask, connectivity=8)
    label = labels.ravel()[index]
    shift = centroids[label] - np.stack([index % width, index // width], 1)
    order = np.lexsort((index, (shift**2).sum(1).round(6), label))
    _, first = np.unique(label[order], return_index=True)
    chosen = np.sort(order[first])
    return index[chosen], shift[chosen].T


def _highest_of_each(group: np.ndarray, value: np.ndarray, limit: int) -> np.ndarray:
    """Return where the `limit` highest values of each group stand; `group` (M,) ascends."""
    order = np.lexsort((-value, group))
    rank = np.arange(len(group)) - np.searchsorted(group, group)  # sorting keeps the groups where they are
    return np.sort(order[rank < limit])


class _Form(NamedTuple):
    """
    Quadratic forms through the logarithms around M cells.

    Attributes:
        offset: (2, M) of the maximum from the cell [cells].
        height: (M,) at the maximum.
        spread: (3, M) xx, yy and xy of the inverse curvature [cell^2].
        curvature: (M,) mean over both axes [1 / cell^2].
        floor: least variance of the position [cell^2], one for all or (M,).
    """

    offset: np.ndarray
    height: np.ndarray
    spread: np.ndarray
    curvature: np.ndarray
    floor: np.ndarray | float


def _fit(padded: np.ndarray, index: np.ndarray, cells: np.ndarray, plateau_shift: np.ndarray) -> _Form:
    """Fit the forms; `cells` (2, M) are the columns and rows of the peaks in their maps."""
    _, height, width = padded.shape
    around = padded.reshape(-1)[index + _steps(width)]
    around = np.log(np.minimum(np.fmax(around, _LOG_FLOOR), 1 / _LOG_FLOOR), dtype=float)
    before, after, centre, corners = around[:2], around[2:4], around[_CENTRE], around[5:]
    second = before - 2 * centre + after
    cross = 0.25 * (corners[3] - corners[2] - corners[1] + corners[0])
    no_before, no_after = cells == 0, cells == [[width - 3], [height - 3]]
    border = no_before | no_after
    floor: np.ndarray | float = _POSITION_FLOOR**2
    if np.count_nonzero(border):
        second = np.where(border, np.where(border[::-1], -_CORNER_CURVATURE, second[::-1]), second)
        before, after = (
            np.where(no_before, np.where(no_after, centre, 2 * centre - after + second), before),
            np.where(no_after, np.where(no_before, centre, 2 * centre - before + second), after),
        )
        cross = np.where(border.any(0), 0.0, cross)
        floor = np.where(border.all(0), 1 / 12, floor)  # in a corner, anywhere in the cell

    curvature = np.maximum(-second, _MIN_CURVATURE)
    product = curvature[0] * curvature[1]
    limit = 0.9 * np.sqrt(product)  # keeps the form positive definite
    cross = np.minimum(np.maximum(cross, -limit), limit)
    spread = np.array([curvature[1], curvature[0], cross]) / (product - cross * cross)
    slope = 0.5 * (after - before)
    offset = spread[:2] * slope + spread[2] * slope[::-1]
    level = second >= -1e-6
    if np.count_nonzero(level):
        offset = np.where(level, plateau_shift, offset)
    offset = np.minimum(np.maximum(offset, -0.5), 0.5)
    along = slope * offset - 0.5 * curvature * offset * offset
    rise = along[0] + along[1] + cross * offset[0] * offset[1]
    return _Form(offset, np.exp(centre + rise), spread, 0.5 * (curvature[0] + curvature[1]), floor)


def _covariances(form: _Form, heights: np.ndarray) -> np.ndarray:
    """Return (M, 2, 2) covariances [cell^2] of fitted peaks, heights in [0, 1]; see `find_peaks`."""
    xx, yy, xy = form.spread
    noise = 0.5 * _MAP_NOISE**2 * np.exp(np.minimum(form.curvature, 5.0)) / np.maximum(heights, _LOG_FLOOR) ** 2
    low = 1 - heights
    covariances = np.empty((len(heights), 2, 2))
    covariances[:, 0, 0] = low * xx + noise * (xx * xx + xy * xy) + form.floor
    covariances[:, 1, 1] = low * yy + noise * (yy * yy + xy * xy) + form.floor
    covariances[:, 0, 1] = covariances[:, 1, 0] = xy * (low + noise * (xx + yy))
    return covariances
