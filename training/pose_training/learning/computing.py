"""What a run computes with: processes under torchrun that have to agree, and CPU threads, as its own steps say."""

from __future__ import annotations

import os
import statistics
import time
from collections import deque

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

_TRIALS = 3  # steps with each number of threads; the first of them also pays for the change and does not count
_HOPELESS = 1.5  # times the step of a single thread: no more trials then, as each may take very long
_RECENT = 5  # steps that tell how long a step takes by now
_SLOWER = 2.0  # times what it took when the number was chosen: the computer has become busy, so trials begin again
_TOLD_AFTER = 20  # steps


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


class Pace:
    """
    Tries a single thread and all of them in the first steps, keeps what is faster, and tells the time of a step.

    On a busy computer the threads of a step wait for each other at every layer: two can take five times as long as one.
    So when steps have become much slower than they were, both are tried again.
    """

    def __init__(self, choose: bool):
        """
        Begin.

        Args:
            choose: False where the number of threads is given, or something else than the CPU computes.
        """
        most = torch.get_num_threads()
        self._numbers = [1, most] if choose and most > 1 else []
        self._steps, self._settled_at, self._settled = 0, 0, time.monotonic()
        self._begin_trials()

    def before_step(self) -> None:
        """Set the number of threads."""
        if self._plan:
            torch.set_num_threads(self._plan[0])

    def after_step(self, seconds: float) -> float | None:
        """
        Learn how long a step took; after the last trial, keep the faster number.

        Args:
            seconds: Of the step, without the time that making its samples took.

        Returns:
            Seconds from one step to the next, once: after twenty steps. None at all others.
        """
        self._steps += 1
        if self._plan:
            self._learn(self._plan.pop(0), seconds)
        elif self._numbers:
            self._recent.append(seconds)
            if len(self._recent) == _RECENT and statistics.median(self._recent) > _SLOWER * self._typical_s:
                self._begin_trials()
        elif self._steps == 1:  # the first one pays for the start
            self._settled_at, self._settled = 1, time.monotonic()
        if self._steps == _TOLD_AFTER:
            return (time.monotonic() - self._settled) / (_TOLD_AFTER - self._settled_at)
        return None

    def _begin_trials(self) -> None:
        self._seconds: dict[int, list[float]] = {number: [] for number in self._numbers}
        self._plan = [number for number in self._numbers for _ in range(_TRIALS)]
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._typical_s = 0.0

    def _learn(self, number: int, seconds: float) -> None:
        """Take in a trial; after the last one, keep the number of threads that is faster."""
        self._seconds[number].append(seconds)
        counted = self._seconds[number][1:]
        if number > 1 and counted and counted[-1] > _HOPELESS * statistics.median(self._seconds[1][1:]):
            self._plan = []
        if not self._plan:
            typical = {number: statistics.median(spent[1:]) for number, spent in self._seconds.items()}
            fastest = min(typical, key=typical.__getitem__)
            torch.set_num_threads(fastest)
            self._typical_s = typical[fastest]
            self._settled_at, self._settled = self._steps, time.monotonic()
