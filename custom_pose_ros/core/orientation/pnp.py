"""Perspective-n-point: poses that explain image points, refined with their covariances, several at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel

MIN_POINTS = 4
_COLLINEAR_RATIO = 0.01  # second extent / first extent of the points below which they are one line
_COINCIDENT_M = 1e-9  # second extent [m] below which the points are one, whatever rounding makes of their ratio
_PLANAR_RATIO = 0.02  # third extent / first extent below which the planar solver gives good starts
_MAX_STEPS = 25
_CONVERGED_CHI2 = 1e-5  # improvement of chi-square that is no longer worth a step


@dataclass(frozen=True, eq=False)
class PointSet:
    """
    Some points of an object and their geometry, which is computed once for every set that is seen together.

    Attributes:
        points: (K, 3) positions in the object frame [m].
    """

    points: np.ndarray

    @cached_property
    def centroid(self) -> np.ndarray:
        """(3,) mean of the points."""
        return self.points.mean(0)

    @cached_property
    def _principal(self) -> tuple[np.ndarray, np.ndarray]:
        """Extents (3,) [m], largest first, and the (3, 3) rotation whose rows are their directions."""
        _, extents, axes = np.linalg.svd(self.points - self.centroid, full_matrices=True)
        extents = np.concatenate([extents, np.zeros(3)])[:3]
        axes[2] *= np.sign(np.linalg.det(axes))
        return extents, axes

    @property
    def normal(self) -> np.ndarray:
        """(3,) direction of the smallest extent: the normal of the plane for planar points."""
        return self._principal[1][2]

    @property
    def planar(self) -> bool:
        return bool(self._principal[0][2] < _PLANAR_RATIO * self._principal[0][0])

    @cached_property
    def refusal(self) -> str | None:
        """Why no pose can be computed from these points, or None when one can."""
        if len(self.points) < MIN_POINTS:
            return f'needs at least {MIN_POINTS} visible keypoints with a known position, got {len(self.points)}'
        if self._on_a_line:
            return 'the visible keypoints lie on one line of the object: the rotation about it cannot be seen'
        return None

    @cached_property
    def homography_defined(self) -> bool:
        """Whether the points are planar and stay off one line when any one of them is left out."""
        return self.planar and not any(
            PointSet(np.delete(self.points, i, axis=0))._on_a_line for i in range(len(self.points))
        )

    @property
    def _on_a_line(self) -> bool:
        extents = self._principal[0]
        return bool(extents[1] <= max(_COLLINEAR_RATIO * extents[0], _COINCIDENT_M))

    @cached_property
    def in_plane(self) -> np.ndarray:
        """(K, 3) points in principal axes about the centroid, flattened to z = 0."""
        flat = (self.points - self.centroid) @ self._principal[1].T
        flat[:, 2] = 0.0
        return np.ascontiguousarray(flat)

    @property
    def R_plane_object(self) -> np.ndarray:
        """(3, 3) rotation from the object frame to the principal axes."""
        return self._principal[1]


def known_points(model: ObjectModel) -> PointSet:
    """
    Return the model points of an object whose position is known, from which its orientation can be computed.

    Raises:
        ConfigError: they are too few, on one line, or there are none: the object has no orientation.
    """
    if model.model_points is None:
        raise ConfigError(f'object {model.name!r} has no model_points: add them to its object.yaml to get orientations')
    points = PointSet(model.model_points[model.has_position])
    if points.refusal:
        raise ConfigError(f'object {model.name!r}: model_points: {points.refusal}')
    return points


def initial_poses(points: PointSet, directions: np.ndarray) -> Rigid:
    """
    Return B >= 0 poses `camera_object` to start from, as a stack; both solutions of a planar set.

    IPPE (Collins and Bartoli 2014) for planar sets; SQPnP (Terzakis and Lourakis 2020) and its mirror image otherwise
    and where IPPE finds nothing.

    Args:
        points: the K points of the object.
        directions: (K, 2) undistorted image points x / z, y / z.
    """
    found: list[Rigid] = []
    if points.homography_defined:
        for R_plane, t in _solve_pnp(points.in_plane, directions, cv2.SOLVEPNP_IPPE):
            R = R_plane @ points.R_plane_object
            found.append(Rigid(R, t - R @ points.centroid))
    if not found:
        for R, t in _solve_pnp(points.points - points.centroid, directions, cv2.SOLVEPNP_SQPNP):
            found.append(Rigid(R, t - R @ points.centroid))
        found += [mirrored_pose(points, pose) for pose in found]
    return Rigid.stack(found) if found else Rigid(np.empty((0, 3, 3)), np.empty((0, 3)))


def _solve_pnp(points: np.ndarray, directions: np.ndarray, method: int) -> list[Rigid]:
    """Return OpenCV's finite solutions with every point in front of the camera."""
    try:
        _, rotations, translations, _ = cv2.solvePnPGeneric(points, directions, np.eye(3), None, flags=method)
    except cv2.error:  # OpenCV refuses some degenerate views by exception; they have no solution
        return []
    solutions = []
    for rotation, translation in zip(rotations, translations):
        R, t = cv2.Rodrigues(rotation)[0], translation.ravel()
        if np.isfinite(R).all() and np.isfinite(t).all() and (points @ R[2] + t[2]).min() > 0.0:
            solutions.append(Rigid(R, t))
    return solutions


def mirrored_pose(points: PointSet, camera_object: Rigid) -> Rigid:
    """
    Return the pose that looks the same from far away: the points' main plane reflected about the line of sight.

    One pose or a stack; the centroid stays where it is.
    """
    R = camera_object.rotation
    centre = R @ points.centroid + camera_object.translation
    sight = centre / np.linalg.norm(centre, axis=-1, keepdims=True)
    R_mirrored = R - 2.0 * sight[..., :, None] * (sight[..., None, :] @ R)
    R_mirrored = R_mirrored - 2.0 * (R_mirrored @ points.normal)[..., :, None] * points.normal
    return Rigid(R_mirrored, centre - R_mirrored @ points.centroid)


def whitening(covariances: np.ndarray) -> np.ndarray:
    """Return the (K, 2, 2) matrices W with W C W^T = 1 for (K, 2, 2) positive definite covariances C (closed form)."""
    a, b, c = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    first = 1.0 / np.sqrt(a)
    second = 1.0 / np.sqrt(c - b * b / a)
    W = np.zeros_like(covariances)
    W[:, 0, 0] = first
    W[:, 1, 0] = -b / a * second
    W[:, 1, 1] = second
    return W


def linearise(
    poses: Rigid, points: np.ndarray, directions: np.ndarray, whiten: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return whitened residuals (B, 2K), their Jacobians (B, 2K, 6) and the smallest depths (B,) of B poses.

    The residual is observed minus projected. The Jacobian is of the projection, over (x, y, z of the object origin,
    rotation about the camera's fixed X, Y, Z).

    Args:
        poses: a stack of B, `camera_object`.
        points: (K, 3) [m], in the object frame.
        directions: (K, 2) undistorted image points; (B, K, 2) when each pose is of another image.
        whiten: (K, 2, 2), see `whitening`; (B, K, 2, 2) when each pose is of another image.
    """
    R, t = poses
    count, keypoints = len(R), len(points)
    rotated = points @ R.transpose(0, 2, 1)
    depth = rotated[..., 2] + t[:, 2:]
    inverse = 1.0 / depth
    rx, ry, rz = rotated[..., 0], rotated[..., 1], rotated[..., 2]
    u, v = (rx + t[:, :1]) * inverse, (ry + t[:, 1:2]) * inverse
    jacobian = np.zeros((count, keypoints, 2, 6))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1.0
    jacobian[..., 0, 2], jacobian[..., 1, 2] = -u, -v
    jacobian[..., 0, 3], jacobian[..., 0, 4], jacobian[..., 0, 5] = -u * ry, rz + u * rx, -ry
    jacobian[..., 1, 3], jacobian[..., 1, 4], jacobian[..., 1, 5] = -rz - v * ry, v * rx, rx
    jacobian *= inverse[..., None, None]
    residual = np.empty((count, keypoints, 2, 1))
    residual[..., 0, 0], residual[..., 1, 0] = directions[..., 0] - u, directions[..., 1] - v
    return (
        (whiten @ residual).reshape(count, 2 * keypoints),
        (whiten @ jacobian).reshape(count, 2 * keypoints, 6),
        depth.min(1),
    )


def refine_poses(
    poses: Rigid, points: np.ndarray, directions: np.ndarray, whiten: np.ndarray
) -> tuple[Rigid, np.ndarray, np.ndarray]:
    """
    Refine B poses at once by Levenberg-Marquardt on the whitened reprojection error.

    Args:
        poses: a stack of B, `camera_object`.
        points: as in `linearise`.
        directions: as in `linearise`.
        whiten: as in `linearise`.

    Returns:
        The refined poses, their chi-square (B,), infinite with points behind the camera, and their information
        (B, 6, 6): the inverse covariance, in the order of `linearise`.
    """
    damping: np.ndarray = np.full(len(poses.rotation), 1e-3)
    residual, jacobian, depth = linearise(poses, points, directions, whiten)
    chi2 = np.where(depth > 0.0, (residual * residual).sum(1), np.inf)
    for _ in range(_MAX_STEPS):
        information = jacobian.transpose(0, 2, 1) @ jacobian
        gradient = jacobian.transpose(0, 2, 1) @ residual[..., None]
        diagonal = np.einsum('bii->bi', information)
        damped = information.copy()
        np.einsum('bii->bi', damped)[:] += damping[:, None] * diagonal + 1e-12 * diagonal.max(1, keepdims=True)
        step = np.linalg.solve(damped, gradient)[..., 0]
        new = poses.moved(step)
        residual_new, jacobian_new, depth = linearise(new, points, directions, whiten)
        chi2_new = np.where(depth > 0.0, (residual_new * residual_new).sum(1), np.inf)
        better = chi2_new < chi2
        with np.errstate(invalid='ignore'):
            gain = np.where(better, chi2 - chi2_new, 0.0)
        predicted = (step * gradient[..., 0]).sum(1)
        poses = Rigid(
            np.where(better[:, None, None], new.rotation, poses.rotation),
            np.where(better[:, None], new.translation, poses.translation),
        )
        residual = np.where(better[:, None], residual_new, residual)
        jacobian = np.where(better[:, None, None], jacobian_new, jacobian)
        chi2 = np.where(better, chi2_new, chi2)
        damping = np.where(better, damping * 0.1, damping * 10.0)
        if (np.maximum(gain, predicted) < _CONVERGED_CHI2).all() or (damping > 1e9).all():
            break
    return poses, chi2, jacobian.transpose(0, 2, 1) @ jacobian
