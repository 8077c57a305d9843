"""
Print what grouping costs where there is one identity, and where there are two.

python test/benchmarks/identities.py
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / 'test'), str(Path(__file__).parent)]

import printed_board  # noqa: E402
from speed.scenes import maps_of, noise_maps  # noqa: E402

from custom_pose_ros.core.keypoints.grouping import group_poses  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402

INPUT = (384, 672)


def main() -> None:
    """Print one line for each kind of maps."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--rounds', type=int, default=100, help='times that each maps are grouped')
    options = parser.parse_args()
    submarine, human, board = ObjectModel.load('submarine'), ObjectModel.load('human18'), printed_board.MODEL
    for name, model, maps in (
        ('5 submarines', submarine, maps_of(submarine, 5, INPUT)),
        ('20 people', human, maps_of(human, 20, INPUT)),
        ('noise', human, noise_maps(human, INPUT)),
        ('1 board', board, printed_board.maps_of(printed_board.truth(), 0.97, 0.0)),
        ('1 board, two identities', board, printed_board.maps_of(printed_board.truth(), 0.49, 0.47)),
    ):
        laps = []
        for _ in range(options.rounds):
            begin = time.perf_counter()
            poses = group_poses(*maps, model)
            laps.append(1e3 * (time.perf_counter() - begin))
        ambiguous = sum(pose.alternative is not None for pose in poses)
        print(f'{name:24} {np.median(laps):7.3f} ms  {len(poses):2} instances, {ambiguous} ambiguous')


if __name__ == '__main__':
    main()
