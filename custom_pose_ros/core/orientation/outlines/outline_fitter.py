"""
OutlineFitter: a pose is measured by the object's outline and inner edges in the image, starting from its keypoints.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between, skew_matrix
from custom_pose_ros.core.orientation.outlines.outline_fit import AGREES_PX, AS_THE_MESH, MIN_LINES, OutlineFit, without
from custom_pose_ros.core.orientation.outlines.outline_views import KINDS, OUTLINE, RISE, OutlineViews

_SCALES = (2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.8, 0.8)  # pixels between the samples of a line, coarse to fine
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
_OF_BITS = np.array([16.0, 1.0, 0.0625], np.float32)
_GREY = np.full(3, 1.0 / 3.0, np.float32)
_LEAST_VARIANCE = 0.36  # of the offset of one line, in squared samples
_ROBUST_PX = 2.0  # distance at which a line counts half
_BETWEEN_VIEWS = 0.35  # rms distance of a pose from the nearest view, in distances to its neighbours
_BLOCKS = 20  # parts of the outline whose errors are taken as independent
_CAUTION = 1.4  # by which the spread between the blocks is multiplied: they are few, and share what is wrong
_LEAST_INFLATION = 0.25  # of the variances: the spread between the blocks may be small by chance
_FULL_SIZE_PX = 200.0  # radius of the object in the image, above which the samples lie farther apart
# Standard deviations of the lines, below each of which one more of the coarse scales is left out.
_KNOWN_PX = (6.0, 6.0, 6.0, 3.0, 3.0, 1.5)
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
_VIEWS_KEPT = 64  # unpacked, 30 kB each: one or two for each instance

_NEIGHBOURS = np.array([[-1.0], [0.0], [1.0]])
_ONES = np.ones(3, np.float32)
_SAMPLES = np.arange(-_REACH, _REACH + 1, dtype=np.float32)
_TRIED = np.arange(-_OFFSETS, _OFFSETS + 1, dtype=np.float32)
_POWERS = np.stack([np.ones_like(_TRIED), _TRIED, _TRIED * _TRIED])
_UNKNOWN_INFORMATION = 1.0 / (float(_TRIED @ _TRIED) / len(_TRIED) + _LEAST_VARIANCE)  # of a line that tells nothing


def _factors(levels: int = 257, rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the log-likelihood of an edge as a product of two tables, so that a matrix product sums it up (step 3).

    Returns:
        (rank, levels) of the probability that a sample is inside, from 0 to 1; zeros where it tells nothing.
        (offsets, rank * samples) of where the edge is.
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
    of_edge = of_edge.transpose(2, 0, 1).reshape(len(_TRIED), -1)
    return np.ascontiguousarray(of_level.T, np.float32), np.ascontiguousarray(of_edge, np.float32)


_OF_LEVEL, _OF_EDGE = _factors()


class _ViewRows(NamedTuple):
    """
    The N lines of one view, see `ViewLines`; arrays of the fit have the lines last, where numpy is fastest.

    Attributes:
        arms: (3, N) from the centre of the object [m].
        normals: (3, N).
        room: (2, N) [m].
        kinds: (N,).
        shift: (N,) [m].
    """

    arms: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    kinds: np.ndarray
    shift: np.ndarray


class _Lines(NamedTuple):
    """
    N lines in the image, those across the outline before those across inner edges.

    Attributes:
        pixels: (2, N) float32 where the model has the edge.
        normals: (2, N) float32 unit vectors.
        room: (2, N) float32 [px].
        jacobian: (6, N) derivatives of the offset along the normal.
        outline: how many of them cross the outline.
        kinds: (N,) OUTLINE, RISE or CREASE, ascending.
        arms: (3, N) from the centre of the object, in its frame [m].
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
        self._view = functools.lru_cache(_VIEWS_KEPT)(self._unpacked)

    def _unpacked(self, number: int) -> _ViewRows:
        """Return a view of the object."""
        lines = self.views.lines_of(number)
        columns = (lines.points - self.views.centre, lines.normals, lines.room)
        arms, normals, room = (np.ascontiguousarray(each.T) for each in columns)
        return _ViewRows(arms, normals, room, lines.kinds, lines.shift)

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
        starts = [start] if alternative is None else [start, alternative]
        fits = [fit for each in starts if (fit := self.fit(image, each, covariance, growth)) is not None]
        if len(fits) < len(starts):  # what cannot be compared is not decided
            return None
        fits.sort(key=lambda fit: -fit.agreement)
        if len(fits) == 2 and fits[0].credible and fits[0].agreement - fits[1].agreement < _UNDECIDED:
            if rotation_between(fits[0].pose.rotation, fits[1].pose.rotation) > _SAME_RAD:
                return None
        return fits[0]

    def fit(
        self, image: np.ndarray, start: Rigid, covariance: np.ndarray, growth: np.ndarray = AS_THE_MESH
    ) -> OutlineFit | None:
        """
        Return what the outline tells about the pose, or None when too little of it can be seen.

        Args:
            image: (H, W, 3) uint8 BGR, of the camera's size.
            start: `camera_object`, from the keypoints.
            covariance: (6, 6) of the start.
            growth: (3,) by which the object is larger than its mesh along its axes, as shares.

        Raises:
            ValueError: the image has another size or type.
        """
        shape = (self.camera.height, self.camera.width, 3)
        if image.shape != shape or image.dtype != np.uint8:
            raise ValueError(f'image must be {shape} uint8, got {image.shape} {image.dtype}')
        image = np.ascontiguousarray(image)
        unit_px, scales = self._scales(start, covariance)
        information = np.linalg.inv(covariance)
        pose, trust, fit = start, np.ones(KINDS), None
        for number, scale in enumerate(scales):
            scale *= unit_px
            lines = self._lines(pose, scale, growth)
            if lines is None:
                return None
            if number == 0:
                blur_px = self._blur(image, lines, unit_px)
            if number < len(scales) - 1:  # a start that is far off mixes up the colours
                sides = self._colours(image, lines, unit_px * _STRIP_PX + _PER_BLUR * blur_px)
            offset, certainty = self._compare(image, lines, sides, scale)
            seen = certainty / (1.0 + certainty * lines.variance)
            certainty = trust[lines.kinds] * seen
            weight = certainty / (1.0 + (offset / (_ROBUST_PX * unit_px)) ** 2)
            weighted = lines.jacobian * weight
            hessian = weighted @ lines.jacobian.T
            pull = weighted @ offset
            step = np.linalg.solve(hessian + information, pull + information @ pose.step_to(start))
            near = np.abs(offset - step @ lines.jacobian) < AGREES_PX * unit_px
            if number < len(scales) - 1:
                pose = pose.moved(step)
                trust = _trust(near, certainty, lines.kinds)
            else:
                near = np.abs(offset) < AGREES_PX * unit_px  # a last step that is long has not arrived
                agreement = _agreement(near, seen, trust, lines.kinds)
                fit = _fit_of(pose, lines, weight, offset, agreement, _COMMON_PX * unit_px + _COMMON_BLUR * blur_px)
        return fit

    def _scales(self, start: Rigid, covariance: np.ndarray) -> tuple[float, tuple[float, ...]]:
        """Return the size of the steps along the lines [px], and their factors, coarse to fine."""
        depth = max(float(start.apply(self.views.centre)[2]), 1e-6)
        pixels_per_m = float(self.camera.K[0, 0]) / depth
        unit_px = max(1.0, self.views.radius * pixels_per_m / _FULL_SIZE_PX)
        arms = np.eye(3, 6)
        arms[:, 3:] = -skew_matrix(start.rotation @ self.views.centre)
        moved = arms @ covariance @ arms.T
        turned = self.views.radius**2 * float(np.linalg.eigvalsh(covariance[3:, 3:])[2])
        spread_px = pixels_per_m * np.sqrt(max(moved[0, 0], moved[1, 1]) + 0.5 * turned)
        left_out = sum(spread_px < known * unit_px for known in _KNOWN_PX)
        return unit_px, _SCALES[left_out:]

    def _lines(self, pose: Rigid, scale_px: float, growth: np.ndarray) -> _Lines | None:
        """Return the lines of the view that fit in, None when they are too few (step 1)."""
        view, (R, t) = self._view(self.views.nearest(pose)), pose
        arms = view.arms * (1.0 + growth)[:, None]
        turned = R @ (arms + self.views.centre[:, None])
        points = turned + t[:, None]
        if points.shape[1] < MIN_LINES or points[2].min() < 0.1 * self.views.radius:
            return None
        inverse_depth = 1.0 / points[2]
        directions = points[:2] * inverse_depth
        pixels, lens = self.camera.distort_with_jacobian(directions.T)
        lens = lens.transpose(1, 2, 0)
        away = R @ view.normals
        normals = (lens * ((away[:2] - directions * away[2]) * inverse_depth)).sum(1)
        length = np.sqrt(normals[0] * normals[0] + normals[1] * normals[1])
        normals /= length
        room = view.room * length
        x, y = pixels = np.ascontiguousarray(pixels.T)
        margin = _MARGIN_PX * scale_px
        fits = (room[0] > _NEED[0] * scale_px) & (room[1] > _NEED[1] * scale_px)
        fits &= (np.minimum(x, y) > margin) & (x < self.camera.width - 1.0 - margin)
        fits &= y < self.camera.height - 1.0 - margin
        count = np.count_nonzero(fits)
        if count < MIN_LINES:
            return None
        kept = slice(None) if count == len(fits) else np.flatnonzero(fits)
        normals, kinds = normals[:, kept], view.kinds[kept]
        jacobian = np.empty((6, count))
        across = jacobian[:3]
        across[:2] = (normals[:, None] * lens[:, :, kept]).sum(0) * inverse_depth[kept]
        across[2] = -(across[:2] * directions[:, kept]).sum(0)
        x, y, z = turned[:, kept]  # the cross product written out: numpy.cross is slow for few
        jacobian[3] = y * across[2] - z * across[1]
        jacobian[4] = z * across[0] - x * across[2]
        jacobian[5] = x * across[1] - y * across[0]
        return _Lines(
            pixels[:, kept].astype(np.float32),
            normals.astype(np.float32),
            room[:, kept].astype(np.float32),
            jacobian,
            np.count_nonzero(kinds == OUTLINE),
            kinds,
            arms[:, kept],
            (_BETWEEN_VIEWS * view.shift * length)[kept] ** 2 * (count / _BLOCKS),
        )

    def _read(self, image: np.ndarray, lines: _Lines, part: slice, steps_px: np.ndarray) -> np.ndarray:
        """Return the colours (S, N, 3) at steps (S,) along a part of the lines."""
        x, y = lines.pixels[:, None, part] + lines.normals[:, None, part] * steps_px[:, None]
        return cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def _blur(self, image: np.ndarray, lines: _Lines, unit_px: float) -> float:
        """Return by how much edges are wider than sharp ones, at half their height [px]."""
        colours = self._read(image, lines, slice(0, lines.outline, _BLUR_EVERY), _SAMPLES * np.float32(unit_px))
        if not colours.shape[1]:
            return 0.0
        change = cv2.absdiff(colours[2:], colours[:-2]) @ _ONES
        height = change.max(0, initial=1.0)
        beside = np.abs(np.arange(len(change))[:, None] - change.argmax(0)) <= _WIDEST
        width = ((change > 0.5 * height) & beside).sum(0)
        clear = height >= np.median(height)
        return max(0.0, float(width[clear].mean()) - _SHARP_WIDTH) * unit_px

    def _colours(self, image: np.ndarray, lines: _Lines, strips_px: np.ndarray) -> np.ndarray:
        """Return what each colour (rank, _BINS + 1) tells of its side, by strips along the outline (step 2)."""
        steps = np.concatenate([-strips_px[::-1], strips_px]).astype(np.float32)
        part = slice(lines.outline)
        bins = _bins(self._read(image, lines, part, steps))
        room = lines.room[:, part] - 1.0
        met = (steps[:, None] <= -room[0]) | (steps[:, None] >= room[1])
        np.copyto(bins, _BINS, where=met)
        half = len(strips_px)
        counts = (np.bincount(side.ravel(), minlength=_BINS + 1)[:_BINS] for side in (bins[:half], bins[half:]))
        inner, outer = (each / max(1, each.sum()) + _RARE for each in counts)
        level = np.rint(inner / (inner + outer) * (_OF_LEVEL.shape[1] - 1)).astype(np.intp)
        sides = np.zeros((len(_OF_LEVEL), _BINS + 1), np.float32)  # the last bin tells nothing
        sides[:, :_BINS] = _OF_LEVEL.take(level, 1)
        return sides

    def _compare(
        self, image: np.ndarray, lines: _Lines, sides: np.ndarray, scale_px: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where each line crosses the outline (N,) [px] and its information (N,) [1/px^2] (step 3)."""
        steps = _SAMPLES * np.float32(scale_px)
        colours = self._read(image, lines, slice(None), steps)
        met = (steps[:, None] < -lines.room[0]) | (steps[:, None] > lines.room[1])
        count, outline = len(lines.kinds), lines.outline
        bins = _bins(colours[:, :outline])
        np.copyto(bins, _BINS, where=met[:, :outline])
        likelihood = np.empty((len(_TRIED), count), np.float32)
        likelihood[:, :outline] = _OF_EDGE @ sides.take(bins, 1).reshape(-1, outline)
        if count > outline:
            creases = np.count_nonzero(lines.kinds == RISE)
            likelihood[:, outline:] = _edges(colours[:, outline:], met[:, outline:], creases)
        likelihood -= likelihood.max(0)
        total, mean, square = _POWERS @ np.exp(likelihood, out=likelihood)
        mean /= total
        variance = square / total - mean * mean + np.float32(_LEAST_VARIANCE)
        certainty = np.maximum(1.0 / variance - _UNKNOWN_INFORMATION, 1e-6)  # a line that tells nothing has none
        offset = np.minimum(np.maximum(mean / (variance * certainty), -_OFFSETS), _OFFSETS) * scale_px
        # The pixels that were read lie beside the places that were meant: for all of a straight edge alike.
        beside = (np.rint(mean) + _NEIGHBOURS) * scale_px
        places = lines.pixels[:, None] + lines.normals[:, None] * beside
        beside = (np.rint(places) - places).sum(1) / len(_NEIGHBOURS) * lines.normals
        return offset.astype(float) + beside[0] + beside[1], certainty.astype(float) / scale_px**2


def _fit_of(
    pose: Rigid, lines: _Lines, weight: np.ndarray, offset: np.ndarray, agreement: float, common_px: float
) -> OutlineFit:
    """Return the fit, its information as small as the differences between parts of the outline say (step 6)."""
    count = len(offset)
    starts = -(-count * np.arange(_BLOCKS) // _BLOCKS)  # of parts of as many lines
    weighted = lines.jacobian * weight
    pulls = np.add.reduceat(weighted * offset, starts, 1)
    hessian = weighted @ lines.jacobian.T
    hessian.flat[::7] += 1e-9 * hessian.diagonal() + 1e-12  # regular, whatever the lines do not see
    spread = float(np.vdot(pulls, np.linalg.solve(hessian, pulls))) / 6.0
    inflation = max(_LEAST_INFLATION, _CAUTION * spread * _BLOCKS / (_BLOCKS - 6))
    inflation *= math.exp(_DISAGREEMENT * max(0.0, _USUAL - agreement))
    design = np.empty((12, count))  # of the pose, the growth, and what all lines share
    design[:6] = lines.jacobian
    design[6:9] = (pose.rotation.T @ lines.jacobian[:3]) * lines.arms
    design[9] = np.arange(count) < lines.outline
    design[10:] = lines.normals
    design[9:] *= common_px
    weighted = design * (weight / inflation)
    information, pull = without(weighted @ design.T, weighted @ offset, slice(9, 12), slice(9), np.eye(3))
    return OutlineFit(pose, information, pull, agreement, count)


def _agreement(near: np.ndarray, certainty: np.ndarray, trust: np.ndarray, kinds: np.ndarray) -> float:
    """
    Return the share of the lines that agree, by how far their kinds are trusted; no more than of all, or of the print.

    Print may fit where the outline does not. Creases, whose sides may be brighter or darker, fit somewhere in many
    pictures: that they agree alone is no evidence.
    """

    def share(weight: np.ndarray) -> float:
        return float(weight @ near) / (float(weight.sum()) + 1e-12)

    printed = certainty * (kinds == RISE) * (np.count_nonzero(kinds == RISE) >= MIN_LINES)
    return min(share(trust[kinds] * certainty), max(share(certainty), share(printed)))


def _trust(near: np.ndarray, certainty: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return how far the lines of each kind are to be believed (KINDS,): print may fit where the outline does not."""
    agreement = np.bincount(kinds, certainty * near, KINDS) / (np.bincount(kinds, certainty, KINDS) + 1e-12)
    trust = np.minimum(np.maximum((agreement - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), _LEAST_TRUST), 1.0)
    return trust / trust.max()  # it only tells the kinds apart


def _bins(colours: np.ndarray) -> np.ndarray:
    """Return the bins (...) of colours (..., 3)."""
    return ((colours & 0xF0) @ _OF_BITS).astype(np.intp)  # a product is much faster than shifts, and exact


def _edges(colours: np.ndarray, met: np.ndarray, creases: int) -> np.ndarray:
    """
    Return the log-likelihood (offsets, N), but for a constant, of an inner edge at each offset (step 4).

    Args:
        colours: (samples, N, 3).
        met: (samples, N) bool, True where something else is met.
        creases: from which line on the brightness may rise or fall.
    """
    grey = colours.astype(np.float32) @ _GREY
    beside = _REACH - _OFFSETS
    rise = 0.5 * (grey[1 + beside : -beside + 1 or None] - grey[beside - 1 : -beside - 1])
    np.abs(rise[:, creases:], out=rise[:, creases:])
    np.copyto(rise, 0.0, where=met[beside:-beside])
    steepest = rise.max(0, initial=0.0)
    return rise / np.maximum(_LEAST_RISE, _EDGE_WIDTH * steepest)
