"""Which of two lists of instances are the same ones."""

from __future__ import annotations

import math

import numpy as np


def nearest_pairs(distances: np.ndarray) -> list[tuple[int, int]]:
    """
    Return the pairs of rows and columns, nearest first, each row and each column at most once.

    Args:
        distances: (R, C); inf or NaN where row and column cannot be the same.
    """
    pairs: list[tuple[int, int]] = []
    rows, columns = set(), set()
    for flat in distances.argsort(axis=None, kind='stable').tolist():  # inf and NaN come last
        row, column = divmod(flat, distances.shape[1])
        if not math.isfinite(distances[row, column]):
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs
