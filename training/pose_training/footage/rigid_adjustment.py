"""Bundle adjustment of one rigid object that moves before one camera: poses, points and focal length together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import skew_matrix

_ROBUST = 2.5  # standard deviations from which on an observation counts as a Cauchy one
_LEAST_DEPTH = 1e-3
_MOST_DAMPING = 1e8
_CONVERGED = 1e-4  # relative improvement that is not worth another step
_FREE = 1e-9  # of the largest curvature: what holds the seven directions that no picture can tell


@dataclass(frozen=True, eq=False)
class Observations:
    """
    Where points were seen.

    Attributes:
        frames: (M,) indices of poses.
        points: (M,) indices of points.
        places: (M, 2) positions from the camera's principal point [px], without distortion.
        sigmas: (M,) standard deviations [px].
    """

    frames: np.ndarray
    points: np.ndarray
    places: np.ndarray
    sigmas: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Observations:
        return Observations(self.frames[chosen], self.points[chosen], self.places[chosen], self.sigmas[chosen])


@dataclass(frozen=True, eq=False)
class RigidBody:
    """
    A rigid object, its unit of length arbitrary, and its poses in F frames.

    Attributes:
        poses: Stack of F transforms from the object to the camera.
        points: (N, 3), keypoints first.
        focal_px: Of the camera.
        focal_sigma: Relative standard deviation of what was known of the focal length before; 0: it is certain.
        focal_start_px: What was known of it before.
        known_points: (P, 3) places of the first points as they were known before; None where nothing was.
        known_sigma: Standard deviation of these.
    """

    poses: Rigid
    points: np.ndarray
    focal_px: float
    focal_sigma: float
    focal_start_px: float
    known_points: np.ndarray | None = None
    known_sigma: float = np.inf

    @property
    def steps_to_known(self) -> np.ndarray:
        """(P, 3) steps to where the first points were known to be."""
        if self.known_points is None:
            return np.empty((0, 3))
        return self.known_points - self.points[: len(self.known_points)]

    def project(self, frames: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return places (M, 2) [px] from the principal point of points, given by index, in frames."""
        return self._linear(frames, points)[0]

    def errors(self, seen: Observations) -> np.ndarray:
        """Return the (M,) distances [px] of observations from the projections."""
        return np.linalg.norm(seen.places - self.project(seen.frames, seen.points), axis=1)

    def jacobian(self, frames: np.ndarray, points: np.ndarray, kept: int) -> tuple[sparse.csr_matrix, np.ndarray]:
        """
        Return how projections depend on the unknowns.

        Args:
            frames: (M,) indices.
            points: (M,) indices.
            kept: How many points are among the common unknowns.

        Returns:
            (2M, 6F + 3 kept + 1) by common unknowns: steps of the poses, kept points, logarithm of the focal length;
            (M, 2, 3) by the point itself.
        """
        places, by_camera, turned = self._linear(frames, points)
        by_pose = np.concatenate([by_camera, by_camera @ -skew_matrix(turned)], axis=2)
        by_point = by_camera @ self.poses.rotation[frames]
        common, start = len(frames), 6 * len(self.poses.translation)
        columns = [6 * frames[:, None] + np.arange(6), np.full((common, 1), start + 3 * kept)]
        values = [by_pose, places[:, :, None] * (self.focal_sigma > 0)]
        if kept:  # other points get the first columns with zeros
            own = points < kept
            columns.insert(1, start + 3 * np.where(own, points, 0)[:, None] + np.arange(3))
            values.insert(1, by_point * own[:, None, None])
        column = np.repeat(np.hstack(columns)[:, None], 2, axis=1)
        row = np.broadcast_to(np.arange(2 * common).reshape(common, 2, 1), column.shape)
        shape = (2 * common, start + 3 * kept + 1)
        matrix = sparse.csr_matrix((np.concatenate(values, axis=2).ravel(), (row.ravel(), column.ravel())), shape)
        return matrix, by_point

    def _linear(self, frames: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return places (M, 2), their derivatives by the point before the camera (M, 2, 3), and R X (M, 3)."""
        turned = np.einsum('mij,mj->mi', self.poses.rotation[frames], self.points[points])
        return *perspective(turned + self.poses.translation[frames], self.focal_px), turned

    def moved(self, common: np.ndarray, others: np.ndarray, kept: int) -> RigidBody:
        """Return the body after steps of common unknowns (6F + 3 kept + 1,) and of the other points (N - kept, 3)."""
        count = 6 * len(self.poses.translation)
        steps = np.vstack([common[count:-1].reshape(kept, 3), others])
        focal = self.focal_px * float(np.exp(np.clip(common[-1], -0.5, 0.5)))
        return replace(
            self, poses=self.poses.moved(common[:count].reshape(-1, 6)), points=self.points + steps, focal_px=focal
        )


def perspective(before: np.ndarray, focal_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where a camera sees points (M, 3): places (M, 2) [px from the principal point], derivatives (M, 2, 3)."""
    x, y, z = before.T
    z = np.maximum(z, _LEAST_DEPTH)
    scale, zero = focal_px / z, np.zeros(len(z))
    rows = [[scale, zero, -scale * x / z], [zero, scale, -scale * y / z]]
    return np.column_stack([scale * x, scale * y]), np.array(rows).transpose(2, 0, 1)


def _weights(errors: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Return the (M,) weights of Cauchy's loss, 1 for what is exact."""
    return 1 / (1 + (errors / (_ROBUST * sigmas)) ** 2) / sigmas**2


def _cost(body: RigidBody, seen: Observations) -> float:
    loss = np.log1p((body.errors(seen) / (_ROBUST * seen.sigmas)) ** 2).sum() * _ROBUST**2
    return float(loss) + _focal_cost(body) + float((body.steps_to_known**2).sum() / body.known_sigma**2)


def _focal_cost(body: RigidBody) -> float:
    if body.focal_sigma == 0:
        return 0.0
    return float((np.log(body.focal_px / body.focal_start_px) / body.focal_sigma) ** 2)


class _Normal:
    """The normal equations of one step, the points that are not kept eliminated (Schur complement)."""

    def __init__(self, body: RigidBody, seen: Observations, kept: int):
        places = body.project(seen.frames, seen.points)
        common, by_point = body.jacobian(seen.frames, seen.points, kept)
        weights = _weights(np.linalg.norm(seen.places - places, axis=1), seen.sigmas)
        residuals = (seen.places - places).ravel()
        double = np.repeat(weights, 2)
        weighted = sparse.diags(double) @ common
        self.curvature = (common.T @ weighted).toarray()
        self.gradient = weighted.T @ residuals
        prior = 1 / body.focal_sigma**2 if body.focal_sigma else 1.0
        self.curvature[-1, -1] += prior
        self.gradient[-1] -= prior * np.log(body.focal_px / body.focal_start_px)
        steps = body.steps_to_known.ravel()
        start = 6 * len(body.poses.translation)
        known = np.arange(start, start + len(steps))
        self.curvature[known, known] += 1 / body.known_sigma**2
        self.gradient[known] += steps / body.known_sigma**2
        own = np.flatnonzero(seen.points >= kept)
        points = seen.points[own] - kept
        count = len(body.points) - kept
        rows = (2 * own[:, None] + [0, 1]).ravel()
        column = np.repeat(3 * points[:, None, None] + np.arange(3), 2, axis=1).ravel()
        row = np.repeat(np.arange(2 * len(own)), 3)
        by_other = sparse.csr_matrix((by_point[own].ravel(), (row, column)), (2 * len(own), 3 * count))
        self.mixed = (weighted[rows].T @ by_other).tocsr()
        self.point_gradient = by_other.T @ (double[rows] * residuals[rows])
        self.blocks = np.zeros((count, 3, 3))
        np.add.at(self.blocks, points, np.einsum('m,mki,mkj->mij', weights[own], by_point[own], by_point[own]))

    def reduced(self, damping: float) -> tuple[np.ndarray, np.ndarray, sparse.csr_matrix]:
        """Return matrix and right side for the common unknowns, and the inverse of the block of the points."""
        blocks = self.blocks + damping * self.blocks * np.eye(3)
        blocks += (_FREE * max(self.blocks.max(initial=0.0), 1e-9)) * np.eye(3)
        inverse = sparse.block_diag(list(np.linalg.inv(blocks)), format='csr') if len(blocks) else self.mixed.T[:, :0]
        matrix = self.curvature + np.diag(damping * self.curvature.diagonal() + _FREE * self.curvature.max())
        if len(blocks):
            through = self.mixed @ inverse
            matrix = matrix - (through @ self.mixed.T).toarray()
            return matrix, self.gradient - through @ self.point_gradient, inverse
        return matrix, self.gradient, inverse

    def step(self, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """Return steps of the common unknowns and of the other points (N, 3)."""
        matrix, right, inverse = self.reduced(damping)
        common = linalg.solve(matrix, right, assume_a='sym', check_finite=False)
        if not len(self.blocks):
            return common, np.empty((0, 3))
        return common, (inverse @ (self.point_gradient - self.mixed.T @ common)).reshape(-1, 3)


def adjust(body: RigidBody, seen: Observations, kept: int, most_steps: int = 30) -> RigidBody:
    """
    Return the body that explains the observations best, by damped steps (Levenberg and Marquardt).

    Args:
        body: Where to start.
        seen: What was seen.
        kept: How many points, the first ones, are few and seen in many frames.
        most_steps: Bound.
    """
    damping, cost = 1e-3, _cost(body, seen)
    for _ in range(most_steps):
        normal = _Normal(body, seen, kept)
        while damping < _MOST_DAMPING:
            try:
                moved = body.moved(*normal.step(damping), kept)
                new = _cost(moved, seen)
            except (np.linalg.LinAlgError, linalg.LinAlgError):
                new = np.inf
            if new < cost:
                break
            damping *= 5
        else:
            return body
        improvement, body, cost, damping = (cost - new) / max(cost, 1e-12), moved, new, max(damping / 5, 1e-9)
        if improvement < _CONVERGED:
            break
    return body


def place_covariances(body: RigidBody, seen: Observations, kept: int) -> np.ndarray:
    """
    Return how well the projections of the kept points are known in each frame: (F, kept, 2, 2) [px^2].

    Directions that no picture can tell, such as the unit of length, move no projection.
    """
    matrix, _, _ = _Normal(body, seen, kept).reduced(0.0)
    covariance = linalg.pinvh(matrix)
    count = len(body.poses.translation)
    frames, points = (grid.ravel() for grid in np.meshgrid(np.arange(count), np.arange(kept), indexing='ij'))
    jacobian, _ = body.jacobian(frames, points, kept)
    spread = (jacobian @ covariance).reshape(-1, 2, covariance.shape[1])
    blocks = np.einsum('mij,mkj->mik', spread, jacobian.toarray().reshape(spread.shape))
    return blocks.reshape(count, kept, 2, 2)
