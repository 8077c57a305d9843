"""Chooses what is drawn for an object file: the built-in parametric shape of its name, or the user's mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.parts import Material, Part
from training.synthetic.geometry.submarine import build_submarine
from training.synthetic.geometry.user_mesh import check_against_model, load_parts

Builder = Callable[[np.random.Generator], list[Part]]
BUILT_IN: dict[str, Builder] = {'submarine': build_submarine}


def object_size(model: ObjectModel) -> float:
    """Return the diagonal of the box around the object's model_points [m]; 1 for an object of one point."""
    return model.size_m or 1.0


def object_builder(model: ObjectModel, mesh: dict[str, Any] | None) -> Builder:
    """
    Return the function that builds a variant of the object's parts.

    Args:
        model: with complete model_points.
        mesh: arguments of `user_mesh.load_parts`; None for the built-in shape of the object's name.

    Raises:
        ConfigError: when there is neither, or when the shape does not fit the object's model_points.
    """
    if model.model_points is None or np.isnan(model.model_points).any():
        raise ConfigError(
            f'{model.source}: model_points: wanted a position for every keypoint, to know where it is in a picture'
        )
    if mesh is None:
        if model.name not in BUILT_IN:
            raise ConfigError(
                f'{model.source}: no built-in shape is called {model.name!r}: '
                'give --mesh FILE (stl, obj, glb, ply, urdf)'
            )
        builder = BUILT_IN[model.name]
        check_against_model(builder(np.random.default_rng(0)), model, f'built-in shape {model.name}')
        return builder
    parts = load_parts(**mesh)
    check_against_model(parts, model, mesh['path'])
    return lambda rng: [part.with_material(_resurfaced(rng, part.material)) for part in parts]


def _resurfaced(rng: np.random.Generator, material: Material) -> Material:
    """Return the material with another finish: a mesh file seldom says how its surface shines."""
    reflectivity = rng.uniform(0, 0.5) if rng.random() < 0.4 else 0.0
    return replace(
        material,
        roughness=rng.uniform(0.2, 0.9),
        reflectivity=reflectivity,
        grain=rng.uniform(0, 0.4),
        wrinkle=rng.uniform(0, 0.2),
    )
