"""The built-in submarine against the keypoints of its object file and the proportions in photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('trimesh', reason='trimesh is not installed')

from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.parts import all_vertices
from training.synthetic.geometry.submarine import RING_RADIUS, TUBE_RADIUS, build_submarine

MODEL = ObjectModel.load(Path(__file__).resolve().parents[3] / 'config' / 'submarine')


def named(parts, name: str):
    return [part for part in parts if part.name == name]


@pytest.mark.parametrize('seed', range(6))
def test_keypoints_lie_where_the_object_file_says(seed: int) -> None:
    parts = build_submarine(np.random.default_rng(seed))
    points = dict(zip(MODEL.keypoint_names, MODEL.model_points))
    (dome,) = named(parts, 'dome')
    tip = dome.vertices[dome.vertices[:, 0].argmax()]
    assert tip == pytest.approx(points['head'], abs=1e-9)
    hubs = {name: (points[name]) for name in ('left_engine', 'right_engine', 'bottom_engine')}
    for hub in named(parts, 'hub'):
        middle = (hub.vertices.min(0) + hub.vertices.max(0)) / 2
        distance = {name: np.linalg.norm(middle - point) for name, point in hubs.items()}
        assert min(distance.values()) < 0.010  # the hub reaches farther down than up, and its tape has dents
        hubs.pop(min(distance, key=distance.get))
    assert not hubs


def test_proportions_are_those_of_the_photos() -> None:
    parts = build_submarine(np.random.default_rng(0))
    (hull,) = named(parts, 'hull')
    assert np.ptp(hull.vertices, 0) == pytest.approx((0.326, 2 * TUBE_RADIUS, 2 * TUBE_RADIUS), abs=1e-6)
    for ring in named(parts, 'ring'):
        assert np.ptp(ring.vertices, 0)[:2].max() == pytest.approx(2 * RING_RADIUS, rel=0.1)
    body = all_vertices([part for part in parts if part.belongs])
    assert np.ptp(body, 0)[1] == pytest.approx(2 * (0.14 + RING_RADIUS), abs=0.03)


def test_variants_differ_and_repeat() -> None:
    first, again, other = (all_vertices(build_submarine(np.random.default_rng(seed))) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)


def test_closed_surfaces_face_outwards() -> None:
    for part in build_submarine(np.random.default_rng(1)):
        if part.name in ('rail', 'hub', 'ring', 'arm', 'ballast', 'ear', 'blade', 'cable_loop', 'clip'):
            a, b, c = (part.vertices[part.faces[:, k]] for k in range(3))
            assert np.einsum('ni,ni->', a, np.cross(b, c)) > 0, part.name  # six times the enclosed volume
