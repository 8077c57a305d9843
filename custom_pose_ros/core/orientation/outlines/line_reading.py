"""
LinesInImage, LineReader: where an image has the edges that lines across an object's outline and inner edges expect.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.orientation.outlines.outline_views import OUTLINE, RISE

_REACH = 8  # samples to each side
_OFFSETS = 6  # offsets of the edge that are tried, to each side
_EDGE_SLOPE = 1.3  # samples over which an edge is blurred
_CERTAINTY = 0.42  # 0.5: pixels inside the outline never look like the background
_STRIP_PX = np.arange(2, 14, dtype=np.float32)  # strips along the outline whose colours are learnt, where it is sharp
_PER_BLUR = 3.0  # they are farther away by this times the blur, which mixes the colours of both sides
_SHARP_WIDTH = 2.5  # samples of a sharp edge at half its height
_WIDEST = 4  # samples to each side of an edge that belong to it
_BLUR_EVERY = 3  # so many lines do to tell the blur
_RARE = 2e-4  # share of the pixels from which on a colour tells on which side it is
_SECTORS = 4  # of the outline, each of which has colours of its own; the next ones
_BESIDE = 0.5  # count that much, and the whole outline
_WHOLE = 0.5  # this share of a sector
_BITS = 4  # for each of blue, green, red
_BINS = 1 << 3 * _BITS
_KINDS_OF_BINS = _BINS + 1  # the last one is that of pixels that tell nothing
_GREY = np.full(3, 1.0 / 3.0, np.float32)
_LEAST_VARIANCE = 0.36  # of the offset of one line, in squared samples
_LEAST_RISE = 6.0  # grey levels between samples, of noise
_EDGE_WIDTH = 0.3  # share of the steepest rise of a line by which a place may be less steep and still be the edge

_ITSELF = np.eye(_SECTORS, dtype=np.float32)
_NEAR = _ITSELF + _BESIDE * (np.roll(_ITSELF, 1, 0) + np.roll(_ITSELF, -1, 0))
_NEIGHBOURS = np.array([[-1.0], [0.0], [1.0]])
_ONES = np.ones(3, np.float32)
_SAMPLES = np.arange(-_REACH, _REACH + 1, dtype=np.float32)[:, None]
_TRIED = np.arange(-_OFFSETS, _OFFSETS + 1, dtype=np.float32)
_POWERS = np.stack([np.ones_like(_TRIED), _TRIED, _TRIED * _TRIED])
_UNKNOWN_INFORMATION = 1.0 / (float(_TRIED @ _TRIED) / len(_TRIED) + _LEAST_VARIANCE)  # of a line that tells nothing
_PACKED = np.arange(1 << 16)  # colours of 5, 6 and 5 bits, as OpenCV packs them
_BLUE, _GREEN, _RED = (_PACKED >> end - _BITS & (1 << _BITS) - 1 for end in (5, 11, 16))
_BIN_OF = (_RED << 2 * _BITS) + (_GREEN << _BITS) + _BLUE


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


class LinesInImage(NamedTuple):
    """
    N lines of A instances, those across the outline first, then those across print, then those across creases.

    Attributes:
        pixels: (2, N) float32 where the model has the edge.
        normals: (2, N) float32 unit vectors.
        room: (2, N) float32 how far inwards and outwards nothing else is met [px].
        owner: (N,) which of the instances a line belongs to; ascending among the lines of a kind.
        outline: how many of them cross the outline.
        sectors: (outline,) of all sectors of all instances, the one that each of these lies in.
        creases: from which line on they cross creases.
        instances: A.
    """

    pixels: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    owner: np.ndarray
    outline: int
    sectors: np.ndarray
    creases: int
    instances: int

    @classmethod
    def of(cls, rows: np.ndarray, kinds: np.ndarray, owner: np.ndarray, instances: int) -> LinesInImage:
        """Return the lines, in this order already; rows (6, N) are pixels, normals and room."""
        outline = int(np.count_nonzero(kinds == OUTLINE))
        creases = outline + int(np.count_nonzero(kinds == RISE))
        first = owner[:outline]
        place, counts = _places(first, instances)
        sectors = first * _SECTORS + place * _SECTORS // counts[first]
        return cls(rows[:2], rows[2:4], rows[4:], owner, outline, sectors, creases, instances)


class LineReader:
    """
    Reads one image along lines.

    Args:
        image: (H, W, 3) uint8 BGR, contiguous.
    """

    def __init__(self, image: np.ndarray):
        self._image = image

    def _read(self, lines: LinesInImage, part: slice | np.ndarray, steps_px: np.ndarray) -> np.ndarray:
        """Return the colours (S, N, 3) at steps (S, N) or (S, 1) along a part of the lines."""
        x, y = lines.pixels[:, None, part] + lines.normals[:, None, part] * steps_px
        if not x.size:
            return np.empty((*x.shape, 3), np.uint8)
        return cv2.remap(self._image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)

    def blur(self, lines: LinesInImage, unit_px: np.ndarray) -> np.ndarray:
        """Return (A,) by how much edges are wider than sharp ones, at half their height [px]; unit_px: (A,)."""
        owner = lines.owner[: lines.outline]
        place, counts = _places(owner, lines.instances)
        part = np.flatnonzero(place % _BLUR_EVERY == 0)
        blur_px = np.zeros(lines.instances)
        if not len(part):
            return blur_px
        colours = self._read(lines, part, _SAMPLES * unit_px.astype(np.float32)[owner[part]])
        change = cv2.absdiff(colours[2:], colours[:-2]) @ _ONES
        height = change.max(0, initial=1.0)
        beside = np.abs(np.arange(len(change))[:, None] - change.argmax(0)) <= _WIDEST
        width = ((change > 0.5 * height) & beside).sum(0)
        ends = np.cumsum(-(-counts // _BLUR_EVERY)).tolist()
        for i, (start, end) in enumerate(zip([0, *ends], ends)):
            if end > start:
                clear = height[start:end] >= np.sort(height[start:end])[(end - start) // 2]
                blur_px[i] = width[start:end] @ clear / np.count_nonzero(clear) - _SHARP_WIDTH
        return np.maximum(blur_px, 0.0) * unit_px

    def sides(self, lines: LinesInImage, unit_px: np.ndarray, blur_px: np.ndarray) -> np.ndarray:
        """
        Return what each colour tells of its side, by strips along the outline, for each of its sectors (step 2).

        Args:
            lines: in the image.
            unit_px: (A,) size of the steps along the lines.
            blur_px: (A,), see `blur`.

        Returns:
            (rank, A, _SECTORS, _KINDS_OF_BINS).
        """
        owner = lines.owner[: lines.outline]
        half = unit_px * _STRIP_PX[:, None] + _PER_BLUR * blur_px
        steps = np.concatenate([-half[::-1], half]).astype(np.float32).take(owner, 1)
        part = slice(lines.outline)
        room = lines.room[:, part] - np.float32(1.0)
        bins = _bins(self._read(lines, part, steps), lines.sectors, (steps <= -room[0]) | (steps >= room[1]))
        shape = 2, lines.instances, _SECTORS, _KINDS_OF_BINS
        bins[len(half) :] += math.prod(shape[1:])  # the outer ones
        counts = np.bincount(bins.ravel(), minlength=math.prod(shape)).reshape(shape).astype(np.float32)
        counts[..., _BINS] = 0.0
        totals = counts.sum(3)
        weights = _NEAR / np.maximum(1.0, totals @ _NEAR)[..., None]
        weights += _WHOLE / np.maximum(1.0, totals.sum(2))[..., None, None]
        shares = weights @ counts + _RARE
        level = np.rint(shares[0] / (shares[0] + shares[1]) * (_OF_LEVEL.shape[1] - 1)).astype(np.intp)
        return _OF_LEVEL.take(level, 1)

    def offsets(self, lines: LinesInImage, sides: np.ndarray, scale_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return where each line crosses its edge (N,) [px] and its information (N,) [1/px^2] (steps 3 and 4).

        Args:
            lines: in the image.
            sides: as `sides` returns it.
            scale_px: (A,) between samples.
        """
        scale = scale_px[lines.owner]
        steps = _SAMPLES * scale.astype(np.float32)
        met = (steps < -lines.room[0]) | (steps > lines.room[1])
        count, outline = len(scale), lines.outline
        part = slice(outline)
        colours = self._read(lines, slice(None), steps)
        bins = _bins(np.ascontiguousarray(colours[:, part]), lines.sectors, met[:, part])
        likelihood = np.empty((len(_TRIED), count), np.float32)
        likelihood[:, part] = _OF_EDGE @ sides.reshape(len(sides), -1).take(bins, 1).reshape(-1, outline)
        if count > outline:
            part = slice(outline, None)
            likelihood[:, part] = _edges(colours[:, part], met[:, part], lines.creases - outline)
        likelihood -= likelihood.max(0)
        total, mean, square = _POWERS @ np.exp(likelihood, out=likelihood)
        mean /= total
        variance = square / total - mean * mean + np.float32(_LEAST_VARIANCE)
        certainty = np.maximum(1.0 / variance - _UNKNOWN_INFORMATION, 1e-6)  # a line that tells nothing has none
        offset = np.minimum(np.maximum(mean / (variance * certainty), -_OFFSETS), _OFFSETS) * scale
        # The pixels that were read lie beside the places that were meant: for all of a straight edge alike.
        beside = (np.rint(mean) + _NEIGHBOURS) * scale
        places = lines.pixels[:, None] + lines.normals[:, None] * beside
        beside = (np.rint(places) - places).sum(1) / len(_NEIGHBOURS) * lines.normals
        return offset + beside[0] + beside[1], certainty / (scale * scale)


def _places(owner: np.ndarray, instances: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each line (N,) among those of its instance, and how many each instance has (A,)."""
    counts = np.bincount(owner, minlength=instances)
    return np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts), counts


def _bins(colours: np.ndarray, sectors: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Return the bins (S, N) of colours (S, N, 3), each sector (N,) with bins of its own; the last one where `met`."""
    if not colours.size:
        return np.zeros(met.shape, np.intp)
    bins = _BIN_OF.take(cv2.cvtColor(colours, cv2.COLOR_BGR2BGR565).view(np.uint16)[..., 0])
    np.copyto(bins, _BINS, where=met)
    bins += sectors * _KINDS_OF_BINS
    return bins


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
