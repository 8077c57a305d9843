"""Renders the frames of a clip, with ground truth: one object that moves through one pool."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.raw_labels import HIDDEN, SEEN
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.keypoint_sites import keypoint_sites
from training.synthetic.geometry.object_builder import Builder, object_size
from training.synthetic.rendering.body import Body
from training.synthetic.rendering.noise import blend, white_noise
from training.synthetic.rendering.renderer import CameraViews, Rendering
from training.synthetic.rendering.shading import Lighting, window_towards
from training.synthetic.scenes.annotation import keypoint_seen
from training.synthetic.scenes.pool import WATER_COLOR, Pool
from training.synthetic.scenes.trajectory import Motion

HAZE_PER_M = 0.05
CAUSTICS_ON_BODY = 0.35
REFLECTION_SHARE = 0.65
NOISE = 0.006
POOL_OBJECT_M = 0.6  # size of an object that fits the pool
VARIANT_STREAM, NOISE_STREAM = 5, 6  # independent random streams of one clip


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """
    One picture and its ground truth.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        stamp_s: time from the start of the clip [s].
        pixels: (K, 2), where the keypoints are [px].
        flags: (K,) HIDDEN or SEEN, as in COCO.
        camera_object: pose of the object.
    """

    image: np.ndarray
    stamp_s: float
    pixels: np.ndarray
    flags: np.ndarray
    camera_object: Rigid


class ClipRenderer:
    """Draws a motion, with one variant of the object and one pool (scaled with the object), both from the seed."""

    def __init__(
        self, model: ObjectModel, build: Builder, camera: CameraIntrinsics, seed: int, settings: SimpleNamespace
    ):
        self.model, self.camera = model, camera
        size = object_size(model)
        parts = build(np.random.default_rng([seed, VARIANT_STREAM]))
        self._sites = keypoint_sites(parts, model.model_points, settings.visibility.radius * size)
        self._seen_share = settings.visibility.seen_share
        self._body = Body(parts)
        self._views = CameraViews(camera.width, camera.height, size)
        self._pool = Pool(seed)
        self._unit = size / POOL_OBJECT_M  # metres of the motion in one metre of the pool
        self._shadow_parts = [replace(p, vertices=p.vertices / self._unit) for p in parts if p.material.solid]
        self._noise_rng = np.random.default_rng([seed, NOISE_STREAM])
        lens = self._views.lens(camera)
        directions = _pinhole_directions(camera) if lens is None else lens.direction_map()
        self._rays = np.dstack([np.nan_to_num(directions), np.ones(directions.shape[:2], np.float32)])

    def frames(self, motion: Motion) -> Iterator[ClipFrame]:
        """Yield the pictures of the motion, in order."""
        for k in range(len(motion.stamps)):
            yield self._frame(motion, k)

    def _frame(self, motion: Motion, k: int) -> ClipFrame:
        camera_object = motion.camera_object.at(k)
        self._body.place(camera_object)
        rendering = self._views.render([self._body], self._lighting(motion.world_camera.at(k).rotation), self.camera)
        image = self._compose(rendering, motion, k)
        points = camera_object.apply(self.model.model_points)
        seen = [
            keypoint_seen(rendering.pinhole, 1, *each, camera_object.rotation, self._seen_share)
            for each in zip(points, self._sites)
        ]
        flags = np.where(seen, SEEN, HIDDEN)
        return ClipFrame(image, float(motion.stamps[k]), self.camera.project(points), flags, camera_object)

    def _compose(self, rendering: Rendering, motion: Motion, k: int) -> np.ndarray:
        """Return the finished picture: floor, shadow, object, water, its mirroring surface, noise."""
        world_camera, stamp = motion.world_camera.at(k), motion.stamps[k]
        world_object = world_camera @ motion.camera_object.at(k)
        eye = world_camera.translation / self._unit
        rays = self._rays @ np.float32(world_camera.rotation).T
        shadow = self._pool.shadow_map(
            self._shadow_parts, world_object._replace(translation=world_object.translation / self._unit)
        )
        floor = self._pool.floor_picture(self._pool.floor_points(rays, eye), stamp, *shadow)
        solid = np.isfinite(rendering.surfaces.depth)
        floor_depth = np.float32(eye[2]) / np.maximum(-rays[..., 2], np.float32(0.05))
        depth = np.where(solid, rendering.surfaces.depth / np.float32(self._unit), floor_depth)
        on_body = np.float32(eye[:2]) + rays[..., :2] * depth[..., None]
        brighter = 0.92 + np.float32(CAUSTICS_ON_BODY) * self._pool.caustics(on_body, stamp)
        image = floor * (1 - rendering.coverage[..., None]) + rendering.color * brighter[..., None]
        image = blend(image, WATER_COLOR, 1 - np.exp(-np.float32(HAZE_PER_M) * depth))
        light = self._pool.mirrored_light(rays, eye, stamp) * np.float32(REFLECTION_SHARE)
        image = image + (1 - np.clip(image, 0, 1)) * light
        image = image * np.float32(255) + white_noise(self._noise_rng, image.shape, 255 * NOISE)
        return np.clip(image, 0, 255).astype(np.uint8)

    def _lighting(self, R_world_camera: np.ndarray) -> Lighting:
        """Return the hall's lamps and windows as the camera sees them."""
        to_camera = R_world_camera.T
        lamps = np.array([self._pool.light, [-0.5, 0.4, 0.8]]) @ to_camera.T
        windows = [
            window_towards(to_camera @ direction, 0.3, (0.30, 0.42), (1.7, 1.75, 1.75))
            for direction in ([0.75, 0.1, 0.65], [-0.55, 0.5, 0.7])
        ]
        return Lighting(
            directions=lamps,
            colors=np.array([[1, 0.98, 0.95], [0.9, 0.95, 1]]),
            intensities=np.array([0.75, 0.35]),
            ambient=0.42,
            diffuse=0.75,
            environment=(0.42, 0.45, 0.45),
            windows=windows,
        )


def _pinhole_directions(camera: CameraIntrinsics) -> np.ndarray:
    """Return the direction (x / z, y / z) of every pixel (H, W, 2) float32."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    flat = camera.undistort(np.stack([columns.ravel(), rows.ravel()], 1).astype(float))
    return flat.reshape(camera.height, camera.width, 2).astype(np.float32)
