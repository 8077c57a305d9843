"""
OutlineFitter: poses are measured by the object's outline and inner edges in the image, starting from their keypoints.

The numbers of the steps in the comments are those of docs/outline.md, where each is derived.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_between, rotation_vectors_from_matrices, skew_matrix
from custom_pose_ros.core.orientation.outlines.line_reading import LineReader, LinesInImage
from custom_pose_ros.core.orientation.outlines.outline_fit import AGREES_PX, AS_THE_MESH, MIN_LINES, OutlineFit, without
from custom_pose_ros.core.orientation.outlines.outline_views import KINDS, OUTLINE, RISE, OutlineViews

_SCALES = (2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.8, 0.8)  # pixels between the samples of a line, coarse to fine
_NEED = (1.5, 2.0)  # samples of room inwards and outwards, below which a line is left out
_CLEAR = 0.01  # information of the offset of a line, in squared samples, from which on it sees an edge
_ROBUST_PX = 2.0  # distance at which a line counts half
_BETWEEN_VIEWS = 0.35  # rms distance of a pose from the nearest view, in distances to its neighbours
_BLOCKS = 20  # parts of the outline whose errors are taken as independent
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
_MARGIN_PX = 2.0  # to the border of the image
_VIEWS_KEPT = 64  # unpacked, 30 kB each: one or two for each instance
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


@dataclass(eq=False)
class _Fitted:
    """
    A instances that are fitted together.

    Attributes:
        number: (A,) of the starts.
        R: (A, 3, 3) of `camera_object`, as fitted so far.
        t: (A, 3) [m].
        R_start: (A, 3, 3).
        t_start: (A, 3) [m].
        information: (A, 6, 6) inverse covariance of the start.
        growth: (A, 3).
        unit_px: (A,) size of the steps along the lines.
        blur_px: (A,) by which edges are wider than sharp ones.
        trust: (A, KINDS) how far the lines of each kind are to be believed.
    """

    number: np.ndarray
    R: np.ndarray
    t: np.ndarray
    R_start: np.ndarray
    t_start: np.ndarray
    information: np.ndarray
    growth: np.ndarray
    unit_px: np.ndarray
    blur_px: np.ndarray
    trust: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def some(self, chosen: np.ndarray) -> _Fitted:
        """Return some of the instances, by their indices or (A,) bool."""
        return _Fitted(*(each[chosen] for each in vars(self).values()))

    def step_to_start(self) -> np.ndarray:
        """Return the (A, 6) steps that move the poses to their starts, see `Rigid.moved`."""
        turn = rotation_vectors_from_matrices(self.R_start @ self.R.transpose(0, 2, 1))
        return np.concatenate([self.t_start - self.t, turn], 1)

    def move(self, steps: np.ndarray) -> None:
        """Move the poses by steps (A, 6)."""
        self.R, self.t = Rigid(self.R, self.t).moved(steps)


class _Lines(NamedTuple):
    """
    N lines of A instances: one instance after the other, in each those across the outline before the inner ones.

    Arrays have the lines last, where numpy is fastest.

    Attributes:
        seen: the lines as a `LineReader` takes them, in another order.
        order: (N,) of those in this one.
        counts: (A,) of the lines of each instance.
        owner: (N,) the instance of each line.
        kinds: (N,) OUTLINE, RISE or CREASE, ascending in each instance.
        parts: the lines of each instance.
        key: (N,) a number for the instance and kind of each line.
        variance: (N,) of the offset, since the nearest view is not quite that of the pose [px^2]; lines of one part
            of the outline share it, so it is larger by their number.
        normals: (2, N) unit vectors in the image.
        arms: (3, N) from the centre of the object, in its frame [m].
        design: (7, N) derivatives of the offset along the normal over the pose; the last row is the offset itself.
    """

    seen: LinesInImage
    order: np.ndarray
    counts: np.ndarray
    owner: np.ndarray
    kinds: np.ndarray
    parts: list[slice]
    key: np.ndarray
    variance: np.ndarray
    normals: np.ndarray
    arms: np.ndarray
    design: np.ndarray

    def products(self, weighted: np.ndarray, design: np.ndarray) -> np.ndarray:
        """Return the products (A, n, m) of rows (n, N) and (m, N), summed over the lines of each instance."""
        return np.array([weighted[:, part] @ design[:, part].T for part in self.parts])

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum (A,) over the lines of each instance."""
        return np.bincount(self.owner, values, len(self.counts))


class OutlineFitter:
    """
    Fits poses of one object to images of one camera.

    The method is region-based: colour histograms inside and outside, a posterior of where the outline crosses each
    line, Gauss-Newton on the pose (Stoiber et al., SRT3D, IJCV 2022). What is computed for lines is so for those of
    many instances at once, since numpy takes as long for few numbers as for many.

    Args:
        views: of the object.
        camera: intrinsics of the images.
    """

    def __init__(self, views: OutlineViews, camera: CameraIntrinsics):
        self.views = views
        self.camera = camera
        self._view = functools.lru_cache(_VIEWS_KEPT)(self._unpacked)

    def _unpacked(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a view: (9, N) points from the centre, normals, room and shift [m], and the kinds (N,)."""
        lines = self.views.lines_of(number)
        rows = np.column_stack([lines.points - self.views.centre, lines.normals, lines.room, lines.shift])
        return np.ascontiguousarray(rows.T), lines.kinds.astype(np.intp)

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

    def _begun(self, starts: Sequence[FitStart]) -> tuple[_Fitted, np.ndarray]:
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
        begun = _Fitted(
            number=np.arange(len(starts)),
            R=R,
            t=t,
            R_start=R,
            t_start=t,
            information=np.linalg.inv(covariance),
            growth=np.array([start.growth for start in starts]),
            unit_px=unit_px,
            blur_px=np.zeros(len(starts)),
            trust=np.ones((len(starts), KINDS)),
        )
        return begun, (spread_px[:, None] < _KNOWN_PX * unit_px[:, None]).sum(1)

    def _fitted(self, reader: LineReader, fitted: _Fitted, scales: Sequence[float]) -> list[tuple[int, OutlineFit]]:
        """Return number and fit of those instances whose lines are seen; by steps of these sizes, coarse to fine."""
        sides: np.ndarray = np.zeros(0)
        for step_number, scale in enumerate(scales):
            kept, lines = self._lines(fitted, scale)
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

    def _lines(self, fitted: _Fitted, scale: float) -> tuple[np.ndarray, _Lines | None]:
        """Return the lines of the views that fit in, and of which instances they are enough (A,) bool (step 1)."""
        nearest_m = 0.1 * self.views.radius
        numbers = self.views.nearest(Rigid(fitted.R, fitted.t)).tolist()
        views = [self._view(number) for number in numbers]
        counts = np.array([len(kinds) for _, kinds in views])
        rows, kinds = views[0] if len(views) == 1 else (np.concatenate(each, -1) for each in zip(*views))
        owner = np.repeat(np.arange(len(views)), counts)
        turned = np.empty((6, len(kinds)))  # arms and normals in the camera frame
        grown = 1.0 + fitted.growth
        for R, R_grown, part in zip(fitted.R, fitted.R * grown[:, None], _parts(counts)):
            turned[:3, part] = R_grown @ rows[:3, part]
            turned[3:, part] = R @ rows[3:6, part]
        turned[:3] += (fitted.R @ self.views.centre).T.take(owner, 1)
        points = turned[:3] + fitted.t.T.take(owner, 1)
        inverse_depth = 1.0 / np.maximum(points[2], nearest_m)
        directions = points[:2] * inverse_depth
        pixels, lens = self.camera.distort_with_jacobian(directions.T)
        lens = lens.transpose(1, 2, 0)
        table: np.ndarray = np.empty((17, len(kinds)))
        normals, room, across = table[2:4], table[4:6], table[10:13]
        (lens * ((turned[3:5] - directions * turned[5]) * inverse_depth)).sum(1, out=normals)
        length = np.sqrt(normals[0] * normals[0] + normals[1] * normals[1])
        normals /= length
        np.multiply(rows[6:8], length, out=room)
        scale_px = (scale * fitted.unit_px)[owner]
        x, y = table[:2] = pixels.T
        margin = _MARGIN_PX * scale_px
        fits = (room[0] > _NEED[0] * scale_px) & (room[1] > _NEED[1] * scale_px)
        fits &= (np.minimum(x, y) > margin) & (x < self.camera.width - 1.0 - margin)
        fits &= y < self.camera.height - 1.0 - margin
        if points[2].min(initial=np.inf) < nearest_m:
            fits &= ~np.bincount(owner, points[2] < nearest_m, len(views)).astype(bool)[owner]
        count = np.bincount(owner[fits], minlength=len(views))
        enough = count >= MIN_LINES
        if not enough.any():
            return enough, None
        table[6] = rows[8] * length
        np.multiply(rows[:3], grown.T.take(owner, 1), out=table[7:10])
        across[:2] = (normals[:, None] * lens).sum(0) * inverse_depth
        across[2] = -(across[:2] * directions).sum(0)
        x, y, z = turned[:3]  # the cross product written out: numpy.cross is slow for few
        table[13] = y * across[2] - z * across[1]
        table[14] = z * across[0] - x * across[2]
        table[15] = x * across[1] - y * across[0]
        if not (fits.all() and enough.all()):
            chosen = np.flatnonzero(fits & enough[owner])
            table, kinds, count = table.take(chosen, 1), kinds[chosen], count[enough]
            owner = np.repeat(np.arange(len(count)), count)
        order = np.argsort(kinds, kind='stable')
        seen = LinesInImage.of(table[:6].astype(np.float32).take(order, 1), kinds[order], owner[order], len(count))
        table[6] = np.square(_BETWEEN_VIEWS * table[6]) * (count / _BLOCKS)[owner]
        arrays = table[6], table[2:4], table[7:10], table[10:]
        return enough, _Lines(seen, order, count, owner, kinds, _parts(count), owner * KINDS + kinds, *arrays)


def _parts(counts: np.ndarray) -> list[slice]:
    """Return the parts of an array that holds so many of each of some things, one after the other."""
    ends = list(itertools.accumulate(counts.tolist()))
    return list(map(slice, [0, *ends], ends))


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
    fitted: _Fitted, lines: _Lines, weight: np.ndarray, normal: np.ndarray, agreement: np.ndarray
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
    starts = firsts[:, None] - (-counts[:, None] * np.arange(_BLOCKS) // _BLOCKS)  # of parts of as many lines
    pulls = np.add.reduceat(lines.design[:6] * (weight * lines.design[6]), starts.ravel(), 1)
    pulls = pulls.reshape(6, *starts.shape).transpose(1, 0, 2)
    hessian = normal[..., :6].copy()
    axes = np.arange(6)
    hessian[:, axes, axes] += 1e-9 * hessian[:, axes, axes] + 1e-12  # regular, whatever the lines do not see
    spread = (pulls * np.linalg.solve(hessian, pulls)).sum((1, 2)) / 6.0
    inflation = np.maximum(_LEAST_INFLATION, _CAUTION * spread * _BLOCKS / (_BLOCKS - 6))
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


def _agreement(near: np.ndarray, seen: np.ndarray, certainty: np.ndarray, lines: _Lines) -> np.ndarray:
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


def _trust(near: np.ndarray, certainty: np.ndarray, lines: _Lines) -> np.ndarray:
    """Return how far the lines of each kind are to be believed (A, KINDS): print may fit where the outline does not."""
    key, most = lines.key, len(lines.counts) * KINDS
    agreement = np.bincount(key, certainty * near, most) / (np.bincount(key, certainty, most) + 1e-12)
    trust = np.minimum(np.maximum((agreement - _NO_TRUST) / (_FULL_TRUST - _NO_TRUST), _LEAST_TRUST), 1.0)
    trust = trust.reshape(-1, KINDS)
    return trust / trust.max(1, keepdims=True)  # it only tells the kinds apart
