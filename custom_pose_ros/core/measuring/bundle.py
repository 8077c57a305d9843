"""
Bundle adjustment: the shape of a rigid object, the lenses and the poses that explain keypoints in many views.

A keypoint of a view is seen at `f (1 + k1 r^2) (x / z, y / z) + c`, with r^2 = (x^2 + y^2) / z^2, counted from the
middle of the image. A lens is the row (log f, k1, c_x, c_y). V views of K keypoints by C lenses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import skew_matrix

LENS = 4  # numbers of a lens
_MAX_STEPS = 60
_CONVERGED = 1e-6  # share of the cost by which a step has to lower it
_NEAREST = 0.05  # of the object's distance: a point nearer to the camera than that is none of a picture
_GAUGE_WEIGHT = 1e3  # how strongly place, attitude and size of the shape are held, in units of the largest information


@dataclass(frozen=True, eq=False)
class Views:
    """
    Keypoints of one object in V views.

    Attributes:
        pixels: (V, K, 2) from the middle of the image [px]; any numbers where the weight is 0.
        weights: (V, K) inverse variances [1/px^2], 0 for what was not seen.
        lens: (V,) int, which of the C lenses.
    """

    pixels: np.ndarray
    weights: np.ndarray
    lens: np.ndarray

    @property
    def count(self) -> int:
        """How many numbers were measured."""
        return 2 * int((self.weights > 0).sum())


@dataclass(frozen=True, eq=False)
class Bundle:
    """
    What explains the views.

    Attributes:
        points: (K, 3) shape, object frame.
        poses: stack of V, `camera_object`.
        lenses: (C, 4).
    """

    points: np.ndarray
    poses: Rigid
    lenses: np.ndarray


@dataclass(frozen=True, eq=False)
class Priors:
    """
    What is known beforehand, as independent normal distributions.

    Attributes:
        lenses: (C, 4) expected.
        lens_weights: (C, 4) inverse variances; infinite for what is held.
        points: (K, 3) expected shape; None where nothing is known of it, place, attitude and size included.
        point_weight: inverse variance of each coordinate.
    """

    lenses: np.ndarray
    lens_weights: np.ndarray
    points: np.ndarray | None = None
    point_weight: float = 0.0


@dataclass(frozen=True, eq=False)
class Adjustment:
    """
    A bundle that explains the views best. The parameters are the 3 K coordinates, then the 4 C numbers of the lenses.

    Attributes:
        bundle: the solution.
        cost: sum of squared, weighted residuals, those of the priors included; with a robust loss, its value.
        residuals: (V, K, 2) observed minus expected [px].
        information: (3 K + 4 C,) squared, inverse covariance of the parameters, the poses being free.
        scores: (V, 3 K + 4 C) gradient of each view's part.
        prior_information: the part of the information that was known beforehand.
    """

    bundle: Bundle
    cost: float
    residuals: np.ndarray
    information: np.ndarray
    scores: np.ndarray
    prior_information: np.ndarray


def adjust(start: Bundle, views: Views, priors: Priors, robust_px: float = 0.0, steps: int = _MAX_STEPS) -> Adjustment:
    """
    Refine a bundle by Levenberg-Marquardt; the poses are eliminated from each step (Schur complement).

    Args:
        start: where to begin.
        views: what was seen.
        priors: what is known beforehand.
        robust_px: scale of the Cauchy loss; 0 for squares.
        steps: at most.

    Raises:
        ValueError: a point that was seen is not in front of its camera in the start.
    """
    damping, bundle = 1e-3, start
    system = _System(bundle, views, priors, robust_px)
    if not np.isfinite(system.cost):
        raise ValueError('a point that was seen must be in front of its camera in the bundle to start from')
    for _ in range(steps):
        new = system.step(damping)
        after = _System(new, views, priors, robust_px)
        if after.cost < system.cost:
            gain = system.cost - after.cost
            done = gain < _CONVERGED * after.cost
            bundle, system, damping = new, after, 0.1 * damping
            if done:
                break
        else:
            damping *= 10.0
            if damping > 1e8:
                break
    information, scores = system.reduced(0.0)[:2]
    return Adjustment(bundle, system.cost, system.residuals, information, scores, system.prior_information())


class _System:
    """Residuals and derivatives at one bundle."""

    def __init__(self, bundle: Bundle, views: Views, priors: Priors, robust_px: float):
        self._bundle, self._views, self._priors = bundle, views, priors
        self._held = np.isinf(priors.lens_weights)
        self._lens_weights = np.where(self._held, 0.0, priors.lens_weights)  # of what is not held
        R, t = bundle.poses
        self._rotated = bundle.points @ R.transpose(0, 2, 1)
        in_camera = self._rotated + t[:, None]
        too_near = (views.weights > 0) & (in_camera[..., 2] <= _NEAREST * np.abs(t[:, 2:]))
        self.residuals = np.zeros_like(views.pixels)
        if too_near.any() or not np.isfinite(bundle.lenses).all():
            self.cost = np.inf
            return
        safe = np.maximum(in_camera[..., 2], 1e-9)
        self._xy, self._depth = in_camera[..., :2] / safe[..., None], safe
        focal, k1, centre = _of_views(bundle.lenses, views.lens)
        self._r2 = (self._xy**2).sum(-1)
        self._gain = focal[:, None] * (1.0 + k1[:, None] * self._r2)
        expected = self._gain[..., None] * self._xy + centre[:, None]
        self.residuals = views.pixels - expected
        squared = (self.residuals**2).sum(-1)
        if robust_px:
            ratio = squared / robust_px**2
            self._weights = views.weights / (1.0 + ratio)
            loss = views.weights * robust_px**2 * np.log1p(ratio)
        else:
            self._weights = views.weights
            loss = views.weights * squared
        self.cost = float(loss.sum() + self._prior_cost())

    def _prior_cost(self) -> float:
        cost = (self._lens_weights * (self._bundle.lenses - self._priors.lenses) ** 2).sum()
        if self._priors.points is not None:
            cost += self._priors.point_weight * ((self._bundle.points - self._priors.points) ** 2).sum()
        return float(cost)

    def _jacobians(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return d pixel / d pose (V, K, 2, 6), / d point (V, K, 2, 3) and / d lens (V, K, 2, 4)."""
        x, y = self._xy[..., 0], self._xy[..., 1]
        focal, k1, _ = _of_views(self._bundle.lenses, self._views.lens)
        bend = 2.0 * (focal * k1)[:, None]
        lens = np.empty((*x.shape, 2, 2))  # d pixel / d (x / z, y / z)
        lens[..., 0, 0], lens[..., 1, 1] = self._gain + bend * x * x, self._gain + bend * y * y
        lens[..., 0, 1] = lens[..., 1, 0] = bend * x * y
        place = np.empty((*x.shape, 2, 3))
        place[..., :2] = lens / self._depth[..., None, None]
        place[..., 2] = -(place[..., :2] @ self._xy[..., None])[..., 0]
        pose = np.concatenate([place, -place @ skew_matrix(self._rotated)], -1)
        point = place @ self._bundle.poses.rotation[:, None]
        camera = np.zeros((*x.shape, 2, LENS))
        # Depths grow with the focal length, so that sizes in the picture stay: steps are not held back by that.
        camera[..., 0] = self._gain[..., None] * self._xy + pose[..., 2] * self._bundle.poses.translation[:, None, 2:]
        camera[..., 1] = (focal[:, None] * self._r2)[..., None] * self._xy
        camera[..., 0, 2] = camera[..., 1, 3] = 1.0
        return pose, point, camera

    def reduced(self, damping: float) -> tuple[np.ndarray, ...]:
        """
        Return the normal equations without the poses, and what gives the poses back.

        Information (Q, Q), scores (V, Q), and of each view the inverse of its own (V, 6, 6), its coupling to the
        parameters (V, 6, Q) and its gradient (V, 6).
        """
        views, priors = self._views, self._priors
        V, K = views.weights.shape
        Q = 3 * K + LENS * len(priors.lenses)
        pose, point, camera = self._jacobians()
        w = self._weights[..., None, None]
        residual = self.residuals[..., None]
        jacobian = np.zeros((V, 2 * K, Q))
        for k in range(K):
            jacobian[:, 2 * k : 2 * k + 2, 3 * k : 3 * k + 3] = point[:, k]
        column = 3 * K + LENS * views.lens[:, None] + np.arange(LENS)
        flat = camera.reshape(V, 2 * K, LENS)
        jacobian[np.arange(V)[:, None, None], np.arange(2 * K)[:, None], column[:, None]] = flat
        weighted = (np.broadcast_to(w, (V, K, 2, 1)).reshape(V, 2 * K, 1) * jacobian).transpose(0, 2, 1)
        pose_flat, residual_flat = pose.reshape(V, 2 * K, 6), residual.reshape(V, 2 * K, 1)
        pose_weighted = (w * pose).reshape(V, 2 * K, 6).transpose(0, 2, 1)
        own = pose_weighted @ pose_flat
        diagonal = np.einsum('vii->vi', own)
        own[:, range(6), range(6)] += damping * diagonal + 1e-9 * diagonal.max(1, keepdims=True) + 1e-12
        inverse = np.linalg.inv(own)
        coupling = pose_weighted @ jacobian
        gradient = (pose_weighted @ residual_flat)[..., 0]
        information = (weighted @ jacobian - coupling.transpose(0, 2, 1) @ inverse @ coupling).sum(0)
        through = (coupling.transpose(0, 2, 1) @ (inverse @ gradient[..., None]))[..., 0]
        scores = (weighted @ residual_flat)[..., 0] - through
        return self._with_priors(information), scores, inverse, coupling, gradient

    def _with_priors(self, information: np.ndarray) -> np.ndarray:
        """Add what is known beforehand; hold place, attitude and size of a shape of which nothing is known."""
        priors, K = self._priors, len(self._bundle.points)
        points, lens = np.arange(3 * K), np.arange(3 * K, len(information))
        largest = float(np.diag(information).max())
        information[lens, lens] += np.where(self._held, 1e9 * largest, self._lens_weights).ravel()
        if priors.points is not None:
            information[points, points] += priors.point_weight
        else:
            gauge = gauge_directions(self._bundle.points)
            information[: 3 * K, : 3 * K] += _GAUGE_WEIGHT * largest * gauge @ gauge.T
        return information

    def prior_information(self) -> np.ndarray:
        """Return what is known beforehand as a part of the information, without what is held."""
        shape = np.full(self._bundle.points.size, self._priors.point_weight)
        return np.diag(np.concatenate([shape, self._lens_weights.ravel()]))

    def _prior_gradient(self) -> np.ndarray:
        priors = self._priors
        lens = self._lens_weights * (priors.lenses - self._bundle.lenses)
        points = np.zeros_like(self._bundle.points)
        if priors.points is not None:
            points = priors.point_weight * (priors.points - self._bundle.points)
        return np.concatenate([points.ravel(), lens.ravel()])

    def step(self, damping: float) -> Bundle:
        """Return the bundle after one damped step."""
        information, scores, inverse, coupling, gradient = self.reduced(damping)
        damped = information + np.diag(damping * np.diag(information))
        change = np.linalg.solve(damped, scores.sum(0) + self._prior_gradient())
        moves = (inverse @ (gradient - coupling @ change)[..., None])[..., 0]
        K = len(self._bundle.points)
        lens_change = change[3 * K :].reshape(-1, LENS)
        rotation, translation = self._bundle.poses.moved(moves)
        translation[:, 2] *= np.exp(np.clip(lens_change[self._views.lens, 0], -1.0, 1.0))
        points = self._bundle.points + change[: 3 * K].reshape(K, 3)
        return Bundle(points, Rigid(rotation, translation), self._bundle.lenses + lens_change)


def robust_noise(squared: np.ndarray, unknown: int) -> float:
    """
    Return the standard deviation of a coordinate of keypoints of which some may be far off, by the median error.

    Args:
        squared: (N,) errors of the keypoints in a fit.
        unknown: how many numbers were fitted to them.
    """
    spare = max(2 * len(squared) - unknown, 1) / (2 * len(squared))
    return float(np.sqrt(np.median(squared) / (2 * np.log(2)) / spare))


def gauge_directions(points: np.ndarray) -> np.ndarray:
    """Return (3 K, 7) orthonormal directions in which points (K, 3) are only moved, turned and scaled as a whole."""
    centred = points - points.mean(0)
    shifts = np.tile(np.eye(3), (len(points), 1))
    turns = -skew_matrix(centred).reshape(-1, 3)
    left, sizes, _ = np.linalg.svd(np.column_stack([shifts, turns, centred.ravel()]), full_matrices=False)
    return left[:, sizes > 1e-9 * sizes[0]]


def _of_views(lenses: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return focal lengths (V,), k1 (V,) and principal points (V, 2) of the views."""
    rows = lenses[which]
    return np.exp(rows[:, 0]), rows[:, 1], rows[:, 2:]
