"""
OutlineFitter: a pose is measured by the object's outline and inner edges in the image, starting from its keypoints.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between, skew_matrix
from custom_pose_ros.core.orientation.outline_views import CREASE, KINDS, OUTLINE, OutlineViews

MIN_LINES = 20  # fewer do not tell six numbers with their errors
AGREEMENT = 0.55  # share of the lines that must lie where the image has an edge, for a fit to be used
AGREES_PX = 1.0  # from the model to the image, within which a line agrees

_SCALES = (2.0, 1.5, 1.0, 0.8, 0.8)  # pixels between the samples of a line, coarse to fine
_FINE = 2  # scales that are left out where the start is known to a pixel
_REACH = 8  # samples to each side
_OFFSETS = 6  # offsets of the edge that are tried, to each side
_EDGE_SLOPE = 1.3  # samples over which an edge is blurred
_CERTAINTY = 0.42  # 0.5: pixels inside the outline never look like the background
_NEED = (1.5, 2.0)  # samples of room inwards and outwards, below which a line is left out
_STRIP_START_PX = 2.0  # nearer, blur has mixed the colours of both sides
_STRIP_PX = 13  # the strips along the outline whose colours are learnt end here
_RARE = 2e-4  # share of the pixels from which on a colour tells on which side it is
_BINS = 1 << 12  # four bits for each of blue, green, red
_LEAST_VARIANCE = 0.36  # of the offset of one line, in squared samples
_ROBUST_PX = 2.0  # distance at which a line counts half
_BLOCKS = 20  # parts of the outline whose errors are taken as independent
_CAUTION = 1.4  # by which the spread between the blocks is multiplied: they are few, and share what is wrong
_LEAST_INFLATION = 0.25  # of the variances: the spread between the blocks may be small by chance
_FULL_SIZE_PX = 200.0  # radius of the object in the image, above which the samples lie farther apart
_KNOWN_PX = 3.0  # standard deviation of the lines below which the coarse scales are left out
_LEAST_RISE = 6.0  # grey levels between samples, of noise
_EDGE_WIDTH = 0.3  # share of the steepest rise of a line by which a place may be less steep and still be the edge
_USUAL = 0.7  # agreement of an object that looks like its mesh
_DISAGREEMENT = 15.0  # the variances grow by exp of this times what agreement lacks
_NO_TRUST, _FULL_TRUST = 0.4, 0.6  # agreement of all lines of a kind, below which they count little, above which fully
_LEAST_TRUST = 0.02
_COMMON_PX = 0.12  # by which all lines may be wrong together, outwards, to the right or down: blur, sharpening, pixels
_UNDECIDED = 0.1  # difference of the agreement of two poses below which neither is chosen
_SAME_RAD = np.deg2rad(3.0)  # between two poses that are one
_MARGIN_PX = 2.0  # to the border of the image

_NEIGHBOURS = np.array([-1.0, 0.0, 1.0])
_SAMPLES = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
_TRIED = np.arange(-_OFFSETS, _OFFSETS + 1, dtype=np.float32)
_INSIDE = 0.5 - _CERTAINTY * np.tanh((_SAMPLES - _TRIED[:, None]) / _EDGE_SLOPE).astype(np.float32)  # (offset, sample)
_UNKNOWN_INFORMATION = 1.0 / (float(_TRIED @ _TRIED) / len(_TRIED) + _LEAST_VARIANCE)  # of a line that tells nothing


@dataclass(frozen=True, eq=False)
class OutlineFit:
    """
    What the outline in one image tells about the pose, as a Gaussian in steps from `pose` (see `Rigid.moved`).

    Its logarithm is pull @ step - step @ information @ step / 2. The start and its covariance are not in it.

    Attributes:
        pose: `camera_object` that outline and start together make most likely.
        information: (6, 6) inverse covariance; singular for what the outline does not show.
        pull: (6,) towards the pose that the outline alone tells.
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


class _Lines(NamedTuple):
    """
    N lines in the image, those across the outline before those across inner edges.

    Attributes:
        pixels: (N, 2) where the model has the edge.
        normals: (N, 2) unit vectors.
        room: (N, 2) [px].
        jacobian: (N, 6) derivatives of the offset along the normal.
        outline: how many of them cross the outline.
        kinds: (N,) OUTLINE, RISE or CREASE.
    """

    pixels: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    jacobian: np.ndarray
    outline: int
    kinds: np.ndarray


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

    def measure(
        self, image: np.ndarray, start: Rigid, covariance: np.ndarray, alternative: Rigid | None = None
    ) -> OutlineFit | None:
        """
        Return the fit that agrees best, or None where a pose has none, or two credible ones differ (step 7).

        Args:
            image: as for `fit`.
            start: `camera_object`, from the keypoints.
            covariance: (6, 6) of the start.
            alternative: a second pose that the keypoints allow.
        """
        information = np.linalg.inv(covariance)
        starts = [start] if alternative is None else [start, alternative]
        fits = [fit for each in starts if (fit := self.fit(image, each, information)) is not None]
        if len(fits) < len(starts):  # what cannot be compared is not decided
            return None
        fits.sort(key=lambda fit: -fit.agreement)
        if len(fits) == 2 and fits[0].credible and fits[0].agreement - fits[1].agreement < _UNDECIDED:
            if rotation_between(fits[0].pose.rotation, fits[1].pose.rotation) > _SAME_RAD:
                return None
        return fits[0]

    def fit(self, image: np.ndarray, start: Rigid, information: np.ndarray) -> OutlineFit | None:
        """
        Return what the outline tells about the pose, or None when too little of it can be seen.

        Args:
            image: (H, W, 3) uint8 BGR, of the camera's size.
            start: `camera_object`, from the keypoints.
            information: (6, 6) inverse covariance of the start.

        Raises:
            ValueError: the image has another size or type.
        """
        shape = (self.camera.height, self.camera.width, 3)
        if image.shape != shape or image.dtype != np.uint8:
            raise ValueError(f'image must be {shape} uint8, got {image.shape} {image.dtype}')
        pixels = np.ascontiguousarray(image).reshape(-1, 3)
        unit_px, scales = self._scales(start, information)
        pose, inside, trust, fit = start, None, np.ones(KINDS), None
        for number, scale in enumerate(scales):
            scale *= unit_px
            lines = self._lines(pose, scale)
            if lines is None:
                return None
            if inside is None or number >= len(scales) - 3:
                inside = self._colours(pixels, lines, unit_px)
            offset, certainty = self._compare(pixels, lines, inside, scale)
            certainty = certainty * trust[lines.kinds]
            weight = certainty / (1.0 + (offset / (_ROBUST_PX * unit_px)) ** 2)
            weighted = lines.jacobian * weight[:, None]
            hessian = lines.jacobian.T @ weighted
            pull = weighted.T @ offset
            step = np.linalg.solve(hessian + information, pull + information @ pose.step_to(start))
            near = np.abs(offset - lines.jacobian @ step) < AGREES_PX * unit_px
            if number < len(scales) - 1:
                pose = pose.moved(step)
                trust = _trust(near, certainty, lines.kinds)
            else:
                agreement = float(certainty @ near) / float(certainty.sum())
                fit = _fit_of(pose, lines, weight, offset, agreement, unit_px)
        return fit

    def _scales(self, start: Rigid, information: np.ndarray) -> tuple[float, tuple[float, ...]]:
        """Return the size of the steps along the lines [px], and their factors, coarse to fine."""
        depth = max(float(start.apply(self.views.centre)[2]), 1e-6)
        pixels_per_m = float(self.camera.K[0, 0]) / depth
        unit_px = max(1.0, self.views.radius * pixels_per_m / _FULL_SIZE_PX)
        arms = np.hstack([np.eye(3), -skew_matrix(start.rotation @ self.views.centre)])
        covariance = np.linalg.inv(information)
        moved = arms @ covariance @ arms.T
        turned = self.views.radius**2 * float(np.linalg.eigvalsh(covariance[3:, 3:])[2])
        spread_px = pixels_per_m * np.sqrt(max(moved[0, 0], moved[1, 1]) + 0.5 * turned)
        return unit_px, _SCALES[_FINE:] if spread_px < _KNOWN_PX * unit_px else _SCALES

    def _lines(self, pose: Rigid, scale_px: float) -> _Lines | None:
        """Return the lines of the view that fit in, None when they are too few (step 1)."""
        view = self.views.seen_in(pose)
        points = pose.apply(view.points)
        if len(points) < MIN_LINES or points[:, 2].min() < 0.1 * self.views.radius:
            return None
        pixels, to_pixels = self.camera.project_with_jacobian(points)
        normals = (to_pixels @ (view.normals @ pose.rotation.T)[..., None])[..., 0]
        length = np.sqrt((normals * normals).sum(1))
        normals /= length[:, None]
        room = view.room * length[:, None]
        size = np.array([self.camera.width, self.camera.height]) - 1
        fits = (room > np.multiply(_NEED, scale_px)).all(1)
        fits &= (pixels > _MARGIN_PX * scale_px).all(1) & (pixels < size - _MARGIN_PX * scale_px).all(1)
        if fits.sum() < MIN_LINES:
            return None
        across = (normals[:, None] @ to_pixels)[fits, 0]
        jacobian = np.empty((len(across), 6))
        jacobian[:, :3] = across
        x, y, z = (points[fits] - pose.translation).T  # the cross product written out: numpy.cross is slow for few
        jacobian[:, 3] = y * across[:, 2] - z * across[:, 1]
        jacobian[:, 4] = z * across[:, 0] - x * across[:, 2]
        jacobian[:, 5] = x * across[:, 1] - y * across[:, 0]
        kinds = view.kinds[fits]
        outline = int((kinds == OUTLINE).sum())
        return _Lines(pixels[fits], normals[fits], room[fits], jacobian, outline, kinds)

    def _read(self, pixels: np.ndarray, lines: _Lines, part: slice, steps_px: np.ndarray) -> np.ndarray:
        """Return the colours (N, S, 3) at steps along a part of the lines."""
        width, height = self.camera.width, self.camera.height
        x = np.rint(lines.pixels[part, :1] + lines.normals[part, :1] * steps_px).astype(np.int32)
        y = np.rint(lines.pixels[part, 1:] + lines.normals[part, 1:] * steps_px).astype(np.int32)
        np.minimum(np.maximum(x, 0, out=x), width - 1, out=x)
        np.minimum(np.maximum(y, 0, out=y), height - 1, out=y)
        return pixels[y * width + x]

    def _colours(self, pixels: np.ndarray, lines: _Lines, unit_px: float) -> np.ndarray:
        """Return the probability (_BINS,) float32 that a colour is inside, from strips along the outline (step 2)."""
        steps = np.arange(_STRIP_START_PX, _STRIP_PX + 1.0) * unit_px
        shares = []
        for side, sign in enumerate((-1.0, 1.0)):
            part = slice(lines.outline)
            colours = self._read(pixels, lines, part, sign * steps)[steps < lines.room[part, side, None] - 1.0]
            counts = np.bincount(_bins(colours), minlength=_BINS)
            shares.append(counts / max(1, len(colours)) + _RARE)
        return (shares[0] / (shares[0] + shares[1])).astype(np.float32)

    def _compare(
        self, pixels: np.ndarray, lines: _Lines, inside: np.ndarray, scale_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where each line crosses the outline (N,) [px] and its information (N,) [1/px^2] (step 3)."""
        steps = _SAMPLES * np.float32(scale_px)
        colours = self._read(pixels, lines, slice(None), steps)
        met = (steps < -lines.room[:, :1]) | (steps > lines.room[:, 1:])
        share = inside[_bins(colours[: lines.outline])]
        share[met[: lines.outline]] = 0.5
        mixed = (2.0 * share - 1.0)[:, None] * _INSIDE + (1.0 - share)[:, None]
        likelihood = np.empty((len(colours), len(_TRIED)), np.float32)
        np.log(mixed).sum(2, out=likelihood[: lines.outline])
        if len(colours) > lines.outline:
            either = lines.kinds[lines.outline :] == CREASE
            likelihood[lines.outline :] = _edges(colours[lines.outline :], met[lines.outline :], either)
        likelihood = np.exp(likelihood - likelihood.max(1, keepdims=True))
        likelihood /= likelihood.sum(1, keepdims=True)
        mean = likelihood @ _TRIED
        variance = likelihood @ (_TRIED * _TRIED) - mean * mean + np.float32(_LEAST_VARIANCE)
        certainty = np.maximum(1.0 / variance - _UNKNOWN_INFORMATION, 1e-6)  # a line that tells nothing has none
        offset = np.clip(mean / (variance * certainty), -_OFFSETS, _OFFSETS) * scale_px
        # The pixels that were read lie beside the places that were meant: for all of a straight edge alike.
        beside = (np.rint(mean)[:, None] + _NEIGHBOURS) * scale_px
        places = lines.pixels[:, None] + lines.normals[:, None] * beside[..., None]
        offset += ((np.rint(places) - places) @ lines.normals[:, :, None])[..., 0].mean(1)
        return offset.astype(float), certainty.astype(float) / scale_px**2


def _fit_of(
    pose: Rigid, lines: _Lines, weight: np.ndarray, offset: np.ndarray, agreement: float, unit_px: float
) -> OutlineFit:
    """Return the fit, its information as small as the differences between parts of the outline say (step 6)."""
    count = len(offset)
    part = np.arange(count) * _BLOCKS // count
    weighted = lines.jacobian * weight[:, None]
    pulls = np.zeros((_BLOCKS, 6))
    np.add.at(pulls, part, weighted * offset[:, None])
    hessian = lines.jacobian.T @ weighted
    regular = hessian + 1e-9 * np.diag(hessian.diagonal()) + 1e-12 * np.eye(6)
    spread = float(np.einsum('bi,bi', pulls, np.linalg.solve(regular, pulls.T).T)) / 6.0
    inflation = max(_LEAST_INFLATION, _CAUTION * spread * _BLOCKS / (_BLOCKS - 6))
    inflation *= math.exp(_DISAGREEMENT * max(0.0, _USUAL - agreement))
    common = np.column_stack([np.arange(count) < lines.outline, lines.normals]) * (_COMMON_PX * unit_px)
    bias = weighted.T @ common
    told = np.linalg.solve(regular, np.column_stack([weighted.T @ offset, bias]))
    shared = bias @ np.linalg.solve(inflation * np.eye(3) + bias.T @ told[:, 1:], bias.T)
    information = (hessian - shared) / inflation
    information = 0.5 * (information + information.T)
    return OutlineFit(pose, information, information @ told[:, 0], agreement, count)


def _trust(near: np.ndarray, certainty: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return how far the lines of each kind are to be believed (KINDS,): print may fit where the outline does not."""
    agreement = np.bincount(kinds, certainty * near, KINDS) / (np.bincount(kinds, certainty, KINDS) + 1e-12)
    trust = np.clip((agreement - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), _LEAST_TRUST, 1.0)
    return trust / trust.max()  # it only tells the kinds apart


def _bins(colours: np.ndarray) -> np.ndarray:
    """Return the bins (...) of colours (..., 3)."""
    coarse = (colours >> 4).astype(np.int32)
    return (coarse[..., 0] << 8) | (coarse[..., 1] << 4) | coarse[..., 2]


def _edges(colours: np.ndarray, met: np.ndarray, either: np.ndarray) -> np.ndarray:
    """
    Return the log-likelihood (N, offsets), but for a constant, of an inner edge at each offset (step 4).

    Args:
        colours: (N, samples, 3).
        met: (N, samples) bool, True where something else is met.
        either: (N,) bool, True where the brightness may rise or fall.
    """
    grey = colours.astype(np.float32).mean(2)
    beside = _REACH - _OFFSETS
    rise = 0.5 * (grey[:, 1 + beside : -beside + 1 or None] - grey[:, beside - 1 : -beside - 1])
    rise[either] = np.abs(rise[either])
    rise[met[:, beside:-beside]] = 0.0
    steepest = rise.max(1, initial=0.0, keepdims=True)
    return rise / np.maximum(_LEAST_RISE, _EDGE_WIDTH * steepest)
