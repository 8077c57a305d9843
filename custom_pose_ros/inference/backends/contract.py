"""What every backend promises: uint8 images in, heatmaps and part affinity fields out; one that cannot is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from custom_pose_ros.core.errors import CustomPoseError, ModelError, ModelFileError, reason_of
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE, STRIDE, input_shape
from custom_pose_ros.core.object_model import ObjectModel

AUTO = 'auto'
PRECISIONS = ('f32', 'f16', 'bf16', 'int8')
# How far a precision may move the heights of peaks and the scores of limbs: images with a decision closer than that are
# given to the exact network. For bf16 half of it left no difference on 800 renderings; training/quantize.py
# measures both.
MARGINS = {'bf16': 0.02, 'int8': 0.04}
_PROBE_ASPECT = (3, 4)  # height and width of the first image, which is scaled to the object's input height
_CURE = 'train it or export it again'


class Backend(Protocol):
    """
    A network in memory; it may be called from several threads.

    Attributes:
        name: Name of the backend as the user gives it.
        precision: One of PRECISIONS; int8 means that most layers are quantised.
        device: What computes, such as CPU or CUDA.
        metadata: Text that came with the model: 'object' (JSON of the object file), 'stride', 'architecture'; of a file
            that a script made from a model.onnx also 'made_from' (SHA-256 of that file).
        input_size: (H, W) of the only images that it takes; None for any.
    """

    name: str
    precision: str
    device: str
    metadata: dict[str, str]
    input_size: tuple[int, int] | None

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Run the network.

        Args:
            images: (N, H, W, 3) uint8 BGR, H and W multiples of 32.

        Returns:
            Heatmaps (N, K + 1, H/8, W/8) and pafs (N, 2L, H/8, W/8), both float32.

        Raises:
            ValueError: Type or shape of the images is another one.
        """
        ...


@dataclass(frozen=True)
class LoadedNetwork:
    """
    What loading a network gives.

    Attributes:
        backend: What runs it.
        exact: The same network in f32, where the precision is one of MARGINS and the file is there.
        choice: How the backend came to be used, for the log and the diagnostics.
        path: The file that was read.
    """

    backend: Backend
    exact: Backend | None = None
    choice: str = 'given'
    path: Path | None = None

    def __str__(self) -> str:
        return f'{self.backend.name} {self.backend.precision} on {self.backend.device} ({self.choice})'


def check_images(images: np.ndarray) -> None:
    """Raise ValueError unless the array is (N, H, W, 3) uint8 with H and W multiples of 32."""
    good = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and images.shape[0] > 0
    if not good or any(size == 0 or size % SIZE_MULTIPLE for size in images.shape[1:3]):
        raise ValueError(
            f'images must be uint8 of shape (N, H, W, 3) with H and W multiples of {SIZE_MULTIPLE}, '
            f'got {images.dtype} {images.shape}'
        )


def check_on_probe(backend: Backend, path: Path, model: ObjectModel | None = None) -> None:
    """
    Run a network once, on noise.

    Args:
        backend: the network.
        path: names it.
        model: the object that it shall find; default: the one that it was made for.

    Raises:
        ModelError: It cannot compute, or its maps are no such maps: of another type or shape, not finite, or the same
            everywhere.
    """
    try:
        made_for = object_inside(backend)
    except ModelError:
        if model is None:  # said by whoever compares the objects
            return
        made_for = model
    model = model or made_for
    size = backend.input_size or input_shape(_PROBE_ASPECT, model.input_height)
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    try:
        maps = backend(image)
    except CustomPoseError:
        raise
    except Exception as error:  # the libraries' errors have no common base
        raise ModelFileError(
            f'{path}: cannot compute an image of {size[1]} x {size[0]} px ({reason_of(error)}); {_CURE}'
        ) from error
    counts = {'heatmaps': made_for.keypoint_count + 1, 'pafs': 2 * made_for.limb_count}
    for (name, count), values in zip(counts.items(), maps):
        problem = _problem(values, (1, count, size[0] // STRIDE, size[1] // STRIDE))
        if problem:
            raise ModelError(f'{path}: its {name} {problem}; {_CURE}')
    if all((values == values[..., :1, :1]).all() for values in maps):
        raise ModelError(f'{path}: its maps are the same everywhere in an image, as without weights; {_CURE}')


def _problem(values: np.ndarray, shape: tuple[int, ...]) -> str:
    if values.dtype != np.float32:
        return f'are {values.dtype}, wanted float32'
    if values.shape != shape:
        return f'have shape {values.shape}, wanted {shape}'
    if not np.isfinite(values).all():
        return 'are not finite (nan or inf)'
    return ''


def metadata_of(model: ObjectModel, architecture: str) -> dict[str, str]:
    """Return the metadata of a network of this architecture that was made for an object, see `Backend`."""
    return {'object': model.to_json(), 'stride': str(STRIDE), 'architecture': architecture}


def object_inside(backend: Backend, source: object = 'the network') -> ObjectModel:
    """Return the object that a network was made for; ModelError, naming `source`, when it carries none or a damaged."""
    if 'object' not in backend.metadata:
        raise ModelError(f'{source} carries no object; export it again with training/export_onnx.py')
    try:
        return ObjectModel.from_dict(json.loads(backend.metadata['object']), f'object in {source}')
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f'the object inside {source} is damaged ({error}); export it again') from error
