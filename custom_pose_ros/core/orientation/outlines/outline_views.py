"""OutlineViews: where outline and inner edges of an object are, seen from all around; made once from its mesh."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.errors import ModelError, ModelFileError, reason_of
from custom_pose_ros.core.files import open_file, replacing, stand_in
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.limits import MAX_OUTLINE_BYTES
from custom_pose_ros.core.object_model import ObjectModel

OUTLINE_FILE = 'outline.npz'  # beside model.onnx and object.yaml
WRITTEN_BY = 'training/outline.py'
FORMAT = 2
SIZE_ERROR = 0.01  # standard deviation, as a share, of the size of a mesh that nobody compared with the object
DISTANCE = 5.0  # of the camera in the views, in radii of the ball around the object: what users mostly have
OUTLINE, RISE, CREASE = 0, 1, 2  # kinds of lines: the object ends; print that is brighter along the normal; either way
KINDS = 3
_SAME_PLACE_M = 1e-6
_NEIGHBOURS = 6  # of each view, all around it
_STEPS = np.iinfo(np.int16).max  # of a coordinate, from the centre to the edge of the ball around the object


class ViewLines(NamedTuple):
    """
    The N lines of one view, on which the image is compared with the object.

    Attributes:
        points: (N, 3) where they cross an edge, in the object frame [m].
        normals: (N, 3) unit vectors along them, away from the object, in the object frame.
        room: (N, 2) how far inwards and outwards nothing else is met [m].
        kinds: (N,) OUTLINE, RISE or CREASE, in this order when they come from `OutlineViews`.
        shift: (N,) how far from there an edge is in neighbouring views [m]; empty while these are not known.
    """

    points: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    kinds: np.ndarray
    shift: np.ndarray = np.zeros(0)


@dataclass(frozen=True, eq=False)
class OutlineViews:
    """
    The lines of V views of one object, kept in a few bytes each.

    Attributes:
        model: the object file that the mesh was placed by.
        mesh: name of the mesh, for people.
        centre: (3,) of the ball around the object, in the object frame [m].
        radius: of that ball [m].
        directions: (V, 3) float32 unit vectors from the centre to the camera, in the object frame.
        starts: (V + 1,) the lines of view v are starts[v] to starts[v + 1].
        points: (L, 3) int16, from the centre in parts of the radius.
        normals: (L, 3) int8.
        room: (L, 2) uint16, in parts of the radius.
        kinds: (L,) uint8, ascending in each view.
        shift: (L,) uint16, in parts of the radius.
        size_error: standard deviation of the size of the mesh, as a share.
    """

    model: ObjectModel
    mesh: str
    centre: np.ndarray
    radius: float
    directions: np.ndarray
    starts: np.ndarray
    points: np.ndarray
    normals: np.ndarray
    room: np.ndarray
    kinds: np.ndarray
    shift: np.ndarray
    size_error: float = SIZE_ERROR

    @classmethod
    def from_lines(
        cls,
        model: ObjectModel,
        mesh: str,
        centre: np.ndarray,
        radius: float,
        directions: np.ndarray,
        views: list[ViewLines],
        size_error: float = SIZE_ERROR,
    ) -> OutlineViews:
        """Return the views packed; one `ViewLines` for each direction."""
        unit = radius / _STEPS
        orders = [np.argsort(view.kinds, kind='stable') for view in views]
        ordered = [ViewLines(*(each[order] for each in view[:4])) for view, order in zip(views, orders)]
        shift = np.concatenate(_shifts(ordered, np.asarray(directions, float), centre, radius))
        points, normals, room, kinds = (np.concatenate(arrays) for arrays in list(zip(*ordered))[:4])
        return cls(
            model=model,
            mesh=mesh,
            centre=np.asarray(centre, float),
            radius=float(radius),
            directions=np.asarray(directions, np.float32),
            starts=np.cumsum([0] + [len(view.kinds) for view in views]),
            points=np.clip(np.rint((points - centre) / unit), -_STEPS, _STEPS).astype(np.int16),
            normals=np.rint(127.0 * normals).astype(np.int8),
            room=np.clip(room / unit, 0, np.iinfo(np.uint16).max).astype(np.uint16),
            kinds=kinds.astype(np.uint8),
            shift=np.clip(shift / unit, 0, np.iinfo(np.uint16).max).astype(np.uint16),
            size_error=size_error,
        )

    def seen_in(self, camera_object: Rigid) -> ViewLines:
        """Return the lines of the view that is nearest to how the camera sees the object."""
        R, t = camera_object
        return self.lines_of(int(self.nearest(Rigid(R[None], t[None]))[0]))

    def nearest(self, camera_objects: Rigid) -> np.ndarray:
        """Return the numbers (B,) of the views that are nearest to how the camera sees B objects."""
        R, t = camera_objects
        towards = -(t[:, None] @ R)[:, 0] - self.centre
        return (towards.astype(np.float32) @ self.directions.T).argmax(1)

    def lines_of(self, view: int) -> ViewLines:
        """Return the lines of a view, unpacked."""
        part = slice(self.starts[view], self.starts[view + 1])
        unit = self.radius / _STEPS
        return ViewLines(
            self.points[part] * unit + self.centre,
            self.normals[part] / 127.0,
            self.room[part] * unit,
            self.kinds[part],
            self.shift[part] * unit,
        )

    def check_fit(self, model: ObjectModel, path: str | Path) -> None:
        """Raise ModelError unless the views are those of this object, its keypoints where the mesh was placed."""
        difference = model.difference_from(self.model)
        if difference is None and not _same_points(model, self.model):
            difference = 'other model_points'
        if difference:
            raise ModelError(
                f'{path}: was made for {self.model.name} with {difference}; '
                f'make it again for {model.source or model.name} with {WRITTEN_BY}'
            )

    def save(self, path: Path) -> None:
        """Write the file; OutputError when it cannot be written."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        about = json.dumps({
            'format': FORMAT,
            'mesh': self.mesh,
            'radius': self.radius,
            'size_error': self.size_error,
            'object': self.model.to_dict(),
        })
        with replacing(path) as temporary:
            np.savez_compressed(temporary, about=np.array(about), **arrays)

    @staticmethod
    def wrote(path: Path) -> bool:
        """Return whether a file is what `save` wrote, of any version."""
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as file:
            return 'about.npy' in file.namelist()

    @classmethod
    def load(cls, path: str | Path) -> OutlineViews:
        """
        Read a file that `training/outline.py` wrote.

        Raises:
            ModelError: it is missing, damaged, too large, or of another kind; the text names it.
        """
        path = Path(path).expanduser()
        try:
            with open_file(path, MAX_OUTLINE_BYTES) as file:
                if text := stand_in(path):
                    raise ModelError(f'{path}: {text}')
                with zipfile.ZipFile(file) as archive:  # what it unpacks to
                    if sum(member.file_size for member in archive.infolist()) > MAX_OUTLINE_BYTES:
                        raise ModelError(f'{path}: unpacks to more than {MAX_OUTLINE_BYTES} bytes')
                file.seek(0)
                with np.load(file, allow_pickle=False) as content:
                    about = json.loads(str(content['about']))
                    if about['format'] != FORMAT:
                        raise ModelFileError(
                            f'{path}: is of another version (format {about["format"]!r:.20}, this one reads {FORMAT}); '
                            f'make it again with {WRITTEN_BY}'
                        )
                    arrays = {name: content[name] for name in _ARRAYS}
            model = ObjectModel.from_dict(about['object'], f'{path}: its object')
            radius, size_error = float(about['radius']), float(about.get('size_error', SIZE_ERROR))
            views = cls(model=model, mesh=str(about['mesh']), radius=radius, size_error=size_error, **arrays)
            views._check()
        except OSError as error:
            raise ModelError(f'{path}: cannot be read ({error.strerror or error}); {WRITTEN_BY} makes it') from error
        except ModelError:
            raise
        except Exception as error:  # numpy, zlib, json and the zip file have each their own
            raise ModelFileError(
                f'{path}: is damaged or not an outline; make it again with {WRITTEN_BY} ({reason_of(error):.120})'
            ) from error
        return views

    def _check(self) -> None:
        """Raise ValueError unless the arrays belong together."""
        lines, views = len(self.kinds), len(self.directions)
        for name, (dtype, shape) in _ARRAYS.items():
            array = getattr(self, name)
            sizes = {'L': lines, 'V': views, 'V+1': views + 1}
            wanted = tuple(sizes[side] if isinstance(side, str) else side for side in shape)
            if array.dtype != dtype or array.shape != wanted:
                raise ValueError(f'{name} is {array.dtype} {array.shape}')
        starts = self.starts
        if not views or starts[0] != 0 or starts[-1] != lines or (np.diff(starts) < 0).any():
            raise ValueError('its views do not fit its lines')
        falls = np.flatnonzero(np.diff(self.kinds.astype(int)) < 0) + 1
        if not np.isin(falls, starts).all():
            raise ValueError('its lines are not in order')
        finite = np.isfinite(self.centre).all() and np.isfinite(self.directions).all() and np.isfinite(self.radius)
        if not 0.0 < self.size_error < 1.0:
            raise ValueError(f'size_error is {self.size_error:.9g}')
        if not finite or self.radius <= 0.0 or self.kinds.max(initial=0) > CREASE:
            raise ValueError('impossible values')


def find_outline(model: ObjectModel, outline: OutlineViews | str | Path | None) -> OutlineViews | None:
    """
    Return the views that an argument or option of this name means, checked against the object.

    Args:
        model: the object.
        outline: views; a file; 'auto': `outline.npz` beside the object file, where there is one; 'off' or None: none.

    Raises:
        ModelError: they cannot be read, or are those of another object.
    """
    if outline is None or outline == 'off':
        return None
    if isinstance(outline, OutlineViews):
        views, path = outline, f'the outline of {model.name}'
    elif outline == 'auto':
        path = str(Path(model.source).with_name(OUTLINE_FILE))
        if not model.source or not Path(path).is_file():
            return None
        views = OutlineViews.load(path)
    else:
        path = str(outline)
        views = OutlineViews.load(path)
    views.check_fit(model, path)
    return views


_ARRAYS: dict[str, tuple[np.dtype, tuple[str | int, ...]]] = {
    'centre': (np.dtype(float), (3,)),
    'directions': (np.dtype(np.float32), ('V', 3)),
    'starts': (np.dtype(np.int64), ('V+1',)),
    'points': (np.dtype(np.int16), ('L', 3)),
    'normals': (np.dtype(np.int8), ('L', 3)),
    'room': (np.dtype(np.uint16), ('L', 2)),
    'kinds': (np.dtype(np.uint8), ('L',)),
    'shift': (np.dtype(np.uint16), ('L',)),
}


def _shifts(views: list[ViewLines], directions: np.ndarray, centre: np.ndarray, radius: float) -> list[np.ndarray]:
    """
    Return for each view (N,) how far its edges are from those of the neighbouring views [m].

    An edge of a cuboid beside a face that is seen almost edge-on is the outline in one view and lies behind or within
    it in the next. Print does not move; a crease is an edge in the image whether the object ends there or not.
    """
    seen = [(view.kinds == OUTLINE, view.kinds != RISE) for view in views]
    shifts = []
    for i, (view, (outline, edge)) in enumerate(zip(views, seen)):
        shift = np.zeros(len(view.kinds))
        for j in np.argsort(-(directions @ directions[i]), kind='stable')[1 : _NEIGHBOURS + 1]:
            for own, theirs in ((outline, seen[j][0]), (edge & ~outline, seen[j][1])):
                if own.any() and theirs.any():
                    other = views[j].points[theirs] - centre, views[j].normals[theirs]
                    away = _across(view.points[own] - centre, *other, directions[j], radius)
                    shift[own] = np.maximum(shift[own], away)
        shifts.append(shift)
    return shifts


def _across(
    points: np.ndarray, edges: np.ndarray, normals: np.ndarray, direction: np.ndarray, radius: float
) -> np.ndarray:
    """Return how far (N,) points are from the nearest of edges, as a camera in that direction sees it; all [m]."""
    axes = np.linalg.svd(direction[None])[2][1:]  # of the image
    flat, flat_edges = (
        each @ axes.T / (1.0 - each @ direction / (DISTANCE * radius))[:, None] for each in (points, edges)
    )
    nearest = ((flat_edges * flat_edges).sum(1) - 2.0 * (flat @ flat_edges.T)).argmin(1)
    return np.abs(((flat - flat_edges[nearest]) * (normals[nearest] @ axes.T)).sum(1))


def _same_points(a: ObjectModel, b: ObjectModel) -> bool:
    if a.model_points is None or b.model_points is None:
        return a.model_points is b.model_points
    return bool(np.allclose(a.model_points, b.model_points, rtol=0.0, atol=_SAME_PLACE_M, equal_nan=True))
