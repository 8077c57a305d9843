"""Random draws of cameras, lights and materials."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from training.synthetic.geometry.parts import Material
from training.synthetic.rendering.shading import MAX_WINDOWS, Lighting, window_towards


def sample_camera(rng: np.random.Generator, settings: SimpleNamespace, width: int, height: int) -> CameraIntrinsics:
    """Return a random camera; `settings` is the group `camera`."""
    fx = width / 2 / np.tan(np.deg2rad(rng.uniform(*settings.field_of_view_deg)) / 2)
    shift = rng.uniform(-1, 1, 2) * settings.principal_point_shift
    fy = fx * rng.uniform(*settings.pixel_aspect)
    K = np.array([[fx, 0, (0.5 + shift[0]) * width - 0.5], [0, fy, (0.5 + shift[1]) * height - 0.5], [0, 0, 1]])
    if rng.random() >= settings.distortion_probability:
        return CameraIntrinsics(width, height, K)
    radial = rng.uniform(*settings.radial_k1), rng.uniform(*settings.radial_k2)
    return CameraIntrinsics(width, height, K, [*radial, *rng.uniform(*settings.tangential, 2), 0.0])


def sample_lighting(rng: np.random.Generator, settings: SimpleNamespace) -> Lighting:
    """Return lamps and mirrored windows, most of them behind the camera; `settings` is the group `lights`."""
    count = int(rng.integers(settings.lamps[0], settings.lamps[1] + 1))
    directions = rng.normal(size=(count, 3))
    directions[:, 2] = -abs(directions[:, 2]) - 0.2
    directions[:, 1] -= 0.3
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    colors = np.clip(rng.uniform(0.82, 1.1, (count, 3)), 0, 1)
    intensities = rng.uniform(*settings.intensity, count) / (1 + 0.5 * np.arange(count))
    windows = []
    for _ in range(min(rng.integers(settings.windows[0], settings.windows[1] + 1), MAX_WINDOWS)):
        direction = rng.normal(size=3)
        direction[2] = -abs(direction[2])
        half_angles = np.deg2rad(rng.uniform(*settings.window_half_angle_deg, 2))
        color = rng.uniform(*settings.window_brightness) * rng.uniform(0.85, 1.0, 3)
        windows.append(window_towards(direction, rng.uniform(0, np.pi), half_angles, color))
    environment = rng.uniform(0.15, 0.75) + rng.uniform(-0.08, 0.08, 3)
    ambient, diffuse, rim = (rng.uniform(*limits) for limits in (settings.ambient, settings.diffuse, settings.rim))
    return Lighting(directions, colors, intensities, ambient, diffuse, tuple(environment), rim, windows)


def vary_material(rng: np.random.Generator, settings: SimpleNamespace, material: Material) -> Material:
    """Return the material a little brighter, darker or of another hue; `settings` is the group `materials`."""
    color = np.array(material.color) * rng.uniform(*settings.gain) + rng.uniform(-1, 1, 3) * settings.shift
    if rng.random() < settings.random_color_probability:
        color = rng.uniform(0.02, 0.9, 3)
    roughness = float(np.clip(material.roughness * rng.uniform(0.7, 1.3), 0.02, 1))
    reflectivity = min(1.0, material.reflectivity * rng.uniform(0.5, 1.3))
    varied = replace(material, color=tuple(np.clip(color, 0.005, 1)), roughness=roughness, reflectivity=reflectivity)
    if material.opacity < 1:
        clearer = replace(varied, opacity=float(np.clip(material.opacity * rng.uniform(0.8, 1.25), 0.05, 1)))
        if clearer.solid == material.solid:  # what hides and what does not was decided when the object was built
            return clearer
    return varied
