"""Rigid: a rotation and a translation from one frame to another, that can be chained and inverted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Rigid(NamedTuple):
    """A rigid transform `to_from`: point_to = R @ point_from + t. R (3, 3), t (3,) m."""

    R: np.ndarray
    t: np.ndarray

    def __matmul__(self, other: Rigid) -> Rigid:  # type: ignore[override]
        return Rigid(self.R @ other.R, self.R @ other.t + self.t)

    def inverse(self) -> Rigid:
        """Return the transform `from_to`."""
        return Rigid(self.R.T, -self.R.T @ self.t)


IDENTITY = Rigid(np.eye(3), np.zeros(3))
