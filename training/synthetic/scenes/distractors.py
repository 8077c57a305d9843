"""Solid things that are not the object: random shapes around it, and hands that hold it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from trimesh import Trimesh
from trimesh.creation import box, torus

from training.synthetic.geometry.parts import Material, Part
from training.synthetic.geometry.shapes import annulus, blob, cone, cylinder, plate, spline, tube
from training.synthetic.rendering import rooms

PATTERN_FACES = 1500  # a mesh is divided into this many faces at least, which carry its pattern
HAND_LIMITS = (0.2, 2.5)  # shortest and longest hand, in sizes of the object
SKIN = tuple(color[::-1] for color in rooms.SKIN)  # RGB
GLOVES = ((0.10, 0.10, 0.12), (0.15, 0.35, 0.75), (0.92, 0.92, 0.90))


def sample_distractor(rng: np.random.Generator, size: float, pattern_probability: float = 0.0) -> Part:
    """Return a random solid of about `size` metres, centred at the origin."""
    kind = rng.choice(['box', 'plate', 'cylinder', 'cone', 'torus', 'ring', 'blob', 'cord'])
    meshes = {
        'box': lambda: box(size * rng.uniform(0.15, 1, 3)),
        'plate': lambda: plate(_star(rng, size / 2), size * 0.02),
        'cylinder': lambda: cylinder(size * rng.uniform(0.05, 0.4), size * rng.uniform(0.3, 1), 28),
        'cone': lambda: cone(size * rng.uniform(0.1, 0.4), size * rng.uniform(0.4, 1)),
        'torus': lambda: torus(size * 0.4, size * rng.uniform(0.02, 0.12), 40, 12),
        'ring': lambda: annulus(size * rng.uniform(0.32, 0.42), size * 0.45, size * rng.uniform(0.05, 0.4), 40),
        'blob': lambda: blob(size / 2 * rng.uniform(0.4, 1, 3), 0.2, rng),
        'cord': lambda: tube(spline(rng.uniform(-1, 1, (5, 3)) * size, 50), size * rng.uniform(0.01, 0.04)),
    }
    mesh = meshes[str(kind)]()
    material = Material(
        tuple(_color(rng)), rng.uniform(0.1, 0.9), reflectivity=rng.choice([0, 0, 0.3]), grain=rng.choice([0, 0.4])
    )
    if rng.random() >= pattern_probability:
        return Part.from_mesh(str(kind), mesh, material)
    while len(mesh.faces) < PATTERN_FACES:
        mesh = mesh.subdivide()
    colors = _pattern(rng, mesh.vertices / size)
    plain = Material(tuple(colors.mean(0)), material.roughness, reflectivity=material.reflectivity)
    return Part(str(kind), np.asarray(mesh.vertices), np.asarray(mesh.faces), plain, vertex_colors=colors)


def _color(rng) -> np.ndarray:
    return np.clip(rng.uniform(0.02, 0.95) + rng.uniform(-0.4, 0.4, 3) * rng.random(), 0.01, 0.98)


def _pattern(rng, points: np.ndarray) -> np.ndarray:
    """Return colours (V, 3) of stripes, squares or blots at points (V, 3) of a thing of size 1."""
    waves = np.sin(points @ rng.normal(0, rng.uniform(6, 25), (3, 2)) + rng.uniform(0, 6, 2))
    kind = rng.integers(3)
    share = (waves[:, 0] > 0) if kind == 0 else (waves.prod(1) > 0) if kind == 1 else (waves.sum(1) > 0.4)
    return np.where(share[:, None], _color(rng), _color(rng))


def _star(rng, radius: float) -> np.ndarray:
    """Return a star-shaped outline (n, 2), counter-clockwise."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 9)))
    return radius * rng.uniform(0.5, 1, (len(angles), 1)) * np.c_[np.cos(angles), np.sin(angles)]


def sample_hand(
    rng: np.random.Generator, settings: SimpleNamespace, surface: np.ndarray, object_size: float
) -> list[Part]:
    """
    Return a hand and its arm that hold the object at a random place of its outline.

    Args:
        rng: source of the random numbers.
        settings: the group `distractors`.
        surface: (N, 3) points on the object, in the camera frame [m].
        object_size: [m].
    """
    length = float(np.clip(rng.uniform(*settings.hand_m), *np.multiply(HAND_LIMITS, object_size)))
    angle = rng.uniform(0, 2 * np.pi)
    frame = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    local = surface @ frame.T  # x out of the object, y across, z away from the camera
    at = rng.choice(local)[1]
    row = local[np.abs(local[:, 1] - at) < 0.1 * length]
    edge = row[row[:, 0].argmax()]
    skin = Material(_skin(rng), rng.uniform(0.5, 0.8), grain=0.06)
    sleeve = skin if rng.random() < 0.5 else Material(tuple(_color(rng)), 0.9, grain=0.2, wrinkle=0.4)
    fingers_in_front = rng.random() < 0.6
    meshes = [
        _finger(rng, local, edge, length, offset, fingers_in_front)
        for offset in (np.arange(4) - 1.5) * 0.115 + rng.normal(0, 0.012, 4)
    ]
    meshes.append(_finger(rng, local, edge, length, rng.uniform(-0.35, 0.35), not fingers_in_front))
    palm = blob(length * np.array([0.26, 0.25, 0.10]), 0.05, rng)
    meshes.append(palm.apply_translation(edge + length * np.array([0.32, 0, 0])))
    bend = edge + length * np.array([
        [0.45, 0, 0],
        [0.9, rng.uniform(-0.1, 0.1), 0.1],
        [2.6, rng.uniform(-0.8, 0.8), 0.6],
    ])
    parts = [Part.from_mesh('hand', mesh, skin) for mesh in meshes]
    parts.append(Part.from_mesh('arm', tube(spline(bend, 16), 0.15 * length, 0.8, 16), sleeve))
    return [part.moved(frame.T) for part in parts]


def _skin(rng) -> tuple[float, ...]:
    """Return the colour of a hand, bare or in a glove."""
    colors = GLOVES if rng.random() < 0.1 else SKIN
    return tuple(np.clip(np.array(colors[rng.integers(len(colors))]) * rng.uniform(0.85, 1.1), 0, 1))


def _finger(rng, local: np.ndarray, edge: np.ndarray, length: float, offset: float, in_front: bool) -> Trimesh:
    """Return one finger from the palm, around the edge, to a tip that rests on the object's front or back."""
    radius = length * rng.uniform(0.042, 0.052)
    reach = length * rng.uniform(0.06, 0.42)
    y = edge[1] + offset * length
    near = (np.abs(local[:, 1] - y) < 2 * radius) & (local[:, 0] > edge[0] - reach - radius)
    depths = local[near, 2] if near.any() else edge[2:]
    rest = depths.min() - 1.1 * radius if in_front else depths.max() + 1.1 * radius
    points = [
        (edge[0] + 0.35 * length, edge[1] + 0.8 * offset * length, edge[2]),
        (edge[0] + 0.10 * length, y, edge[2] + 0.8 * (rest - edge[2])),
        (edge[0] - 0.5 * reach, y, rest),
        (edge[0] - reach, y + rng.uniform(-0.04, 0.04) * length, rest),
    ]
    return tube(spline(points, 14), radius, 0.9, 10)
