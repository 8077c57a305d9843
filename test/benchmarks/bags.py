"""
Print how fast a bag is evaluated beside the bare estimator, by the wall clock and by process CPU time.

python test/benchmarks/bags.py                 # the demo clip of the submarine as a bag of jpeg images
python test/benchmarks/bags.py --threads 1
A share of 85 % means: evaluating 100 frames takes as long as the estimator alone takes for 118.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from bag_maker import CAMERA_INFO, FRAME_NS, IMAGE, START_NS, Messages, write_bag  # noqa: E402

from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.object_file import find_object_folder  # noqa: E402
from custom_pose_ros.evaluation.bags.reader import Bag  # noqa: E402
from custom_pose_ros.evaluation.evaluation_settings import Settings  # noqa: E402
from custom_pose_ros.evaluation.evaluator import Evaluator  # noqa: E402
from custom_pose_ros.inference.estimator import PoseEstimator  # noqa: E402

OBJECT = 'submarine'
ROUNDS = 3  # the fastest counts: the rest of the machine only ever slows a round down


@dataclass(frozen=True)
class Seconds:
    """What one frame takes [s]. wall : by the clock. cpu : process CPU time, all threads."""

    wall: float
    cpu: float


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=120, help='frames in a round, 180 at most (default 120)')
    parser.add_argument('--threads', type=int, help='threads of both (default: one for each core, at most 4)')
    options = parser.parse_args()
    estimator, evaluation = measure(options.frames, options.threads)
    print(f'estimator alone: {1 / estimator.wall:6.1f} frames/s, {1e3 * estimator.cpu:6.1f} ms of CPU time a frame')
    print(f'evaluate_bag:    {1 / evaluation.wall:6.1f} frames/s, {1e3 * evaluation.cpu:6.1f} ms of CPU time a frame')
    wall, cpu = estimator.wall / evaluation.wall, estimator.cpu / evaluation.cpu
    print(f'share: {wall:.1%} by the clock, {cpu:.1%} by CPU time')


def measure(frames: int, threads: int | None, rounds: int = ROUNDS) -> tuple[Seconds, Seconds]:
    """Return what a frame costs with the estimator alone, image by image, and in an evaluation; in turns."""
    images = clip(frames)
    with tempfile.TemporaryDirectory() as folder:
        bags = (clip_bag(Path(folder) / 'bag', images),)
        evaluator = Evaluator(Settings(bags, object=OBJECT, threads=threads))

        def evaluate() -> None:
            with Bag(bags) as bag:
                evaluator.evaluate(bag)

        estimator = PoseEstimator.load(OBJECT, threads=threads)
        estimator.warm_up()
        alone, evaluated = [], []
        for _ in range(rounds):
            alone.append(timed(lambda: [estimator(image) for image in images], len(images)))
            evaluated.append(timed(evaluate, len(images)))
    return fastest(alone), fastest(evaluated)


def timed(work: Callable[[], object], count: int) -> Seconds:
    """Return what one of `count` pieces of the work takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Seconds((time.perf_counter() - wall) / count, (time.process_time() - cpu) / count)


def fastest(rounds: list[Seconds]) -> Seconds:
    return Seconds(min(r.wall for r in rounds), min(r.cpu for r in rounds))


def clip(frames: int) -> list[np.ndarray]:
    """Return the first frames of the demo clip."""
    video = cv2.VideoCapture(str(find_object_folder(OBJECT) / 'demo' / 'clip.mp4'))
    images = [image for good, image in (video.read() for _ in range(frames)) if good]
    video.release()
    return images


def clip_bag(path: Path, images: list[np.ndarray]) -> Path:
    """Write a bag of jpeg images with the calibration of the clip; returns it."""
    camera = CameraIntrinsics.from_yaml(find_object_folder(OBJECT) / 'demo' / 'camera.yaml')
    make, entries = Messages(), []
    for i, image in enumerate(images):
        stamp = START_NS + i * FRAME_NS
        entries.append((CAMERA_INFO, 'sensor_msgs/msg/CameraInfo', stamp, make.camera_info(stamp, camera)))
        topic, message = IMAGE + '/compressed', make.compressed(stamp, image, '.jpg')
        entries.append((topic, 'sensor_msgs/msg/CompressedImage', stamp + 1, message))
    return write_bag(path, entries)


if __name__ == '__main__':
    main()
