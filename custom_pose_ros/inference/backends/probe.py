"""The first image of a network: one that cannot be right is refused before it serves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import CustomPoseError, ModelError, ModelFileError, reason_of
from custom_pose_ros.core.keypoints.preprocessing import STRIDE, input_shape
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends.contract import Backend

_ASPECT = (3, 4)  # height and width of the image, which is scaled to the object's input height
_CURE = 'train it or export it again'


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
    made_for = _object_in(backend)
    model = model or made_for
    if model is None:  # said by whoever compares the objects
        return
    size = backend.input_size or input_shape(_ASPECT, model.input_height)
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    try:
        maps = backend(image)
    except CustomPoseError:
        raise
    except Exception as error:  # the libraries' errors have no common base
        raise ModelFileError(
            f'{path}: cannot compute an image of {size[1]} x {size[0]} px ({reason_of(error)}); {_CURE}'
        ) from error
    made_for = made_for or model
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


def _object_in(backend: Backend) -> ObjectModel | None:
    """Return the object that a network was made for; None when it does not say."""
    try:
        return ObjectModel.from_dict(json.loads(backend.metadata['object']))
    except (KeyError, ValueError, RecursionError):
        return None
