"""Coroutines that request fits of the outline, so that the fits of all instances of an image are made together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

import numpy as np

from custom_pose_ros.core.orientation.outlines.outline_fit import OutlineFit
from custom_pose_ros.core.orientation.outlines.outline_fitter import FitStart, OutlineFitter

Result = TypeVar('Result')
# Yields where a fit starts, is sent the fit, returns its result.
FitRequests = Generator[FitStart, OutlineFit | None, Result]

# What a fit must tell, in units of what is known: on a plain image all lines agree, since none sees anything.
_NEWS = 0.1


def compared(start: FitStart) -> FitRequests[OutlineFit | None]:
    """Return the fit to the image, see `OutlineFitter.measure`; None also where it agrees and yet tells nothing new."""
    fit = yield start
    if fit is not None and fit.credible and np.vdot(fit.information[:6, :6], start.covariance) < _NEWS:
        return None
    return fit


def run_together(
    coroutines: Sequence[FitRequests[Result]], outline: OutlineFitter | None, image: np.ndarray | None
) -> list[Result]:
    """
    Return the results of coroutines, which request nothing where there is no outline or image.

    Raises:
        ValueError: the image is not one of the camera.
    """
    results: dict[int, Result] = {}
    fits: dict[int, OutlineFit | None] = dict.fromkeys(range(len(coroutines)))
    while fits:
        starts: dict[int, FitStart] = {}
        for i, fit in fits.items():
            try:
                starts[i] = coroutines[i].send(fit)
            except StopIteration as end:
                results[i] = end.value
        fits = {}
        if starts:
            assert outline is not None and image is not None
            fits = dict(zip(starts, outline.measure(image, list(starts.values()))))
    return [results[i] for i in range(len(coroutines))]
