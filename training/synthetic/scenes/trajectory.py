"""Smooth motion of a camera above a pool and of an object in it: poses over time, for clips and bags."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.object_builder import object_size

MAX_TRIES = 4000
BORDER_PX = 14  # keypoints stay this far inside the image


@dataclass(frozen=True, eq=False)
class Motion:
    """
    Poses of n frames. The world's origin lies on the floor; its z axis points up.

    Attributes:
        stamps: (n,) [s].
        world_camera: n poses of the camera's optical frame.
        camera_object: n poses of the object.
    """

    stamps: np.ndarray
    world_camera: Rigid
    camera_object: Rigid


def clip_camera(width: int, height: int, settings: SimpleNamespace) -> CameraIntrinsics:
    """Return a camera with a little distortion, for clips without a calibration; `settings`: group `trajectory`."""
    pinhole = CameraIntrinsics.from_fov(width, height, float(np.deg2rad(settings.field_of_view_deg)))
    return CameraIntrinsics(width, height, pinhole.K, [*settings.distortion, 0.0005, -0.0004, 0.0])


def sample_motion(seed: int, model: ObjectModel, camera: CameraIntrinsics, settings: SimpleNamespace) -> Motion:
    """
    Return a motion with all keypoints inside the image all the time; `settings` is the group `trajectory`.

    The object swims along a closed curve, its x axis ahead, leaning into its turns; the camera sways above it. Curves
    are drawn until one keeps to the limits of the settings.

    Raises:
        ConfigError: when none of MAX_TRIES does.
    """
    rng = np.random.default_rng(seed)
    size = object_size(model)
    for _ in range(MAX_TRIES):
        motion = _candidate(rng, model, size, settings)
        if _keeps_limits(motion, model, camera, size, settings):
            return motion
    raise ConfigError(
        f'trajectory: no motion in {MAX_TRIES} tries keeps all keypoints in the image '
        f'with distance {list(settings.distance)} and tilt {settings.max_tilt_deg} deg: '
        'allow more, or give a camera that sees more'
    )


def _candidate(rng, model: ObjectModel, size: float, settings: SimpleNamespace) -> Motion:
    count = round(settings.seconds * settings.rate_hz)
    stamps = np.arange(count) / settings.rate_hz
    phase = 2 * np.pi * stamps / settings.seconds
    low, high = np.array(settings.distance) * size
    centre = _path(rng, phase, 0.55 * (high + low) / 2, size * rng.uniform(0.25, 0.42, 2), 0.22 * (high - low))
    R_world_object = _attitudes(rng, phase, centre, stamps)
    eye_height = centre[:, 2].mean() + (low + high) / 2
    eye_x = 0.35 * size * _wave(rng, phase)
    eye_y = 0.35 * size * _wave(rng, phase) - rng.uniform(0.5, 1.3) * size
    eye = np.stack([eye_x, eye_y, eye_height + 0.35 * (high - low) * _wave(rng, phase)], 1)
    target = 0.45 * centre + 0.55 * centre.mean(0) + 0.05 * size * np.stack([_wave(rng, phase) for _ in range(3)], 1)
    R_world_camera = _looking_at(eye, target, 0.10 * _wave(rng, phase) + rng.uniform(-0.3, 0.3))
    R_camera_object = np.swapaxes(R_world_camera, 1, 2) @ R_world_object
    middle = (model.model_points.min(0) + model.model_points.max(0)) / 2
    offset = np.einsum('nji,nj->ni', R_world_camera, centre - eye)
    return Motion(stamps, Rigid(R_world_camera, eye), Rigid(R_camera_object, offset - R_camera_object @ middle))


def _wave(rng, phase: np.ndarray, harmonics: int = 2) -> np.ndarray:
    """Return a smooth periodic function within about [-1, 1]."""
    orders = range(1, harmonics + 1)
    return sum(rng.uniform(0.3, 1) / k * np.sin(k * phase + rng.uniform(0, 2 * np.pi)) for k in orders) / 1.2


def _path(rng, phase: np.ndarray, height: float, radii: np.ndarray, climb: float) -> np.ndarray:
    """Return positions (n, 3) on a closed curve: once around, with a smaller loop or a figure of eight within."""
    turn = rng.choice([-1, 1])
    start = rng.uniform(0, 2 * np.pi)
    twice = rng.uniform(0, 0.35)
    x = radii[0] * (np.cos(turn * phase + start) + twice * np.cos(2 * phase + rng.uniform(0, 6)))
    y = radii[1] * (np.sin(turn * phase + start) + twice * np.sin(2 * phase + rng.uniform(0, 6)))
    return np.stack([x, y, height + climb * _wave(rng, phase)], 1)


def _attitudes(rng, phase: np.ndarray, centre: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Return R_world_object (n, 3, 3): x axis along the path, rolled into the turns, pitched with some sway."""
    step = stamps[1] - stamps[0]
    velocity = (np.roll(centre, -1, 0) - np.roll(centre, 1, 0)) / (2 * step)  # the path is closed
    yaw = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    rate = np.angle(np.exp(1j * (np.roll(yaw, -1) - np.roll(yaw, 1)))) / (2 * step)
    roll = np.tanh(rate / 1.5) * rng.uniform(0.2, 0.45) + 0.22 * _wave(rng, phase, 3)
    climb = np.arctan2(velocity[:, 2], np.hypot(velocity[:, 0], velocity[:, 1]) + 0.05)
    pitch = -climb * 0.7 + 0.18 * _wave(rng, phase, 3)
    yaw = yaw + 0.15 * _wave(rng, phase, 3)
    return np.stack([matrix_from_roll_pitch_yaw(np.array(angles)) for angles in zip(roll, pitch, yaw)])


def _looking_at(eye: np.ndarray, target: np.ndarray, spin: np.ndarray) -> np.ndarray:
    """Return R_world_camera (n, 3, 3) of optical frames at `eye`, looking at `target`, turned by `spin` [rad]."""
    ahead = target - eye
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    right = np.cross(ahead, np.stack([np.sin(spin), np.cos(spin), np.zeros_like(spin)], 1))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(ahead, right), ahead], 2)


def _keeps_limits(
    motion: Motion, model: ObjectModel, camera: CameraIntrinsics, size: float, settings: SimpleNamespace
) -> bool:
    low, high = np.array(settings.distance) * size
    middle = (model.model_points.min(0) + model.model_points.max(0)) / 2
    centre = motion.camera_object.apply(middle[None])[:, 0]
    distance = np.linalg.norm(centre, axis=1)
    sight = centre / distance[:, None]
    tilt = np.arccos(np.clip(-np.einsum('ni,ni->n', motion.camera_object.rotation[:, :, 2], sight), -1, 1))
    reach = (
        distance.min() < low + 0.2 * (high - low)
        and distance.max() > low + 0.6 * (high - low)
        and np.rad2deg(tilt.max()) > 0.8 * settings.max_tilt_deg
    )
    if distance.min() < low or distance.max() > high or np.rad2deg(tilt.max()) > settings.max_tilt_deg or not reach:
        return False
    pixels = camera.project(motion.camera_object.apply(model.model_points).reshape(-1, 3))
    inside = (pixels >= BORDER_PX) & (pixels <= np.array([camera.width, camera.height]) - 1 - BORDER_PX)
    return bool(inside.all())
