"""
Print what the outline does: on a drawn cuboid in many conditions, on the demo clip, on photos of a printed board.

python test/benchmarks/outline.py                           # success over start errors, and the time of a fit
python test/benchmarks/outline.py --speed                   # time of one instance and of twenty, and of the network
python test/benchmarks/outline.py --clip build/outline.npz  # the demo clip, with and without this outline
python test/benchmarks/outline.py --board build/board.npz   # photos of ../shared/data/chessboard, keypoints 2.5 px off
python test/benchmarks/outline.py --box build/box.npz       # the video of ../shared/data/box, corners 2.5 px off
python test/benchmarks/outline.py --cube build/cube.npz --network FOLDER/model.onnx  # ../shared/data/cube, no truth
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import outlined_box  # noqa: E402

from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.geometry.rigid import Rigid  # noqa: E402
from custom_pose_ros.core.keypoints.poses import KeypointPose  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.core.orientation.estimate import OrientationEstimate  # noqa: E402
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator  # noqa: E402
from custom_pose_ros.core.orientation.outlines.outline_fit import MeshSize  # noqa: E402
from custom_pose_ros.core.orientation.outlines.outline_fitter import FitStart, OutlineFitter  # noqa: E402
from custom_pose_ros.core.orientation.outlines.outline_views import OUTLINE, OutlineViews  # noqa: E402
from custom_pose_ros.inference.estimator import PoseEstimator, load_trained  # noqa: E402
from custom_pose_ros.tools.media import Clip  # noqa: E402

CHI2_95, CHI2_999 = 12.59, 22.46  # 6 degrees of freedom
SUCCESS_DEG = 1.0
EVERY = (3, 6)  # the network runs at each n-th image of the clip
START_DEG = (1.0, 2.0, 4.0, 7.0, 10.0)  # of the whole rotation; 3 mm each at 0.75 m
CONDITIONS = {
    'clear': {},
    'noise of 15 grey levels': {'noise': 15.0},
    'blurred by 1.5 px': {'blur_px': 1.5},
    '30 % hidden': {'hidden': 0.3},
    '60 % hidden': {'hidden': 0.6},
    'one side in the colour of the background': {'background': outlined_box.FACE_COLOURS[2]},
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description='What the outline does for poses.')
    parser.add_argument('--clip', type=Path, metavar='OUTLINE', help='measure the demo clip by this outline')
    demo = ROOT / 'config' / 'submarine' / 'demo'
    parser.add_argument('--folder', type=Path, default=demo, help='another clip of training/synthesize.py --trajectory')
    parser.add_argument('--board', type=Path, metavar='OUTLINE', help='measure the photos of the board by this outline')
    parser.add_argument('--box', type=Path, metavar='OUTLINE', help='measure the video of the box by this outline')
    parser.add_argument('--cube', type=Path, metavar='OUTLINE', help='follow the video of the cube by this outline')
    parser.add_argument('--network', type=Path, metavar='ONNX', help='that finds the cube, run at a height of 160 px')
    parser.add_argument('--speed', action='store_true', help='measure how long an instance takes')
    parser.add_argument('--count', type=int, default=25, help='number of pictures in each condition (default 25)')
    options = parser.parse_args()
    if options.cube and not options.network:
        parser.error('--cube needs the --network that finds it')
    if options.clip:
        report_clip(options.clip, options.folder)
    elif options.board:
        report_board(options.board)
    elif options.box:
        report_box(options.box)
    elif options.cube:
        report_cube(options.cube, options.network)
    elif options.speed:
        report_speed()
    else:
        report_sweep(options.count)


def report_sweep(count: int) -> None:
    """Print the share of fits that are credible and within SUCCESS_DEG, for each condition and start error."""
    fitter, times = OutlineFitter(outlined_box.box_views(), outlined_box.CAMERA), []
    starts = ' '.join(f'{start:4.0f} deg' for start in START_DEG)
    print(f'{f"within {SUCCESS_DEG:g} deg, started off by":42} {starts}   beyond the 99.9 % region')
    for name, look in CONDITIONS.items():
        look = dict(look)
        blur_px, shares, wrong = look.pop('blur_px', 0.0), [], 0
        pictures = [outlined_box.picture(outlined_box.some_pose(seed), seed, **look) for seed in range(count)]
        if blur_px:
            pictures = [cv2.GaussianBlur(picture, (0, 0), blur_px) for picture in pictures]
        for start_deg in START_DEG:
            good = 0
            for seed, picture in enumerate(pictures):
                truth = outlined_box.some_pose(seed)
                start, covariance = outlined_box.near(truth, seed, start_deg / np.sqrt(3.0), 0.003 * start_deg)
                began = time.process_time()
                (fit,) = fitter.measure(picture, [FitStart(start, covariance)])
                times.append(time.process_time() - began)
                if fit is not None and fit.credible:
                    good += np.degrees(np.linalg.norm(fit.pose.step_to(truth)[3:])) < SUCCESS_DEG
                    size = MeshSize(fitter.views.size_error)
                    pose, covariance = fit.together_with(start, np.linalg.inv(covariance), size)
                    step = pose.step_to(truth)
                    wrong += step @ np.linalg.solve(covariance, step) > CHI2_999
            shares.append(good / count)
        beyond = wrong / count / len(START_DEG)
        print(f'{name:42}', *(f'{share:8.0%}' for share in shares), f'{beyond:12.0%}', flush=True)
    usual, most = 1e3 * np.percentile(times, (50, 90))
    print(f'time of a fit: median {usual:.1f} ms, 90 % {most:.1f} ms of one core')


def report_speed(frames: int = 40) -> None:
    """Print what an instance in an image of 640x480 takes of one core, filter included, and what the network does."""
    views = outlined_box.box_views(lines=33)  # 297 at most, as of real boxes
    ways = {'keypoints': None, 'with its outline': without_inner_lines(views), 'with inner lines too': views}
    small = outlined_box.CAMERA
    K = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]]) @ small.K
    camera = CameraIntrinsics(2 * small.width, 2 * small.height, K, small.D)
    motion = outlined_box.slow_motion(frames)
    images = [cv2.resize(outlined_box.picture(truth, i), None, fx=2.0, fy=2.0) for i, truth in enumerate(motion)]
    for count in (1, 20):
        for name, outline in ways.items():
            estimator, times, measured = OrientationEstimator(outlined_box.MODEL, camera, outline=outline), [], 0
            for i, (truth, image) in enumerate(zip(motion, images)):
                found = [outlined_box.keypoints(truth, count * i + k, track_id=k) for k in range(count)]
                large = [
                    replace(pose, keypoints=2.0 * pose.keypoints + 0.5, covariances=4.0 * pose.covariances)
                    for pose in found
                ]
                began = time.process_time()
                estimates = estimator.update(large, 0.1 * i, image)
                times.append(time.process_time() - began)
                measured += sum(not np.isnan(estimate.outline_agreement) for estimate in estimates)
            milliseconds, most = 1e3 * np.percentile(times[frames // 4 :], (50, 90)) / count
            print(
                f'{count:2} instances, {name:20} {milliseconds:5.2f} ms each, 90 % {most:5.2f}; '
                f'outline used {measured / count / frames:.0%}'
            )
    network, times = PoseEstimator.load('submarine'), []
    for image in images:
        began = time.process_time()
        network(image)
        times.append(time.process_time() - began)
    print(f'network and grouping of an image: {1e3 * np.median(times):.1f} ms of processor time, all threads together')


def without_inner_lines(views: OutlineViews) -> OutlineViews:
    """Return the views without print and creases."""
    kept = views.kinds == OUTLINE
    arrays = {name: getattr(views, name)[kept] for name in ('points', 'normals', 'room', 'kinds', 'shift')}
    return replace(views, starts=np.concatenate([[0], np.cumsum(kept)])[views.starts], **arrays)


def report_clip(path: Path, folder: Path) -> None:
    """Print the errors on a clip without and with an outline, which also follows it between network frames."""
    model, camera = ObjectModel.load('submarine'), CameraIntrinsics.from_yaml(folder / 'camera.yaml')
    video, network = cv2.VideoCapture(str(folder / 'clip.mp4')), PoseEstimator.load('submarine')
    rate_hz, truth = video.get(cv2.CAP_PROP_FPS), Clip.find(folder).true_poses(model)
    images = [video.read()[1] for _ in truth]
    poses = [network(image)[:1] for image in images]
    for every in (1, *EVERY):
        for name, outline in (('keypoints', None), ('with the outline', path)):
            estimator, rows = OrientationEstimator(model, camera, outline=outline), []
            for i, (image, found, true) in enumerate(zip(images, poses, truth)):
                began = time.process_time()
                if i % every == 0:
                    estimates = estimator.update(found, i / rate_hz, image)
                else:
                    estimates = estimator.follow(i / rate_hz, image)
                milliseconds = 1e3 * (time.process_time() - began)
                rows += [(*errors(estimate, true, model), milliseconds) for estimate in estimates[:1]]
            print_row(name if every == 1 else f'{name}, network at one of {every} images', np.array(rows))


def report_board(path: Path) -> None:
    """Print the errors on the photos of the board, each on its own, without and with an outline."""
    folder = ROOT.parent / 'shared' / 'data' / 'chessboard'
    truth, model = json.loads((folder / 'truth.json').read_text()), ObjectModel.load(folder)
    lens = truth['cameras']['left']
    camera = CameraIntrinsics(640, 480, np.array(lens['K']), np.array(lens['distortion']))
    for name, outline in (('keypoints', None), ('with the outline', path)):
        estimator, rows = OrientationEstimator(model, camera, outline=outline), []
        for photo in (each for each in truth['images'] if each['camera'] == 'left'):
            image = cv2.imread(str(folder / 'images' / photo['image']))
            true = Rigid(np.array(photo['R_camera_object']), np.array(photo['t_camera_object_m']))
            for seed in range(4):
                exact = np.array(photo['keypoints_px'])
                pose = noisy_keypoints(exact, np.ones(len(exact), bool), seed)
                began = time.process_time()
                estimates = estimator.update([pose], image=image)
                milliseconds = 1e3 * (time.process_time() - began)
                rows += [(*errors(estimate, true, model), milliseconds) for estimate in estimates]
        print_row(name, np.array(rows))


def report_box(path: Path) -> None:
    """Print the errors on every second image of the video, as they are and with the constant part taken out."""
    folder = ROOT.parent / 'shared' / 'data' / 'box'
    truth = json.loads((folder / 'first_half_poses.json').read_text())
    labels = {each['image_id']: each for each in json.loads((folder / 'first_half.json').read_text())['annotations']}
    model, camera = OutlineViews.load(path).model, CameraIntrinsics(640, 480, np.array(truth['K']))
    for name, outline in (('keypoints', None), ('with the outline', path)):
        video, estimator = (
            cv2.VideoCapture(str(folder / 'box.mp4')),
            OrientationEstimator(model, camera, outline=outline),
        )
        rows, steps = [], []
        for i, pose in sorted((int(key), pose) for key, pose in truth['poses'].items()):
            image, label = video.read()[1], labels.get(i + 1)
            if i % 2 or pose is None or label is None:
                continue
            true = Rigid(np.array(pose['R']).reshape(3, 3), np.array(pose['t']))
            seen = np.array(label['keypoints']).reshape(-1, 3)[:, 2] > 1
            found = noisy_keypoints(camera.project(true.apply(model.model_points)), seen, i)
            began = time.process_time()
            estimates = estimator.update([found], i / 30.0, image)
            milliseconds = 1e3 * (time.process_time() - began)
            for estimate in estimates[:1]:
                rows.append((*errors(estimate, true, model), milliseconds))
                step = estimate.pose.step_to(true)
                shift = true.apply(model.middle) - estimate.pose.apply(model.middle)
                steps.append((*(np.rad2deg(step[3:]) @ true.rotation), *(1e3 * shift)))
        print_row(name, np.array(rows))
        varying = np.array(steps) - np.median(steps, 0)
        rotation, position = (np.linalg.norm(part, axis=1) for part in np.hsplit(varying, 2))
        jitter = np.median(np.linalg.norm(np.diff(np.array(steps)[:, :3], axis=0), axis=1))
        print(
            f'  constant part taken out: {np.median(rotation):.2f} / {np.percentile(rotation, 90):.2f} deg, '
            f'{np.median(position):.2f} / {np.percentile(position, 90):.2f} mm; from image to image {jitter:.2f} deg'
        )


def report_cube(path: Path, network_path: Path) -> None:
    """Print how well the cube in a hand is followed while two faces are seen; there is no truth for it."""
    folder = ROOT.parent / 'shared' / 'data' / 'cube'
    lens = json.loads((folder / 'megapose_cube.json').read_text())['camera']
    K = np.array([[lens['px'], 0.0, lens['u0']], [0.0, lens['py'], lens['v0']], [0.0, 0.0, 1.0]])
    model, camera = OutlineViews.load(path).model, CameraIntrinsics(640, 480, K)
    network = load_trained(str(network_path))
    video = cv2.VideoCapture(str(folder / 'cube_video.mp4'))
    estimators = {
        name: OrientationEstimator(model, camera, outline=outline)
        for name, outline in (('keypoints', None), ('with the outline', path))
    }
    rows: dict[str, list[tuple[bool, ...]]] = {name: [] for name in estimators}
    rate_hz = video.get(cv2.CAP_PROP_FPS)
    faces = dict.fromkeys(estimators, 0)  # as last seen
    while (image := video.read()[1]) is not None:
        found = network(image)[:1]
        for name, estimator in estimators.items():
            estimates = estimator.update(found, len(rows[name]) / rate_hz, image)[:1]
            tracked = bool(estimates) and not estimates[0].coasting
            if tracked:
                faces[name] = faces_towards_camera(estimates[0].pose, model)
            used = tracked and not np.isnan(estimates[0].outline_agreement)
            rows[name].append((bool(found), tracked, used, faces[name] >= 2))
    for name, each in rows.items():
        found, tracked, used, two = np.array(each).T
        lost, back = runs(two & ~tracked), runs(found & ~tracked)
        print(
            f'{name:17} two faces in {two.sum()} of {len(two)} images, a pose in {tracked[two].mean():.1%}, '
            f'longest loss {max(lost, default=0) / rate_hz:.2f} s; found, but no pose for at most '
            f'{max(back, default=0) / rate_hz:.2f} s; outline used {used[two].mean():.0%}'
        )


def faces_towards_camera(pose: Rigid, model: ObjectModel) -> int:
    """Return how many faces of a cube, along the axes of the object, are seen at more than 15 degrees."""
    towards = -(pose.apply(model.middle) @ pose.rotation)
    half = model.model_points.max(0) - model.middle
    seen = (np.abs(towards) - half) / np.linalg.norm(towards)
    return int(np.count_nonzero(seen > np.sin(np.deg2rad(15.0))))


def runs(flags: np.ndarray) -> list[int]:
    """Return how long each run of True is."""
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0]))
    return list(edges[1::2] - edges[::2])


def noisy_keypoints(exact: np.ndarray, seen: np.ndarray, seed: int, noise_px: float = 2.5) -> KeypointPose:
    """Return keypoints (K, 2) with errors, those that are `seen` (K,)."""
    noisy = exact + np.random.default_rng(seed).normal(0.0, noise_px, exact.shape)
    return KeypointPose(
        keypoints=np.where(seen[:, None], noisy, np.nan),
        covariances=np.where(seen[:, None, None], noise_px**2 * np.eye(2), np.nan),
        scores=seen.astype(float),
        visible=seen,
        score=1.0,
    )


def errors(estimate: OrientationEstimate, truth: Rigid, model: ObjectModel) -> tuple[float, ...]:
    """Return rotation [deg], place of the object's middle [mm], squared Mahalanobis distance, whether it was used."""
    step = estimate.pose.step_to(truth)
    shift = estimate.pose.apply(model.middle) - truth.apply(model.middle)
    distance = float(step @ np.linalg.solve(estimate.covariance, step))
    used = not np.isnan(estimate.outline_agreement)
    return float(np.degrees(np.linalg.norm(step[3:]))), 1e3 * float(np.linalg.norm(shift)), distance, float(used)


def print_row(name: str, rows: np.ndarray) -> None:
    """Print medians and 90 % of errors."""
    degrees, position, distance, used, milliseconds = rows.T
    both = ', '.join(
        f'{np.median(error):.2f} / {np.percentile(error, 90):.2f} {unit}'
        for error, unit in ((degrees, 'deg'), (position, 'mm'))
    )
    print(
        f'{name:47} {both}, in 95 % region {np.mean(distance < CHI2_95):.0%}, outline used {used.mean():.0%}, '
        f'{np.median(milliseconds):.1f} ms'
    )


if __name__ == '__main__':
    main()
