"""The pool of a clip, fixed in the world while the camera moves: floor, caustics, shadow and mirrored windows."""

from __future__ import annotations

import cv2
import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.parts import Part
from training.synthetic.rendering.noise import blend, fractal_noise

FLOOR_SIDE_M = 8.0
FLOOR_PX = 2400  # 300 px/m
CAUSTICS_PX = 512
CAUSTICS_SIDE_M = 1.6
WATER_HEIGHT_M = 1.55
CEILING_M = 4.5  # height of the mirrored windows above the water
WAVES = 9
SHADOW_PX, SHADOW_SIDE_M = 512, 2.6
WATER_COLOR = np.float32([0.78, 0.74, 0.50])  # BGR


class Pool:
    """
    Everything but the object. World frame: origin on the floor, z up [m].

    Args:
        seed: one pool per seed; a picture depends on the camera and the time only.
    """

    def __init__(self, seed: int):
        rng = np.random.default_rng([seed, 3])
        self.floor = _floor(rng)
        self._net = _tileable_caustics(rng)
        self._ceiling = _ceiling(rng)
        self.light = np.array([0.35, -0.25, 1.0]) / np.linalg.norm([0.35, -0.25, 1.0])  # towards the lamp
        angles = rng.uniform(0, 2 * np.pi, WAVES)
        lengths = np.exp(rng.uniform(np.log(0.16), np.log(0.9), WAVES))
        self._wave_vectors = 2 * np.pi / lengths[:, None] * np.c_[np.cos(angles), np.sin(angles)]
        self._wave_phases = rng.uniform(0, 2 * np.pi, WAVES)
        self._wave_speeds = np.sqrt(9.81 * 2 * np.pi / lengths) * 0.25  # deep-water waves, slowed down to look calm
        self._wave_slopes = 0.035 * (lengths / 0.5) ** 0.3 * rng.uniform(0.5, 1, WAVES)

    def floor_points(self, rays: np.ndarray, eye: np.ndarray) -> np.ndarray:
        """Return where rays (H, W, 3) in the world, from `eye`, meet the floor: (H, W, 2) [m]."""
        down = np.minimum(rays[..., 2], -1e-3)
        return (eye[:2] - rays[..., :2] * (eye[2] / down)[..., None]).astype(np.float32)

    def floor_picture(
        self, points: np.ndarray, time_s: float, shadow: np.ndarray, shadow_corner: np.ndarray
    ) -> np.ndarray:
        """Return the lit floor (H, W, 3) float32 BGR at floor points (H, W, 2); shadow as `shadow_map` gives it."""
        paint = cv2.remap(
            self.floor,
            (points + FLOOR_SIDE_M / 2) * np.float32(FLOOR_PX / FLOOR_SIDE_M),
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        at = (points - np.float32(shadow_corner)) * np.float32(SHADOW_PX / SHADOW_SIDE_M)
        dark = cv2.remap(shadow, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        light = 1 + 0.32 * (self.caustics(points, time_s) - 0.22) * (1 - dark)
        return paint * (light * (1 - 0.42 * dark))[..., None]

    def caustics(self, points: np.ndarray, time_s: float) -> np.ndarray:
        """Return the net of light on the floor (H, W) in [0, 1]: the darker of two nets that drift over each other."""
        scale = np.float32(CAUSTICS_PX / CAUSTICS_SIDE_M)
        layers = []
        for stretch, drift in ((1.0, (0.055, 0.020)), (1.27, (-0.030, 0.045))):
            at = np.mod((points * np.float32(stretch) + np.float32(drift) * np.float32(time_s)) * scale, CAUSTICS_PX)
            layers.append(cv2.remap(self._net, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        return np.minimum(*layers)

    def shadow_map(self, parts: list[Part], world_object: Rigid) -> tuple[np.ndarray, np.ndarray]:
        """Return the object's soft shadow (SHADOW_PX, SHADOW_PX) float32 and where its corner lies (2,) [m]."""
        t = world_object.translation
        mask = np.zeros((SHADOW_PX, SHADOW_PX), np.uint8)
        corner = (t - self.light * (t[2] / self.light[2]))[:2] - SHADOW_SIDE_M / 2
        for part in parts:
            world = world_object.apply(part.vertices)
            flat = world[:, :2] - self.light[:2] * (world[:, 2:] / self.light[2])
            pixels = np.int32((flat - corner) * (SHADOW_PX / SHADOW_SIDE_M) * 16)
            for triangle in pixels[part.faces]:
                cv2.fillConvexPoly(mask, triangle, 255, cv2.LINE_8, 4)
        blur = SHADOW_PX / SHADOW_SIDE_M * 0.022 * max(t[2], 0.1)
        return cv2.GaussianBlur(mask, (0, 0), max(blur, 0.5)).astype(np.float32) / 255, corner

    def mirrored_light(self, rays: np.ndarray, eye: np.ndarray, time_s: float) -> np.ndarray:
        """Return the light (H, W, 3) that the water's surface mirrors along rays (H, W, 3), from an eye above it."""
        small = rays[::2, ::2]
        reach = (eye[2] - WATER_HEIGHT_M) / np.maximum(-small[..., 2], 1e-2)
        water = eye[:2] + small[..., :2] * reach[..., None]
        slope = self._slope(water, time_s)
        normal = np.concatenate([-slope, np.ones_like(slope[..., :1])], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        facing = np.sum(small * normal, -1, keepdims=True)
        up = small - 2 * facing * normal
        at = water + up[..., :2] / np.maximum(up[..., 2:], 0.05) * CEILING_M
        pixels = np.float32((at + 8.0) * (len(self._ceiling) / 16.0))
        light = cv2.remap(self._ceiling, pixels, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        fresnel = 0.10 + 0.90 * (1 - np.clip(-facing / np.linalg.norm(small, axis=-1, keepdims=True), 0, 1)) ** 5
        return cv2.resize(
            np.float32(light * (fresnel * 4.0)), (rays.shape[1], rays.shape[0]), interpolation=cv2.INTER_LINEAR
        )

    def _slope(self, water: np.ndarray, time_s: float) -> np.ndarray:
        """Return the slope (..., 2) of the water's surface at positions (..., 2)."""
        total = np.zeros(water.shape, np.float32)
        for vector, phase, speed, height in zip(
            self._wave_vectors, self._wave_phases, self._wave_speeds, self._wave_slopes
        ):
            swing = np.cos(water @ vector + phase - speed * time_s) * height
            total += swing[..., None] * np.float32(vector / np.linalg.norm(vector))
        return total


def _floor(rng) -> np.ndarray:
    """Return the paint of the floor (FLOOR_PX, FLOOR_PX, 3) float32 BGR: plaster, stains, hairlines, joints."""
    side = FLOOR_PX
    mix = fractal_noise(rng, side, side, 6, 5, 0.6)
    paint = blend(np.broadcast_to(np.float32([0.60, 0.67, 0.66]), (side, side, 3)), (0.76, 0.83, 0.84), mix)
    stain = np.clip((fractal_noise(rng, side, side, 5, 7, 0.65) - 0.62) * 5, 0, 1)
    paint = blend(paint, (0.42, 0.46, 0.42), stain * np.float32(0.5))
    joints = np.zeros((side, side), np.float32)
    step = 0.8 * side / FLOOR_SIDE_M
    for position in np.arange(0.35 * step, side, step):
        cv2.line(joints, (int(position), 0), (int(position), side), 1.0, 6, cv2.LINE_AA)
        cv2.line(joints, (0, int(position)), (side, int(position)), 1.0, 6, cv2.LINE_AA)
    tile = rng.uniform(-0.035, 0.035, (int(FLOOR_SIDE_M / 0.8) + 2, int(FLOOR_SIDE_M / 0.8) + 2)).astype(np.float32)
    rows = ((np.arange(side) - 0.35 * step) // step + 1).astype(int)
    paint += tile[rows][:, rows][..., None]
    for _ in range(9):
        bends = np.cumsum(rng.normal(0, 0.18, 24)) + rng.uniform(0, 2 * np.pi)
        points = rng.uniform(0, side, 2) + np.cumsum(14 * np.c_[np.cos(bends), np.sin(bends)], 0)
        cv2.polylines(paint, [np.int32(points * 16)], False, (0.50, 0.55, 0.54), 1, cv2.LINE_AA, 4)
    wear = 0.6 + 0.4 * fractal_noise(rng, side, side, 4, 9)
    paint = blend(paint, (0.52, 0.55, 0.40), cv2.GaussianBlur(joints, (0, 0), 1.2) * wear)
    return np.clip(cv2.GaussianBlur(paint, (0, 0), 0.7), 0, 1)


def _tileable_caustics(rng) -> np.ndarray:
    """Return a net of bright lines (CAUSTICS_PX, CAUSTICS_PX) in [0, 1] without a seam: the borders of random cells."""
    seeds = rng.uniform(0, 1, (34, 2))
    axis = (np.arange(CAUSTICS_PX) + 0.5) / CAUSTICS_PX
    nearest = np.full((2, CAUSTICS_PX, CAUSTICS_PX), 9.0, np.float32)
    bend = [
        0.02 * np.sin(2 * np.pi * (k * axis[:, None] + axis[None] * m) + p) for k, m, p in ((1, 2, 0.3), (2, -1, 1.7))
    ]
    for x, y in seeds:
        dx = np.abs(axis[None] + bend[0] - x) % 1.0
        dy = np.abs(axis[:, None] + bend[1] - y) % 1.0
        distance = np.hypot(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy)).astype(np.float32)
        second = np.maximum(nearest[0], distance)
        nearest = np.stack([np.minimum(nearest[0], distance), np.minimum(nearest[1], second)])
    edge = nearest[1] - nearest[0]
    return (np.exp(-edge / 0.020) + 0.35 * np.exp(-edge / 0.07)).clip(0, 1).astype(np.float32)


def _ceiling(rng) -> np.ndarray:
    """Return what hangs over the pool (800, 800, 3): a dim hall with rows of bright windows."""
    ceiling = np.full((800, 800, 3), 0.10, np.float32)
    for left in (60, 330, 600):
        for row in range(6):
            for column in range(2):
                x, y = left + column * 62, 40 + row * 128
                shade = rng.uniform(0.75, 1.0)
                cv2.rectangle(ceiling, (x, y), (x + 54, y + 108), (1.0 * shade, 0.99 * shade, 0.95 * shade), -1)
    return cv2.GaussianBlur(ceiling, (0, 0), 1.0)
