"""Bundle adjustment of one rigid object: shape, poses and focal length from what is seen, with honest covariances."""

from __future__ import annotations

import moving_box
import numpy as np

from training.pose_training.footage.clicked_body import body_from_clicks, click_observations
from training.pose_training.footage.rigid_adjustment import place_covariances

SHARES = np.linspace(0, 1, 6)
MIDDLE = moving_box.CAMERA.K[:2, 2]


def clicks(noise_px: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all corners (6, 8, 3) in six pictures from the principal point, with noise, and without."""
    true = np.array([
        moving_box.CAMERA.project(moving_box.pose_at(share).apply(moving_box.CORNERS)) for share in SHARES
    ])
    noisy = true + np.random.default_rng(seed).normal(0, noise_px, true.shape)
    return np.dstack([noisy - MIDDLE, np.full(true.shape[:2], 2)]), true - MIDDLE


def test_exact_clicks_give_the_shape_up_to_its_unit() -> None:
    seen, _ = clicks(0.0, 0)
    body = body_from_clicks(seen, 300.0, 0.3)  # the true focal length is 307 px
    found, true = body.points - body.points.mean(0), moving_box.CORNERS - moving_box.CORNERS.mean(0)
    u, values, v = np.linalg.svd(found.T @ true)
    assert np.linalg.det(u @ v) > 0  # not its mirror image
    scale = values.sum() / (found**2).sum()
    # The prior pulls the focal length: what is left is smaller than what a click could tell.
    assert np.abs(scale * found @ u @ v - true).max() < 0.002
    assert body.errors(click_observations(seen, np.arange(6))).max() < 0.1


def test_covariances_of_places_are_honest() -> None:
    """Over 8 draws of the noise, squared errors of the projections are what their covariances say, on average."""
    ratios = []
    for seed in range(8):
        seen, true = clicks(1.0, seed)
        body = body_from_clicks(seen, 307.0, 0.05)
        frames, points = np.meshgrid(np.arange(6), np.arange(8), indexing='ij')
        errors = body.project(frames.ravel(), points.ravel()).reshape(6, 8, 2) - true
        covariances = place_covariances(body, click_observations(seen, np.arange(6)), 8)
        ratios.append(np.einsum('fki,fkij,fkj->fk', errors, np.linalg.inv(covariances), errors).mean() / 2)
    assert 0.7 < np.mean(ratios) < 1.4  # 2 x 8 x 28 numbers that tell of errors: within 10 %, and they are correlated
