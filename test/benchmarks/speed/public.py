"""
The public Lightweight OpenPose demo loop beside this pipeline, on the same 640x480 frames, in turns.

The checkout of github.com/Daniil-Osokin/lightweight-human-pose-estimation.pytorch is run as it is: infer_fast at height
256 on the CPU, extract_keypoints, group_keypoints. Nothing of it is copied here. Both sides run the same Lightweight
OpenPose weights; these are random, so after the network has run, both decode the maps of one made-up person.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import LoadedNetwork, load_network
from custom_pose_ros.inference.estimator import PoseEstimator
from speed.scenes import OBJECT, clip_frames, maps_of
from speed.stages import MapsInstead
from speed.timing import interleaved, ratio, spread

HEIGHT, STRIDE, UPSAMPLING = 256, 8, 4
PERSON_SHAPE = (256, 352)  # of the network input
PUBLIC = 'public demo loop, torch'


def measure(checkout: Path, ways: dict[str, LoadedNetwork], threads: int, rounds: int) -> dict[str, Any]:
    """Return frame times of the public loop and of everything here, and how many times faster that is."""
    import torch

    torch.set_num_threads(threads)
    human = ObjectModel.load('human18')
    frames = clip_frames(8, step=20)
    maps = maps_of(human, 1, PERSON_SHAPE)
    network = public_network(checkout)
    works = {PUBLIC: over(frames, public_loop(checkout, network, maps))}
    for name, loaded in ways.items():
        works[f'shipped object, {name}'] = over(frames, PoseEstimator(ObjectModel.load(OBJECT), loaded))
    for name, loaded in same_weights(network, human, threads).items():
        instead = MapsInstead(loaded, human, maps)
        works[f'same network and weights, {name}'] = over(frames, PoseEstimator(human, instead, HEIGHT))
    times = interleaved(works, rounds)
    return {name: {'times': spread(t), 'ratio': ratio(t, times[PUBLIC])} for name, t in times.items()}


def over(frames: list[np.ndarray], work: Callable[[np.ndarray], Any]) -> Callable[[], Any]:
    """Return a call that takes the next frame each time."""
    state = [0]

    def run() -> Any:
        state[0] += 1
        return work(frames[state[0] % len(frames)])

    return run


def modules(checkout: Path, *names: str) -> list[ModuleType]:
    """Import modules of the checkout. Raises ConfigError when it is something else."""
    sys.path.insert(0, str(checkout))
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ConfigError(
            f'--public {checkout}: wanted a checkout of lightweight-human-pose-estimation.pytorch ({error})'
        ) from error
    finally:
        sys.path.remove(str(checkout))


def public_network(checkout: Path) -> Any:
    """Return the public network with random weights, the same in every run."""
    import torch

    torch.manual_seed(0)
    return modules(checkout, 'models.with_mobilenet')[0].PoseEstimationWithMobileNet().eval()


def public_loop(checkout: Path, network: Any, maps: tuple[np.ndarray, np.ndarray]) -> Callable[[np.ndarray], Any]:
    """Return image -> grouped keypoints as the demo computes them, with the maps put in behind the network."""
    import torch

    with mock.patch.dict(sys.modules, {'pycocotools.coco': mock.Mock(), 'pycocotools.cocoeval': mock.Mock()}):
        demo, keypoints = modules(checkout, 'demo', 'modules.keypoints')
    heatmaps, pafs = (torch.from_numpy(one[None]) for one in public_order(maps, keypoints))

    def network_with_a_person(image: Any) -> list[Any]:
        with torch.no_grad():
            network(image)
        return [heatmaps, pafs]

    def run(image: np.ndarray) -> Any:
        found_heatmaps, found_pafs, _, _ = demo.infer_fast(
            network_with_a_person, image, HEIGHT, STRIDE, UPSAMPLING, cpu=True
        )
        found: list[Any] = []
        count = 0
        for k in range(heatmaps.shape[1] - 1):
            count += keypoints.extract_keypoints(found_heatmaps[:, :, k], found, count)
        return keypoints.group_keypoints(found, found_pafs)

    return run


def public_order(maps: tuple[np.ndarray, np.ndarray], keypoints: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """Return maps of human18 with the fields in the places where the public grouping looks for its limbs."""
    heatmaps, pafs = maps
    skeleton = [tuple(edge) for edge in ObjectModel.load('human18').skeleton]
    ordered = np.zeros_like(pafs)
    for limb, places in zip(keypoints.BODY_PARTS_KPT_IDS, keypoints.BODY_PARTS_PAF_IDS):
        if tuple(limb) in skeleton:
            ordered[places] = pafs[2 * skeleton.index(tuple(limb)) :][:2]
        elif tuple(limb[::-1]) in skeleton:
            ordered[places] = -pafs[2 * skeleton.index(tuple(limb[::-1])) :][:2]
    return heatmaps, ordered


def same_weights(network: Any, human: ObjectModel, threads: int) -> dict[str, LoadedNetwork]:
    """Return the backends of this project with the weights of the public network."""
    from custom_pose_ros.inference.network import build_network
    from training.pose_training.export.onnx_export import export_onnx
    from training.pose_training.networks.initial_weights import load_matching

    own = build_network('lightweight_openpose', human)
    loaded = load_matching(own, network.state_dict())
    if loaded.left_random:
        raise ConfigError(f'the public network does not fit: {loaded.summary()}')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        export_onnx(own, human, path)
        ways = {}
        for name, precision in (('onnxruntime', 'f32'), ('openvino', 'f32'), ('openvino', 'bf16')):
            with contextlib.suppress(ConfigError):  # not installed, or not of this processor
                ways[f'{name} {precision}'] = load_network(path, name, threads, precision)
        return ways
