"""Published checkpoints of Lightweight OpenPose, in any of the layouts that they are kept in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.network import LightweightOpenPose, build_network

_ANCHOR = 'cpm.align.0.weight'  # a layer of every such network, whatever stands before its name
_REFINEMENT = re.compile(r'refinement_stages\.(\d+)\.')
_MAX_DEPTH = 4  # of dictionaries in dictionaries
_NAMED = 4  # layers that an error names


@dataclass(frozen=True)
class PublishedWeights:
    """
    Weights of Lightweight OpenPose under its own layer names.

    Attributes:
        options: `channels` and `refinement_stages` for `build_network`.
        weights: every parameter and buffer of that network.
        ignored: names in the file that the network does not have.
    """

    options: dict[str, int]
    weights: dict[str, Tensor]
    ignored: tuple[str, ...]


def published_weights(content: Mapping[str, Any], model: ObjectModel, where: str) -> PublishedWeights:
    """
    Find the weights of Lightweight OpenPose in what a file holds, and check that they fit an object.

    The weights may lie in dictionaries of any name, their names may begin with anything (`module.`, `_orig_mod.`,
    `net.`); the number of refinement stages follows from the names.

    Args:
        content: the dictionary that the file holds.
        model: the object that the network finds, in the keypoint and limb order of the network's maps.
        where: name of the file, for errors.

    Raises:
        ModelError: there is no such network in the file, it was made for another number of keypoints or limbs, or some
            of its layers are missing or of another shape.
    """
    state = _find_state(content)
    if state is None:
        raise ModelError(
            f'{where}: is neither a checkpoint of training/train.py nor one of Lightweight OpenPose; '
            f'{describe_layout(content)}'
        )
    heatmaps, pafs = (_outputs(state, name) for name in ('heatmaps', 'pafs'))
    wanted = model.keypoint_count + 1, 2 * model.limb_count
    if (heatmaps, pafs) != wanted:
        raise ModelError(
            f'{where}: was trained for {heatmaps} heatmaps and {pafs} part affinity fields; {model.name} with its '
            f'{model.keypoint_count} keypoints and {model.limb_count} limbs needs {wanted[0]} and {wanted[1]}'
        )
    stages = {int(match[1]) for name in state if (match := _REFINEMENT.match(name))}
    options = {'channels': state[_ANCHOR].shape[0], 'refinement_stages': len(stages)}
    own = build_network(LightweightOpenPose.architecture, model, **options).state_dict()
    weights = {name: state.get(name, tensor) for name, tensor in own.items()}
    bad = [
        f'{name} ({"missing" if name not in state else f"{tuple(state[name].shape)} for {tuple(tensor.shape)}"})'
        for name, tensor in own.items()
        if not name.endswith('.num_batches_tracked') and (name not in state or state[name].shape != tensor.shape)
    ]
    if bad:
        more = f' and {len(bad) - _NAMED} more' if len(bad) > _NAMED else ''
        raise ModelError(f'{where}: these layers do not fit: {", ".join(bad[:_NAMED])}{more}')
    return PublishedWeights(options, weights, tuple(name for name in state if name not in own))


def _find_state(content: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Return the tensors of the first dictionary that holds the network, by the names of its layers."""
    for mapping in _mappings(content):
        anchor = next((str(name) for name in mapping if str(name).endswith(_ANCHOR)), None)
        if anchor is not None:
            prefix = anchor[: -len(_ANCHOR)]
            tensors = {str(name): value for name, value in mapping.items() if isinstance(value, Tensor)}
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    return None


def _mappings(content: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    yield content
    if depth < _MAX_DEPTH:
        for value in content.values():
            if isinstance(value, Mapping):
                yield from _mappings(value, depth + 1)


def _outputs(state: Mapping[str, Tensor], name: str) -> int:
    """Return the number of channels of the initial stage's maps, 0 when that layer is missing."""
    weight = state.get(f'initial_stage.{name}.1.0.weight')
    return 0 if weight is None else int(weight.shape[0])


def describe_layout(content: Mapping[str, Any]) -> str:
    """Say what a file holds instead: its first layers, or its keys."""
    for mapping in _mappings(content):
        layers = [str(name) for name, value in mapping.items() if isinstance(value, Tensor)]
        if layers:
            return f'it holds {len(layers)} tensors such as {", ".join(layers[:_NAMED])}'
    return f'it holds no tensors, only {", ".join(map(str, list(content)[:_NAMED])) or "nothing"}'
