"""PoseEstimator: BGR images in, keypoint poses out; and what else finds an object behind the same interface."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from custom_pose_ros.core.errors import ChoiceError, ConfigError, ModelError
from custom_pose_ros.core.keypoints.grouping import group_poses, group_with_margin
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.preprocessing import STRIDE, check_image, check_input_height, input_shape, prepare
from custom_pose_ros.core.object_file import Thresholds, find_object_folder
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import AUTO, MARGINS, Backend, LoadedNetwork, default_threads, load_network
from custom_pose_ros.inference.backends.contract import object_inside
from custom_pose_ros.inference.faces.face_estimator import FaceEstimator

_WARM_UP_ASPECT = 4 / 3


class PoseEstimator:
    """
    Finds every instance of one object in an image.

    A network in a reduced precision (bf16, int8) finds what it finds in f32: an image where some decision of the
    grouping is close goes through the exact network as well, when the backend has one; `repeated` counts them.

    Args:
        model: The object file.
        network: What `load_network` returns, or a backend alone.
        input_height: Height [px] that images are scaled to, a multiple of 32; default: the object file's.
        thresholds: Acceptance limits, which may be changed between images; default: the object file's.

    Raises:
        ConfigError: No instance can pass the thresholds, or the height is none.
        ModelError: The network was made for another object.
    """

    def __init__(
        self,
        model: ObjectModel,
        network: Backend | LoadedNetwork,
        input_height: int | None = None,
        thresholds: Thresholds | None = None,
    ):
        self.model = model
        self.input_height = model.input_height if input_height is None else input_height
        self.thresholds = model.thresholds if thresholds is None else thresholds
        model.check_thresholds(self.thresholds)
        check_input_height(self.input_height)
        self.network = network if isinstance(network, LoadedNetwork) else LoadedNetwork(network)
        self.repeated = 0
        self._inputs = _InputBuffer()
        _check_fit(self.backend, model)

    @classmethod
    def load(
        cls,
        source: str | Path,
        model_path: str | Path | None = None,
        backend: str = 'auto',
        input_height: int | None = None,
        thresholds: Thresholds | None = None,
        threads: int | None = None,
        precision: str = 'auto',
        parallel: bool = False,
    ) -> Estimator:
        """
        Load an object and what finds it; a PoseEstimator unless its file names another estimator.

        Args:
            source: Folder with object.yaml (and model.onnx), an object.yaml, or the name of an installed object.
            model_path: model.onnx or a checkpoint, when it is not in the object's folder.
            backend: Name as in `load_network`.
            input_height: As in the constructor.
            thresholds: As in the constructor.
            threads: Threads of the backend, and of OpenCV in the whole process, whose own default of all logical cores
                would take them from the backend; default: one per physical core, at most 4.
            precision: As in `load_network`.
            parallel: As in `load_network`.

        Raises:
            ConfigError: Object file, backend or precision cannot be used; one line says what to do.
            ModelError: The network is missing, damaged or made for another object; one line says what to do.
        """
        model = ObjectModel.load(source)
        threads = default_threads() if threads is None else threads
        check_input_height(model.input_height if input_height is None else input_height)
        if model.estimator == 'face_mesh':
            _check_face_options(model, model_path, backend, precision, threads)
            estimator: Estimator = FaceEstimator(model, thresholds, threads)
        else:
            path = find_object_folder(source) if model_path is None else Path(model_path).expanduser()
            network = load_network(path, backend, threads, precision, parallel, model)
            estimator = cls(model, network, input_height, thresholds)
        cv2.setNumThreads(threads)
        return estimator

    @property
    def backend(self) -> Backend:
        """The backend in use: its name, precision and device."""
        return self.network.backend

    @property
    def backend_name(self) -> str:
        """Name of the backend in use."""
        return self.backend.name

    def __call__(self, image: np.ndarray, stream: str | None = None) -> list[KeypointPose]:
        """Return the instances in one (H, W, 3) uint8 BGR image, best first, in pixels of that image."""
        return self.batch([image])[0]

    def batch(self, images: Sequence[np.ndarray], streams: Sequence[str] | None = None) -> list[list[KeypointPose]]:
        """
        Return the instances in each of several BGR images, which may differ in size; `streams` changes nothing.

        Images that have the same size for the network go through it together.

        Raises:
            ValueError: An image is not (H, W, 3) uint8.
        """
        positions: dict[tuple[int, int], list[int]] = {}
        for i, image in enumerate(images):
            check_image(image)
            positions.setdefault(input_shape(image.shape, self.input_height), []).append(i)
        results: list[list[KeypointPose]] = [[] for _ in images]
        for shape, members in positions.items():
            for i, poses in zip(members, self._same_size([images[i] for i in members], shape)):
                results[i] = poses
        return results

    def _same_size(self, images: Sequence[np.ndarray], shape: tuple[int, int]) -> list[list[KeypointPose]]:
        """Return the instances in images that make network inputs of one shape (h, w)."""
        inputs = self._inputs.of_shape((len(images), *shape, 3))
        pixel_maps = [prepare(image, self.input_height, out=out)[1] for image, out in zip(images, inputs)]
        return [
            [pixel_map.pose_to_image(pose) for pose in self._grouped(network_input, heatmaps, pafs)]
            for network_input, pixel_map, heatmaps, pafs in zip(inputs, pixel_maps, *self.maps(inputs))
        ]

    def _grouped(self, network_input: np.ndarray, heatmaps: np.ndarray, pafs: np.ndarray) -> list[KeypointPose]:
        """Return the instances in the maps of one network input (h, w, 3), in its pixels."""
        if self.network.exact is not None:
            margin = MARGINS[self.backend.precision]
            grouping = group_with_margin(heatmaps, pafs, self.model, STRIDE, self.thresholds, margin)
            if grouping.decision_margin >= margin:
                return grouping.poses
            self.repeated += 1
            (heatmaps,), (pafs,) = self.network.exact(network_input[None])
        return group_poses(heatmaps, pafs, self.model, STRIDE, self.thresholds)

    def maps(self, network_inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bare network's heatmaps (N, K + 1, h, w) and pafs (N, 2L, h, w) of (N, H, W, 3) uint8 BGR."""
        return self.backend(network_inputs)

    def warm_up(self) -> None:
        """Run once on an empty 4:3 image, so that the first real frame is as fast as the others."""
        width = round(self.input_height * _WARM_UP_ASPECT)
        image = np.zeros((self.input_height, width, 3), np.uint8)
        self(image)
        if self.network.exact is not None:
            self.network.exact(prepare(image, self.input_height)[0][None])


Estimator = PoseEstimator | FaceEstimator  # what finds the instances of one object in images, behind one interface


def load_trained(
    source: str,
    object_source: str | None = None,
    backend: str = 'auto',
    input_height: int | None = None,
    threads: int | None = None,
    precision: str = 'auto',
) -> PoseEstimator:
    """
    Return the estimator of a model.

    Args:
        source: Checkpoint, model.onnx, folder with one of them, or the name of an installed object.
        object_source: Object to use instead of the one inside the model.
        backend: As in PoseEstimator.load.
        input_height: As in PoseEstimator.load.
        threads: As in PoseEstimator.load.
        precision: As in PoseEstimator.load.

    Raises:
        ConfigError: The object or a setting is wrong.
        ModelError: The model is missing or damaged, or carries no object.
    """
    path = Path(source).expanduser()
    if not path.exists() and not path.suffix:
        path = find_object_folder(source)
    loaded = load_network(path, backend, threads, precision)
    model = ObjectModel.load(object_source) if object_source else object_inside(loaded.backend, source)
    return PoseEstimator(model, loaded, input_height)


def _check_face_options(
    model: ObjectModel, model_path: str | Path | None, backend: str, precision: str, threads: int
) -> None:
    if model_path is not None:
        raise ChoiceError(f'object {model.name!r} is found by the face mesh, which takes no model: got {model_path}')
    if backend not in (AUTO, 'openvino') or precision not in (AUTO, 'f32'):
        raise ChoiceError(
            f'object {model.name!r} is found by the face mesh, which runs on openvino in f32: '
            f'got backend {backend} and precision {precision}'
        )
    if threads < 1:
        raise ConfigError(f'threads: wanted at least 1, got {threads}')


class _InputBuffer(threading.local):
    """
    Memory for the network input, used again for every frame and as large as the largest so far.

    Fresh memory of this size comes from the kernel page by page, which costs more than filling it. Each thread has its
    own, so that an estimator may be called from several at once.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def of_shape(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of this shape with any content; it is valid until the next call in this thread."""
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].reshape(shape)


def _check_fit(backend: Backend, model: ObjectModel) -> None:
    made_for = object_inside(backend)
    difference = model.difference_from(made_for)
    if difference:
        raise ModelError(
            f'the network was made for object {made_for.name!r} and does not fit {model.name!r} '
            f'({model.source or "object"}): it has {difference}; give the matching pair, or train for this object'
        )
