"""Every backend and precision: the bare network, which is the floor, and image to keypoints; one image and four."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from custom_pose_ros.core.keypoints.preprocessing import prepare
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import LoadedNetwork
from custom_pose_ros.inference.estimator import PoseEstimator
from speed.scenes import OBJECT, clip_frames
from speed.timing import interleaved, spread

BATCHES = (1, 4)


def measure(ways: dict[str, LoadedNetwork], rounds: int) -> dict[str, Any]:
    """Return, for each backend, the times of its network and of frames, in turns with those of all others."""
    model = ObjectModel.load(OBJECT)
    frames = clip_frames(max(BATCHES), step=20)
    works = {}
    for name, network in ways.items():
        estimator = PoseEstimator(model, network)
        inputs = np.stack([prepare(frame, model.input_height)[0] for frame in frames])
        for batch in BATCHES:
            works[name, batch, 'network'] = partial(network.backend, inputs[:batch])
            works[name, batch, 'frames'] = partial(estimator.batch, frames[:batch])
    times = interleaved(works, rounds)
    return {
        name: {
            f'batch {batch}': {
                'network': spread(times[name, batch, 'network']),
                'frames': spread(times[name, batch, 'frames']),
                'per_image_ms': round(1e3 * float(np.median(times[name, batch, 'frames'])) / batch, 3),
                'over_the_floor': round(
                    float(np.median(times[name, batch, 'frames'] / times[name, batch, 'network'])), 3
                ),
            }
            for batch in BATCHES
        }
        for name in ways
    }
