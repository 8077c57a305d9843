"""How the readers of meshes say what is wrong: what they refuse, and which colours they lose."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from custom_pose_ros.core.command_line import DONE, PARTLY, Main, say
from custom_pose_ros.core.errors import DatasetError, listed

EXPORT_AGAIN = 'export the mesh again'
_NAMED = 3  # materials in one line
_ROWS = 1 << 16
# Warnings of the command that runs, and whether each is of a loss.
_told: ContextVar[dict[str, bool] | None] = ContextVar('told', default=None)
HAS_BONES = f'has a skin that bones move, which is not read: apply it and {EXPORT_AGAIN}'


def warn(path: Path, text: str, lost: bool = False) -> None:
    """Say on stderr what of a mesh is not drawn, `lost` as missing or damaged; processes that draw have been told."""
    line, told = f'warning: {path}: {text}', _told.get()
    if multiprocessing.parent_process() is None and line not in (told or ()):
        say(line)
    if told is not None:
        told[line] = lost


def telling_losses(main: Main) -> Main:
    """Wrap the `main` of a command that reads meshes: each warning comes once, what is lost makes PARTLY of DONE."""

    @functools.wraps(main)
    def wrapped(arguments: Sequence[str] | None = None) -> int:
        told: dict[str, bool] = {}
        before = _told.set(told)
        try:
            code = main(arguments)
        finally:
            _told.reset(before)
        return PARTLY if code == DONE and any(told.values()) else code

    return wrapped


def warn_of_looks(path: Path, opacities: Mapping[str, float], shining: Collection[str]) -> None:
    """
    Say which materials of a mesh are drawn otherwise than they look.

    Args:
        path: of the file.
        opacities: of the materials by name, 1 = solid, which is how all are drawn.
        shining: names of those with emission, light of their own, which is not drawn.
    """
    clear = [f'{name} ({opacity:.3g})' for name, opacity in opacities.items() if opacity < 1]
    if clear:
        warn(path, f'has materials with an opacity below 1: drawn solid: {listed(clear, _NAMED)}')
    if shining:
        warn(path, f'has materials with emission: drawn without it: {listed(shining, _NAMED)}')


def cut_off(path: Path, promised: str, found: object) -> DatasetError:
    """Return the error of a file that ends too early."""
    return DatasetError(f'{path}: is cut off: {promised} are promised, {found} are there; download or {EXPORT_AGAIN}')


def check_numbers(path: Path, what: str, rows: Sequence[str], columns: int) -> np.ndarray:
    """Return the first `columns` numbers of each row; DatasetError with the first row that has fewer."""
    try:
        if columns == 1:
            return np.fromiter(map(float, rows), float, len(rows))[:, None]  # quicker
        parts = [  # of so many rows at once: their words take ten times the room of the numbers
            np.array([row.split()[:columns] for row in rows[start : start + _ROWS]], float).reshape(-1, columns)
            for start in range(0, len(rows) or 1, _ROWS)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
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
