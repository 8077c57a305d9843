"""
Print how orientations do on simulated tracks: errors, flips, honesty of the covariance, time.

python test/benchmarks/orientation.py                     # the planar submarine, 20 tracks in each condition
python test/benchmarks/orientation.py --object mast --first-seed 100
python test/benchmarks/orientation.py --lasts 0.2         # keypoint errors that are repeated, as a detector's are
python test/benchmarks/orientation.py --what clip         # the network on the demo clip, against its ground truth
python test/benchmarks/orientation.py --what outliers     # one keypoint of six 60 px wrong in 10 % of frames
python test/benchmarks/orientation.py --what turn         # how far behind a turn of 60 deg/s
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import simulated_tracks as simulation  # noqa: E402

from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator  # noqa: E402
from custom_pose_ros.inference.estimator import PoseEstimator  # noqa: E402
from custom_pose_ros.tools.media import Clip  # noqa: E402

OBJECTS = {
    'planar': simulation.planar_submarine,
    'mast': simulation.submarine_with_mast,
    'six': simulation.six_point_submarine,
}


def main() -> None:
    """Run what was asked for and print one line for each condition."""
    parser = argparse.ArgumentParser(description='Errors, flips, honesty and time of orientations on simulated tracks.')
    parser.add_argument('--what', choices=REPORTS, default='tracks', help='what is measured')
    parser.add_argument('--object', choices=OBJECTS, default='planar', help='what is tracked')
    parser.add_argument('--seeds', type=int, default=20, help='number of tracks (300 frames each)')
    parser.add_argument('--first-seed', type=int, default=0, help='seed of the first track')
    parser.add_argument('--condition', type=int, nargs='*', default=[0, 1, 2, 3], help='which of the four conditions')
    parser.add_argument('--lasts', type=float, default=0.0, metavar='S', help='how long a keypoint error is repeated')
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    conditions = [simulation.CONDITIONS[i] for i in options.condition]
    REPORTS[options.what](OBJECTS[options.object](), seeds, conditions, options.lasts)


def report_tracks(model: ObjectModel, seeds: range, conditions: list[tuple[float, float]], lasts_s: float) -> None:
    """Print errors, flips, honesty of the covariance and processor time of update()."""
    print('noise  dist  wrong  start  later  per-frame | median  ratio | NEES/3  all  in 99% | undecided | ms p10  p50')
    for noise_px, distance_m in conditions:
        s = simulation.score_tracks(model, noise_px, distance_m, seeds, lasts_s=lasts_s, iterative=True)
        wrong, early = s.error_deg > simulation.WRONG_DEG, s.frame < 30
        median, usual = np.median(s.error_deg), np.median(s.iterative_deg)
        fast, typical = 1e3 * np.percentile(s.seconds, (10, 50))
        print(
            f'{noise_px:4.1f}px {distance_m:3.0f}m {wrong.mean():6.2%} {wrong[early].mean():6.1%}'
            f' {wrong[~early].mean():6.2%} {(s.iterative_deg > simulation.WRONG_DEG).mean():9.1%} |'
            f' {median:6.2f} {median / usual:6.2f} |'
            f' {s.nees_ratio:6.2f} {s.nees.mean() / 3:5.2f} {s.covered:7.1%} |'
            f' {(s.ambiguity > simulation.UNDECIDED).mean():9.1%} | {fast:6.2f} {typical:5.2f}',
            flush=True,
        )


def report_outliers(_: ObjectModel, seeds: range, conditions: list[tuple[float, float]], lasts_s: float) -> None:
    """Print what wrong keypoints do to the six-point object, and how many are flagged."""
    model = simulation.six_point_submarine()
    print('noise  dist | median without  with  ratio | flagged  falsely | >20 deg')
    for noise_px, distance_m in conditions:
        clean = simulation.score_tracks(model, noise_px, distance_m, seeds, lasts_s=lasts_s)
        disturb = simulation.outliers(0.1, 60.0)
        s = simulation.score_tracks(model, noise_px, distance_m, seeds, lasts_s=lasts_s, disturb=disturb)
        hit = simulation.outlier_hits(seeds, len(s.frame) // len(seeds), model.keypoint_count, 0.1)
        before, after = np.median(clean.error_deg), np.median(s.error_deg)
        print(
            f'{noise_px:4.1f}px {distance_m:3.0f}m | {before:14.2f} {after:5.2f} {after / before:6.3f} |'
            f' {s.suspected[hit].mean():7.1%} {s.suspected[~hit].mean():8.2%} | {s.wrong_share:6.2%}',
            flush=True,
        )


def report_turn(model: ObjectModel, seeds: range, conditions: list[tuple[float, float]], _: float) -> None:
    """Print the mean lag [frames] behind a turn that begins at once, over time."""
    print('noise  dist | frames behind after 1 ... 6 frames, then mean of the rest')
    for noise_px, distance_m in conditions:
        lag = simulation.turn_lag_frames(model, noise_px, distance_m, seeds)[31:]
        print(f'{noise_px:4.1f}px {distance_m:3.0f}m |', *(f'{value:5.2f}' for value in (*lag[:6], lag[6:].mean())))


def report_clip(model: ObjectModel, *_: object) -> None:
    """Print how cv2.SOLVEPNP_ITERATIVE, each image on its own and the filter do on the keypoints of the demo clip."""
    folder = ROOT / 'config' / 'submarine' / 'demo'
    truth = [pose.rotation for pose in Clip.find(folder).true_poses(model)]
    camera = CameraIntrinsics.from_yaml(folder / 'camera.yaml')
    video, network = cv2.VideoCapture(str(folder / 'clip.mp4')), PoseEstimator.load('submarine')
    rate_hz = video.get(cv2.CAP_PROP_FPS)
    poses = [network(video.read()[1])[:1] for _ in truth]
    errors = [simulation.iterative_error(model, found[0], R, camera) for found, R in zip(poses, truth) if found]
    print('                 frames  median     p90   > 20 deg | NEES/3  in 99%')
    print(f'{"ITERATIVE":16}', _error_columns(np.array(errors)))
    for name, smoothing in (('each image', False), ('filter', True)):
        estimator, rows = OrientationEstimator(model, camera, smoothing=smoothing), []
        for i, (found, R) in enumerate(zip(poses, truth)):
            rows += [simulation.rotation_error(estimate, R) for estimate in estimator.update(found, i / rate_hz)[:1]]
        error, nees = np.array(rows).T
        honest = f'{nees.mean() / 3:6.2f} {(nees <= simulation.CHI2_99).mean():7.1%}'
        print(f'{name:16}', _error_columns(error), '|', honest)


def _error_columns(error_deg: np.ndarray) -> str:
    median, most = np.median(error_deg), np.percentile(error_deg, 90)
    return f'{len(error_deg):6d} {median:7.2f} {most:7.2f} {(error_deg > simulation.WRONG_DEG).mean():10.1%}'


REPORTS = {'tracks': report_tracks, 'outliers': report_outliers, 'turn': report_turn, 'clip': report_clip}


if __name__ == '__main__':
    main()
