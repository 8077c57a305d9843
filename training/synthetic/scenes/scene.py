"""Draws labelled pictures of random scenes; each depends on the seed and its number only, not on the ones before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import random_rotation
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.keypoint_sites import KeypointSite, keypoint_sites
from training.synthetic.geometry.object_builder import Builder, object_size
from training.synthetic.geometry.parts import Part, same_shape, surface_points
from training.synthetic.rendering.backgrounds import drawn_background, photo_background
from training.synthetic.rendering.body import Body
from training.synthetic.rendering.effects import apply_sensor, apply_water
from training.synthetic.rendering.noise import scaled
from training.synthetic.rendering.renderer import CameraViews, Rendering
from training.synthetic.scenes.annotation import coco_annotation, keypoint_seen
from training.synthetic.scenes.attitudes import Attitudes
from training.synthetic.scenes.distractors import sample_distractor, sample_hand
from training.synthetic.scenes.sampling import sample_camera, sample_lighting, vary_material

MAX_TRIES = 200
MIN_DEPTH = 0.25  # of the object's size: nearer than that no keypoint may come to the camera
MIN_VISIBLE_PX = 12  # instances of which less is in the picture are not labelled
BACKGROUND_STREAM, VARIANT_STREAM = 1, 2  # independent random streams of one picture
_SHADOW_STEP_PX = 4  # soft shadows are computed at every fourth pixel
SURFACE_POINTS = 1500  # of the object, among which a hand finds its outline


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """One picture, uint8 (H, W, 3) BGR, and its COCO annotations without ids."""

    image: np.ndarray
    annotations: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Variant:
    """
    One variant of the object.

    Attributes:
        number: seed and number of the group of pictures that it is drawn in.
        parts: it is built of.
        bodies: one for each instance in a picture.
        sites: of the keypoints.
        surface: (N, 3) points on it, in the object frame [m].
    """

    number: tuple[int, int]
    parts: list[Part]
    bodies: list[Body]
    sites: list[KeypointSite]
    surface: np.ndarray


@dataclass(frozen=True, eq=False)
class Instance:
    """The pose of one object in the picture, and its keypoints (K, 3) in the camera frame [m]."""

    camera_object: Rigid
    points: np.ndarray


class SceneGenerator:
    """
    Draws labelled pictures of one object.

    Args:
        model: with complete model_points.
        build: returns the parts of the object, given a generator for its variant.
        settings: all groups.
        width: of the pictures [px].
        height: of the pictures [px].
        photos: background photos; may be empty.
        camera: of all pictures, of their size; None to draw one for each.
    """

    def __init__(
        self,
        model: ObjectModel,
        build: Builder,
        settings: SimpleNamespace,
        width: int,
        height: int,
        photos: Sequence[Path] = (),
        camera: CameraIntrinsics | None = None,
    ):
        self.model, self.settings, self.photos = model, settings, list(photos)
        self.width, self.height, self.camera = width, height, camera
        self._build = build
        self._variant: Variant | None = None
        self._attitudes: Attitudes | None = None
        self.centre, self.size = (model.model_points.min(0) + model.model_points.max(0)) / 2, object_size(model)
        self._views = CameraViews(width, height, self.size)

    def generate(self, seed: int, index: int) -> LabelledPicture:
        """Return picture number `index` of the series `seed`; the same numbers give the same picture."""
        rng = np.random.default_rng([seed, index])
        variant = self._variant_of(seed, index)
        camera = self.camera or sample_camera(rng, self.settings.camera, self.width, self.height)
        instances = self._place(rng, camera)
        rendering = self._render(rng, variant, instances, camera)
        pixels = [camera.project(instance.points) for instance in instances]
        image = self._compose(np.random.default_rng([seed, index, BACKGROUND_STREAM]), rendering, instances, pixels)
        return LabelledPicture(image, self._annotate(rendering, variant, instances, pixels, camera))

    def _variant_of(self, seed: int, index: int) -> Variant:
        """Return the object's variant of a picture; what it shares with the one before is not made again."""
        number, last = (seed, index // int(self.settings.pose.variants_every)), self._variant
        if last is not None and last.number == number:
            return last
        parts = self._build(np.random.default_rng([*number, VARIANT_STREAM]))
        if last is not None and same_shape(parts, last.parts):
            self._variant = replace(last, number=number, parts=parts, bodies=[Body(parts, shared=last.bodies[0])])
        else:
            sites = keypoint_sites(parts, self.model.model_points, self.settings.visibility.radius * self.size)
            self._variant = Variant(number, parts, [Body(parts)], sites, surface_points(parts, SURFACE_POINTS))
            self._attitudes = Attitudes(self.settings.pose, self.model, sites)
        return self._variant

    def _place(self, rng, camera: CameraIntrinsics) -> list[Instance]:
        weights = np.array(self.settings.pose.instances, float)
        count = rng.choice(len(weights), p=weights / weights.sum())
        instances: list[Instance] = []
        for _ in range(MAX_TRIES):
            if len(instances) == count:
                break
            candidate = self._sample_instance(rng, camera)
            if self._fits(candidate, instances, camera):
                instances.append(candidate)
        if count and not instances:
            raise ConfigError(
                f'{self.model.name}: no pose of {MAX_TRIES} shows {self.settings.pose.min_keypoints_inside} keypoints: '
                'give larger distances, or settings with a smaller pose.size or pose.min_keypoints_inside'
            )
        return instances

    def _sample_instance(self, rng, camera: CameraIntrinsics) -> Instance:
        settings = self.settings.pose
        R = self._attitudes.sample(rng)
        margin = settings.centre_margin
        pixel = rng.uniform(margin, 1 - margin, 2) * (self.width, self.height)
        if settings.distance_m[1] > 0:  # all sizes in the picture equally often
            ray = self._point_behind(camera, pixel, 1.0)
            near, far = settings.distance_m
            depth = 1 / (rng.uniform(1 / far, 1 / near) * np.linalg.norm(ray))
        else:
            depth = self.size * camera.K[0, 0] / (self.width * rng.uniform(*settings.size))
        camera_object = Rigid(R, self._point_behind(camera, pixel, depth) - R @ self.centre)
        return Instance(camera_object, camera_object.apply(self.model.model_points))

    def _point_behind(self, camera: CameraIntrinsics, pixel: np.ndarray, depth: float) -> np.ndarray:
        """Return the point (3,) at a depth [m] that is seen at a pixel, or on the axis where the lens sees nothing."""
        direction = np.nan_to_num(camera.undistort(pixel[None])[0])
        return depth * np.array([*direction, 1.0])

    def _fits(self, candidate: Instance, others: list[Instance], camera: CameraIntrinsics) -> bool:
        """Say whether an instance is in front of the camera, in the picture, and not inside another one."""
        if candidate.points[:, 2].min() < MIN_DEPTH * self.size:
            return False
        inside = self._inside(camera.project(candidate.points)).sum()
        wanted = min(self.settings.pose.min_keypoints_inside, len(candidate.points))
        gaps = [np.linalg.norm(candidate.points.mean(0) - other.points.mean(0)) for other in others]
        return inside >= (1 if others else wanted) and all(gap > 0.7 * self.size for gap in gaps)

    def _inside(self, pixels: np.ndarray) -> np.ndarray:
        """Say for each pixel position (K, 2) whether it lies in the image."""
        return ((pixels >= -0.5) & (pixels <= (self.width - 0.5, self.height - 0.5))).all(1)

    def _render(self, rng, variant: Variant, instances: list[Instance], camera: CameraIntrinsics) -> Rendering:
        bodies = variant.bodies
        while len(bodies) < len(instances):
            bodies.append(bodies[0].copy())
        for instance, placed in zip(instances, bodies):
            placed.place(instance.camera_object)
            placed.paint([vary_material(rng, self.settings.materials, part.material) for part in placed.parts])
        shown = bodies[: len(instances)] + self._distractors(rng, variant, instances, camera)
        return self._views.render(shown, sample_lighting(rng, self.settings.lights), camera)

    def _distractors(self, rng, variant: Variant, instances: list[Instance], camera: CameraIntrinsics) -> list[Body]:
        """Return solid things behind the object, and now and then a hand or others that hide a part of it."""
        settings = self.settings.distractors
        bodies = []
        middle = instances[0].points.mean(0) if instances else np.array([0, 0, 3 * self.size])
        for _ in range(rng.integers(settings.behind[0], settings.behind[1] + 1)):
            depth = middle[2] + self.size * rng.uniform(0.5, 1.5)
            at = self._point_behind(camera, rng.uniform(0, 1, 2) * (self.width, self.height), depth)
            bodies.append(self._distractor(rng, at, rng.uniform(*settings.size) * depth / middle[2]))
        if instances and rng.random() < settings.in_front_probability:
            for _ in range(rng.integers(settings.in_front[0], settings.in_front[1] + 1)):
                share = rng.uniform(0.45, 0.8)
                target = middle + rng.normal(0, 0.45, 3) * self.size
                bodies.append(self._distractor(rng, target * share, rng.uniform(*settings.size) * share))
        if instances and rng.random() < settings.hand_probability:
            surface = instances[0].camera_object.apply(variant.surface)
            bodies.append(Body(sample_hand(rng, settings, surface, self.size)))
            bodies[-1].place(Rigid(np.eye(3), np.zeros(3)))
        return bodies

    def _distractor(self, rng, position: np.ndarray, size: float) -> Body:
        body = Body([sample_distractor(rng, size * self.size, self.settings.distractors.pattern_probability)])
        body.place(Rigid(random_rotation(rng), position))
        return body

    def _compose(self, rng, rendering: Rendering, instances: list[Instance], pixels: list[np.ndarray]) -> np.ndarray:
        """Return the finished picture: background, shadow, object, water, camera."""
        settings = self.settings
        if self.photos and rng.random() < settings.background.folder_share:
            behind = photo_background(rng, self.photos, self.height, self.width)
        else:
            behind = drawn_background(rng, settings.background, self.height, self.width)
        shadow = _soft_shadow(rng, rendering.coverage) * np.float32(rng.uniform(*settings.background.shadow))
        image = cv2.add(scaled(behind, (1 - shadow) * (1 - rendering.coverage)), rendering.color)
        nearest = instances[0].points[:, 2].mean() if instances else 2 * self.size
        floor_depth = np.float32(nearest * rng.uniform(1.1, 1.8))
        depth = np.where(np.isfinite(rendering.surfaces.depth), rendering.surfaces.depth, floor_depth)
        keypoints = np.concatenate([np.empty((0, 2)), *(each[self._inside(each)] for each in pixels)])
        image = apply_water(rng, settings.water, image, depth, keypoints)
        return apply_sensor(rng, settings.sensor, image)

    def _annotate(
        self,
        rendering: Rendering,
        variant: Variant,
        instances: list[Instance],
        pixels: list[np.ndarray],
        camera: CameraIntrinsics,
    ) -> list[dict[str, Any]]:
        annotations = []
        for number, (instance, at) in enumerate(zip(instances, pixels), 1):
            mask = rendering.surfaces.instance == number
            if mask.sum() < MIN_VISIBLE_PX:
                continue
            flags = self._flags(rendering, variant, number, instance, at)
            annotations.append(coco_annotation(at, flags, mask, camera, instance.camera_object))
        return annotations

    def _flags(
        self, rendering: Rendering, variant: Variant, number: int, instance: Instance, pixels: np.ndarray
    ) -> np.ndarray:
        """Return COCO's visibility flag of each keypoint (K,)."""
        inside = self._inside(pixels)
        share = self.settings.visibility.seen_share
        seen = [
            ok and keypoint_seen(rendering.pinhole, number, point, site, instance.camera_object.rotation, share)
            for ok, point, site in zip(inside, instance.points, variant.sites)
        ]
        return np.where(inside, np.where(seen, SEEN, HIDDEN), ABSENT)


def _soft_shadow(rng, coverage: np.ndarray) -> np.ndarray:
    """Return the object's blurred shadow (H, W) in [0, 1], thrown to a random side."""
    height, width = coverage.shape
    reach, angle = rng.uniform(0.005, 0.08) * width, rng.uniform(0, 2 * np.pi)
    shift = np.float32([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]])
    moved = cv2.warpAffine(coverage, shift, (width, height))
    small = cv2.resize(moved, (width // _SHADOW_STEP_PX, height // _SHADOW_STEP_PX), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.006, 0.03) * small.shape[1])
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
