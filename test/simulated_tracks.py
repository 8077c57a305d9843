"""Simulated tracks with known truth: a submarine in sinusoidal motion, noisy keypoints, and how estimates do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import (
    matrix_from_roll_pitch_yaw,
    matrix_from_rotation_vector,
    rotation_between,
    rotation_vector_from_matrix,
)
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator

CONDITIONS = ((1.0, 2.0), (1.0, 4.0), (0.5, 4.0), (2.0, 2.0))  # noise [px], distance [m]
CAMERA = CameraIntrinsics.from_fov(640, 480, 2.0 * np.arctan(320.0 / 554.0))  # f = 554 px
RATE_HZ = 30.0
WRONG_DEG = 20.0
UNDECIDED = 0.05  # ambiguity above which an estimate says that it may be the other one
CHI2_99 = 11.34  # 99 % quantile of chi-square with 3 degrees of freedom
CHI2_95_OF_6 = 12.59  # 95 % quantile of chi-square with 6 degrees of freedom
BOOTSTRAPS = 500
R_FROM_ABOVE = np.diag([1.0, -1.0, -1.0])  # the object's z axis towards the camera


@dataclass(frozen=True, eq=False)
class Track:
    """Truth: stamps (F,) s, R (F, 3, 3) and t (F, 3) m, object to camera."""

    stamps: np.ndarray
    R: np.ndarray
    t: np.ndarray


def planar_submarine() -> ObjectModel:
    """Return the submarine: four keypoints in a plane."""
    return ObjectModel.load('submarine')


def submarine_with_mast() -> ObjectModel:
    """Return it with a fifth keypoint 0.12 m above the plane: no longer ambiguous."""
    return with_points(mast=(0.3, 0.0, 0.12))


def six_point_submarine() -> ObjectModel:
    """Return it with a mast and a keel: six keypoints, so that one may be wrong."""
    return with_points(mast=(0.3, 0.0, 0.12), keel=(0.2, 0.0, -0.1))


def with_points(**points: tuple[float, float, float]) -> ObjectModel:
    """Return the submarine with further keypoints."""
    data = planar_submarine().to_dict()
    for name, point in points.items():
        data['keypoints'].append(name)
        data['sigmas'][name] = 0.03
        data['model_points'][name] = list(point)
    return ObjectModel.from_dict(data)


def simulate_track(seed: int, distance_m: float, frames: int = 300, stamps: np.ndarray | None = None) -> Track:
    """
    Return a track of sinusoidal motion, every component of its own frequency in 0.05 ... 0.25 Hz.

    It has a number of frames at RATE_HZ, or those at given stamps (F,) s.

    Seeds take turns in how the object tilts, each angle up to 45 deg: about the camera's two axes across the view,
    about one axis, as roll and pitch of a vehicle seen from above, about two axes mid-image with little yaw.
    """
    rng = np.random.default_rng(seed)
    stamps = np.arange(frames) / RATE_HZ if stamps is None else stamps
    frames = len(stamps)

    def swing(amplitude: float) -> np.ndarray:
        return amplitude * np.sin(2.0 * np.pi * rng.uniform(0.05, 0.25) * stamps + rng.uniform(0.0, 2.0 * np.pi))

    kind = seed % 4
    sway = (0.0, 0.0, 0.0) if kind == 3 else (0.3, 0.2, 0.2)
    centre = np.stack([swing(a) for a in sway], 1) + [0.0, 0.0, distance_m]
    limit = np.deg2rad(45.0)
    if kind == 2:
        angles = np.stack([swing(limit), swing(limit), swing(np.pi / 3) + rng.uniform(0.0, 2.0 * np.pi)], 1)
        R = R_FROM_ABOVE @ np.array([matrix_from_roll_pitch_yaw(a) for a in angles])
    else:
        direction = rng.uniform(0.0, 2.0 * np.pi)
        tilt, turn = np.zeros((frames, 3)), np.zeros((frames, 3))
        if kind == 1:
            tilt[:, :2] = swing(limit)[:, None] * [np.cos(direction), np.sin(direction)]
        else:
            tilt[:, :2] = np.stack([swing(limit), swing(limit)], 1)
        turn[:, 2] = swing(np.pi / 2 if kind == 0 else 0.5) + direction
        R = matrix_from_rotation_vector(tilt) @ matrix_from_rotation_vector(turn) @ R_FROM_ABOVE
    return Track(stamps, R, centre - R @ planar_submarine().model_points.mean(0))


def observe_track(
    model: ObjectModel, track: Track, noise_px: float, seed: int, lasts_s: float = 0.0
) -> list[KeypointPose]:
    """
    Return the keypoints of every frame with noise and the covariance that belongs to it.

    The noise is white, or its autocorrelation falls to 1/e within `lasts_s` as that of a detector does.
    """
    rng = np.random.default_rng(seed + 1000)
    count = model.keypoint_count
    perfect = KeypointPose(
        keypoints=np.zeros((count, 2)),
        covariances=np.tile(noise_px**2 * np.eye(2), (count, 1, 1)),
        scores=np.ones(count),
        visible=np.ones(count, bool),
        score=1.0,
        track_id=0,
    )
    pixels = [CAMERA.project(model.model_points @ R.T + t) for R, t in zip(track.R, track.t)]
    steps = np.diff(track.stamps, append=track.stamps[-1])
    noise, poses = rng.normal(scale=noise_px, size=(count, 2)), []
    for p, step_s in zip(pixels, steps):
        poses.append(replace(perfect, keypoints=p + noise))
        repeated = np.exp(-step_s / lasts_s) if lasts_s else 0.0
        noise = repeated * noise + np.sqrt(1.0 - repeated**2) * rng.normal(scale=noise_px, size=(count, 2))
    return poses


def irregular_stamps(seed: int, rate_hz: float, frames: int, jitter: float = 0.3, missing: float = 0.1) -> np.ndarray:
    """Return the stamps [s] of a slow camera: each off by a share of the interval at most, some of them missing."""
    rng = np.random.default_rng(seed + 2000)
    stamps = (np.arange(frames) + rng.uniform(-jitter, jitter, frames)) / rate_hz
    return (stamps - stamps[0])[(rng.random(frames) >= missing) | (np.arange(frames) == 0)]


@dataclass(frozen=True, eq=False)
class Comparison:
    """
    What smoothing does to the estimates of F images; the first image of each track is none of them.

    single, filtered : (F, 3) error of the rotation [deg], of the position [mm], and NEES of both (6 degrees).
    block : (F,) images with the same number have errors in common: those of one track, or of one time of a clip.
    """

    single: np.ndarray
    filtered: np.ndarray
    block: np.ndarray

    @property
    def percentiles(self) -> np.ndarray:
        """(2, 2, 2): single or filtered, median or 90 %, rotation [deg] or position [mm]."""
        return _percentiles(self.single, self.filtered)

    @property
    def worst_ratio(self) -> float:
        """Largest of the four percentiles of the filter over those of the single image."""
        single, filtered = self.percentiles
        return float((filtered / single).max())

    @property
    def worst_ratio_interval(self) -> tuple[float, float]:
        """90 % bootstrap interval of the ratio that is the worst, over blocks (Efron and Tibshirani 1993, 8.6)."""
        rng = np.random.default_rng(0)
        members = [np.flatnonzero(self.block == block) for block in np.unique(self.block)]
        ratios = []
        for drawn in rng.integers(0, len(members), (BOOTSTRAPS, len(members))):
            images = np.concatenate([members[i] for i in drawn])
            single, filtered = _percentiles(self.single[images], self.filtered[images])
            ratios.append((filtered / single).ravel())
        single, filtered = self.percentiles
        low, high = np.percentile(np.array(ratios)[:, (filtered / single).argmax()], (5, 95))
        return float(low), float(high)

    @property
    def covered(self) -> tuple[float, float]:
        """Share of truths within the 95 % region of all six errors: single image, filter."""
        single, filtered = ((part[:, 2] <= CHI2_95_OF_6).mean() for part in (self.single, self.filtered))
        return float(single), float(filtered)


def _percentiles(single: np.ndarray, filtered: np.ndarray) -> np.ndarray:
    return np.array([np.percentile(part[:, :2], (50, 90), axis=0) for part in (single, filtered)])


def compare(
    model: ObjectModel,
    camera: CameraIntrinsics,
    tracks: Iterable[tuple[np.ndarray, Sequence[KeypointPose], Sequence[Rigid]]],
    block_s: float | None = None,
) -> Comparison:
    """
    Compare the filter with the single image on tracks: stamps (F,) s, the poses seen, the true `camera_object`.

    The blocks are the tracks, or, where these are parts of one clip, pieces of `block_s` of it.
    """
    errors: tuple[list, list] = [], []
    blocks: list[np.ndarray] = []
    for number, (stamps, poses, truth) in enumerate(tracks):
        blocks.append(np.full(len(stamps) - 1, number) if block_s is None else stamps[1:] // block_s)
        for rows, smoothing in zip(errors, (False, True)):
            estimator = OrientationEstimator(model, camera, smoothing=smoothing)
            for i, (stamp, pose, true) in enumerate(zip(stamps.tolist(), poses, truth)):
                (estimate,) = estimator.update([pose], stamp)
                step = estimate.pose.step_to(true)
                nees = step @ np.linalg.solve(estimate.covariance, step)
                if i:
                    rows.append((np.rad2deg(np.linalg.norm(step[3:])), 1e3 * np.linalg.norm(step[:3]), nees))
    return Comparison(np.array(errors[0]), np.array(errors[1]), np.concatenate(blocks))


def compare_at_rate(
    model: ObjectModel, rate_hz: float, seeds: range, frames: int, noise_px: float = 1.0, distance_m: float = 2.0,
    lasts_s: float = 0.0,
) -> Comparison:  # fmt: skip
    """Compare on simulated tracks with irregular stamps."""

    def seen(seed: int) -> tuple[np.ndarray, Sequence[KeypointPose], Sequence[Rigid]]:
        track = simulate_track(seed, distance_m, stamps=irregular_stamps(seed, rate_hz, frames))
        poses = observe_track(model, track, noise_px, seed, lasts_s)
        return track.stamps, poses, [Rigid(R, t) for R, t in zip(track.R, track.t)]

    return compare(model, CAMERA, map(seen, seeds))


@dataclass(frozen=True, eq=False)
class Scores:
    """
    What came out of some tracks, F frames.

    error_deg : (F,) geodesic. iterative_deg : (F,) of cv2.SOLVEPNP_ITERATIVE on each image.
    nees : (F,) normalised estimation error squared of the rotation, 3 degrees of freedom. ambiguity : (F,).
    suspected : (F,) outlier_suspected. frame : (F,) index in its track. seconds : (F,) processor time of update().
    """

    error_deg: np.ndarray
    iterative_deg: np.ndarray
    nees: np.ndarray
    ambiguity: np.ndarray
    suspected: np.ndarray
    frame: np.ndarray
    seconds: np.ndarray

    @property
    def wrong_share(self) -> float:
        """Share of frames that are more than 20 deg wrong."""
        return float((self.error_deg > WRONG_DEG).mean())

    @property
    def nees_ratio(self) -> float:
        """Mean NEES over unambiguous frames, divided by its degrees of freedom."""
        return float(self.nees[self.ambiguity < UNDECIDED].mean() / 3.0)

    @property
    def covered(self) -> float:
        """Share of truths within the 99 % region."""
        return float((self.nees <= CHI2_99).mean())


def simulate_turn(seed: int, distance_m: float, rate_deg_s: float = 60.0) -> tuple[Track, np.ndarray]:
    """
    Return a track that rests tilted for 1 s and then turns for 1.5 s about the object's z axis, and that axis (F, 3).

    The axis is in the camera frame; the turn starts at once.
    """
    rng = np.random.default_rng(seed)
    stamps = np.arange(75) / RATE_HZ
    angle = np.deg2rad(rate_deg_s) * np.maximum(stamps - 1.0, 0.0)
    first = matrix_from_roll_pitch_yaw(np.array([np.deg2rad(30.0), np.deg2rad(15.0), rng.uniform(0.0, 2.0 * np.pi)]))
    R = R_FROM_ABOVE @ first @ matrix_from_rotation_vector(np.outer(angle, [0.0, 0.0, 1.0]))
    return Track(stamps, R, [0.0, 0.0, distance_m] - R @ planar_submarine().model_points.mean(0)), R[:, :, 2]


def turn_lag_frames(model: ObjectModel, noise_px: float, distance_m: float, seeds: range) -> np.ndarray:
    """Return how many frames (F,) of a 60 deg/s turn the estimates are behind, mean over tracks."""
    lags = []
    for seed in seeds:
        track, axes = simulate_turn(seed, distance_m)
        estimator = OrientationEstimator(model, CAMERA)
        for pose, stamp, R, axis in zip(observe_track(model, track, noise_px, seed), track.stamps, track.R, axes):
            (estimate,) = estimator.update([pose], float(stamp))
            lags.append(axis @ rotation_vector_from_matrix(R @ estimate.R_camera_object.T))
    per_frame = np.deg2rad(60.0) / RATE_HZ
    return np.reshape(lags, (len(seeds), -1)).mean(0) / per_frame


Disturbance = Callable[[list[KeypointPose], int], list[KeypointPose]]


def score_tracks(
    model: ObjectModel,
    noise_px: float,
    distance_m: float,
    seeds: range,
    *,
    frames: int = 300,
    lasts_s: float = 0.0,
    disturb: Disturbance | None = None,
    iterative: bool = False,
    **options: object,
) -> Scores:
    """Return how the OrientationEstimator does; `disturb` gets a track's poses and seed, `options` go to it."""
    rows = []
    for seed in seeds:
        track = simulate_track(seed, distance_m, frames)
        poses = observe_track(model, track, noise_px, seed, lasts_s)
        if disturb is not None:
            poses = disturb(poses, seed)
        estimator = OrientationEstimator(model, CAMERA, **options)
        for i, (pose, stamp) in enumerate(zip(poses, track.stamps.tolist())):
            started = time.process_time()
            (estimate,) = estimator.update([pose], stamp)
            seconds = time.process_time() - started
            error, nees = rotation_error(estimate, track.R[i])
            flat = iterative_error(model, pose, track.R[i]) if iterative else np.nan
            rows.append((error, flat, nees, estimate.ambiguity, estimate.outlier_suspected, i, seconds))
    return Scores(*np.array(rows).T)


def rotation_error(estimate: OrientationEstimate, R: np.ndarray) -> tuple[float, float]:
    """Return the geodesic error [deg] and the NEES of the rotation."""
    error = rotation_vector_from_matrix(R @ estimate.R_camera_object.T)
    nees = error @ np.linalg.solve(estimate.covariance[3:, 3:], error)
    return float(np.rad2deg(np.linalg.norm(error))), float(nees)


def iterative_error(model: ObjectModel, pose: KeypointPose, R: np.ndarray, camera: CameraIntrinsics = CAMERA) -> float:
    """Return the error [deg] of cv2.SOLVEPNP_ITERATIVE, the usual recipe, on one image; NaN where it gives up."""
    if model.keypoint_count == 5 or not pose.visible.all():  # it starts from a homography (planar) or from six points
        return np.nan
    _, vector, _ = cv2.solvePnP(model.model_points, pose.keypoints, camera.K, camera.D, flags=cv2.SOLVEPNP_ITERATIVE)
    return float(np.rad2deg(rotation_between(cv2.Rodrigues(vector)[0], R)))


def outliers(share: float, size_px: float) -> Disturbance:
    """Return what moves one keypoint by `size_px` in a share of the frames."""

    def disturb(poses: list[KeypointPose], seed: int) -> list[KeypointPose]:
        return [pose for pose, _ in outlier_frames(poses, seed, share, size_px)]

    return disturb


def outlier_frames(
    poses: list[KeypointPose], seed: int, share: float, size_px: float
) -> Iterator[tuple[KeypointPose, bool]]:
    """Yield the poses, some with one keypoint moved, and whether it was."""
    hits = _hits(seed, len(poses), len(poses[0].keypoints), share)
    for pose, (hit, angle, index) in zip(poses, hits):
        keypoints = pose.keypoints.copy()
        if hit:
            keypoints[index] += size_px * np.array([np.cos(angle), np.sin(angle)])
        yield replace(pose, keypoints=keypoints), hit


def outlier_hits(seeds: range, frames: int, keypoints: int, share: float) -> np.ndarray:
    """Return (F,) bool, the frames of all tracks in which `outliers` moves a keypoint."""
    return np.array([hit for seed in seeds for hit, _, _ in _hits(seed, frames, keypoints, share)])


def _hits(seed: int, frames: int, keypoints: int, share: float) -> list[tuple[bool, float, int]]:
    """Return for each frame: whether a keypoint is moved, in which direction [rad], and which one."""
    rng = np.random.default_rng(seed + 5000)
    return [
        (bool(rng.random() < share), rng.uniform(0.0, 2.0 * np.pi), int(rng.integers(keypoints))) for _ in range(frames)
    ]
