"""
The lines of an object's nearest views, where poses have them in an image (step 1 of docs/outline.md).

What is computed for lines is so for those of many instances at once, since numpy takes as long for few numbers as for
many.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import rotation_vectors_from_matrices
from custom_pose_ros.core.orientation.outlines.line_reading import LinesInImage
from custom_pose_ros.core.orientation.outlines.outline_fit import MIN_LINES
from custom_pose_ros.core.orientation.outlines.outline_views import KINDS, OutlineViews

_NEED = (1.5, 2.0)  # samples of room inwards and outwards, below which a line is left out
_BETWEEN_VIEWS = 0.35  # rms distance of a pose from the nearest view, in distances to its neighbours
BLOCKS = 20  # parts of the outline whose errors are taken as independent
_MARGIN_PX = 2.0  # to the border of the image
_VIEWS_KEPT = 64  # unpacked, 30 kB each: one or two for each instance


@dataclass(eq=False)
class FittedInstances:
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

    def some(self, chosen: np.ndarray) -> FittedInstances:
        """Return some of the instances, by their indices or (A,) bool."""
        return FittedInstances(*(each[chosen] for each in vars(self).values()))

    def step_to_start(self) -> np.ndarray:
        """Return the (A, 6) steps that move the poses to their starts, see `Rigid.moved`."""
        turn = rotation_vectors_from_matrices(self.R_start @ self.R.transpose(0, 2, 1))
        return np.concatenate([self.t_start - self.t, turn], 1)

    def move(self, steps: np.ndarray) -> None:
        """Move the poses by steps (A, 6)."""
        self.R, self.t = Rigid(self.R, self.t).moved(steps)


class ProjectedLines(NamedTuple):
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


class ViewProjector:
    """
    Places the lines of the views of one object in images of one camera.

    Args:
        views: of the object.
        camera: intrinsics of the images.
    """

    def __init__(self, views: OutlineViews, camera: CameraIntrinsics):
        self._views, self._camera = views, camera
        self._view = functools.lru_cache(_VIEWS_KEPT)(self._unpacked)

    def _unpacked(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a view: (9, N) points from the centre, normals, room and shift [m], and the kinds (N,)."""
        lines = self._views.lines_of(number)
        rows = np.column_stack([lines.points - self._views.centre, lines.normals, lines.room, lines.shift])
        return np.ascontiguousarray(rows.T), lines.kinds.astype(np.intp)

    def lines(self, fitted: FittedInstances, scale: float) -> tuple[np.ndarray, ProjectedLines | None]:
        """Return the lines of the views that fit in, and of which instances they are enough (A,) bool (step 1)."""
        nearest_m = 0.1 * self._views.radius
        numbers = self._views.nearest(Rigid(fitted.R, fitted.t)).tolist()
        views = [self._view(number) for number in numbers]
        counts = np.array([len(kinds) for _, kinds in views])
        rows, kinds = views[0] if len(views) == 1 else (np.concatenate(each, -1) for each in zip(*views))
        owner = np.repeat(np.arange(len(views)), counts)
        turned = np.empty((6, len(kinds)))  # arms and normals in the camera frame
        grown = 1.0 + fitted.growth
        for R, R_grown, part in zip(fitted.R, fitted.R * grown[:, None], _parts(counts)):
            turned[:3, part] = R_grown @ rows[:3, part]
            turned[3:, part] = R @ rows[3:6, part]
        turned[:3] += (fitted.R @ self._views.centre).T.take(owner, 1)
        points = turned[:3] + fitted.t.T.take(owner, 1)
        inverse_depth = 1.0 / np.maximum(points[2], nearest_m)
        directions = points[:2] * inverse_depth
        pixels, lens = self._camera.distort_with_jacobian(directions.T)
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
        fits &= (np.minimum(x, y) > margin) & (x < self._camera.width - 1.0 - margin)
        fits &= y < self._camera.height - 1.0 - margin
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
        table[6] = np.square(_BETWEEN_VIEWS * table[6]) * (count / BLOCKS)[owner]
        arrays = table[6], table[2:4], table[7:10], table[10:]
        return enough, ProjectedLines(seen, order, count, owner, kinds, _parts(count), owner * KINDS + kinds, *arrays)


def _parts(counts: np.ndarray) -> list[slice]:
    """Return the parts of an array that holds so many of each of some things, one after the other."""
    ends = list(itertools.accumulate(counts.tolist()))
    return list(map(slice, [0, *ends], ends))
