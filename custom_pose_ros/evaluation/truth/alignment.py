"""Fixed transforms between truth and camera: given, or estimated from the poses themselves (robot-world/hand-eye)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.rigid import IDENTITY, Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_quaternion,
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    nearest_rotation,
    quaternion_from_matrix,
    roll_pitch_yaw_from_matrix,
    rotation_vectors_from_matrices,
    skew_matrix,
)
from custom_pose_ros.core.labels.raw_labels import is_number
from custom_pose_ros.core.pictures import evenly
from custom_pose_ros.core.yaml_files import read_yaml

MIN_PAIRS = 10
_MAX_PAIRS = 400  # more add nothing but time
_ALTERNATIONS = 10
_STEPS = 30
_LEAST_SCALE = 1e-6  # rad, m; noise is never smaller
_OUTLIER_SIZE = 1.5  # misses of this many robust root mean squares keep a quarter of their weight
_COST_RAD, _COST_M = np.deg2rad(10.0), 0.1  # misses beyond these count as equally bad when two results are compared
_UNIQUE = 0.1  # rad, m; with a larger uncertainty the motion does not tell the two transforms apart
_KEYS = ('camera_from_world', 'body_from_object')


@dataclass(frozen=True)
class Alignment:
    """
    How the truth becomes the pose of the object in the camera: camera_object = camera_world @ truth @ body_object.

    Attributes:
        camera_world: Camera optical frame from the frame the truth is given in.
        body_object: The frame whose pose the truth is, from the object frame of the object file.
        pairs: Number of frames it was estimated from; 0 when it was given.
        rotation_rms_deg, translation_rms_m: Robust size of what the estimate leaves unexplained; 0 when it was given.
        unique: False when the motion does not tell the two transforms apart; the errors are right all the same.
    """

    camera_world: Rigid = IDENTITY
    body_object: Rigid = IDENTITY
    pairs: int = 0
    rotation_rms_deg: float = 0.0
    translation_rms_m: float = 0.0
    unique: bool = True

    def apply(self, truth: Rigid) -> Rigid:
        """Return camera_object of a true pose."""
        return self.camera_world @ truth @ self.body_object

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for metrics.json, in the form that `--extrinsics` reads."""
        poses = {
            key: {'xyz_m': pose.translation.tolist(), 'quaternion_xyzw': quaternion_from_matrix(pose.rotation).tolist()}
            for key, pose in zip(_KEYS, (self.camera_world, self.body_object))
        }
        return {
            **poses,
            'pairs': self.pairs,
            'rotation_rms_deg': self.rotation_rms_deg,
            'translation_rms_m': self.translation_rms_m,
            'unique': self.unique,
        }

    def lines(self) -> list[str]:
        """Return what a user wants to see of it, also fit for the file that `--extrinsics` reads."""
        text = []
        for key, pose in zip(_KEYS, (self.camera_world, self.body_object)):
            xyz = ', '.join(f'{x:.4f}' for x in pose.translation)
            rpy = ', '.join(f'{x:.2f}' for x in np.rad2deg(roll_pitch_yaw_from_matrix(pose.rotation)))
            quaternion = ', '.join(f'{x:.6f}' for x in quaternion_from_matrix(pose.rotation))
            text.append(f'{key}: {{xyz_m: [{xyz}], quaternion_xyzw: [{quaternion}]}}  # roll, pitch, yaw {rpy} deg')
        return text


def read_alignment(path: str | Path) -> Alignment:
    """
    Read fixed extrinsics: a YAML with `camera_from_world` and `body_from_object`, each optional (identity).

    Each is {xyz_m: [x, y, z], quaternion_xyzw: [...] or rpy_deg: [roll, pitch, yaw]}. Raises ConfigError.
    """
    data = read_yaml(path, f'wanted a YAML with the keys {" and ".join(_KEYS)}')
    if not isinstance(data, Mapping) or not data or not set(data) <= set(_KEYS):
        raise ConfigError(f'{path}: wanted the keys {" and ".join(_KEYS)}, got {data!r:.80}')
    poses = {key: rigid_from_mapping(value, f'{path}: {key}') for key, value in data.items()}
    return Alignment(poses.get(_KEYS[0], IDENTITY), poses.get(_KEYS[1], IDENTITY))


def rigid_from_mapping(data: Any, source: str) -> Rigid:
    """Return the transform of {xyz_m, quaternion_xyzw | rpy_deg}; ConfigError naming `source`, wanted and got."""
    wanted = 'wanted {xyz_m: [x, y, z], quaternion_xyzw: [x, y, z, w]} or {xyz_m: ..., rpy_deg: [roll, pitch, yaw]}'
    if not isinstance(data, Mapping) or not set(data) <= {'xyz_m', 'quaternion_xyzw', 'rpy_deg'}:
        raise ConfigError(f'{source}: {wanted}, got {data!r:.80}')
    numbers = {}
    for key, size in (('xyz_m', 3), ('quaternion_xyzw', 4), ('rpy_deg', 3)):
        value = data.get(key)
        if value is not None:
            good = isinstance(value, list) and len(value) == size and all(map(is_number, value))
            if not good or (size == 4 and not any(value)):
                raise ConfigError(f'{source}.{key}: {wanted}, got {value!r:.80}')
            numbers[key] = np.array(value, float)
    R = np.eye(3)
    if 'quaternion_xyzw' in numbers:
        R = matrix_from_quaternion(numbers['quaternion_xyzw'])
    elif 'rpy_deg' in numbers:
        R = matrix_from_roll_pitch_yaw(np.deg2rad(numbers['rpy_deg']))
    return Rigid(R, numbers.get('xyz_m', np.zeros(3)))


def estimate_alignment(measured: Sequence[Rigid], truth: Sequence[Rigid]) -> Alignment:
    """
    Find camera_world and body_object with measured[i] ~ camera_world @ truth[i] @ body_object (robot-world/hand-eye).

    Gauss-Newton over both, with weights that suppress outliers (flips), from starts that need no guess. What all
    frames have in common cannot be told from a misplaced camera: such an error disappears into the result.
    Raises ConfigError for fewer than MIN_PAIRS pairs.
    """
    if len(measured) != len(truth):
        raise ValueError(f'measured and truth must have the same length, got {len(measured)} and {len(truth)}')
    if len(measured) < MIN_PAIRS:
        raise ConfigError(
            f'the alignment of truth and camera needs at least {MIN_PAIRS} frames with both, got {len(measured)}; '
            'check the stamps, or give it with --extrinsics FILE'
        )
    chosen = evenly(len(measured), _MAX_PAIRS)
    (R_a, t_a), (R_b, t_b) = (Rigid.stack(poses[i] for i in chosen) for poses in (measured, truth))
    results = [_fitted(R_a, R_b, t_a, t_b, *start) for start in _starts(R_a, R_b, t_a, t_b)]
    _, camera_world, body_object, angles, misses, uncertainty = min(results, key=lambda result: result[0])
    return Alignment(
        camera_world=camera_world,
        body_object=body_object,
        pairs=len(chosen),
        rotation_rms_deg=float(np.rad2deg(_robust_rms(angles))),
        translation_rms_m=_robust_rms(misses),
        unique=uncertainty < _UNIQUE,
    )


def _starts(R_a: np.ndarray, R_b: np.ndarray, t_a: np.ndarray, t_b: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return R_x, R_y to begin with: from the rotations alone, and from the positions (Kabsch)."""
    candidates = []
    for R_y in _cube_rotations():
        weights = np.ones(len(R_a))
        for _ in range(_ALTERNATIONS):
            weighted = R_a * weights[:, None, None]
            R_x = nearest_rotation((weighted @ (R_b @ R_y).transpose(0, 2, 1)).sum(0))
            R_y = nearest_rotation(((R_x @ R_b).transpose(0, 2, 1) @ weighted).sum(0))
            angles = np.linalg.norm(_turns(R_a, R_x @ R_b @ R_y), axis=1)
            weights = 1.0 / np.maximum(angles, _LEAST_SCALE)
        candidates.append((float(np.median(angles)), R_x, R_y))
    best = min(candidates, key=lambda candidate: candidate[0])
    R_x = nearest_rotation((t_a - t_a.mean(0)).T @ (t_b - t_b.mean(0)))
    return [best[1:], (R_x, nearest_rotation(((R_x @ R_b).transpose(0, 2, 1) @ R_a).sum(0)))]


def _fitted(
    R_a: np.ndarray, R_b: np.ndarray, t_a: np.ndarray, t_b: np.ndarray, R_x: np.ndarray, R_y: np.ndarray
) -> tuple[float, Rigid, Rigid, np.ndarray, np.ndarray, float]:
    """
    Fit both transforms by robust Gauss-Newton from a start (Geman-McClure weights, scales from the median).

    Returns:
        The robust cost, both transforms, the angles (N,) rad and the distances (N,) m left over, and the standard
        deviation [rad or m] of the combination of the twelve numbers that is known worst.
    """
    t_x = t_y = np.zeros(3)
    for step in range(_STEPS):
        turned = R_x @ R_b
        carried = (R_b @ t_y + t_b) @ R_x.T
        e_r, e_t = _turns(R_a, turned @ R_y), t_a - carried - t_x
        angles, misses = np.linalg.norm(e_r, axis=1), np.linalg.norm(e_t, axis=1)
        w_r, w_t = _weights(angles, step), _weights(misses, step)
        eye, zero = np.broadcast_to(np.eye(3), turned.shape), np.zeros_like(turned)
        rows_r = np.concatenate([eye, zero, turned, zero], 2) * w_r[:, None, None]
        rows_t = np.concatenate([-skew_matrix(carried), eye, zero, turned], 2) * w_t[:, None, None]
        matrix = np.concatenate([rows_r, rows_t]).reshape(-1, 12)
        wanted = np.concatenate([e_r * w_r[:, None], e_t * w_t[:, None]]).ravel()
        information = matrix.T @ matrix
        change = np.linalg.pinv(information, rcond=1e-10, hermitian=True) @ (matrix.T @ wanted)
        R_x = matrix_from_rotation_vector(change[:3]) @ R_x
        R_y = matrix_from_rotation_vector(change[6:9]) @ R_y
        t_x, t_y = t_x + change[3:6], t_y + change[9:]
    cost = float(np.mean(np.minimum(angles / _COST_RAD, 1.0)) + np.mean(np.minimum(misses / _COST_M, 1.0)))
    uncertainty = float(1.0 / np.sqrt(max(np.linalg.eigvalsh(information)[0], 1e-12)))
    return cost, Rigid(R_x, t_x), Rigid(R_y, t_y), angles, misses, uncertainty


def _weights(sizes: np.ndarray, step: int) -> np.ndarray:
    """Square roots of the weights: first those of absolute errors, then weights that suppress outliers."""
    scale = max(_robust_rms(sizes), _LEAST_SCALE)
    sizes = sizes / scale
    if step < _STEPS // 3:
        return 1.0 / np.sqrt(np.maximum(sizes, 1.0)) / scale
    return 1.0 / (1.0 + (sizes / _OUTLIER_SIZE) ** 2) / scale


def _turns(R_to: np.ndarray, R_from: np.ndarray) -> np.ndarray:
    """Return the (N, 3) rotation vectors that take R_from to R_to, both (N, 3, 3), about fixed axes."""
    return rotation_vectors_from_matrices(R_to @ R_from.transpose(0, 2, 1))


def _robust_rms(sizes: np.ndarray) -> float:
    """Return the root mean square of three-dimensional noise that has this median length (chi, 3 degrees)."""
    return float(np.median(sizes) * np.sqrt(3.0) / 1.538)


def _cube_rotations() -> list[np.ndarray]:
    """Return the 24 rotations of a cube, the identity first."""
    matrices = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.eye(3)[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(matrix) > 0:
                matrices.append(matrix)
    return matrices
