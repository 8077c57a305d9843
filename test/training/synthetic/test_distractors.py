"""Things that are not the object: hands that hold it, and patterns."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from training.synthetic.geometry.parts import Material, Part, all_vertices, surface_points
from training.synthetic.scenes.distractors import sample_distractor, sample_hand
from training.synthetic.settings import load_settings

SETTINGS = load_settings().distractors


@pytest.mark.parametrize('seed', range(6))
def test_a_hand_holds_the_object_and_its_arm_leaves_it(seed: int) -> None:
    cube = Part.from_mesh('cube', box((0.08, 0.08, 0.08)), Material((0.5, 0.5, 0.5)))
    surface = surface_points([cube], 1000) + (0, 0, 0.5)
    hand = sample_hand(np.random.default_rng(seed), SETTINGS, surface, 0.14)
    fingers = all_vertices([part for part in hand if part.name == 'hand'])
    arm = all_vertices([part for part in hand if part.name == 'arm'])
    assert np.isfinite(fingers).all() and np.isfinite(arm).all()
    over = (np.abs(fingers[:, :2]) < 0.05).all(1)  # what is before or behind the object in the picture
    assert over.any() and not over.all()
    between = np.abs(fingers[over, 2] - 0.5) < 0.03
    assert between.mean() < 0.5  # fingers lie on its faces, few of their vertices are within it
    assert np.linalg.norm(arm - (0, 0, 0.5), axis=1).max() > 0.3  # a forearm, not a stump


def test_patterns_have_two_colours() -> None:
    parts = [sample_distractor(np.random.default_rng(seed), 0.1, pattern_probability=1.0) for seed in range(8)]
    colors = [np.unique(part.vertex_colors, axis=0) for part in parts]
    assert all(1 <= len(each) <= 2 for each in colors) and sum(len(each) == 2 for each in colors) >= 6
    assert all(np.ptp(part.vertices, 0).max() < 0.25 for part in parts)
