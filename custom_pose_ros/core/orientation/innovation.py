"""What the keypoints of an image tell hypotheses (step 10 of docs/filter.md), and which of them cannot be right."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.geometry.rotations import skew_matrix
from custom_pose_ros.core.orientation.hypotheses import POSE, TURN, Correction, Hypotheses
from custom_pose_ros.core.orientation.solver import Observation

_CURVED_RAD = np.deg2rad(1.0)  # standard deviation of the rotation below which its second order is negligible

Innovation = tuple[np.ndarray, np.ndarray, np.ndarray, 'np.ndarray | None']  # what `innovation_of` returns


def innovation_of(
    prior: Hypotheses,
    observation: Observation,
    middle: np.ndarray,
    unit: float,
    there: Hypotheses | None = None,
    step: np.ndarray | None = None,
) -> Innovation:
    """
    Return whitened residuals (M, 2U), their Jacobians (M, 2U, 6) and the noise (M, 2U, 2U).

    The residual is observed minus expected; expectation and noise contain the second order of the rotation, which
    comes last, (M, 2U, 9): None where it is negligible, and where it is already that of `there`.

    Args:
        prior: the hypotheses to correct.
        observation: the keypoints.
        middle: (3,) that of the object, in its frame [m].
        unit: standard deviation of the keypoints over the claimed one.
        there: the same hypotheses as they were corrected before, to linearise there; default: at `prior`.
        step: (M, 18) from `prior` to `there`.
    """
    now = prior if there is None else there
    count, keypoints = len(now), len(observation.directions)
    whiten = observation.whiten / unit
    rotated = (observation.points.points - middle) @ now.R.transpose(0, 2, 1)
    position = rotated + now.centre[:, None]
    inverse_depth = 1.0 / position[..., 2:]
    projected = position[..., :2] * inverse_depth
    in_plane = np.zeros((count, keypoints, 2, 3))
    in_plane[..., 0, 0] = in_plane[..., 1, 1] = inverse_depth[..., 0]
    in_plane[..., 2] = -projected * inverse_depth
    to_image = whiten @ in_plane
    first = (rotated @ _FIRST_ORDER + _SHIFT).reshape(count, keypoints, 3, 6)
    jacobian = (to_image @ first).reshape(count, 2 * keypoints, 6)
    residual = (whiten @ (observation.directions - projected)[..., None]).reshape(count, 2 * keypoints)
    noise = np.tile(np.eye(2 * keypoints), (count, 1, 1))
    curvature = None
    if now.largest_turn_variance > _CURVED_RAD**2:
        turn = now.covariance[:, TURN, TURN]
        second = (rotated @ _SECOND_ORDER).reshape(count, keypoints, 3, 9)
        curvature = (to_image @ second).reshape(count, 2 * keypoints, 9)
        products = 2.0 * (turn[:, :, None, :, None] * turn[:, None, :, None, :]).reshape(count, 9, 9)
        residual = residual - (curvature @ turn.reshape(count, 9, 1))[..., 0]
        noise = noise + curvature @ products @ curvature.transpose(0, 2, 1)
    if step is not None:  # what is expected at `prior` by the line through `there`
        residual = residual + (jacobian @ step[:, POSE, None])[..., 0]
        curvature = None
    return residual, jacobian, noise, curvature


def keypoints_beyond(limit: float, correction: Correction, repeats: float) -> np.ndarray:
    """
    Return (U,) bool, True for keypoints whose squared Mahalanobis distance exceeds a limit under every hypothesis.

    Args:
        limit: squared Mahalanobis distance.
        correction: by the whitened keypoints; in its `spread` each of them has a variance of 1.
        repeats: the variance of each keypoint is taken as 1 / repeats instead.
    """
    residual, spread = correction.residual, correction.spread
    if repeats * correction.chi2.min() <= limit:  # then none of them exceeds it
        return np.zeros(residual.shape[1] // 2, bool)
    surplus = 1.0 - 1.0 / repeats
    xx, yy = (spread[:, k::2, k::2].diagonal(0, 1, 2) - surplus for k in (0, 1))
    xy = spread[:, 0::2, 1::2].diagonal(0, 1, 2)
    x, y = residual[:, 0::2], residual[:, 1::2]
    return ((yy * x * x - 2.0 * xy * x * y + xx * y * y) / (xx * yy - xy * xy)).min(0) > limit


def _rotation_orders() -> tuple[np.ndarray, np.ndarray]:
    """
    Return `first` (3, 18) and `second` (3, 27): `r @ first` and `r @ second` are the derivatives of a rotated lever r.

    A rotation vector w moves r by w x r + (w (w . r) - r (w . w)) / 2. The second order is over the nine products
    w_a w_b.
    """
    first = np.zeros((3, 3, 6))
    first[:, :, 3:] = np.stack([-skew_matrix(unit) for unit in np.eye(3)])
    products = np.zeros((3, 3, 3, 3))
    for i in range(3):
        for k in range(3):
            products[k, i, i, k] += 0.5
            products[i, i, k, k] -= 0.5
    second = 0.5 * (products + products.swapaxes(-1, -2))
    return first.reshape(3, 18), second.reshape(3, 27)


_FIRST_ORDER, _SECOND_ORDER = _rotation_orders()
_SHIFT = np.hstack([np.eye(3), np.zeros((3, 3))]).ravel()
