"""How the readers of meshes say what is wrong: what they refuse, and which colours they lose."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import DatasetError

EXPORT_AGAIN = 'export the mesh again'
HAS_BONES = f'has a skin that bones move, which is not read: apply it and {EXPORT_AGAIN}'


def warn(path: Path, text: str) -> None:
    """Say on stderr what of a mesh file is not drawn; processes that draw have been told already."""
    if multiprocessing.parent_process() is None:
        say(f'warning: {path}: {text}')


def cut_off(path: Path, promised: str, found: object) -> DatasetError:
    """Return the error of a file that ends too early."""
    return DatasetError(f'{path}: is cut off: {promised} are promised, {found} are there; download or {EXPORT_AGAIN}')


def check_numbers(path: Path, what: str, rows: Sequence[str], columns: int) -> np.ndarray:
    """Return the first `columns` numbers of each row; DatasetError with the first row that has fewer."""
    try:
        return np.array([row.split()[:columns] for row in rows], float).reshape(-1, columns)
    except ValueError as error:
        bad = next(row for row in rows if not are_numbers(row.split()[:columns], columns)).strip()
        commas = ' (decimal points are wanted, not commas)' if ',' in bad else ''
        raise DatasetError(
            f'{path}: {what}: wanted {columns} numbers, got {bad[:80]!r}{commas}: it is damaged, {EXPORT_AGAIN}'
        ) from error


def are_numbers(words: Sequence[str], count: int) -> bool:
    """Tell whether there are this many words, all of them numbers."""
    try:
        return len([float(word) for word in words]) == count
    except ValueError:
        return False
