"""
Print how exact labels are that are carried through a film, and what is measured from labels, on the box in a hand.

    python test/benchmarks/label_figures.py --data ../shared/data/box --what film       # docs/footage.md
    python test/benchmarks/label_figures.py --data ../shared/data/box --what measure    # docs/own_object.md

The folder holds box.mp4, first_half.json and first_half_poses.json: OpenCV's cookie box, its corners in the first 228
frames, and its size and poses. `--what measure` can be told `--photos FILE`, COCO labels of photos that are measured
on their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from custom_pose_ros.core.errors import CustomPoseError  # noqa: E402
from custom_pose_ros.core.files import write_image  # noqa: E402
from custom_pose_ros.core.labels.raw_labels import HIDDEN  # noqa: E402
from training import measure_object, prelabel  # noqa: E402
from training.pose_training.labels.checking import CheckedImage  # noqa: E402
from training.pose_training.labels.film import Film  # noqa: E402
from training.pose_training.measuring.measurement import aligned_difference, measure  # noqa: E402
from training.pose_training.measuring.views_of_labels import LabelledViews, labelled_views  # noqa: E402

CLICKED = ((0, 57, 114, 171, 227), (22, 67, 113, 158, 204), (15, 75, 105, 150, 215), (10, 40, 120, 180, 200),
           (5, 30, 60, 90, 220))  # fmt: skip
MEASURED = ((20, 0.0), (20, 1.0), (8, 0.0), (8, 1.0))  # labelled frames, and the noise of a click [px]
SEEDS = 20


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, default=ROOT.parent / 'shared/data/box', help='folder with the box')
    parser.add_argument('--what', choices=('film', 'measure'), required=True)
    parser.add_argument('--sets', type=int, default=len(CLICKED), help='film: sets of clicked frames to try')
    parser.add_argument('--photos', type=Path, help='measure: COCO labels of photos of another object')
    parsed = parser.parse_args()
    if not (parsed.data / 'first_half_poses.json').is_file():
        sys.exit(f'error: {parsed.data}: no first_half_poses.json: give the folder with the box with --data')
    labels = json.loads((parsed.data / 'first_half.json').read_text())
    try:
        if parsed.what == 'film':
            print_film(parsed.data / 'box.mp4', labels, parsed.sets)
        else:
            print_measured(labels, json.loads((parsed.data / 'first_half_poses.json').read_text()))
            if parsed.photos:
                print_photos(parsed.photos)
    except CustomPoseError as error:
        sys.exit(f'error: {error}')


def points_of(labels: dict) -> dict[int, np.ndarray]:
    """Return the keypoints (K, 3) of each labelled frame."""
    return {a['image_id'] - 1: np.array(a['keypoints'], float).reshape(-1, 3) for a in labels['annotations']}


def print_film(video: Path, labels: dict, sets: int) -> None:
    """Carry five labels through the film as a user would, and compare with the labels of the other frames."""
    truth = points_of(labels)
    print('clicked frames: frames with all keypoints known; error, median, 95 %, largest [px]; seconds of CPU')
    for clicked in CLICKED[:sets]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'clicks', 'labels.json')
            for frame in Film(video).frames(clicked):
                write_image(path.parent / f'{frame.number:04d}.png', frame.image)
            chosen = {number + 1 for number in clicked}
            path.write_text(json.dumps({
                'images': [image for image in labels['images'] if image['id'] in chosen],
                'annotations': [label for label in labels['annotations'] if label['image_id'] in chosen],
                'categories': labels['categories'],
            }))  # fmt: skip
            out, start = Path(folder, 'out'), time.process_time()
            options = ['--footage', video, '--from', path, '--out', out, '--count', 1000]
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                if prelabel.main([*map(str, options)]) == 1:
                    sys.exit(said.getvalue())
            seconds = time.process_time() - start
            errors, proposed, missed = film_errors(json.loads((out / 'labels.json').read_text()), truth, clicked)
        spread = ', '.join(f'{value:.2f}' for value in np.percentile(errors, (50, 95, 100)))
        print(
            f'{", ".join(map(str, clicked))}: {proposed} of {len(truth) - len(clicked)}; {spread} px; {seconds:.0f} s; '
            f'in sight by the labels but proposed as out of it: {missed}'
        )


def film_errors(found: dict, truth: dict[int, np.ndarray], clicked: tuple[int, ...]) -> tuple[np.ndarray, int, int]:
    """Return the errors [px] of what is proposed, in how many frames, and how many keypoints are missing there."""
    numbers = {image['id']: int(Path(image['file_name']).stem.split('_')[-1]) for image in found['images']}
    errors, proposed, missed = [], 0, 0
    for label in found['annotations']:
        number = numbers[label['image_id']]
        if number not in truth or number in clicked:
            continue
        points = np.array(label['keypoints']).reshape(-1, 3)
        both = (points[:, 2] > 0) & (truth[number][:, 2] > 0)
        errors += np.linalg.norm(points - truth[number], axis=1)[both].tolist()
        missed += int(((points[:, 2] == 0) & (truth[number][:, 2] > HIDDEN)).sum())
        proposed += 1
    return np.array(errors), proposed, missed


def box_views(labels: dict, count: int, noise_px: float, seed: int) -> LabelledViews:
    """Return the views of so many frames, evenly spread, with noise on each coordinate."""
    truth, rng = points_of(labels), np.random.default_rng(seed)
    numbers = sorted(truth)
    pictures = []
    for i in np.linspace(0, len(numbers) - 1, count).round().astype(int):
        points = truth[numbers[i]].copy()
        points[:, :2] += rng.normal(0, noise_px, points[:, :2].shape)
        pictures.append(CheckedImage(Path(f'{numbers[i]}.png'), f'{numbers[i]}.png', 640, 480))
        pictures[-1].keypoints.append(points)
        pictures[-1].annotations.append('1')
    return labelled_views(labels['categories'][0]['keypoints'], pictures, None)


def print_measured(labels: dict, truth: dict) -> None:
    """Measure the box from labels as they are, and with noise, and compare with its size and the camera."""
    names = labels['categories'][0]['keypoints']
    corners, focal_px = np.array([truth['corners'][name] for name in names]), truth['K'][0][0]
    radius_m = np.sqrt(((corners - corners.mean(0)) ** 2).sum(1).mean())
    for count, noise_px in MEASURED:
        shape_mm, off, held, start = [], [], [], time.process_time()
        seeds = range(SEEDS if noise_px else 1)
        for seed in seeds:
            found = measure(box_views(labels, count, noise_px, seed))
            focal = found.focals_px[0]
            shape_mm.append(2e3 * radius_m * aligned_difference(found.points, corners))
            off.append(abs(focal.value / focal_px - 1))
            held.append(focal.low <= focal_px <= focal.high)
        seconds = (time.process_time() - start) / len(seeds)
        print(
            f'{count} frames, {noise_px:g} px of noise, {len(seeds)} draws: shape {spread(shape_mm)} mm rms; '
            f'focal length off by {spread(100 * np.array(off))} %, '
            f'interval holds it in {sum(held)}; {seconds:.1f} s each'
        )


def spread(values: list[float] | np.ndarray) -> str:
    """Return median and largest value in words, of a single one that."""
    return f'{np.median(values):.2g}' + f' (largest {np.max(values):.2g})' * (len(values) > 1)


def print_photos(path: Path) -> None:
    """Say what the labels of photos tell, by the command."""
    with tempfile.TemporaryDirectory() as out:
        measure_object.main([str(path), '--out', str(Path(out, 'object'))])


if __name__ == '__main__':
    main()
