"""Checkpoints of trained networks: plain tensors and text, never code."""

from __future__ import annotations

import argparse
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custom_pose_ros.core.errors import ConfigError, ModelError, OutputError
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.network import NETWORKS, LightweightOpenPose, PoseNetwork, build_network
from custom_pose_ros.inference.published_checkpoints import describe_layout, published_weights

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray

# What published files hold beside tensors: numpy's numbers and arrays, the options of a script. None of it runs code.
_HARMLESS = [
    argparse.Namespace,
    np.dtype,
    np.ndarray,
    *{type(np.dtype(kind)) for kind in ('?', 'i1', 'u1', 'i2', 'i4', 'i8', 'f2', 'f4', 'f8')},
    *(
        (getattr(multiarray, function), f'{module}.multiarray.{function}')
        for function in ('scalar', '_reconstruct')
        for module in ('numpy.core', 'numpy._core')
    ),
]
CHECKPOINT_FORMAT = 'custom_pose_ros checkpoint 1'


@dataclass(frozen=True)
class Checkpoint:
    """
    Content of one checkpoint.

    Attributes:
        architecture: As in `build_network`.
        options: As in `build_network`.
        model: The object that the network was trained for.
        weights: Parameters and buffers to use (the exponential moving average during training).
        training: What an exact resume needs; None in files meant for use only.
        ignored: Names of tensors in a published file that the network does not have.
    """

    architecture: str
    options: dict[str, int]
    model: ObjectModel
    weights: dict[str, Tensor]
    training: dict[str, Any] | None = None
    ignored: tuple[str, ...] = ()

    def network(self) -> PoseNetwork:
        """Build the network with these weights, ready for inference."""
        network = build_network(self.architecture, self.model, **self.options)
        network.load_state_dict(self.weights)
        return network.eval()


def load_checkpoint(path: str | Path, model: ObjectModel | None = None) -> Checkpoint:
    """
    Read a checkpoint of training/train.py, or a published one of Lightweight OpenPose.

    Args:
        path: The file.
        model: The object that a published network finds; a checkpoint of training/train.py carries its own.

    Raises:
        ModelError: It is missing, damaged, something else or does not fit the object.
    """
    path = Path(path)
    content = read_torch_file(path)
    if content.get('format') != CHECKPOINT_FORMAT:
        if model is None:
            raise ModelError(
                f'{path}: is not a checkpoint of training/train.py ({describe_layout(content)}); '
                'a published one of Lightweight OpenPose needs its object, such as --object human18'
            )
        published = published_weights(content, model, str(path))
        return Checkpoint(
            LightweightOpenPose.architecture, published.options, model, published.weights, None, published.ignored
        )
    if content.get('architecture') not in list(NETWORKS):
        raise ModelError(
            f'{path}: unknown architecture {content.get("architecture")!r}, wanted {" or ".join(NETWORKS)}'
        )
    try:
        model = ObjectModel.from_dict(content['object'], f'{path} (object)')
        checkpoint = Checkpoint(
            content['architecture'], content['options'], model, content['weights'], content.get('training')
        )
        checkpoint.network()
    except (ConfigError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ModelError(f'{path}: is damaged ({str(error).splitlines()[0]}); take another checkpoint') from error
    return checkpoint


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """
    Write a checkpoint and flush it to disk: a crash leaves the old file or the new one, never a half.

    Raises:
        ModelError: It cannot be written, as on a full disk.
    """
    content = {
        'format': CHECKPOINT_FORMAT,
        'architecture': checkpoint.architecture,
        'options': checkpoint.options,
        'object': checkpoint.model.to_dict(),
        'weights': checkpoint.weights,
        'training': checkpoint.training,
    }
    try:
        with replacing(path) as temporary, open(temporary, 'wb') as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except (OutputError, RuntimeError) as error:  # torch wraps an OSError in a RuntimeError
        reason = error.__context__ if isinstance(error.__context__, OSError) else None
        raise ModelError(
            f'{path}: cannot be written ({reason.strerror if reason else error}); what was there is kept: '
            'make room and go on with --resume'
        ) from error


def read_torch_file(path: Path) -> dict[str, Any]:
    """
    Read a dictionary of tensors and plain values; never runs what a pickle asks for.

    Raises:
        ModelError: It is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise ModelError(f'{path}: no such file; give a checkpoint of training/train.py or a published one')
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f'{path}: is damaged, or holds more than tensors and is refused for safety') from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f'{path}: cannot be read as a checkpoint ({reason})') from error
    if not isinstance(content, dict):
        raise ModelError(f'{path}: wanted a dictionary of tensors, got {type(content).__name__}')
    return content
