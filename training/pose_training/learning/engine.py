"""Optimisation: one step of training, the learning rate over the run, averaged weights, exact state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from custom_pose_ros.core.errors import TrainingError
from custom_pose_ros.inference.network import PoseNetwork
from training.pose_training.data.training_set import TrainingSample
from training.pose_training.learning.computing import Group
from training.pose_training.learning.losses import pose_losses

PRECISIONS = ('auto', 'float32', 'bfloat16')


@dataclass(frozen=True)
class OptimiserSettings:
    """
    How the weights are learned.

    Attributes:
        learning_rate: Of the new layers, at its peak.
        backbone_factor: Learning rate of the pretrained layers, relative to that of the new ones.
        weight_decay: Of AdamW, for all weights but biases and norms.
        warm_up_steps: Steps until the learning rate reaches its peak.
        final_share: Of the learning rate that is left at the end of the cosine.
        clip_norm: Largest norm of the gradient.
        ema_decay: Of the averaged weights, per step, once training has run for a while.
        position_weight: Of the decoded positions in the loss, see `pose_losses`.
    """

    learning_rate: float = 2e-3
    backbone_factor: float = 0.5
    weight_decay: float = 1e-4
    warm_up_steps: int = 30
    final_share: float = 0.01
    clip_norm: float = 20.0
    ema_decay: float = 0.998
    position_weight: float = 0.0


class Trainer:
    """
    A network, its optimiser and its averaged weights.

    Attributes:
        network: The network that learns.
        averaged: The network with exponentially averaged weights, which is what is validated and kept.
        step_count: Optimisation steps so far.
        precision: 'float32' or 'bfloat16'.
    """

    def __init__(
        self,
        network: PoseNetwork,
        settings: OptimiserSettings,
        precision: str = 'auto',
        device: str | torch.device = 'cpu',
    ):
        self.device = torch.device(device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self._forward: nn.Module = self.network
        self.settings = settings
        self.precision = chosen_precision(precision, self.device)
        self.step_count = 0
        self._frozen: list[nn.Module] = []
        self.restart_average()
        self._optimiser = torch.optim.AdamW(_parameter_groups(network, settings))

    def step(self, batch: TrainingSample, progress: float) -> dict[str, float]:
        """
        Learn from one batch of tensors; return the parts of its loss by name.

        Args:
            batch: N samples.
            progress: Share of the run that is over, in [0, 1].

        Raises:
            TrainingError: The loss or its gradient is not finite; the text names its parts, the weights are unchanged.
        """
        images, *targets = (torch.as_tensor(part).to(self.device, non_blocking=True) for part in batch)
        self.network.train()
        for module in self._frozen:
            module.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == 'bfloat16'):
            stages = self._forward(images)
        losses = pose_losses(stages, *targets, self.settings.position_weight)
        parts = torch.stack(list(losses.values()))
        total = parts.sum()
        values = dict(zip(losses, parts.detach().tolist()))  # one wait for the GPU, not one for each part
        if not math.isfinite(sum(values.values())):
            raise TrainingError(self._not_finite(values, images))
        rate = learning_rate(self.settings, self.step_count, progress)
        for group in self._optimiser.param_groups:
            group['lr'] = rate * group['factor']
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        learning = [p for p in self.network.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(learning, self.settings.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingError(self._not_finite({**values, 'gradient norm': float(norm)}, images))
        self._optimiser.step()
        self.step_count += 1
        self.averaged.update_parameters(self.network)
        return {**values, 'total': sum(values.values())}

    def freeze(self, modules: Sequence[nn.Module]) -> None:
        """Keep modules as they are, statistics of their batch norms included; call before the first step."""
        self._frozen = list(modules)
        for module in modules:
            module.requires_grad_(False)

    def distribute(self, group: Group) -> None:
        """Average the gradients over the processes of a group from now on; call after `freeze`."""
        self._forward = group.wrapped(self.network)

    def restart_average(self) -> None:
        """Start the average at the current weights."""
        self.averaged = AveragedModel(self.network, multi_avg_fn=self._average, use_buffers=True)

    def averaged_network(self) -> PoseNetwork:
        """Return the network with averaged weights, ready for inference."""
        return self.averaged.module.eval()

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return a copy of the averaged weights, by name."""
        return {name: value.detach().cpu().clone() for name, value in self.averaged.module.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """Return everything that an exact resume needs, as tensors and plain values."""
        return {
            'weights': self.network.state_dict(),
            'averaged': self.averaged.state_dict(),
            'optimiser': self._optimiser.state_dict(),
            'step_count': self.step_count,
            'precision': self.precision,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.network.load_state_dict(state['weights'])
        self.averaged.load_state_dict(state['averaged'])
        self._optimiser.load_state_dict(state['optimiser'])
        self.step_count = int(state['step_count'])
        self.precision = state['precision']

    def _average(self, averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        # Early on the average follows quickly: over 10 steps it reaches back about half of them. All tensors at once:
        # one by one, a GPU waits for the count before each of hundreds.
        decay = min(self.settings.ema_decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    def _not_finite(self, values: Mapping[str, float], images: Tensor) -> str:
        parts = ', '.join(f'{name} {value:.3g}' for name, value in values.items())
        bad = [name for name, p in self.network.named_parameters() if not torch.isfinite(p).all()]
        where = f'weights of {bad[0]} are not finite' if bad else 'all weights are finite'
        return (
            f'training stopped at step {self.step_count}: not finite: {parts}; {where}; input {tuple(images.shape)} '
            f'in {self.precision}. Try a smaller --learning-rate or --precision float32; the last checkpoint is intact'
        )


def learning_rate(settings: OptimiserSettings, step: int, progress: float) -> float:
    """Return the learning rate: a linear warm-up by steps, then half a cosine over the run down to the final share."""
    warm = min(1.0, (step + 1) / settings.warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return settings.learning_rate * warm * (settings.final_share + (1 - settings.final_share) * cosine)


def chosen_precision(precision: str, device: torch.device) -> str:
    """Return what 'auto' means: bfloat16 where the hardware computes in it, float32 elsewhere (emulation is slower)."""
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}')
    if precision != 'auto':
        return precision
    if device.type == 'cuda':
        return 'bfloat16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'float32'
    try:
        flags = Path('/proc/cpuinfo').read_text(encoding='ascii', errors='replace')
    except OSError:
        return 'float32'
    return 'bfloat16' if 'avx512_bf16' in flags or 'amx_bf16' in flags else 'float32'


def _parameter_groups(network: PoseNetwork, settings: OptimiserSettings) -> list[dict[str, Any]]:
    """Return the optimiser's groups: backbone and new layers with their own rates; biases and norms do not decay."""
    backbone = {id(p) for module in network.backbone() for p in module.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        groups.setdefault((id(parameter) in backbone, parameter.ndim > 1), []).append(parameter)
    return [
        {
            'params': parameters,
            'factor': settings.backbone_factor if pretrained else 1.0,
            'weight_decay': settings.weight_decay if decays else 0.0,
            'lr': settings.learning_rate,
        }
        for (pretrained, decays), parameters in groups.items()
    ]
