"""Metrics: how far keypoints and poses are from the truth."""

from __future__ import annotations

import numpy as np


def keypoint_errors_px(predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """
    Return the distance of each keypoint from its true position [px], NaN where it does not count.

    predicted : (..., K, 2) px; NaN where a keypoint was not found.
    truth : (..., K, 2) px.
    visible : (..., K) bool, True where the truth is labelled.

    Returns (..., K); NaN where the truth is not labelled or the keypoint was not found. Raises ValueError on shapes
    that do not fit, as every function here.
    """
    predicted, truth, visible = _keypoints(predicted, truth, visible)
    return np.where(visible, np.hypot(*np.moveaxis(predicted - truth, -1, 0)), np.nan)


def mean_error_px(predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> float:
    """Return the mean keypoint error [px] over all keypoints that were labelled and found; NaN when there is none."""
    errors = keypoint_errors_px(predicted, truth, visible)
    found = errors[~np.isnan(errors)]
    return float(found.mean()) if found.size else float('nan')


def rms_error_px(predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray) -> float:
    """Return the root mean square keypoint error [px] over all labelled and found keypoints; NaN when none is."""
    errors = keypoint_errors_px(predicted, truth, visible)
    found = errors[~np.isnan(errors)]
    return float(np.sqrt(np.square(found).mean())) if found.size else float('nan')


def pck(predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray, threshold_px: float | np.ndarray) -> float:
    """
    Return the percentage of correct keypoints as a share in [0, 1]: those at most `threshold_px` from the truth.

    A labelled keypoint that was not found is wrong. Shapes as in `keypoint_errors_px`; threshold_px is one number, or
    an array that broadcasts to (..., K), e.g. (A, 1) for a share of the size of each instance. NaN when nothing is
    labelled.
    """
    errors = keypoint_errors_px(predicted, truth, visible)
    count = np.count_nonzero(visible)
    return float(np.count_nonzero(errors <= threshold_px) / count) if count else float('nan')


def oks(
    predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray, sigmas: np.ndarray, area: float | np.ndarray
) -> np.ndarray:
    """
    Return the object keypoint similarity of COCO, in [0, 1].

    ``mean over labelled k of exp(-d_k^2 / (2 area (2 sigma_k)^2))``; a keypoint that was not found contributes 0.

    sigmas : (K,) as a share of the size; area : scalar or (...) [px^2], the square of the size of the instance.
    Other shapes as in `keypoint_errors_px`. Returns (...); NaN where nothing is labelled.
    """
    errors = keypoint_errors_px(predicted, truth, visible)
    sigmas, area = np.asarray(sigmas, float), np.asarray(area, float)
    if sigmas.shape != errors.shape[-1:]:
        raise ValueError(f'sigmas must have shape {errors.shape[-1:]}, got {sigmas.shape}')
    if not (area > 0).all():
        raise ValueError(f'area must be positive, got {area}')
    similarity = np.exp(-np.square(errors) / (2 * area[..., None] * np.square(2 * sigmas)))
    count = np.asarray(visible, bool).sum(-1)
    return np.nan_to_num(similarity).sum(-1) / np.where(count, count, np.nan)


def geodesic_angle_rad(R_a: np.ndarray, R_b: np.ndarray) -> np.ndarray:
    """
    Return the angle of the rotation between two rotations [rad], in [0, pi]; (..., 3, 3) each, broadcast.

    Taken from sine and cosine (`atan2`), so that it is exact for small angles too, unlike the arc cosine of the trace.
    """
    R_a, R_b = _rotations('R_a', R_a), _rotations('R_b', R_b)
    between = np.swapaxes(R_a, -1, -2) @ R_b
    axis = np.stack(
        [
            between[..., 2, 1] - between[..., 1, 2],
            between[..., 0, 2] - between[..., 2, 0],
            between[..., 1, 0] - between[..., 0, 1],
        ],
        -1,
    )
    return np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(between, axis1=-2, axis2=-1) - 1)


def add_m(
    model_points: np.ndarray,
    R_estimated: np.ndarray,
    t_estimated: np.ndarray,
    R_true: np.ndarray,
    t_true: np.ndarray,
) -> np.ndarray:
    """
    Return ADD [m]: the mean distance of the object's points between two poses (Hinterstoisser et al., ACCV 2012).

    model_points : (N, 3) m, rows with NaN are left out; R_* : (..., 3, 3); t_* : (..., 3) m. Returns (...).
    """
    points = np.asarray(model_points, float)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f'model_points must have shape (N, 3), got {points.shape}')
    points = points[~np.isnan(points).any(1)]
    if not len(points):
        raise ValueError('model_points must have at least one known point, got none')
    estimated = _place(points, 'R_estimated', R_estimated, 't_estimated', t_estimated)
    true = _place(points, 'R_true', R_true, 't_true', t_true)
    return np.linalg.norm(estimated - true, axis=-1).mean(-1)


def _place(points: np.ndarray, R_name: str, R: np.ndarray, t_name: str, t: np.ndarray) -> np.ndarray:
    """Return (..., N, 3): points (N, 3) rotated by R and moved by t."""
    t = np.asarray(t, float)
    if t.shape[-1:] != (3,):
        raise ValueError(f'{t_name} must have shape (..., 3), got {t.shape}')
    return points @ np.swapaxes(_rotations(R_name, R), -1, -2) + t[..., None, :]


def _rotations(name: str, R: np.ndarray) -> np.ndarray:
    R = np.asarray(R, float)
    if R.shape[-2:] != (3, 3):
        raise ValueError(f'{name} must have shape (..., 3, 3), got {R.shape}')
    return R


def _keypoints(
    predicted: np.ndarray, truth: np.ndarray, visible: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted, truth, visible = np.asarray(predicted, float), np.asarray(truth, float), np.asarray(visible, bool)
    if truth.ndim < 2 or truth.shape[-1] != 2:
        raise ValueError(f'truth must have shape (..., K, 2), got {truth.shape}')
    if predicted.shape != truth.shape:
        raise ValueError(f'predicted must have shape {truth.shape}, got {predicted.shape}')
    if visible.shape != truth.shape[:-1]:
        raise ValueError(f'visible must have shape {truth.shape[:-1]}, got {visible.shape}')
    return predicted, truth, visible
