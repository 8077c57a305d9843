"""
OutlineFitter: poses are measured by the object's outline and inner edges in the image, starting from their keypoints.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between, skew_matrix
from custom_pose_ros.core.orientation.outlines.line_reading import LineReader
from custom_pose_ros.core.orientation.outlines.outline_fit import AGREES_PX, AS_THE_MESH, MIN_LINES, OutlineFit, without
from custom_pose_ros.core.orientation.outlines.outline_views import KINDS, OUTLINE, RISE, OutlineViews
from custom_pose_ros.core.orientation.outlines.projected_lines import (
    BLOCKS,
    FittedInstances,
    ProjectedLines,
    ViewProjector,
)

_SCALES = (2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.8, 0.8)  # pixels between the samples of a line, coarse to fine
_CLEAR = 0.01  # information of the offset of a line, in squared samples, from which on it sees an edge
_ROBUST_PX = 2.0  # distance at which a line counts half
_CAUTION = 1.4  # by which the spread between the blocks is multiplied: they are few, and share what is wrong
_LEAST_INFLATION = 0.25  # of the variances: the spread between the blocks may be small by chance
_FULL_SIZE_PX = 200.0  # radius of the object in the image, above which the samples lie farther apart
# Standard deviations of the lines, below each of which one more of the coarse scales is left out.
_KNOWN_PX = np.array([6.0, 6.0, 6.0, 3.0, 3.0, 1.5])
_USUAL = 0.7  # agreement of an object that looks like its mesh
_DISAGREEMENT = 15.0  # the variances grow by exp of this times what agreement lacks
_NO_TRUST, _FULL_TRUST = 0.4, 0.6  # agreement of all lines of a kind, below which they count little, above which fully
_LEAST_TRUST = 0.02
_COMMON_PX = 0.12  # by which all lines may be wrong together, outwards, to the right or down: sharpening, pixels
_COMMON_BLUR = 0.3  # the same, for each pixel of blur
_UNDECIDED = 0.1  # difference of the agreement of two poses below which neither is chosen
_SAME_RAD = np.deg2rad(3.0)  # between two poses that are one
_TOGETHER = 24  # instances whose lines are read at once: OpenCV reads at most 32766, and more do not get faster


class FitStart(NamedTuple):
    """
    Where the fit of an instance starts.

    Attributes:
        pose: `camera_object`, from the keypoints.
        covariance: (6, 6) of it.
        alternative: a second pose that the keypoints allow.
        growth: (3,) by which the object is larger than its mesh along its axes, as shares.
    """

    pose: Rigid
    covariance: np.ndarray
    alternative: Rigid | None = None
    growth: np.ndarray = AS_THE_MESH

    @property
    def poses(self) -> list[FitStart]:
        """The start with each of its poses."""
        first = self._replace(alternative=None)
        return [first] if self.alternative is None else [first, first._replace(pose=self.alternative)]


class OutlineFitter:
    """
    Fits poses of one object to images of one camera.

    The method is region-based: colour histograms inside and outside, a posterior of where the outline crosses each
    line, Gauss-Newton on the pose (Stoiber et al., SRT3D, IJCV 2022).

    Args:
        views: of the object.
        camera: intrinsics of the images.
    """

    def __init__(self, views: OutlineViews, camera: CameraIntrinsics):
        self.views = views
        self.camera = camera
        self._projector = ViewProjector(views, camera)

    def check(self, image: np.ndarray) -> None:
        """Raise ValueError unless this is an image of the camera."""
        shape = (self.camera.height, self.camera.width, 3)
        if image.shape != shape or image.dtype != np.uint8:
            raise ValueError(f'image must be {shape} uint8, got {image.shape} {image.dtype}')

    def measure(self, image: np.ndarray, starts: Sequence[FitStart]) -> list[OutlineFit | None]:
        """
        Return for each start the fit that agrees best, or None where a pose has none, or two credible ones differ.

        That is step 7. See `fit` for the image and what it raises.
        """
        fits = iter(self.fit(image, [each for start in starts for each in start.poses]))
        return [_decided([next(fits) for _ in start.poses]) for start in starts]

    def fit(self, image: np.ndarray, starts: Sequence[FitStart]) -> list[OutlineFit | None]:
        """
        Return what the outline tells about each pose (not its alternative), or None when too little of it can be seen.

        Args:
            image: (H, W, 3) uint8 BGR, of the camera's size.
            starts: of any number of instances; what others there are changes nothing for each of them.

        Raises:
            ValueError: the image has another size or type.
        """
        self.check(image)
        fits: list[OutlineFit | None] = [None] * len(starts)
        if not starts:
            return fits
        reader = LineReader(np.ascontiguousarray(image))
        everything, left_out = self._begun(starts)
        for first in set(left_out.tolist()):
            alike = np.flatnonzero(left_out == first)
            for i in range(0, len(alike), _TOGETHER):
                some = everything.some(alike[i : i + _TOGETHER])
                for number, fit in self._fitted(reader, some, _SCALES[first:]):
                    fits[number] = fit
        return fits

    def _begun(self, starts: Sequence[FitStart]) -> tuple[FittedInstances, np.ndarray]:
        """Return the instances at their starts, and how many of the coarse scales each leaves out (A,)."""
        R, t = Rigid.stack(start.pose for start in starts)
        covariance = np.array([start.covariance for start in starts])
        R_centre = R @ self.views.centre
        pixels_per_m = float(self.camera.K[0, 0]) / np.maximum(R_centre[:, 2] + t[:, 2], 1e-6)
        unit_px = np.maximum(1.0, self.views.radius * pixels_per_m / _FULL_SIZE_PX)
        arms = np.tile(np.eye(3, 6), (len(starts), 1, 1))
        arms[:, :, 3:] = -skew_matrix(R_centre)
        moved = (arms @ covariance @ arms.transpose(0, 2, 1)).diagonal(0, 1, 2)
        turned = self.views.radius**2 * np.linalg.eigvalsh(covariance[:, 3:, 3:])[:, 2]
        spread_px = pixels_per_m * np.sqrt(moved[:, :2].max(1) + 0.5 * turned)
        begun = FittedInstances(
            number=np.arange(len(starts)), R=R, t=t, R_start=R, t_start=t, information=np.linalg.inv(covariance),
            growth=np.array([start.growth for start in starts]), unit_px=unit_px, blur_px=np.zeros(len(starts)),
            trust=np.ones((len(starts), KINDS)),
        )  # fmt: skip
        return begun, (spread_px[:, None] < _KNOWN_PX * unit_px[:, None]).sum(1)

    def _fitted(
        self, reader: LineReader, fitted: FittedInstances, scales: Sequence[float]
    ) -> list[tuple[int, OutlineFit]]:
        """Return number and fit of those instances whose lines are seen; by steps of these sizes, coarse to fine."""
        sides: np.ndarray = np.zeros(0)
        for step_number, scale in enumerate(scales):
            kept, lines = self._projector.lines(fitted, scale)
            if lines is None:
                break
            if not kept.all():
                fitted = fitted.some(kept)
                sides = sides[:, kept] if step_number else sides
            last = step_number == len(scales) - 1
            if step_number == 0:
                fitted.blur_px = reader.blur(lines.seen, fitted.unit_px)
            if not last:  # a start that is far off mixes up the colours
                sides = reader.sides(lines.seen, fitted.unit_px, fitted.blur_px)
            offset, certainty = np.empty(lines.variance.shape), np.empty(lines.variance.shape)
            offset[lines.order], certainty[lines.order] = reader.offsets(lines.seen, sides, scale * fitted.unit_px)
            unit_px = fitted.unit_px[lines.owner]
            clear = certainty * np.square(scale * unit_px) > _CLEAR
            seen = certainty / (1.0 + certainty * lines.variance)
            certainty = fitted.trust.ravel()[lines.key] * seen
            weight = certainty / (1.0 + np.square(offset / (_ROBUST_PX * unit_px)))
            lines.design[6] = offset
            normal = lines.products(lines.design[:6] * weight, lines.design)
            if last:
                near = np.abs(offset) < AGREES_PX * unit_px  # a last step that is long has not arrived
                fits = _fits_of(fitted, lines, weight, normal, _agreement(near, seen, certainty, lines))
                return list(itertools.compress(fits, lines.total(clear) >= MIN_LINES))
            towards = normal[..., 6:] + fitted.information @ fitted.step_to_start()[..., None]
            steps = np.linalg.solve(normal[..., :6] + fitted.information, towards)[..., 0]
            moved = (steps.T.take(lines.owner, 1) * lines.design[:6]).sum(0)
            fitted.trust = _trust(np.abs(offset - moved) < AGREES_PX * unit_px, certainty, lines)
            fitted.move(steps)
        return []


def _decided(fits: Sequence[OutlineFit | None]) -> OutlineFit | None:
    """Return the better one of the fits of an instance, or None where that cannot be told (step 7)."""
    known = sorted((fit for fit in fits if fit is not None), key=lambda fit: -fit.agreement)
    if len(known) < len(fits):  # what cannot be compared is not decided
        return None
    if len(known) == 2 and known[0].credible and known[0].agreement - known[1].agreement < _UNDECIDED:
        if rotation_between(known[0].pose.rotation, known[1].pose.rotation) > _SAME_RAD:
            return None
    return known[0]


def _fits_of(
    fitted: FittedInstances, lines: ProjectedLines, weight: np.ndarray, normal: np.ndarray, agreement: np.ndarray
) -> list[tuple[int, OutlineFit]]:
    """
    Return number and fit of each instance, their information as small as the parts of the outline differ (step 6).

    Args:
        fitted: the instances.
        lines: with their offsets.
        weight: (N,) of the lines.
        normal: (A, 6, 7) products of the derivatives with themselves and the offsets.
        agreement: (A,).
    """
    counts = lines.counts
    firsts = np.cumsum(counts) - counts
    starts = firsts[:, None] - (-counts[:, None] * np.arange(BLOCKS) // BLOCKS)  # of parts of as many lines
    pulls = np.add.reduceat(lines.design[:6] * (weight * lines.design[6]), starts.ravel(), 1)
    pulls = pulls.reshape(6, *starts.shape).transpose(1, 0, 2)
    hessian = normal[..., :6].copy()
    axes = np.arange(6)
    hessian[:, axes, axes] += 1e-9 * hessian[:, axes, axes] + 1e-12  # regular, whatever the lines do not see
    spread = (pulls * np.linalg.solve(hessian, pulls)).sum((1, 2)) / 6.0
    inflation = np.maximum(_LEAST_INFLATION, _CAUTION * spread * BLOCKS / (BLOCKS - 6))
    inflation *= np.exp(_DISAGREEMENT * np.maximum(0.0, _USUAL - agreement))
    design = np.empty((13, len(weight)))  # of the pose, the growth, what all lines share, and the offsets
    design[:6] = lines.design[:6]
    for R, part in zip(fitted.R, lines.parts):
        design[6:9, part] = R.T @ design[:3, part]
    design[6:9] *= lines.arms
    design[9] = lines.kinds == OUTLINE
    design[10:12] = lines.normals
    design[9:12] *= (_COMMON_PX * fitted.unit_px + _COMMON_BLUR * fitted.blur_px)[lines.owner]
    design[12] = lines.design[6]
    told = lines.products(design[:12] * (weight / inflation[lines.owner]), design)
    information, pull = without(told[..., :12], told[..., 12], slice(9, 12), slice(9), np.eye(3))
    poses = [Rigid(R, t) for R, t in zip(fitted.R, fitted.t)]
    columns = fitted.number.tolist(), poses, information, pull, agreement.tolist(), counts.tolist()
    return [(number, OutlineFit(*each)) for number, *each in zip(*columns)]


def _agreement(near: np.ndarray, seen: np.ndarray, certainty: np.ndarray, lines: ProjectedLines) -> np.ndarray:
    """
    Return the share (A,) of the lines that agree, by how far their kinds are trusted; no more than of all or the print.

    Print may fit where the outline does not. Creases, whose sides may be brighter or darker, fit somewhere in many
    pictures: that they agree alone is no evidence.

    Args:
        near: (N,) whether they agree.
        seen: (N,) how sharply they see an edge.
        certainty: (N,) the same times the trust in their kind.
        lines: themselves.
    """

    def share(weight: np.ndarray) -> np.ndarray:
        return lines.total(weight * near) / (lines.total(weight) + 1e-12)

    print_ = lines.kinds == RISE
    printed = seen * (print_ & (lines.total(print_) >= MIN_LINES)[lines.owner])
    return np.minimum(share(certainty), np.maximum(share(seen), share(printed)))


def _trust(near: np.ndarray, certainty: np.ndarray, lines: ProjectedLines) -> np.ndarray:
    """Return how far the lines of each kind are to be believed (A, KINDS): print may fit where the outline does not."""
    key, most = lines.key, len(lines.counts) * KINDS
    agreement = np.bincount(key, certainty * near, most) / (np.bincount(key, certainty, most) + 1e-12)
    trust = np.minimum(np.maximum((agreement - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), _LEAST_TRUST), 1.0)
    trust = trust.reshape(-1, KINDS)
    return trust / trust.max(1, keepdims=True)  # it only tells the kinds apart
