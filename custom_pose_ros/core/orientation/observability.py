"""Observability: how well an object's keypoints determine its pose in one image, and which keypoint would help most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import random_rotation
from custom_pose_ros.core.geometry.symmetry import SymmetryGroup
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.orientation.pnp import (
    PointSet,
    known_points,
    linearise,
    mirrored_pose,
    refine_poses,
    whitening,
)

HALF = 0.5  # share of the error that is wanted to remain after adding or moving a keypoint
SAME_HELP = 1.2  # errors within this factor count as equally good
_SAME_RAD = np.deg2rad(1.0)  # a second solution nearer than this is the first
_RANDOM_RAD = 1.27  # standard deviation about each axis of an attitude nothing is known about
_LIFTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)  # how far a keypoint may stand out, as a share of the object's size
_TOO_NEAR = 0.05  # keypoints nearer to each other than this share of the object's size are not proposed


@dataclass(frozen=True, eq=False)
class ViewErrors:
    """
    Expected errors of single images, over the V views in which every keypoint is inside the image.

    Attributes:
        rotation_rad: (V,) root mean square error of the rotation, a wrong choice between two solutions included.
        sure_rotation_rad: (V,) the same when the right solution is chosen.
        position_m: (V,) that of the position of the object's origin.
        wrong_choice: (V,) probability that the wrong solution explains the image better.
        ambiguous: (V,) bool, whether a second solution explains an image without noise almost as well (AMBIGUOUS).
        fitting: share of all views that fit into the image.
    """

    rotation_rad: np.ndarray
    sure_rotation_rad: np.ndarray
    position_m: np.ndarray
    wrong_choice: np.ndarray
    ambiguous: np.ndarray
    fitting: float

    @property
    def median_rotation_rad(self) -> float:
        """Median over the views; NaN when none fits."""
        return float(np.median(self.rotation_rad)) if len(self.rotation_rad) else math.nan


@dataclass(frozen=True, eq=False)
class Change:
    """
    One keypoint added or moved.

    Attributes:
        name: of the keypoint that moves, of the keypoint nearest to a new one, or of the candidate that is added.
        added: True for a new keypoint, False for one that moves.
        point: (3,) its position after the change, object frame [m].
        lift_m: distance of that position from the main plane of the keypoints [m].
        points: (K, 3) all keypoints after the change, object frame [m].
        median_rotation_rad: median of the expected rotation errors after the change.
        candidate: True for a new keypoint that was given by name.
        either_side: True when the mirrored position on the other side of the main plane helps about as much.
        seen: (N, K) bool, in which attitudes each of `points` is seen; None for all of them.
    """

    name: str
    added: bool
    point: np.ndarray
    lift_m: float
    points: np.ndarray
    median_rotation_rad: float
    candidate: bool = False
    either_side: bool = False
    seen: np.ndarray | None = None


class Observability:
    """
    The views of one object by one camera, and the errors to expect in them.

    Args:
        model: the object; needs at least four model_points that are not on one line.
        camera: intrinsics of the images.
        noise_px: standard deviation of the keypoints.
        attitudes: (N, 3, 3) R_camera_object; the object's middle is on the optical axis. Default: 300 random ones.
        seen: (N, K) bool, in which of them each keypoint with a known position is seen; None for all of them.

    Raises:
        ConfigError: the object has no usable model_points or the noise is not positive.
    """

    def __init__(
        self,
        model: ObjectModel,
        camera: CameraIntrinsics,
        noise_px: float,
        attitudes: np.ndarray | None = None,
        seen: np.ndarray | None = None,
    ):
        if not (math.isfinite(noise_px) and noise_px > 0.0):
            raise ConfigError(f'noise: wanted pixels above 0, got {noise_px!r}')
        self.shape = known_points(model)
        self.names = [name for name, known in zip(model.keypoint_names, model.has_position) if known]
        self._size_m = float(np.linalg.norm(np.ptp(self.shape.points @ self.shape.R_plane_object.T, axis=0)))
        self._camera = camera
        self._noise_px = noise_px
        self._attitudes = random_attitudes(300) if attitudes is None else attitudes
        self._seen = seen
        self._symmetries = SymmetryGroup(model.symmetries)
        self._free_axes = [np.array(symmetry.axis) for symmetry in model.symmetries if symmetry.fold == 0]

    def errors(self, distance_m: float, points: np.ndarray | None = None, seen: np.ndarray | None = None) -> ViewErrors:
        """
        Return the expected errors at a distance.

        They are those of the maximum-likelihood solution to first order, bounded by that of a random attitude, which
        is also the error of views that show too few keypoints for a pose.

        Args:
            distance_m: of the object's middle from the camera [m].
            points: (K, 3) keypoints to use instead of the object's, object frame [m].
            seen: (N, K) bool, in which attitudes these are seen; None for all of them.
        """
        shape, seen = (self.shape, self._seen) if points is None else (PointSet(points), seen)
        poses, directions, whiten, fits = self._views(shape, distance_m)
        R = poses.rotation
        shown = np.ones((len(R), len(shape.points)), bool) if seen is None else seen[fits]
        whiten = whiten * shown[..., None, None]
        mirrored, posed = _mirrored(shape, poses, shown)
        _, jacobian, _ = linearise(poses, shape.points, directions, whiten)
        nothing_known = np.diag(np.repeat([distance_m, _RANDOM_RAD], 3) ** -2.0)
        covariance = np.linalg.inv(jacobian.transpose(0, 2, 1) @ jacobian + nothing_known)
        second, chi2 = self._second_solutions(shape, poses, mirrored, directions, whiten)
        wrong = np.array([0.5 * math.erfc(math.sqrt(value / 8.0)) for value in chi2.tolist()])
        covariance[~posed], wrong[~posed] = np.linalg.inv(nothing_known), 1.0
        turn = covariance[:, 3:, 3:]
        for axis in self._free_axes:  # turning about them does not count
            seen = (R @ axis)[:, :, None]
            turn = turn - seen * (seen.transpose(0, 2, 1) @ turn @ seen) * seen.transpose(0, 2, 1)
        apart = (second.translation - poses.translation) * (np.isfinite(chi2) & posed)[:, None]
        turned = _angles_between(R, second.rotation) * posed
        return ViewErrors(
            rotation_rad=np.sqrt(turn.trace(0, 1, 2) + wrong * turned**2),
            sure_rotation_rad=np.sqrt(turn.trace(0, 1, 2)),
            position_m=np.sqrt(covariance[:, :3, :3].trace(0, 1, 2) + wrong * (apart * apart).sum(1)),
            wrong_choice=wrong,
            ambiguous=(np.exp(-0.5 * chi2) > AMBIGUOUS) | ~posed,
            fitting=len(R) / len(self._attitudes),
        )

    def best_change(
        self, distance_m: float, added: bool, places: np.ndarray | None = None, places_seen: np.ndarray | None = None
    ) -> Change | None:
        """
        Return the change that halves the error at a distance [m] with the least lift out of the main plane.

        When no change halves it, the one that helps most; None when nothing helps or the object is not seen there.

        Args:
            distance_m: of the object's middle from the camera [m].
            added: True to add a keypoint, False to move one.
            places: (N, 3) where it may be, object frame [m], of which the one that helps most is taken; None for
                anywhere above or below a keypoint, as far as known in the air, where it counts as seen.
            places_seen: (attitudes, N) bool, in which of them each place is seen; None for all of them.
        """
        now = self.errors(distance_m).median_rotation_rad
        best: Change | None = None
        steps = (
            [self._lifted(lift, added) for lift in _LIFTS]
            if places is None
            else [self._placed(places, added, places_seen)]
        )
        for changes in steps:
            for name, point, points, seen in changes:
                errors = self.errors(distance_m, points, seen)
                if errors.median_rotation_rad < (now if best is None else best.median_rotation_rad):
                    height, median = abs(self._height(point)), errors.median_rotation_rad
                    best = Change(name, added, point, height, points, median, seen=seen)
            if best is not None and best.median_rotation_rad <= HALF * now:
                break
        if best is None or places is not None:
            return best
        return replace(best, either_side=self._helps_mirrored(best, distance_m))

    def with_candidate(self, distance_m: float, name: str, point: np.ndarray) -> Change:
        """Return the change that adds one known point (3,) [m] of the object as a keypoint."""
        points = np.vstack([self.shape.points, point])
        seen = self._seen_with(None)
        median = self.errors(distance_m, points, seen).median_rotation_rad
        return Change(name, True, point, abs(self._height(point)), points, median, candidate=True, seen=seen)

    def _seen_with(self, place_seen: np.ndarray | None, moved: int | None = None) -> np.ndarray | None:
        """Return `seen` with another keypoint, or one that moves there: seen (N,) bool, None for in all attitudes."""
        if self._seen is None:
            return None
        column = np.ones(len(self._seen), bool) if place_seen is None else place_seen
        if moved is None:
            return np.column_stack([self._seen, column])
        return np.where(np.arange(self._seen.shape[1]) == moved, column[:, None], self._seen)

    def _height(self, point: np.ndarray) -> float:
        """Return the signed distance of a point (3,) from the main plane of the keypoints [m]."""
        return float((point - self.shape.centroid) @ self.shape.normal)

    def _helps_mirrored(self, change: Change, distance_m: float) -> bool:
        """Tell whether a change helps as well (SAME_HELP) with its point on the other side of the main plane."""
        other = change.point - 2.0 * self._height(change.point) * self.shape.normal
        points = np.where((change.points == change.point).all(1)[:, None], other, change.points)
        return (
            self.errors(distance_m, points, change.seen).median_rotation_rad <= SAME_HELP * change.median_rotation_rad
        )

    def _views(self, shape: PointSet, distance_m: float) -> tuple[Rigid, np.ndarray, np.ndarray, np.ndarray]:
        """Return poses (a stack of V), directions (V, K, 2), whitening (V, K, 2, 2) of views that fit, and which do."""
        R = self._attitudes
        t = np.array([0.0, 0.0, distance_m]) - R @ self.shape.centroid
        position = shape.points @ R.transpose(0, 2, 1) + t[:, None]
        pixels = self._camera.project(position.reshape(-1, 3)).reshape(*position.shape[:2], 2)
        with np.errstate(invalid='ignore'):
            fits = ((pixels > -0.5) & (pixels < np.array([self._camera.width, self._camera.height]) - 0.5)).all((1, 2))
        directions, jacobians = self._camera.undistort_with_jacobian(pixels[fits].reshape(-1, 2))
        covariances = self._noise_px**2 * jacobians @ jacobians.transpose(0, 2, 1)
        count = len(shape.points)
        whiten = whitening(covariances).reshape(-1, count, 2, 2)
        return Rigid(R[fits], t[fits]), directions.reshape(-1, count, 2), whiten, np.asarray(fits)

    def _second_solutions(
        self, shape: PointSet, poses: Rigid, mirrored: Rigid, directions: np.ndarray, whiten: np.ndarray
    ) -> tuple[Rigid, np.ndarray]:
        """Return the mirrored solutions (a stack of V) and their chi-square (V,); infinite where there is none."""
        R = poses.rotation
        if not len(R):
            return poses, np.zeros(0)
        (R_other, t_other), chi2, _ = refine_poses(mirrored, shape.points, directions, whiten)
        if not self._symmetries.trivial:
            R_other = np.array([a @ self._symmetries.turn_towards(a, b) for a, b in zip(R_other, R)])
        same = _angles_between(R, R_other) < _SAME_RAD
        return Rigid(R_other, t_other), np.where(same, np.inf, chi2)

    def _placed(
        self, places: np.ndarray, added: bool, seen: np.ndarray | None
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield what `_lifted` does, for places (N, 3): of each the keypoint nearest to it, which may move there."""
        for i, place in enumerate(places):
            k = int(np.linalg.norm(self.shape.points - place, axis=1).argmin())
            yield from self._changed(k, place, added, _TOO_NEAR * self._size_m, None if seen is None else seen[:, i])

    def _lifted(self, lift: float, added: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield name, position, all points (K, 3) and `seen` of the changes with a lift of a share of the size."""
        for k, point in enumerate(self.shape.points):
            for sign in (1.0, -1.0):
                place = point + sign * lift * self._size_m * self.shape.normal
                yield from self._changed(k, place, added, min(_TOO_NEAR, 0.9 * lift) * self._size_m, None)

    def _changed(
        self, k: int, place: np.ndarray, added: bool, least_m: float, seen: np.ndarray | None
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield the change that adds a place (3,) near keypoint k or moves k there, where no other one is too near."""
        points = self.shape.points
        rest = points if added else np.delete(points, k, 0)
        if np.linalg.norm(rest - place, axis=1).min() > least_m:
            changed = np.vstack([points, place]) if added else np.vstack([points[:k], place, points[k + 1 :]])
            yield self.names[k], place, changed, self._seen_with(seen, None if added else k)


def _mirrored(shape: PointSet, poses: Rigid, shown: np.ndarray) -> tuple[Rigid, np.ndarray]:
    """Return the poses (a stack of V) mirrored about the plane of what is shown (V, K) bool, and which have any."""
    rotation, translation, posed = poses.rotation.copy(), poses.translation.copy(), np.zeros(len(shown), bool)
    patterns, of = np.unique(shown, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        points, views = shape if pattern.all() else PointSet(shape.points[pattern]), of.ravel() == number
        if points.refusal is None:
            posed |= views
            mirrored = mirrored_pose(points, Rigid(rotation[views], translation[views]))
            rotation[views], translation[views] = mirrored.rotation, mirrored.translation
    return Rigid(rotation, translation), posed


def random_attitudes(count: int) -> np.ndarray:
    """Return (count, 3, 3) rotations, uniformly distributed; the same in every call."""
    rng = np.random.default_rng(0)
    return np.array([random_rotation(rng) for _ in range(count)])


def tilted_at_most(attitudes: np.ndarray, normal: np.ndarray, limit_rad: float) -> np.ndarray:
    """Return those of (N, 3, 3) attitudes in which a direction of the object is near the optical axis, either way."""
    return attitudes[np.abs(attitudes[:, 2] @ normal) >= math.cos(limit_rad) - 1e-12]


def _angles_between(R_a: np.ndarray, R_b: np.ndarray) -> np.ndarray:
    """Return the (V,) angles [rad] between (V, 3, 3) rotations."""
    chord = np.linalg.norm((R_a - R_b).reshape(len(R_a), 9), axis=1) / math.sqrt(8.0)  # sin(angle / 2)
    return 2.0 * np.arcsin(np.minimum(chord, 1.0))
