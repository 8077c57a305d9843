"""Follow a rigid body through a film by optical flow: points on it, seen to be its own, and its pose in every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial import ConvexHull, QhullError

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import skew_matrix
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.rigid_adjustment import perspective

_MOST_POINTS = 150
_APART_PX = 7
_WINDOW = (19, 19)
_LEVELS = 3
_RETURNED_PX = 0.5  # a point that is followed there and back again comes back to within this
_RENEW = 4  # frames, after which new points are looked for
FEWEST = 10  # points on the body that give a pose
_POSE_STEPS = 15
_OFF_PX = 2.0  # from where the body has it: such a point is another thing's
_KEPT_SHARE = 0.5  # of the points, below which it was not this body that was followed
_QUALITY = 0.01


class Surface:
    """
    What the keypoints say about the object's surface: their convex hull, or their plane.

    Attributes:
        normals: (P, 3) outward unit normals of its facets.
        offsets: (P,) of its facets: normal . point + offset = 0.
        facets: (P, 3) indices of keypoints; empty where the keypoints lie in one plane.
    """

    def __init__(self, points: np.ndarray):
        middle = points.mean(0)
        try:
            hull = ConvexHull(points)
            self.normals, self.offsets, self.facets = hull.equations[:, :3], hull.equations[:, 3], hull.simplices
        except QhullError:
            normal = np.linalg.svd(points - middle)[2][2]
            self.normals = np.array([normal, -normal])
            self.offsets, self.facets = -self.normals @ middle, np.empty((0, 3), int)
        self._points = points

    def depths(self, pose: Rigid, directions: np.ndarray) -> np.ndarray:
        """Return the depth (N,) at which rays (N, 3) with z = 1 enter it, between those of its points."""
        normals = self.normals @ pose.rotation.T
        offsets = self.offsets - normals @ pose.translation
        slopes = directions @ normals.T
        with np.errstate(divide='ignore', invalid='ignore'):
            entries = np.where(slopes < 0, -offsets / slopes, -np.inf).max(1)
        depths = pose.apply(self._points)[:, 2]
        return np.clip(entries, depths.min(), depths.max())

    def facing(self, pose: Rigid) -> np.ndarray:
        """Return (K,) the largest cosine at which a facet of each keypoint faces the camera; below 0 it is hidden."""
        centres = self._points[self.facets].mean(1)
        towards = -pose.apply(centres)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        cosines = np.einsum('pi,pi->p', self.normals @ pose.rotation.T, towards)
        best = np.full(len(self._points), -1.0)
        np.maximum.at(best, self.facets.ravel(), np.repeat(cosines, 3))
        return best


@dataclass
class Trail:
    """
    Points that were followed from one clicked frame on.

    Attributes:
        points: (N, 3) first guesses of their places on the body.
        sightings: By frame: (M,) indices of `points`, and (M, 2) places [px from the principal point, undistorted].
        poses: Of the body, by frame.
        ages: By frame: how many frames ago the pose was known from clicks.
    """

    points: list[np.ndarray] = field(default_factory=list)
    sightings: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    poses: dict[int, Rigid] = field(default_factory=dict)
    ages: dict[int, int] = field(default_factory=dict)


def flow(before: np.ndarray, after: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Follow points (N, 2) from one grey picture to another one, and back.

    Returns:
        Places (N, 2), and (N,) whether they came back to where they were.
    """
    if not len(places):
        return places, np.zeros(0, bool)
    options = {'winSize': _WINDOW, 'maxLevel': _LEVELS}
    start = places.astype(np.float32)[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **options)
    good = (found.ravel() > 0) & (returned.ravel() > 0)
    good &= np.linalg.norm(back - start, axis=2).ravel() < _RETURNED_PX
    height, width = after.shape
    there = there[:, 0].astype(float)
    good &= (there >= 0).all(1) & (there[:, 0] <= width - 1) & (there[:, 1] <= height - 1)
    return there, good


def new_points(grey: np.ndarray, outline: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return corners (N, 2) of a grey picture inside of the convex hull of places, away from known ones."""
    mask = np.zeros_like(grey)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 255)
    for x, y in np.rint(known).astype(int).tolist():
        cv2.circle(mask, (x, y), _APART_PX, 0, cv2.FILLED)
    room = _MOST_POINTS - len(known)
    corners = cv2.goodFeaturesToTrack(grey, room, _QUALITY, _APART_PX, mask=mask) if room > 0 and mask.any() else None
    if corners is None:
        return np.empty((0, 2))
    return corners[:, 0].astype(float)


def refined_pose(pose: Rigid, points: np.ndarray, places: np.ndarray, focal_px: float) -> tuple[Rigid, np.ndarray]:
    """Return the pose that explains most places (N, 2) [px from the principal point], and its errors (N,) [px]."""
    damping = 1e-4
    for _ in range(_POSE_STEPS):
        turned = points @ pose.rotation.T
        expected, by_camera = perspective(turned + pose.translation, focal_px)
        residuals = places - expected
        jacobian = np.concatenate([by_camera, by_camera @ -skew_matrix(turned)], axis=2)
        weights = 1 / (1 + (residuals**2).sum(1))
        curvature = np.einsum('n,nki,nkj->ij', weights, jacobian, jacobian)
        gradient = np.einsum('n,nki,nk->i', weights, jacobian, residuals)
        step = np.linalg.solve(curvature + damping * np.diag(curvature.diagonal() + 1e-9), gradient)
        pose = pose.moved(step)
        if np.abs(jacobian @ step).max() < 0.01:
            break
    return pose, np.linalg.norm(places - ideal_places(pose, points, focal_px), axis=1)


def ideal_places(pose: Rigid, points: np.ndarray, focal_px: float) -> np.ndarray:
    """Return where points (K, 3) of the object are seen without distortion: (K, 2) [px from the principal point]."""
    return perspective(pose.apply(points), focal_px)[0]


def follow(
    greys: Mapping[int, np.ndarray],
    order: Sequence[int],
    known: Mapping[int, Rigid],
    keypoints: np.ndarray,
    focal_px: float,
    camera: FilmCamera,
) -> Trail:
    """
    Follow the body from the first frame of `order` through the others, as far as enough points stay on it.

    Args:
        greys: Pictures (h, w) uint8 by frame.
        order: Frames, one after the other.
        known: Poses of the body by frame, that of the first one among them: there it starts from these again.
        keypoints: (K, 3) on the body.
        focal_px: As adjusted.
        camera: Of the film.
    """
    surface, trail = Surface(keypoints), Trail()
    places, indices, pose, age = np.empty((0, 2)), np.empty(0, int), known[order[0]], 0
    for n, frame in enumerate(order):
        age += 1
        if n > 0:
            places, good = flow(greys[order[n - 1]], greys[frame], places)
            places, indices = places[good], indices[good]
            if len(indices) >= FEWEST:
                points = np.array([trail.points[i] for i in indices])
                pose, errors = refined_pose(pose, points, camera.ideal(places), focal_px)
                good = errors < _OFF_PX
                places, indices = places[good], indices[good]
            if len(indices) < max(FEWEST, _KEPT_SHARE * len(good)):
                break
        if frame in known:
            pose, age = known[frame], 0
        if n % _RENEW == 0 or age == 0:
            outline = camera.seen(ideal_places(pose, keypoints, focal_px))
            fresh = new_points(greys[frame], outline, places)
            directions = np.column_stack([camera.ideal(fresh) / focal_px, np.ones(len(fresh))])
            own = (directions * surface.depths(pose, directions)[:, None] - pose.translation) @ pose.rotation
            indices = np.concatenate([indices, len(trail.points) + np.arange(len(fresh))])
            places = np.vstack([places, fresh])
            trail.points.extend(own)
        trail.sightings[frame] = indices, camera.ideal(places)
        trail.poses[frame], trail.ages[frame] = pose, age
    return trail
