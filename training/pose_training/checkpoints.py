"""Checkpoint files: plain tensors and text, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from custom_pose_ros.inference.checkpoints import CHECKPOINT_FORMAT, Checkpoint


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write beside the final name, flush to disk, rename: a crash leaves the old file or the new one, never a half."""
    content = {
        'format': CHECKPOINT_FORMAT,
        'architecture': checkpoint.architecture,
        'options': checkpoint.options,
        'object': checkpoint.model.to_dict(),
        'weights': checkpoint.weights,
        'training': checkpoint.training,
    }
    with atomic_path(path) as temporary, open(temporary, 'wb') as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a name beside `path`; the file written there takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.part')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
