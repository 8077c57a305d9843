"""
OutlineFit: what an outline tells about pose and size. MeshSize: the size, learnt of many of them.

The numbers of the steps are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.orientation.outlines.outline_views import SIZE_ERROR

MIN_LINES = 20  # fewer do not tell six numbers with their errors
AGREEMENT = 0.55  # share of the lines that must lie where the image has an edge, for a fit to be used
AGREES_PX = 1.0  # from the model to the image, within which a line agrees
_SIDE = 0.5  # by which an object may be larger along one axis than as a whole, as a share of `size_error`
_DOUBT = 0.3  # probability that a stated size error is wrong, and the usual one right: people err in units and versions
# Of what keypoints and outlines tell about the size in the long run.
_LASTING_ERROR = np.full((3, 3), 0.005**2) + 0.004**2 * np.eye(3)
AS_THE_MESH = np.zeros(3)


@dataclass(frozen=True, eq=False)
class OutlineFit:
    """
    What the outline in one image tells about the pose and about the size of the object.

    It is a Gaussian over x = (step from `pose`, see `Rigid.moved`; growth of the object along its three axes beyond the
    size it was fitted with, as a share). Its logarithm is pull @ x - x @ information @ x / 2. The start and its
    covariance are not in it.

    Attributes:
        pose: `camera_object` that outline and start together make most likely.
        information: (9, 9) inverse covariance; singular for what the outline does not show.
        pull: (9,) towards what the outline alone tells.
        agreement: share of the lines, weighted by how sharply they see an edge, whose edge is within AGREES_PX of the
            model's; in [0, 1].
        lines: number of lines that were compared.
    """

    pose: Rigid
    information: np.ndarray
    pull: np.ndarray
    agreement: float
    lines: int

    @property
    def credible(self) -> bool:
        """Whether the image shows the outline of this object, as far as the image itself can tell."""
        return self.lines >= MIN_LINES and self.agreement >= AGREEMENT

    def together_with(self, start: Rigid, information: np.ndarray, size: MeshSize) -> tuple[Rigid, np.ndarray]:
        """
        Return pose and covariance (6, 6) of what outline and keypoints of a single image tell together.

        Args:
            start: `camera_object`, from the keypoints.
            information: (6, 6) inverse covariance of the start.
            size: of the mesh as the outline was fitted with it; learns from both.
        """
        towards = information @ self.pose.step_to(start)
        size.learn(self, information, towards, 1.0)
        covariance = np.linalg.inv(self.information[:6, :6] + information)
        by_growth = covariance @ self.information[:6, 6:]
        step = covariance @ (self.pull[:6] + towards) - by_growth @ size.growth
        covariance = covariance + by_growth @ size.covariance @ by_growth.T
        return self.pose.moved(step), 0.5 * (covariance + covariance.T)


class MeshSize:
    """
    How much larger an object is than its mesh along its axes, learnt while it is followed (step 8).

    A mesh that is too large looks like an object that is farther away; in the long run the keypoints tell which.

    Args:
        size_error: of the mesh, see `OutlineViews`.

    Attributes:
        growth: (3,) as shares.
        covariance: (3, 3) of it.
        stated_wrongly: whether the usual size error explains keypoints and outlines better than the stated one.
    """

    def __init__(self, size_error: float):
        usual = max(size_error, SIZE_ERROR)
        self._priors = [(usual, 1.0)] if usual == size_error else [(size_error, 1.0 - _DOUBT), (usual, _DOUBT)]
        self._information = np.zeros((3, 3))
        self._pull = np.zeros(3)
        self.stated_wrongly = False
        self._combine(np.zeros((3, 4)))

    def learn(self, fit: OutlineFit, information: np.ndarray, pull: np.ndarray, images: float) -> None:
        """
        Learn from an outline fitted with this size.

        Args:
            fit: the outline.
            information: (6, 6) what the keypoints of the same image tell about the pose.
            pull: (6,) likewise, from the pose of the fit.
            images: how many images with errors of their own this one counts for, <= 1.
        """
        told, towards = without(fit.information, fit.pull, slice(6), slice(6, 9), information, pull)
        self._information += images * told
        self._pull += images * (towards + told @ self.growth)
        # However many images: keypoints and outlines have errors that last.
        unlimited = np.column_stack([self._information, self._pull])
        self._combine(np.linalg.solve(np.eye(3) + self._information @ _LASTING_ERROR, unlimited))

    def _combine(self, told: np.ndarray) -> None:
        """Take over what was told, information and pull (3, 4), under each of the size errors."""
        logs, growths, covariances = [], [], []
        for error, share in self._priors:
            covariance, growth = _grown(error, error, told)
            if len(self._priors) > 1:
                logs.append(math.log(share) + _log_evidence(error, covariance, growth @ told[:, 3]))
            larger = abs(float(growth.mean()))
            if larger > error >= SIZE_ERROR:  # an object that is larger by more than was assumed may be so by as much
                covariance, growth = _grown(larger, error, told)
            growths.append(growth)
            covariances.append(0.5 * (covariance + covariance.T))
        if not logs:
            self.growth, self.covariance = growth, covariances[0]
            return
        shares = np.exp(np.array(logs) - max(logs))
        shares /= shares.sum()
        self.stated_wrongly = bool(shares[0] < 0.5)
        self.growth = shares @ growths
        away = np.array(growths) - self.growth
        self.covariance = np.einsum('i,ijk', shares, covariances) + (shares[:, None] * away).T @ away


def _grown(common: float, error: float, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return covariance (3, 3) and mean (3,) of the growth.

    Args:
        common: size error of the whole.
        error: size error that its sides have a share of.
        told: information and pull (3, 4) about the growth.
    """
    side = (_SIDE * error) ** 2
    inverse = (np.eye(3) - 1.0 / (3.0 + side / common**2)) / side  # of the prior, which is common^2 + side I
    covariance = np.linalg.inv(inverse + told[:, :3])
    return covariance, covariance @ told[:, 3]


def _log_evidence(error: float, covariance: np.ndarray, gain: float) -> float:
    """Return how well a size error explains what was told, which made the covariance of the growth what it is."""
    side = (_SIDE * error) ** 2
    determinant = side * side * (side + 3.0 * error**2)  # of the prior
    return 0.5 * (gain + math.log(np.linalg.det(covariance) / determinant))


def without(
    information: np.ndarray,
    pull: np.ndarray,
    left_out: slice,
    kept: slice,
    known: np.ndarray,
    known_pull: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a Gaussian, or a stack, over some of its variables; information and pull of those left out are known."""
    across = information[..., left_out, kept]
    away = np.linalg.solve(information[..., left_out, left_out] + known, across).swapaxes(-1, -2)
    left = information[..., kept, kept] - away @ across
    lost = (away @ (pull[..., left_out] + known_pull)[..., None])[..., 0]
    return 0.5 * (left + left.swapaxes(-1, -2)), pull[..., kept] - lost
