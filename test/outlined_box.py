"""A cuboid of plain colours with exact outline views and pictures: nothing needs a renderer."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw, random_rotation
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import CREASE, OUTLINE, OutlineViews, ViewLines

HALF_M = np.array([0.13, 0.09, 0.05])
CORNERS = np.array(list(itertools.product((-1, 1), repeat=3))) * HALF_M
CAMERA = CameraIntrinsics(320, 240, np.array([[300.0, 0, 159.5], [0, 300.0, 119.5], [0, 0, 1]]), [-0.1, 0.02, 0, 0, 0])
FACE_COLOURS = ((40, 60, 200), (60, 90, 230), (30, 150, 200), (40, 190, 230), (30, 40, 130), (50, 70, 160))  # BGR
FACES = [(axis, sign) for axis in range(3) for sign in (-1, 1)]  # in the order of the colours
NAMES = [f'corner_{i}' for i in range(8)]
MODEL = ObjectModel.from_dict({
    'name': 'box',
    'keypoints': NAMES,
    'skeleton': [[NAMES[0], name] for name in NAMES[1:]],
    'model_points': dict(zip(NAMES, CORNERS.tolist())),
})
_SUPERSAMPLING = 3


@functools.lru_cache
def box_views(count: int = 300, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0), lines: int = 20) -> OutlineViews:
    """Return the views of the box, or of one whose sides are longer by `stretch`, with so many lines on each edge."""
    turns = np.arange(count) + 0.5
    z = 1.0 - 2.0 * turns / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * turns
    directions = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], 1)
    radius = float(np.linalg.norm(HALF_M * stretch))
    views = [_view(direction, np.array(stretch), radius, lines) for direction in directions]
    return OutlineViews.from_lines(MODEL, 'box', np.zeros(3), radius, directions, views)


def _view(direction: np.ndarray, stretch: np.ndarray, radius: float, lines: int) -> ViewLines:
    right = np.cross([0.0, 0.0, 1.0] if abs(direction[2]) < 0.9 else [0.0, 1.0, 0.0], -direction)
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(-direction, right), -direction])
    camera_object = Rigid(R, np.array([0.0, 0.0, 5.0 * radius]))
    corners = CORNERS * stretch
    seen = {face for face in FACES if _faces(camera_object, face, stretch)}
    points, normals, room, kinds = [], [], [], []
    for a, b in itertools.combinations(range(8), 2):
        differs = np.flatnonzero(CORNERS[a] != CORNERS[b])
        if len(differs) != 1:
            continue
        beside = [(axis, int(np.sign(CORNERS[a, axis]))) for axis in range(3) if axis != differs[0]]
        sides = sum(face in seen for face in beside)
        if not sides:
            continue
        share = (np.arange(lines) + 0.5) / lines
        along = corners[a] + share[:, None] * (corners[b] - corners[a])
        start, end = (camera_object.apply(corners[[i]])[0] for i in (a, b))
        step = end[:2] / end[2] - start[:2] / start[2]
        normal = np.array([step[1], -step[0]]) / np.linalg.norm(step)
        middle = 0.5 * (start + end)
        if normal @ middle[:2] < 0:  # the box is convex and its centre is on the axis
            normal = -normal
        points.append(along)
        normals.append(np.tile(normal @ R[:2], (len(along), 1)))
        kinds.append(np.full(len(along), OUTLINE if sides == 1 else CREASE))
        room.append(np.tile([0.03, 0.5 if sides == 1 else 0.03], (len(along), 1)))
    _end_at_other_edges(camera_object, points, room, kinds)
    return ViewLines(*(np.concatenate(each) for each in (points, normals, room, kinds)))


def _end_at_other_edges(
    camera_object: Rigid, points: list[np.ndarray], room: list[np.ndarray], kinds: list[np.ndarray]
) -> None:
    """Let the room across creases, one array for each edge, end where another edge is seen."""
    seen = [camera_object.apply(each) for each in points]
    flat = [each[:, :2] / each[:, 2:] * camera_object.translation[2] for each in seen]
    for i in range(len(points)):
        if kinds[i][0] == CREASE:
            others = np.concatenate([each for j, each in enumerate(flat) if j != i])
            away = np.linalg.norm(flat[i][:, None] - others, axis=2).min(1)
            room[i] = np.minimum(room[i], away[:, None])


def _faces(camera_object: Rigid, face: tuple[int, int], stretch: np.ndarray) -> bool:
    """Tell whether a face of the box is seen."""
    axis, sign = face
    middle = np.zeros(3)
    middle[axis] = sign * HALF_M[axis] * stretch[axis]
    return bool(camera_object.apply(middle[None])[0] @ (camera_object.rotation[:, axis] * sign) < 0)


def picture(
    camera_object: Rigid,
    seed: int = 0,
    background: Sequence[int] = (120, 120, 110),
    noise: float = 4.0,
    hidden: float = 0.0,
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """Return the image of the box: in front of a plain background, its left part (a share) behind a grey board."""
    look = tuple(background), hidden, tuple(stretch)
    image = _drawn(camera_object.rotation.tobytes(), camera_object.translation.tobytes(), *look)
    noisy = image + np.random.default_rng(seed).normal(0.0, noise, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@functools.lru_cache(64)
def _drawn(
    rotation: bytes, translation: bytes, background: tuple[int, ...], hidden: float, stretch: tuple[float, ...]
) -> np.ndarray:
    """Return the image without noise; tests want the same one many times."""
    camera_object = Rigid(np.frombuffer(rotation).reshape(3, 3), np.frombuffer(translation))
    origin = -camera_object.translation @ camera_object.rotation
    half = (HALF_M * stretch).astype(np.float32)
    corners = CAMERA.project(camera_object.apply(CORNERS * stretch))
    low = np.clip(np.floor(corners.min(0)) - 3, 0, None).astype(int) * _SUPERSAMPLING  # nothing else is drawn
    high = (np.ceil(corners.max(0)) + 4).astype(int) * _SUPERSAMPLING
    part = slice(low[1], high[1]), slice(low[0], high[0])
    rays = _rays()[part] @ camera_object.rotation.astype(np.float32)
    rays = np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
    ends = (np.sign(rays) * half - origin.astype(np.float32)) / rays  # leaving each pair of faces
    starts = ends - 2.0 * half / np.abs(rays)
    axis, enters = starts.argmax(-1), starts.max(-1)
    face = 2 * axis + (np.take_along_axis(rays, axis[..., None], -1)[..., 0] < 0)
    hit = enters < ends.min(-1)
    fine = np.full((*_rays().shape[:2], 3), background, np.float32)
    fine[part][hit] = np.array(FACE_COLOURS)[face[hit]]
    if hidden:
        columns = low[0] + np.flatnonzero(hit.any(0))
        fine[:, : int(columns[0] + hidden * (columns[-1] - columns[0]))] = 90.0
    return cv2.resize(fine, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)


@functools.lru_cache
def _rays() -> np.ndarray:
    """Return the directions (H, W, 3) float32 that the parts of all pixels see."""
    places = [(np.arange(n * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING - 0.5 for n in (CAMERA.width, CAMERA.height)]
    grid = np.stack(np.meshgrid(*places), -1)
    directions = CAMERA.undistort(grid.reshape(-1, 2)).reshape(grid.shape)
    return np.dstack([directions, np.ones(grid.shape[:2])]).astype(np.float32)


def some_pose(seed: int) -> Rigid:
    """Return a pose in the middle of the image."""
    rng = np.random.default_rng(seed)
    return Rigid(random_rotation(rng), np.array([*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.6, 0.9)]))


def near(camera_object: Rigid, seed: int, turn_deg: float = 2.0, shift_m: float = 0.006) -> tuple[Rigid, np.ndarray]:
    """Return a pose with errors of the given standard deviations, and their covariance (6, 6)."""
    sigma = np.repeat([shift_m, np.deg2rad(turn_deg)], 3)
    return camera_object.moved(np.random.default_rng(seed).normal(0.0, sigma)), np.diag(sigma**2)


def keypoints(camera_object: Rigid, seed: int, noise_px: float = 2.0, track_id: int | None = 0) -> KeypointPose:
    """Return the corners of the box with errors."""
    pixels = CAMERA.project(camera_object.apply(CORNERS))
    return KeypointPose(
        keypoints=pixels + np.random.default_rng(seed).normal(0.0, noise_px, pixels.shape),
        covariances=np.tile(noise_px**2 * np.eye(2), (8, 1, 1)),
        scores=np.ones(8),
        visible=np.ones(8, bool),
        score=1.0,
        track_id=track_id,
    )


def slow_motion(frames: int) -> list[Rigid]:
    """Return poses of a box that turns slowly."""
    start = some_pose(3)
    return [start.moved(np.array([0.001 * i, 0.0, 0.001 * i, 0.0, 0.01 * i, 0.005 * i])) for i in range(frames)]


TILTED = Rigid(matrix_from_roll_pitch_yaw(np.array([2.2, 0.4, 0.5])), np.array([0.01, -0.01, 0.7]))
