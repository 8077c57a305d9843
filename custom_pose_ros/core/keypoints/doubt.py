"""Doubt: whether some decision of the grouping was so close that another precision could have decided otherwise."""

from __future__ import annotations

import numpy as np


class Doubt:
    """
    Notes whether a decision was close.

    margin : how close is too close; with 0 nothing is.
    """

    def __init__(self, margin: float):
        self.margin = margin
        self._found = False

    def __bool__(self) -> bool:
        return self._found

    def note(self, close: bool) -> None:
        """Note a decision that is known to be close or not."""
        self._found = self._found or close

    def about(self, values: np.ndarray | float, threshold: np.ndarray | float) -> None:
        """Note a doubt when any value is nearer to its threshold than the margin."""
        if self.margin and not self._found:
            self._found = bool((np.abs(values - threshold) < self.margin).any())
