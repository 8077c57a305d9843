"""What is drawn for an object file: the mesh of the variation file beside it, or the user's, in the object's frame."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import ConfigError, DatasetError
from custom_pose_ros.core.geometry.mesh_frame import axes_rotation
from custom_pose_ros.core.limits import MAX_MESH_FACES
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.formats.mesh_checks import has_y_up, stated_unit
from training.synthetic.geometry.keypoint_sites import distances_to_surface
from training.synthetic.geometry.mesh_files import read_mesh
from training.synthetic.geometry.parts import Material, Part, all_vertices, merge_by_material
from training.synthetic.geometry.robot_files import load_urdf, scaled_meshes
from training.synthetic.geometry.variation import FILE_NAME, Variation
from training.synthetic.settings import load_settings

Builder = Callable[[np.random.Generator], list[Part]]
FILE_AXES = 'x,y,z'  # of the mesh, kept as they are
_Y_UP_AXES = 'z,x,y'  # of files whose y axis points up
_CLEARLY = 0.5  # of the other distance
_LONG_READ_BYTES = 10e6
MARGIN = 0.10  # share of the mesh's size that a keypoint may lie outside its bounding box
_WARNED = 0.02  # likewise, before that is said: on the surface of another object, or measured badly
LIKELY_SCALES = (1.0, 0.001, 0.01, 0.0254, 0.1, 1000.0)  # metres per unit: metres, millimetres, ..., kilometres


def object_size(model: ObjectModel) -> float:
    """Return the diagonal of the box around the object's model_points [m]; 1 for an object of one point."""
    return model.size_m or 1.0


def require_positions(model: ObjectModel) -> None:
    """Raise ConfigError unless the place of every keypoint on the object is known."""
    if model.model_points is None or np.isnan(model.model_points).any():
        raise ConfigError(
            f'{model.source}: model_points: wanted a position for every keypoint, to know where it is in a picture'
        )


def object_builder(
    model: ObjectModel,
    mesh: dict[str, Any] | None,
    surface: SimpleNamespace | None = None,
    tell: Callable[[str], None] | None = None,
) -> Builder:
    """
    Return the function that builds a variant of the object's parts.

    Args:
        model: with complete model_points.
        mesh: arguments of `load_parts`, perhaps with the path of a `variation`; None for `own_mesh`.
        surface: the settings' group of that name: how a mesh shines that does not say so; None for the defaults.
        tell: given the warning of `check_against_model`, where there is one.

    Raises:
        ConfigError: when there is neither, or when the shape does not fit the object's model_points.
    """
    require_positions(model)
    finish = surface or load_settings().surface
    mesh = dict(mesh or own_mesh(model.source))
    variation = Variation(Path(mesh['variation'])) if mesh.get('variation') else None
    mesh.pop('variation', None)
    parts = load_parts(**mesh)
    scale = used_scale(mesh['path'], mesh.get('scale'))
    warning = check_against_model(parts, model, mesh['path'], scale, mesh.get('axes', FILE_AXES))
    if warning and tell:
        tell(warning)
    if variation is None:
        merged = merge_by_material(parts)
        return lambda rng: [part.with_material(_resurfaced(rng, finish, part.material)) for part in merged]
    variation.check_names(parts)
    return lambda rng: variation.draw(rng, parts)


def own_mesh(source: str | Path) -> dict[str, Any]:
    """Return the arguments of `object_builder` for the mesh that the variation file beside an object file names."""
    path = Path(source).with_name(FILE_NAME)
    if not path.is_file():
        raise ConfigError(f'{source}: there is no {FILE_NAME} beside it that names a mesh: give --mesh FILE')
    return {'path': str(Variation(path).mesh), 'variation': str(path)}


def mesh_of(options: argparse.Namespace, model: ObjectModel) -> dict[str, Any]:
    """Return the mesh as the recipe keeps it: the one that is given, or that of the object's variation file."""
    mesh = {'path': str(options.mesh.resolve())} if options.mesh else own_mesh(Path(model.source).resolve())
    return {**mesh, 'scale': options.mesh_scale, 'axes': options.mesh_axes, 'origin': list(options.mesh_origin)}


def _resurfaced(rng: np.random.Generator, surface: SimpleNamespace, material: Material) -> Material:
    """Return the material with another finish: a mesh file seldom says how its surface shines."""
    mirrors = rng.random() < surface.reflectivity_probability
    return replace(
        material,
        roughness=rng.uniform(*surface.roughness),
        reflectivity=rng.uniform(*surface.reflectivity) if mirrors else 0.0,
        grain=rng.uniform(*surface.grain),
        wrinkle=rng.uniform(*surface.wrinkle),
    )


def load_parts(
    path: str | Path, scale: float | None = None, axes: str = FILE_AXES, origin: Sequence[float] = (0.0, 0.0, 0.0)
) -> list[Part]:
    """
    Return the parts of a mesh file in the object's frame [m].

    Args:
        path: stl, obj, glb, ply, dae, 3mf, ..., or urdf.
        scale: metres per unit of the file; None for the unit that the file states, metres where it states none.
        axes: which axes of the file become the object's x (forward), y (left) and z (up), such as '-y,x,z'.
        origin: (3,), where the object's origin lies in the file, in its own units and axes.

    Raises:
        DatasetError: for files that cannot be read.
        ConfigError: for axes that are no right-handed frame.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f'{path}: no such mesh file')
    parts = load_urdf(path) if _is_urdf(path) else read_mesh(path)
    faces = sum(len(part.faces) for part in parts)
    if faces > MAX_MESH_FACES:
        raise DatasetError(
            f'{path}: {faces} triangles, wanted {MAX_MESH_FACES} at most: simplify the mesh (MeshLab, Blender)'
        )
    scale = used_scale(path, scale)
    R_object_file = axes_rotation(axes)
    return [replace(p, vertices=scale * (p.vertices - np.asarray(origin, float)) @ R_object_file.T) for p in parts]


def tell_reading(path: str | Path) -> None:
    """Say that a file is read which takes longer than a few seconds."""
    if Path(path).is_file() and (size := Path(path).stat().st_size) > _LONG_READ_BYTES:
        say(f'reading {path}: {size / 1e6:.0f} MB')


def size_note(
    parts: list[Part], model: ObjectModel, path: str | Path, scale: float | None = None, axes: str = FILE_AXES, **_: Any
) -> str:
    """Say how large the parts of a mesh file are beside the keypoints, and why; arguments as of `load_parts`."""
    path = Path(path)
    extents = np.ptp(all_vertices(parts), 0), model.extent_m
    mesh, keypoints = (' x '.join(f'{side:.3g}' for side in extent) for extent in extents)
    stated = None if _is_urdf(path) else stated_unit(path)
    if _is_urdf(path):
        units = ''.join(f', {mesh.name} is in units of {unit:g} m' for mesh, unit in scaled_meshes(path).items())
        reason = f'in metres as every urdf{units}'
    elif stated is None:
        reason = 'the file states no unit: taken as metres' if scale is None else f'{scale:g} m per unit'
    else:
        reason = f'{stated:g} m per unit, as the file says'
    if scale is not None and scale != stated and (stated or _is_urdf(path)):
        reason += f'; --mesh-scale {scale:g} is taken {"on top" if _is_urdf(path) else "instead"}'
    if axes == FILE_AXES and has_y_up(path) and not _fits_better_than_turned(parts, model):
        reason += f'; its y axis points up: --mesh-axes={_Y_UP_AXES} turns it'
    return f'{path}: {mesh} m forward, left, up ({reason}), with keypoints over {keypoints} m'


def _fits_better_than_turned(parts: list[Part], model: ObjectModel) -> bool:
    """Tell whether the keypoints lie clearly nearer to the surface of the mesh as it is than with its y axis up."""
    triangles = np.concatenate([part.vertices[part.faces] for part in parts])
    as_it_is, turned = (
        distances_to_surface(mesh, model.model_points).mean()
        for mesh in (triangles, triangles @ axes_rotation(_Y_UP_AXES).T)
    )
    return bool(as_it_is < _CLEARLY * turned)


def _is_urdf(path: Path) -> bool:
    return path.suffix.lower() == '.urdf'


def used_scale(path: str | Path, scale: float | None) -> float:
    """Return the metres per unit of a mesh file, for the `scale` of `load_parts`."""
    if scale is not None or _is_urdf(Path(path)):
        return scale or 1.0
    return stated_unit(Path(path)) or 1.0


def check_against_model(
    parts: list[Part], model: ObjectModel, source: str, scale: float = 1.0, axes: str = FILE_AXES
) -> str:
    """
    Check that the keypoints of the object file can belong to this mesh; return a warning where some hardly do, or ''.

    Args:
        parts: of the mesh [m].
        model: the object.
        source: names the mesh.
        scale: with which the mesh was read, see `load_parts`.
        axes: likewise.

    Raises:
        ConfigError: when they cannot; the text says where the mesh lies, and which scale and axes would fit.
    """
    vertices, points = all_vertices(parts), model.model_points
    low, high = vertices.min(0), vertices.max(0)
    outside = _outside(vertices, points)
    worst = int(outside.argmax())
    spans = ', '.join(f'{axis} {a:.4g} to {b:.4g}' for axis, a, b in zip('xyz', low, high))
    point = ', '.join(f'{v:.4g}' for v in points[worst])
    problem = f'keypoint {model.keypoint_names[worst]} ({point}) lies outside the mesh'
    if _fits(vertices, points):
        doubt = f'{problem}, which spans {spans} m: is it of this object, and are model_points right?'
        return f'warning: {source}: {doubt}' if outside[worst] > _WARNED else ''
    if outside[worst] <= MARGIN:
        problem = 'the mesh is more than ten times as large as its keypoints spread'
    hint = _fitting_change(vertices, points, scale, axes_rotation(axes))
    raise ConfigError(f'{source}: {problem}, which spans {spans} m: {hint}')


def _outside(vertices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return how far (K,) each point lies outside the mesh's box, in sizes of the mesh; <= 0 inside."""
    low, high = vertices.min(0), vertices.max(0)
    return np.maximum(low - points, points - high).max(1) / np.linalg.norm(high - low)


def _fits(vertices: np.ndarray, points: np.ndarray) -> bool:
    return bool(_outside(vertices, points).max() <= MARGIN) and not _much_larger(vertices, points)


def _much_larger(vertices: np.ndarray, points: np.ndarray) -> bool:
    spread = np.linalg.norm(np.ptp(points, 0))
    return bool(len(points) > 1 and np.linalg.norm(np.ptp(vertices, 0)) > 10 * spread > 0)


def _fitting_change(vertices: np.ndarray, points: np.ndarray, scale: float, R_object_file: np.ndarray) -> str:
    """Say which scale and axes would bring the keypoints onto the mesh, read with this scale and these axes."""
    names = [sign + letter for letter in 'xyz' for sign in ('', '-')]
    frames = [('x', 'y', 'z'), *itertools.permutations(names, 3)]
    for factor, frame in itertools.product(LIKELY_SCALES, frames):
        try:
            turn = axes_rotation(','.join(frame))
        except ConfigError:  # an axis twice, or mirrored
            continue
        moved = factor * vertices @ turn.T
        if _fits(moved, points):
            axes = ','.join(_axis_name(row) for row in turn @ R_object_file)
            return f'--mesh-scale {factor * scale:g} --mesh-axes={axes} would fit'
    return (
        'give --mesh-scale, --mesh-axes or --mesh-origin so that the mesh is in metres in the frame of model_points, '
        'or correct model_points'
    )


def _axis_name(direction: np.ndarray) -> str:
    """Return the name of a unit vector along an axis, such as '-y'."""
    axis = int(np.abs(direction).argmax())
    return ('-' if direction[axis] < 0 else '') + 'xyz'[axis]
