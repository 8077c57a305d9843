"""ClipRenderer: pictures and ground truth of one object moving through one pool, frame after frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from custom_pose_ros.core.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.labels import HIDDEN, SEEN, keypoint_seen, own_radii
from training.synthetic.noise import blend, white_noise
from training.synthetic.parts import Part
from training.synthetic.pool import WATER_COLOR, Pool
from training.synthetic.renderer import Body, CameraViews, Rendering
from training.synthetic.shading import Lighting, window_towards
from training.synthetic.trajectory import Motion

HAZE_PER_M = 0.075
CAUSTICS_ON_BODY = 0.35
REFLECTION_SHARE = 0.65
NOISE = 0.006


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, uint8 (H, W, 3) BGR, its time stamp [s], and what is true in it: pixels (K, 2), COCO flags (K,), the pose."""

    image: np.ndarray
    stamp_s: float
    pixels: np.ndarray
    flags: np.ndarray
    R_camera_object: np.ndarray
    t_camera_object: np.ndarray


class ClipRenderer:
    """Draws a motion. One variant of the object and one pool, both from the seed."""

    def __init__(
        self, model: ObjectModel, build: Callable[[np.random.Generator], list[Part]], camera: CameraIntrinsics, seed: int,
        settings: SimpleNamespace,
    ):  # fmt: skip
        self.model, self.camera = model, camera
        self._parts = build(np.random.default_rng([seed, 5]))
        size = float(np.linalg.norm(np.ptp(model.model_points, 0))) or 1.0
        self._radii = own_radii(self._parts, model.model_points, settings.visibility.radius * size)
        self._seen_share = settings.visibility.seen_share
        self._body = Body(self._parts)
        self._views = CameraViews(camera.width, camera.height)
        self._pool = Pool(seed)
        self._noise_rng = np.random.default_rng([seed, 6])
        lens = self._views.lens(camera)
        directions = _pinhole_directions(camera) if lens is None else lens.direction_map()
        self._rays = np.dstack([np.nan_to_num(directions), np.ones(directions.shape[:2], np.float32)])

    def frames(self, motion: Motion) -> Iterator[Frame]:
        """Yield the pictures of the motion, in order."""
        for k in range(len(motion.stamps)):
            yield self._frame(motion, k)

    def _frame(self, motion: Motion, k: int) -> Frame:
        R, t = motion.R_camera_object[k], motion.t_camera_object[k]
        R_world_camera, eye = motion.R_world_camera[k], motion.t_world_camera[k]
        stamp = float(motion.stamps[k])
        self._body.place(R, t)
        rendering = self._views.render([self._body], self._lighting(R_world_camera), self.camera)
        rays = self._rays @ np.float32(R_world_camera).T
        points = self._pool.floor_points(rays, eye)
        shadow = self._pool.shadow_map(self._solid_parts(), R_world_camera @ R, R_world_camera @ t + eye)
        image = self._pool.floor_picture(points, stamp, *shadow)
        image = image * (1 - rendering.coverage[..., None]) + rendering.color * self._light_on_body(rendering, rays, eye, stamp)
        floor_depth = np.float32(eye[2]) / np.maximum(-rays[..., 2], np.float32(0.05))
        depth = np.where(np.isfinite(rendering.surfaces.depth), rendering.surfaces.depth, floor_depth)
        image = blend(image, WATER_COLOR, 1 - np.exp(-np.float32(HAZE_PER_M) * depth))
        light = self._pool.mirrored_light(rays, eye, stamp) * np.float32(REFLECTION_SHARE)
        image = image + (1 - np.clip(image, 0, 1)) * light
        image = np.clip(image * np.float32(255) + white_noise(self._noise_rng, image.shape, 255 * NOISE), 0, 255)
        visible = [keypoint_seen(rendering.pinhole, 1, point, radius, self._seen_share)
                   for point, radius in zip(self.model.model_points @ R.T + t, self._radii)]  # fmt: skip
        pixels = self.camera.project(self.model.model_points @ R.T + t)
        return Frame(image.astype(np.uint8), stamp, pixels, np.where(visible, SEEN, HIDDEN), R, t)

    def _light_on_body(self, rendering: Rendering, rays: np.ndarray, eye: np.ndarray, stamp: float) -> np.ndarray:
        """Return the factor (H, W, 1) by which caustics brighten the object's own surface."""
        depth = np.where(np.isfinite(rendering.surfaces.depth), rendering.surfaces.depth, 0)[..., None]
        points = np.float32(eye[:2]) + rays[..., :2] * depth
        return (0.92 + np.float32(CAUSTICS_ON_BODY) * self._pool.caustics(points, stamp))[..., None]

    def _solid_parts(self) -> list[Part]:
        return [part for part in self._parts if part.material.solid]

    def _lighting(self, R_world_camera: np.ndarray) -> Lighting:
        """Return the hall's lamps and windows as the camera sees them."""
        to_camera = R_world_camera.T
        lamps = np.array([self._pool.light, [-0.5, 0.4, 0.8]]) @ to_camera.T
        windows = [window_towards(to_camera @ direction, 0.3, (0.30, 0.42), (1.7, 1.75, 1.75))
                   for direction in ([0.75, 0.1, 0.65], [-0.55, 0.5, 0.7])]  # fmt: skip
        return Lighting(lamps, np.array([[1, 0.98, 0.95], [0.9, 0.95, 1]]), np.array([0.75, 0.35]), 0.42, 0.75, (0.42, 0.45, 0.45), windows)


def _pinhole_directions(camera: CameraIntrinsics) -> np.ndarray:
    """Return the direction (x / z, y / z) of every pixel (H, W, 2) float32."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    flat = camera.undistort(np.stack([columns.ravel(), rows.ravel()], 1).astype(float))
    return flat.reshape(camera.height, camera.width, 2).astype(np.float32)
