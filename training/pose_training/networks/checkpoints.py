"""Checkpoint files: plain tensors and text, written atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.inference.checkpoints import CHECKPOINT_FORMAT, Checkpoint


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """
    Write beside the final name, flush to disk, rename: a crash leaves the old file or the new one, never a half.

    Raises ModelError when it cannot be written, as on a full disk.
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
        with atomic_path(path) as temporary, open(temporary, 'wb') as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, RuntimeError) as error:  # torch wraps the first in the second
        reason = error if isinstance(error, OSError) else error.__context__
        raise ModelError(
            f'{path}: cannot be written ({getattr(reason, "strerror", error)}); what was there is kept: '
            'make room and go on with --resume'
        ) from error


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
