"""Training in several processes under torchrun: their group, and what they have to agree on."""

from __future__ import annotations

import os

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Group:
    """
    The processes that train together; a single process without torchrun.

    Attributes:
        rank: Number of this process.
        world: Number of processes.
        device: What this process computes on.
    """

    def __init__(self, rank: int = 0, world: int = 1, local_rank: int = 0):
        self.rank, self.world = rank, world
        self.device = torch.device('cuda', local_rank) if torch.cuda.is_available() else torch.device('cpu')

    @property
    def is_first(self) -> bool:
        """Whether this process validates, logs and writes checkpoints."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """Return the network with gradients averaged over the processes."""
        if self.world == 1:
            return network
        return DistributedDataParallel(network, device_ids=[self.device] if self.device.type == 'cuda' else None)

    def agreed(self, progress: float) -> float:
        """Return the progress of the first process, so that all stop at the same step."""
        if self.world == 1:
            return progress
        value = torch.tensor([progress], dtype=torch.float64, device=self.device)
        distributed.broadcast(value, 0)
        return float(value)

    def close(self) -> None:
        """Wait for the other processes and end the group."""
        if self.world > 1:
            distributed.barrier()
            distributed.destroy_process_group()


def is_first() -> bool:
    """Return whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get('RANK', '0') == '0'


def join() -> Group:
    """Join the group that torchrun describes in the environment; without torchrun a group of one."""
    world = int(os.environ.get('WORLD_SIZE', '1'))
    if world == 1:
        return Group()
    group = Group(int(os.environ['RANK']), world, int(os.environ['LOCAL_RANK']))
    if group.device.type == 'cuda':
        torch.cuda.set_device(group.device)
    distributed.init_process_group('nccl' if group.device.type == 'cuda' else 'gloo')
    return group
