"""
Checkpoints of trained networks: plain tensors and text, never code.

Those of training/train.py, and published ones of Lightweight OpenPose in any of the layouts that they are kept in.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from custom_pose_ros.core.errors import ConfigError, ModelError, ModelFileError, OutputError, listed, reason_of
from custom_pose_ros.core.files import check_network_file, replacing
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.layouts import ONNX_LAYOUT, WANTED, is_pickled, layout_of_file, layout_of_names
from custom_pose_ros.inference.network import NETWORKS, LightweightOpenPose, PoseNetwork, build_network

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
_OWN_FORMATS = CHECKPOINT_FORMAT.rpartition(' ')[0]
# Keys of files that hold something else.
_OTHERS = {
    ('engine', 'input_names', 'output_names'): 'a TensorRT engine of torch2trt, whose name must end in _trt.pth',
    ('state', 'param_groups'): 'only the state of an optimiser, without weights',
}
_ANCHOR = 'cpm.align.0.weight'  # a layer of every such network, whatever stands before its name
_REFINEMENT = re.compile(r'refinement_stages\.(\d+)\.')
_MAX_DEPTH = 4  # of dictionaries in dictionaries
_NAMED = 4  # layers that an error names


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
        return _published_checkpoint(content, model, path)
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
        raise ModelFileError(f'{path}: is damaged ({reason_of(error)}); take another checkpoint') from error
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
        problem = 'is a folder' if path.is_dir() else 'no such file'
        raise ModelError(f'{path}: {problem}; give a checkpoint of training/train.py or a published one')
    check_network_file(path)
    if part := _damaged_part(path):
        raise ModelError(f'{path}: is damaged ({part} has another sum than the file states); copy it again')
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of formats that are refused below
            content = torch.load(path, map_location='cpu', weights_only=True)
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        LookupError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        layout = layout_of_file(path)
        if layout == ONNX_LAYOUT:
            text = f'is {layout} already; wanted a checkpoint, such as best.pth'
        elif isinstance(error, pickle.UnpicklingError) and (not layout or is_pickled(path)):
            text = f'is {layout or "damaged, or holds more than tensors"}, and is refused for safety: '
            text += f'only tensors and plain values are read; {WANTED}'
        else:
            text = f'is {layout or "no checkpoint, or damaged"}; {WANTED}'
        raise ModelFileError(f'{path}: {text}') from error
    if not isinstance(content, dict):
        raise ModelError(f'{path}: holds {type(content).__name__}, no dictionary of tensors; {WANTED}')
    return content


def _damaged_part(path: Path) -> str:
    """Return the part of a file whose sum is not as stated, '' if none: torch writes sums and never reads them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() or ''
    except Exception:  # of older files, which are no archives, or of damage that torch finds as well
        return ''


def _published_checkpoint(content: Mapping[str, Any], model: ObjectModel | None, path: Path) -> Checkpoint:
    """
    Find the weights of Lightweight OpenPose in what a file holds, and check that they fit an object.

    The weights may lie in dictionaries of any name, their names may begin with anything (`module.`, `_orig_mod.`,
    `net.`); the number of refinement stages follows from the names.
    """
    states = _find_states(content)
    if not states:
        raise ModelError(f'{path}: {_describe_layout(content)}; {WANTED}')
    if model is None:
        raise ModelError(
            f'{path}: is not a checkpoint of training/train.py but a published one of Lightweight OpenPose, which '
            'needs its object, such as --object human18'
        )
    if len(states) > 1:
        raise ModelError(f'{path}: holds several networks: {", ".join(states)}; save one of them alone')
    (state,) = states.values()
    heatmaps, pafs = (_outputs(state, name) for name in ('heatmaps', 'pafs'))
    wanted = model.keypoint_count + 1, 2 * model.limb_count
    if (heatmaps, pafs) != wanted:
        raise ModelError(
            f'{path}: was trained for {heatmaps} heatmaps and {pafs} part affinity fields; {model.name} with its '
            f'{model.keypoint_count} keypoints and {model.limb_count} limbs needs {wanted[0]} and {wanted[1]}'
        )
    stages = {int(match[1]) for name in state if (match := _REFINEMENT.match(name))}
    architecture = LightweightOpenPose.architecture
    options = {'channels': state[_ANCHOR].shape[0], 'refinement_stages': len(stages)}
    own = build_network(architecture, model, **options).state_dict()
    weights = {name: state.get(name, tensor) for name, tensor in own.items()}
    bad = [
        f'{name} ({"missing" if name not in state else f"{tuple(state[name].shape)} for {tuple(tensor.shape)}"})'
        for name, tensor in own.items()
        if not name.endswith('.num_batches_tracked') and (name not in state or state[name].shape != tensor.shape)
    ]
    if bad:
        raise ModelError(f'{path}: these layers do not fit: {listed(bad, _NAMED)}')
    ignored = tuple(name for name in state if name not in own)
    return Checkpoint(architecture, options, model, weights, ignored=ignored)


def _find_states(content: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of each network in a file by the names of its layers, under the place where it was found."""
    found = {}
    for place, mapping in _mappings(content):
        tensors = {str(name): value for name, value in mapping.items() if isinstance(value, Tensor) and value.dim()}
        for anchor in [name for name, value in tensors.items() if name.endswith(_ANCHOR) and value.dim() == 4]:
            prefix = anchor[: -len(_ANCHOR)]
            state = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
            found[f'{place}[{prefix}...]'] = state
    return found


def _mappings(content: Mapping[str, Any], place: str = '', depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dictionaries in a file with the keys that lead to them."""
    yield place, content
    if depth < _MAX_DEPTH:
        for key, value in content.items():
            if isinstance(value, Mapping) and 'param_groups' not in value:  # else it is an optimiser's
                yield from _mappings(value, f'{place}[{key}]', depth + 1)


def _outputs(state: Mapping[str, Tensor], name: str) -> int:
    """Return the number of channels of the initial stage's maps, 0 when that layer is missing."""
    weight = state.get(f'initial_stage.{name}.1.0.weight')
    return 0 if weight is None else int(weight.shape[0])


def _describe_layout(content: Mapping[str, Any]) -> str:
    """Say what a file holds instead: whose network, its first layers, or its keys."""
    for keys, text in _OTHERS.items():
        if content.keys() >= set(keys):
            return f'is {text}'
    if str(content.get('format', '')).startswith(_OWN_FORMATS):
        return f'is of another version of this package ({content["format"]!r})'
    for _, mapping in _mappings(content):
        layers = [str(name) for name, value in mapping.items() if isinstance(value, (Tensor, np.ndarray))]
        if layers and 'param_groups' not in content:
            whose = layout_of_names(layers) or 'another network'
            return f'holds the weights of {whose}: {len(layers)} tensors such as {", ".join(layers[:_NAMED])}'
    return f'holds no network, only {", ".join(map(str, list(content)[:_NAMED])) or "nothing"}'
