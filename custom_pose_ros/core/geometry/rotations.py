"""
Rotations: matrix <-> quaternion <-> rotation vector <-> fixed-axis roll, pitch, yaw.

Conventions of this package:
- `R_to_from` maps coordinates in frame `from` to coordinates in frame `to`.
- Quaternions are (x, y, z, w), unit length, w >= 0 (REP 103 and geometry_msgs order).
- Rotation vectors are axis times angle [rad], angle in [0, pi].
- Roll, pitch, yaw [rad] are about the fixed axes X, Y, Z: R = Rz(yaw) Ry(pitch) Rx(roll). roll and yaw lie in
  (-pi, pi], pitch in [-pi/2, pi/2]. At |pitch| = pi/2 (gimbal lock) only yaw -/+ roll is defined: roll is 0.
- Camera optical frame (REP 103): x right, y down, z forward; camera body frame: x forward, y left, z up.
"""

from __future__ import annotations

import math

import numpy as np

R_BODY_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # optical -> body axes, REP 103
_GIMBAL_LOCK_COSINE = 1e-7  # cos(pitch) below which roll and yaw cannot be told apart
_FEW_MATRICES = 4
_FEW = 24  # numbers: eight rotation vectors
_TINY = 1e-40  # squared angle that is far below what a float can add to 1, and keeps divisions defined
# Row i is skew_matrix of unit vector i, row-major.
_SKEW_BASIS = np.array([
    [0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0],
    [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
])


def matrix_from_roll_pitch_yaw(roll_pitch_yaw: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation Rz(yaw) Ry(pitch) Rx(roll) of (3,) fixed-axis angles [rad] (REP 103)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(roll_pitch_yaw), np.sin(roll_pitch_yaw)
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])


def roll_pitch_yaw_from_matrix(R: np.ndarray) -> np.ndarray:
    """Return the (3,) fixed-axis roll, pitch, yaw [rad] of a (3, 3) rotation; roll is 0 at gimbal lock."""
    cos_pitch = np.hypot(R[0, 0], R[1, 0])
    pitch = np.arctan2(-R[2, 0], cos_pitch)
    if cos_pitch < _GIMBAL_LOCK_COSINE:
        return np.array([0.0, pitch, np.arctan2(-R[0, 1], R[1, 1])])
    return np.array([np.arctan2(R[2, 1], R[2, 2]), pitch, np.arctan2(R[1, 0], R[0, 0])])


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """
    Return the (3, 3) rotation of a (4,) quaternion (x, y, z, w) of any length but zero.

    Raises:
        ValueError: the length is zero or not finite.
    """
    quaternion = np.asarray(quaternion, float)
    length = float(np.linalg.norm(quaternion))
    if quaternion.shape != (4,) or not 0.0 < length < np.inf:
        raise ValueError(f'quaternion must be four finite numbers (x, y, z, w) that are not all zero, got {quaternion}')
    x, y, z, w = (quaternion / length).tolist()
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])


def quaternion_from_matrix(R: np.ndarray) -> np.ndarray:
    """Return the (4,) unit quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation (Shepperd 1978: no division by ~0)."""
    return np.array(_quaternion(*R.ravel().tolist()))


def _quaternion(
    xx: float, xy: float, xz: float, yx: float, yy: float, yz: float, zx: float, zy: float, zz: float
) -> tuple[float, float, float, float]:
    """Return x, y, z, w of the rotation with these entries, row by row; from the largest of the four."""
    trace = xx + yy + zz
    largest = max(xx, yy, zz, trace)
    if largest == trace:
        x, y, z, w = zy - yz, xz - zx, yx - xy, 1.0 + trace
    elif largest == xx:
        x, y, z, w = 1.0 + xx - yy - zz, yx + xy, zx + xz, zy - yz
    elif largest == yy:
        x, y, z, w = xy + yx, 1.0 + yy - zz - xx, zy + yz, xz - zx
    else:
        x, y, z, w = xz + zx, yz + zy, 1.0 + zz - xx - yy, yx - xy
    scale = math.copysign(1.0 / math.sqrt(x * x + y * y + z * z + w * w), w)
    return scale * x, scale * y, scale * z, scale * w


def matrix_from_rotation_vector(vectors: np.ndarray) -> np.ndarray:
    """Return the (..., 3, 3) rotations of (..., 3) rotation vectors [rad] (Rodrigues' formula)."""
    vectors = np.asarray(vectors, float)
    if vectors.size <= _FEW:  # plain numbers are several times faster there
        return np.array([_rodrigues(*v) for v in vectors.reshape(-1, 3).tolist()]).reshape(*vectors.shape, 3)
    angle = np.sqrt((vectors * vectors).sum(-1) + _TINY)[..., None, None]
    half_sine = np.sin(0.5 * angle) / angle
    skew = skew_matrix(vectors)
    return np.eye(3) + (np.sin(angle) / angle) * skew + (2.0 * half_sine * half_sine) * (skew @ skew)


def _rodrigues(x: float, y: float, z: float) -> tuple[float, ...]:
    """Return the nine entries, row by row, of the rotation of one rotation vector."""
    angle = math.sqrt(x * x + y * y + z * z + _TINY)
    a = math.sin(angle) / angle
    half_sine = math.sin(0.5 * angle) / angle
    b = 2.0 * half_sine * half_sine  # (1 - cos(angle)) / angle^2, without cancellation
    xx, yy, zz, xy, xz, yz = b * x * x, b * y * y, b * z * z, b * x * y, b * x * z, b * y * z
    x, y, z = a * x, a * y, a * z
    return 1.0 - yy - zz, xy - z, xz + y, xy + z, 1.0 - xx - zz, yz - x, xz - y, yz + x, 1.0 - xx - yy


def rotation_vector_from_matrix(R: np.ndarray) -> np.ndarray:
    """Return the (3,) rotation vector [rad], angle in [0, pi], of a (3, 3) rotation; exact near 0 and near pi."""
    x, y, z, w = _quaternion(*R.ravel().tolist())
    sine = math.sqrt(x * x + y * y + z * z)
    factor = 2.0 if sine < 1e-9 else 2.0 * math.atan2(sine, w) / sine
    return np.array([factor * x, factor * y, factor * z])


def rotation_vectors_from_matrices(R: np.ndarray) -> np.ndarray:
    """
    Return the (B, 3) rotation vectors [rad] of (B, 3, 3) rotations.

    Fast for many; within 1e-6 rad of half a turn the axis is lost, there use `rotation_vector_from_matrix`.
    """
    if len(R) <= _FEW_MATRICES:
        return np.array([rotation_vector_from_matrix(each) for each in R])
    sines = 0.5 * (R.reshape(-1, 9) @ _SKEW_BASIS.T)
    sine = np.sqrt((sines * sines).sum(1) + _TINY)
    angle = np.arctan2(sine, 0.5 * (R[:, 0, 0] + R[:, 1, 1] + R[:, 2, 2] - 1.0))
    return sines * (angle / sine)[:, None]


def skew_matrix(vectors: np.ndarray) -> np.ndarray:
    """Return the (..., 3, 3) matrices that multiply to the cross product a x b, of (..., 3) vectors a."""
    vectors = np.asarray(vectors, float)
    return (vectors @ _SKEW_BASIS).reshape(*vectors.shape, 3)


def rotation_between(R_a: np.ndarray, R_b: np.ndarray) -> float:
    """Return the angle [rad], in [0, pi], of the rotation that takes (3, 3) R_a to R_b (geodesic distance)."""
    return float(np.linalg.norm(rotation_vector_from_matrix(R_b @ R_a.T)))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a rotation (3, 3) drawn evenly from all rotations (Shoemake 1992)."""
    return matrix_from_quaternion(rng.normal(size=4))


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Return the (3, 3) rotation nearest to a matrix in the Frobenius norm (Umeyama 1991)."""
    left, _, right = np.linalg.svd(matrix)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return left @ right
