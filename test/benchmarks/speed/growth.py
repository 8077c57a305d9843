"""
How the time of a frame grows: with instances, with cameras in one call, with the size of the image.

Instances and the size of the image change nothing for the network, which is left out there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.keypoints.preprocessing import input_shape
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import LoadedNetwork
from custom_pose_ros.inference.estimator import PoseEstimator
from speed.scenes import OBJECT, clip_frames, maps_of
from speed.stages import MapsInstead
from speed.timing import interleaved, spread

INSTANCES = (1, 2, 5, 10, 20)
CAMERAS = (1, 2, 3, 4)
SIZES = ((320, 240), (640, 480), (1280, 960), (1920, 1440), (3840, 2880))  # of one shape, so of one network input


def measure(network: LoadedNetwork, rounds: int) -> dict[str, Any]:
    """Return three series, all of them in turns: what grows -> value -> times."""
    works = {**by_instances(network), **by_cameras(network), **by_size(network)}
    times = interleaved(works, rounds)
    series: dict[str, dict[str, Any]] = {}
    for (what, value), seconds in times.items():
        series.setdefault(what, {})[str(value)] = spread(seconds)
    return series


class OnlyMaps(MapsInstead):
    """Answers without running the network."""

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._maps


def by_instances(network: LoadedNetwork) -> dict[tuple[str, int], Any]:
    """One image with more and more instances in it, for objects of 4 and of 18 keypoints."""
    image = clip_frames(1)[0]
    works = {}
    for name in ('submarine', 'human18'):
        model = ObjectModel.load(name)
        shape = input_shape(image.shape, model.input_height)
        for count in INSTANCES:
            estimator = PoseEstimator(model, OnlyMaps(network, model, maps_of(model, count, shape)))
            works[f'instances of {model.keypoint_count} keypoints', count] = partial(estimator, image)
    return works


def by_cameras(network: LoadedNetwork) -> dict[tuple[str, int], Any]:
    """One image of each of several cameras in one call."""
    estimator = PoseEstimator(ObjectModel.load(OBJECT), network)
    frames = clip_frames(max(CAMERAS), step=20)
    return {('cameras', count): partial(estimator.batch, frames[:count]) for count in CAMERAS}


def by_size(network: LoadedNetwork) -> dict[tuple[str, int], Any]:
    """One image, larger and larger."""
    image, model = clip_frames(1)[0], ObjectModel.load(OBJECT)
    maps = maps_of(model, 1, input_shape(image.shape, model.input_height))
    estimator = PoseEstimator(model, OnlyMaps(network, model, maps))
    works = {}
    for width, height in SIZES:
        scaled = np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
        works['image width [px]', width] = partial(estimator, scaled)
    return works
