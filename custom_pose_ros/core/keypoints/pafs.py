"""Part affinity fields: encode limbs as unit vectors, score candidate limbs by the line integral along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.keypoints.heatmaps import check_instances

SAMPLES = 10  # points read along each candidate limb
SUPPORT = 0.05  # a point supports a limb where the field agrees with it by more than this
_SHARES = np.linspace(0, 1, SAMPLES, dtype=np.float32)[:, None]
_CHUNK = 4096  # candidates scored at a time: bounds memory and keeps the samples in the cache


def encode_pafs(
    keypoints: np.ndarray,
    visible: np.ndarray,
    skeleton: Sequence[tuple[int, int]],
    shape: tuple[int, int],
    stride: int,
    thickness: float = 1.0,
) -> np.ndarray:
    """
    Draw limbs as unit vectors from their first to their second keypoint (Cao et al., CVPR 2017).

    Where limbs of several instances overlap, their vectors are averaged. A limb of no length has no direction and is
    not drawn.

    Args:
        keypoints: (A, K, 2) x and y in pixels of the network input; ignored where not visible (NaN is fine).
        visible: (A, K) bool; a limb is drawn where both its ends are.
        skeleton: L pairs of keypoint indices.
        shape: rows h and columns w of the maps; cell i is centred on pixel i * stride + (stride - 1) / 2.
        stride: pixels of the network input for each cell of the maps.
        thickness: half the width of a limb [cells]; limbs reach as far beyond their ends.

    Returns:
        (2 L, h, w) float32; maps 2 l and 2 l + 1 are x and y of limb l.
    """
    keypoints, visible = check_instances(keypoints, visible)
    height, width = shape
    pairs = np.asarray(skeleton, int).reshape(-1, 2)
    cells = (keypoints - (stride - 1) / 2) / stride
    start, vector = cells[:, pairs[:, 0]], cells[:, pairs[:, 1]] - cells[:, pairs[:, 0]]
    length = np.hypot(vector[..., 0], vector[..., 1])
    drawn = visible[:, pairs].all(2) & (length > 1e-6)  # False where NaN

    reach = length[..., None, None].astype(np.float32)
    ux, uy = np.moveaxis(vector / np.where(drawn, length, 1)[..., None], -1, 0).astype(np.float32)[..., None, None]
    x0, y0 = np.moveaxis(start, -1, 0).astype(np.float32)[..., None, None]
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    total = np.zeros((len(pairs), 2, height, width), np.float32)
    count = np.zeros((len(pairs), height, width), np.float32)
    for i, limbs in enumerate(drawn):
        dx, dy = columns - x0[i, limbs], rows - y0[i, limbs]
        along, across = dx * ux[i, limbs] + dy * uy[i, limbs], dx * uy[i, limbs] - dy * ux[i, limbs]
        inside = (abs(across) <= thickness) & (along >= -thickness) & (along <= reach[i, limbs] + thickness)
        total[limbs, 0] += inside * ux[i, limbs]
        total[limbs, 1] += inside * uy[i, limbs]
        count[limbs] += inside
    total /= np.maximum(count, 1)[:, None]
    return total.reshape(-1, height, width)


def score_limbs(
    pafs: np.ndarray, limbs: np.ndarray, positions: np.ndarray, starts: np.ndarray, ends: np.ndarray, stride: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """
    Score P candidate limbs by the mean agreement of the field with their direction.

    The field is read at SAMPLES evenly spaced points, both ends included, in the nearest cell. Agreement is the scalar
    product of the field with the unit vector of the candidate. A candidate shorter than a cell has no direction the
    field could resolve: there the strength of the field is taken instead.

    Args:
        pafs: (2 L, h, w) float32, as from `encode_pafs`; never changed.
        limbs: (P,) int, the limb of each candidate.
        positions: (M, 2) of peaks, pixels of the network input.
        starts: (P,) int, the peak where each candidate starts.
        ends: (P,) int, the peak where each candidate ends.
        stride: pixels of the network input for each cell of the maps.

    Returns:
        Scores (P,), mean agreement (1 for a perfect limb, negative against the field), and supports (P,), the share of
        points in [0, 1] where the field agrees by more than SUPPORT; both float32.
    """
    pafs = np.ascontiguousarray(pafs, np.float32)
    if pafs.ndim != 3 or len(pafs) % 2:
        raise ValueError(f'pafs must have shape (2 L, h, w), got {pafs.shape}')
    _, height, width = pafs.shape
    last = np.array([[width], [height]], np.float32) - np.float32(0.01)
    cells = np.minimum(np.maximum((positions.T + 0.5) / stride, 0), last).astype(np.float32)
    scores, supports = np.empty(len(limbs), np.float32), np.empty(len(limbs), np.float32)
    for first in range(0, len(limbs), _CHUNK):
        part = slice(first, first + _CHUNK)
        scores[part], supports[part] = _score_chunk(pafs, limbs[part], cells, starts[part], ends[part])
    return scores, supports


def _score_chunk(
    pafs: np.ndarray, limbs: np.ndarray, cells: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return `score_limbs` of some candidates; `cells` (2, M) are the columns and rows of the peaks."""
    _, height, width = pafs.shape
    begin = cells.take(starts, 1)
    step = cells.take(ends, 1) - begin
    # Samples lie along the first axis, so that every operation runs over long contiguous rows of candidates.
    cell = (_SHARES * step[1] + begin[1]).astype(np.int32)
    cell *= np.int32(width)
    cell += (_SHARES * step[0] + begin[0]).astype(np.int32)
    cell += (limbs * (2 * height * width)).astype(np.int32)
    flat = pafs.reshape(-1)
    x, y = flat.take(cell), flat[height * width :].take(cell)

    length = np.sqrt(step[0] * step[0] + step[1] * step[1])
    unit = step / np.maximum(length, 1e-6)
    short = (length < 1).nonzero()[0]
    strength = np.hypot(x[:, short], y[:, short])
    x *= unit[0]
    y *= unit[1]
    x += y
    x[:, short] = strength
    support = (x > SUPPORT).view(np.int8).sum(0, dtype=np.int8)
    return x.sum(0) / np.float32(SAMPLES), support / np.float32(SAMPLES)
