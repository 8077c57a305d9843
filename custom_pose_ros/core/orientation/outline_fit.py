"""
OutlineFitter: a pose is measured by the object's outline and inner edges in the image, starting from its keypoints.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between, skew_matrix
from custom_pose_ros.core.orientation.outline_views import CREASE, KINDS, RISE, OutlineViews

MIN_LINES = 20  # fewer do not tell six numbers with their errors
AGREEMENT = 0.55  # share of the lines that must lie where the image has an edge, for a fit to be used
AGREES_PX = 1.0  # from the model to the image, within which a line agrees

_SCALES = (2.0, 1.5, 1.0, 0.8, 0.8)  # pixels between the samples of a line, coarse to fine
_REACH = 8  # samples to each side
_OFFSETS = 6  # offsets of the edge that are tried, to each side
_EDGE_SLOPE = 1.3  # samples over which an edge is blurred
_CERTAINTY = 0.42  # 0.5: pixels inside the outline never look like the background
_NEED = (1.5, 2.0)  # samples of room inwards and outwards, below which a line is left out
_STRIP_PX = np.arange(2, 14, dtype=np.float32)  # strips along the outline whose colours are learnt, where it is sharp
_PER_BLUR = 3.0  # they are farther away by this times the blur, which mixes the colours of both sides
_SHARP_WIDTH = 2.5  # samples of a sharp edge at half its height
_WIDEST = 4  # samples to each side of an edge that belong to it
_BLUR_EVERY = 3  # so many lines do to tell the blur
_RARE = 2e-4  # share of the pixels from which on a colour tells on which side it is
_BINS = 1 << 12  # four bits for each of blue, green, red
_LEAST_VARIANCE = 0.36  # of the offset of one line, in squared samples
_ROBUST_PX = 2.0  # distance at which a line counts half
_BETWEEN_VIEWS = 0.35  # rms distance of a pose from the nearest view, in distances to its neighbours
_BLOCKS = 20  # parts of the outline whose errors are taken as independent
_CAUTION = 1.4  # by which the spread between the blocks is multiplied: they are few, and share what is wrong
_LEAST_INFLATION = 0.25  # of the variances: the spread between the blocks may be small by chance
_FULL_SIZE_PX = 200.0  # radius of the object in the image, above which the samples lie farther apart
# Standard deviations of the lines, below each of which one more of the coarse scales is left out.
_KNOWN_PX = (3.0, 3.0, 1.5)
_LEAST_RISE = 6.0  # grey levels between samples, of noise
_EDGE_WIDTH = 0.3  # share of the steepest rise of a line by which a place may be less steep and still be the edge
_USUAL = 0.7  # agreement of an object that looks like its mesh
_DISAGREEMENT = 15.0  # the variances grow by exp of this times what agreement lacks
_NO_TRUST, _FULL_TRUST = 0.4, 0.6  # agreement of all lines of a kind, below which they count little, above which fully
_LEAST_TRUST = 0.02
_COMMON_PX = 0.12  # by which all lines may be wrong together, outwards, to the right or down: sharpening, pixels
_COMMON_BLUR = 0.3  # the same, for each pixel of blur
_UNDECIDED = 0.1  # difference of the agreement of two poses below which neither is chosen
_SAME_RAD = np.deg2rad(3.0)  # between two poses that are one
_MARGIN_PX = 2.0  # to the border of the image
_WHOLE, _SIDE = 0.01, 0.005  # by which an object may be larger than its mesh: as a whole, and along each axis
_SIZE = np.full((3, 3), _WHOLE**2) + _SIDE**2 * np.eye(3)
_SIZE_ERROR = np.full((3, 3), 0.005**2) + 0.004**2 * np.eye(3)  # of what keypoints and outlines tell in the long run
AS_THE_MESH = np.zeros(3)

_NEIGHBOURS = np.array([-1.0, 0.0, 1.0])
_SAMPLES = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
_TRIED = np.arange(-_OFFSETS, _OFFSETS + 1, dtype=np.float32)
_UNKNOWN_INFORMATION = 1.0 / (float(_TRIED @ _TRIED) / len(_TRIED) + _LEAST_VARIANCE)  # of a line that tells nothing


def _factors(levels: int = 257, rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the log-likelihood of an edge as a product of two tables, so that a matrix product sums it up (step 3).

    Returns:
        (levels, rank) of the probability that a sample is inside, from 0 to 1; zeros where it tells nothing.
        (samples * rank, offsets) of where the edge is.
    """
    away = np.arange(-_REACH - _OFFSETS, _REACH + _OFFSETS + 1)  # of a sample from the edge
    step = 0.5 - _CERTAINTY * np.tanh(away / _EDGE_SLOPE)
    inside = np.linspace(0.0, 1.0, levels)
    likelihood = np.log(np.outer(inside, step) + np.outer(1.0 - inside, 1.0 - step))
    likelihood -= likelihood.mean(1, keepdims=True)  # what is the same for all offsets is of no account
    left, sizes, right = np.linalg.svd(likelihood)
    of_edge = right[:rank, np.arange(2 * _REACH + 1)[:, None] + np.arange(2 * _OFFSETS, -1, -1)]  # sample less offset
    of_level = left[:, :rank] * sizes[:rank]
    of_level -= of_level[levels // 2]
    return of_level.astype(np.float32), of_edge.transpose(1, 0, 2).reshape(-1, len(_TRIED)).astype(np.float32)


_OF_LEVEL, _OF_EDGE = _factors()


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

    def of_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Return information (6, 6) and pull (6,) about the pose, where nothing was learnt about the size."""
        return _without(self.information, self.pull, np.linalg.inv(_SIZE))


class MeshSize:
    """
    How much larger an object is than its mesh along its axes, learnt while it is followed (step 8).

    A mesh that is too large looks like an object that is farther away; in the long run the keypoints tell which.

    Attributes:
        growth: (3,) as shares.
        covariance: (3, 3) of it.
    """

    def __init__(self) -> None:
        self._information = np.zeros((3, 3))
        self._pull = np.zeros(3)
        self.growth = np.zeros(3)
        self.covariance = _SIZE

    def learn(self, fit: OutlineFit, information: np.ndarray, pull: np.ndarray, images: float) -> None:
        """
        Learn from an outline fitted with this size.

        Args:
            fit: the outline.
            information: (6, 6) what the keypoints of the same image tell about the pose.
            pull: (6,) likewise, from the pose of the fit.
            images: how many images with errors of their own this one counts for, <= 1.
        """
        both, towards = fit.information.copy(), fit.pull.copy()
        both[:6, :6] += information
        towards[:6] += pull
        order = np.r_[6:9, 0:6]  # the pose is what is left out
        told, towards = _without(both[np.ix_(order, order)], towards[order], np.zeros((6, 6)))
        self._information += images * told
        self._pull += images * (towards + told @ self.growth)
        # However many images: keypoints and outlines have errors that last.
        unlimited = np.column_stack([self._information, self._pull])
        lasting = np.linalg.solve(np.eye(3) + self._information @ _SIZE_ERROR, unlimited)
        excess = 0.0
        for _ in range(2):  # an object that is larger by more than was assumed may be so by as much
            covariance = np.linalg.inv(np.linalg.inv(_SIZE + max(0.0, excess**2 - _WHOLE**2)) + lasting[:, :3])
            self.growth = covariance @ lasting[:, 3]
            excess = float(self.growth.mean())
        self.covariance = 0.5 * (covariance + covariance.T)


def _without(information: np.ndarray, pull: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a Gaussian without its last variables, about which `prior` (n, n) is known besides."""
    kept = len(pull) - len(prior)
    rest = information[kept:, kept:] + prior
    away = np.linalg.solve(rest, np.column_stack([information[kept:, :kept], pull[kept:]]))
    left = np.column_stack([information[:kept, :kept], pull[:kept]]) - information[:kept, kept:] @ away
    return 0.5 * (left[:, :kept] + left[:, :kept].T), left[:, kept]


class _Lines(NamedTuple):
    """
    N lines in the image, those across the outline before those across inner edges.

    Attributes:
        pixels: (N, 2) float32 where the model has the edge.
        normals: (N, 2) float32 unit vectors.
        room: (N, 2) float32 [px].
        jacobian: (N, 6) derivatives of the offset along the normal.
        outline: how many of them cross the outline.
        kinds: (N,) OUTLINE, RISE or CREASE.
        arms: (N, 3) from the centre of the object, in its frame [m].
        variance: (N,) of the offset, since the nearest view is not quite that of the pose [px^2]; lines of one part
            of the outline share it, so it is larger by their number.
    """

    pixels: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    jacobian: np.ndarray
    outline: int
    kinds: np.ndarray
    arms: np.ndarray
    variance: np.ndarray


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
        self,
        image: np.ndarray,
        start: Rigid,
        covariance: np.ndarray,
        alternative: Rigid | None = None,
        growth: np.ndarray = AS_THE_MESH,
    ) -> OutlineFit | None:
        """
        Return the fit that agrees best, or None where a pose has none, or two credible ones differ (step 7).

        Args:
            image: as for `fit`.
            start: `camera_object`, from the keypoints.
            covariance: (6, 6) of the start.
            alternative: a second pose that the keypoints allow.
            growth: as for `fit`.
        """
        information = np.linalg.inv(covariance)
        starts = [start] if alternative is None else [start, alternative]
        fits = [fit for each in starts if (fit := self.fit(image, each, information, growth)) is not None]
        if len(fits) < len(starts):  # what cannot be compared is not decided
            return None
        fits.sort(key=lambda fit: -fit.agreement)
        if len(fits) == 2 and fits[0].credible and fits[0].agreement - fits[1].agreement < _UNDECIDED:
            if rotation_between(fits[0].pose.rotation, fits[1].pose.rotation) > _SAME_RAD:
                return None
        return fits[0]

    def fit(
        self, image: np.ndarray, start: Rigid, information: np.ndarray, growth: np.ndarray = AS_THE_MESH
    ) -> OutlineFit | None:
        """
        Return what the outline tells about the pose, or None when too little of it can be seen.

        Args:
            image: (H, W, 3) uint8 BGR, of the camera's size.
            start: `camera_object`, from the keypoints.
            information: (6, 6) inverse covariance of the start.
            growth: (3,) by which the object is larger than its mesh along its axes, as shares.

        Raises:
            ValueError: the image has another size or type.
        """
        shape = (self.camera.height, self.camera.width, 3)
        if image.shape != shape or image.dtype != np.uint8:
            raise ValueError(f'image must be {shape} uint8, got {image.shape} {image.dtype}')
        image = np.ascontiguousarray(image)
        unit_px, scales = self._scales(start, information)
        pose, trust, fit = start, np.ones(KINDS), None
        for number, scale in enumerate(scales):
            scale *= unit_px
            lines = self._lines(pose, scale, growth)
            if lines is None:
                return None
            if number == 0:
                blur_px = self._blur(image, lines, unit_px)
            if number in (0, len(scales) - 2):
                sides = self._colours(image, lines, unit_px * _STRIP_PX + _PER_BLUR * blur_px)
            offset, certainty = self._compare(image, lines, sides, scale)
            certainty = trust[lines.kinds] * certainty / (1.0 + certainty * lines.variance)
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
                fit = _fit_of(pose, lines, weight, offset, agreement, _COMMON_PX * unit_px + _COMMON_BLUR * blur_px)
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
        left_out = sum(spread_px < known * unit_px for known in _KNOWN_PX)
        return unit_px, _SCALES[left_out:]

    def _lines(self, pose: Rigid, scale_px: float, growth: np.ndarray) -> _Lines | None:
        """Return the lines of the view that fit in, None when they are too few (step 1)."""
        view = self.views.seen_in(pose)
        arms = (view.points - self.views.centre) * (1.0 + growth)
        points = pose.apply(arms + self.views.centre)
        if len(points) < MIN_LINES or points[:, 2].min() < 0.1 * self.views.radius:
            return None
        pixels, to_pixels = self.camera.project_with_jacobian(points)
        away = view.normals @ pose.rotation.T
        normals = np.empty_like(pixels)
        for axis in (0, 1):
            normals[:, axis] = (to_pixels[:, axis] * away).sum(1)
        length = np.sqrt((normals * normals).sum(1))
        normals /= length[:, None]
        room = view.room * length[:, None]
        width, height = np.array([self.camera.width, self.camera.height]) - 1.0 - _MARGIN_PX * scale_px
        x, y = pixels.T
        fits = (room[:, 0] > _NEED[0] * scale_px) & (room[:, 1] > _NEED[1] * scale_px)
        fits &= (np.minimum(x, y) > _MARGIN_PX * scale_px) & (x < width) & (y < height)
        kept = np.flatnonzero(fits)
        if len(kept) < MIN_LINES:
            return None
        normals, kinds = normals[kept], view.kinds[kept]
        jacobian = np.empty((len(kept), 6))
        jacobian[:, :3] = across = normals[:, :1] * to_pixels[kept, 0] + normals[:, 1:] * to_pixels[kept, 1]
        x, y, z = (points[kept] - pose.translation).T  # the cross product written out: numpy.cross is slow for few
        jacobian[:, 3] = y * across[:, 2] - z * across[:, 1]
        jacobian[:, 4] = z * across[:, 0] - x * across[:, 2]
        jacobian[:, 5] = x * across[:, 1] - y * across[:, 0]
        outline = int(np.searchsorted(kinds, RISE))
        return _Lines(
            pixels[kept].astype(np.float32),
            normals.astype(np.float32),
            room[kept].astype(np.float32),
            jacobian,
            outline,
            kinds,
            arms[kept],
            (_BETWEEN_VIEWS * view.shift * length)[kept] ** 2 * (len(kept) / _BLOCKS),
        )

    def _read(self, image: np.ndarray, lines: _Lines, part: slice, steps_px: np.ndarray) -> np.ndarray:
        """Return the colours (N, S, 3) at steps along a part of the lines."""
        x, y = (
            lines.pixels[part, axis : axis + 1] + lines.normals[part, axis : axis + 1] * steps_px for axis in (0, 1)
        )
        return cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def _blur(self, image: np.ndarray, lines: _Lines, unit_px: float) -> float:
        """Return by how much edges are wider than sharp ones, at half their height [px]."""
        colours = self._read(image, lines, slice(0, lines.outline, _BLUR_EVERY), _SAMPLES * np.float32(unit_px))
        change = np.abs(colours[:, 2:].astype(np.int16) - colours[:, :-2]).sum(2)
        height = change.max(1, keepdims=True, initial=1)
        beside = np.abs(np.arange(change.shape[1]) - change.argmax(1)[:, None]) <= _WIDEST
        width = ((change > 0.5 * height) & beside).sum(1)
        clear = height[:, 0] >= np.median(height)
        return max(0.0, float(width[clear].mean()) - _SHARP_WIDTH) * unit_px if len(width) else 0.0

    def _colours(self, image: np.ndarray, lines: _Lines, strips_px: np.ndarray) -> np.ndarray:
        """Return what each colour (_BINS, rank) tells of the side it is on, from strips along the outline (step 2)."""
        steps = np.concatenate([-strips_px[::-1], strips_px]).astype(np.float32)
        part = slice(lines.outline)
        bins = _bins(self._read(image, lines, part, steps))
        room = lines.room[part] - 1.0
        bins[(steps <= -room[:, :1]) | (steps >= room[:, 1:])] = _BINS  # where something else is met
        counts = (np.bincount(side.ravel(), minlength=_BINS + 1)[:_BINS] for side in np.hsplit(bins, 2))
        shares = [each / max(1, each.sum()) + _RARE for each in counts]
        inside = shares[0] / (shares[0] + shares[1])
        return _OF_LEVEL[np.rint(inside * (len(_OF_LEVEL) - 1)).astype(np.intp)]

    def _compare(
        self, image: np.ndarray, lines: _Lines, sides: np.ndarray, scale_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where each line crosses the outline (N,) [px] and its information (N,) [1/px^2] (step 3)."""
        steps = _SAMPLES * np.float32(scale_px)
        colours = self._read(image, lines, slice(None), steps)
        met = (steps < -lines.room[:, :1]) | (steps > lines.room[:, 1:])
        side = sides[_bins(colours[: lines.outline])]
        side[met[: lines.outline]] = 0.0
        likelihood = np.empty((len(colours), len(_TRIED)), np.float32)
        np.matmul(side.reshape(lines.outline, -1), _OF_EDGE, out=likelihood[: lines.outline])
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
        for axis in (0, 1):
            places = lines.pixels[:, axis : axis + 1] + lines.normals[:, axis : axis + 1] * beside
            offset += (np.rint(places) - places).mean(1) * lines.normals[:, axis]
        return offset.astype(float), certainty.astype(float) / scale_px**2


def _fit_of(
    pose: Rigid, lines: _Lines, weight: np.ndarray, offset: np.ndarray, agreement: float, common_px: float
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
    growth = (lines.jacobian[:, :3] @ pose.rotation) * lines.arms
    common = np.column_stack([np.arange(count) < lines.outline, lines.normals]) * common_px
    design = np.hstack([lines.jacobian, growth, common])
    weighted = design.T * (weight / inflation)
    information, pull = _without(weighted @ design, weighted @ offset, np.eye(3))
    return OutlineFit(pose, information, pull, agreement, count)


def _trust(near: np.ndarray, certainty: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return how far the lines of each kind are to be believed (KINDS,): print may fit where the outline does not."""
    agreement = np.bincount(kinds, certainty * near, KINDS) / (np.bincount(kinds, certainty, KINDS) + 1e-12)
    trust = np.clip((agreement - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), _LEAST_TRUST, 1.0)
    return trust / trust.max()  # it only tells the kinds apart


def _bins(colours: np.ndarray) -> np.ndarray:
    """Return the bins (...) of colours (..., 3)."""
    coarse = colours.astype(np.intp)
    coarse &= 0xF0
    return (coarse[..., 0] << 4) | coarse[..., 1] | (coarse[..., 2] >> 4)


def _edges(colours: np.ndarray, met: np.ndarray, either: np.ndarray) -> np.ndarray:
    """
    Return the log-likelihood (N, offsets), but for a constant, of an inner edge at each offset (step 4).

    Args:
        colours: (N, samples, 3).
        met: (N, samples) bool, True where something else is met.
        either: (N,) bool, True where the brightness may rise or fall.
    """
    grey = colours.astype(np.float32) @ np.full(3, 1.0 / 3.0, np.float32)
    beside = _REACH - _OFFSETS
    rise = 0.5 * (grey[:, 1 + beside : -beside + 1 or None] - grey[:, beside - 1 : -beside - 1])
    rise[either] = np.abs(rise[either])
    rise[met[:, beside:-beside]] = 0.0
    steepest = rise.max(1, initial=0.0, keepdims=True)
    return rise / np.maximum(_LEAST_RISE, _EDGE_WIDTH * steepest)
