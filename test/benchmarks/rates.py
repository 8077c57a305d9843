"""
Print what smoothing does at every frame rate: errors of the filter and of the single image, honesty of the covariance.

Stamps are off by up to 30 % of the interval, and one image in ten is missing. The worst ratio has the 90 % interval of
a bootstrap over tracks, or over seconds of the clip.

python test/benchmarks/rates.py                     # the network on the demo clip, against its ground truth
python test/benchmarks/rates.py --clips A B         # on clips of training/synthesize.py --trajectory, together
python test/benchmarks/rates.py --object planar     # the planar submarine, 1 px of noise, 2 m away, 16 tracks
python test/benchmarks/rates.py --object mast --lasts 0.1     # keypoint errors that are repeated, as a detector's are
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

import simulated_tracks as simulation  # noqa: E402

from custom_pose_ros.core.geometry.camera import CameraIntrinsics  # noqa: E402
from custom_pose_ros.core.geometry.rigid import Rigid  # noqa: E402
from custom_pose_ros.core.keypoints.poses import KeypointPose  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from custom_pose_ros.inference.estimator import PoseEstimator  # noqa: E402
from custom_pose_ros.tools.media import Clip  # noqa: E402

RATES_HZ = (0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 15.0, 30.0, 60.0, 120.0)
OBJECTS = {
    'planar': simulation.planar_submarine,
    'mast': simulation.submarine_with_mast,
    'six': simulation.six_point_submarine,
}
DEMO = ROOT / 'config' / 'submarine' / 'demo'
CLIP_FRAMES = 2000  # in all, from overlapping parts of the clips
CLIP_BLOCK_S = 1.0  # its errors last for half of it


def main() -> None:
    """Run what was asked for and print one line for each rate."""
    parser = argparse.ArgumentParser(description='The filter and the single image at every frame rate.')
    parser.add_argument('--object', choices=OBJECTS, help='simulate tracks of this object instead of the demo clip')
    parser.add_argument('--clips', type=Path, nargs='+', default=[DEMO], metavar='FOLDER', help='other rendered clips')
    parser.add_argument('--rates', type=float, nargs='*', default=RATES_HZ, metavar='HZ', help='frame rates')
    parser.add_argument('--seeds', type=int, default=16, help='number of simulated tracks (100 images each)')
    parser.add_argument('--lasts', type=float, default=0.0, metavar='S', help='how long a keypoint error is repeated')
    parser.add_argument('--noise', type=float, default=1.0, metavar='PX', help='standard deviation of the keypoints')
    parser.add_argument('--distance', type=float, default=2.0, metavar='M', help='of the object')
    options = parser.parse_args()
    model = OBJECTS[options.object or 'planar']()
    print('         |        rotation [deg]       |        position [mm]        |   worst ratio    | in 95 % region')
    print('   rate  |  single image     filter    |  single image     filter    |                  | single  filter')
    clips = [] if options.object else [DetectedClip(folder) for folder in options.clips]
    for rate_hz in options.rates:
        if options.object:
            compared = simulation.compare_at_rate(
                model, rate_hz, range(options.seeds), 100, options.noise, options.distance, options.lasts
            )
        elif rate_hz <= min(clip.rate_hz for clip in clips):
            compared = compare_clips(model, clips, rate_hz)
        else:
            continue
        columns = []
        for part, digits in ((0, 1), (1, 0)):
            both = compared.percentiles[:, :, part]
            columns.append('   '.join(f'{median:5.{digits}f} / {most:5.{digits}f}' for median, most in both))
        low, high = compared.worst_ratio_interval
        single, filtered = compared.covered
        print(
            f'{rate_hz:5.1f} Hz | {" | ".join(columns)} | {compared.worst_ratio:.2f} ({low:.2f}-{high:.2f}) |'
            f' {single:6.1%} {filtered:7.1%}',
            flush=True,
        )


def compare_clips(model: ObjectModel, clips: list[DetectedClip], rate_hz: float) -> simulation.Comparison:
    """Compare on all clips together, each for the same number of frames."""
    frames = CLIP_FRAMES // len(clips)
    each = [simulation.compare(model, clip.camera, clip.parts(rate_hz, frames), CLIP_BLOCK_S) for clip in clips]
    single, filtered = (np.concatenate([getattr(one, part) for one in each]) for part in ('single', 'filtered'))
    blocks = np.concatenate([one.block + 1000 * number for number, one in enumerate(each)])  # clips last for seconds
    return simulation.Comparison(single, filtered, blocks)


class DetectedClip:
    """
    What the network finds in a clip of the submarine.

    Attributes:
        rate_hz: of the clip.
        camera: its intrinsics.
    """

    def __init__(self, folder: Path) -> None:
        """Run the network on every frame."""
        files, network = Clip.find(folder), PoseEstimator.load('submarine')
        video = cv2.VideoCapture(str(files.video))
        self.rate_hz = video.get(cv2.CAP_PROP_FPS)
        self.camera = CameraIntrinsics.from_yaml(files.camera)
        self._truth = files.true_poses()
        found = [network(video.read()[1]) for _ in self._truth]
        self._poses = {i: poses[0].with_track_id(0) for i, poses in enumerate(found) if poses}

    def parts(self, rate_hz: float, frames: int) -> Iterator[tuple[np.ndarray, list[KeypointPose], list[Rigid]]]:
        """Yield stamps, poses and truth of parts of the clip, with frames left out down to a rate; `frames` in all."""
        interval = self.rate_hz / rate_hz
        length = int(len(self._truth) / interval)
        for seed in range(max(1, round(frames / length))):
            stamps = simulation.irregular_stamps(seed, rate_hz, length)
            frames = np.unique(np.round(stamps * self.rate_hz).astype(int) + seed % max(1, round(interval)))
            frames = frames[np.isin(frames, list(self._poses))]
            yield frames / self.rate_hz, [self._poses[i] for i in frames], [self._truth[i] for i in frames]


if __name__ == '__main__':
    main()
