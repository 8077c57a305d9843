"""Networks with random weights whose maps are not empty."""

from __future__ import annotations

import torch


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    """Give batch norms statistics and heads weights that matter, as after training."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    for name, parameter in network.named_parameters():
        if 'heatmaps' in name or 'pafs' in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()
