"""Rigid transforms: chained, inverted, moved and applied, one at a time and in stacks."""

from __future__ import annotations

import numpy as np

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector

RNG = np.random.default_rng(0)
A_B, B_C = (Rigid(matrix_from_rotation_vector(RNG.normal(size=3)), RNG.normal(size=3)) for _ in range(2))
STACK = Rigid(matrix_from_rotation_vector(RNG.normal(size=(4, 3))), RNG.normal(size=(4, 3)))
POINTS = RNG.normal(size=(5, 3))


def test_chained_transforms_are_applied_one_after_the_other():
    np.testing.assert_allclose((A_B @ B_C).apply(POINTS), A_B.apply(B_C.apply(POINTS)), atol=1e-14)
    np.testing.assert_allclose(A_B.apply(POINTS[0]), A_B.rotation @ POINTS[0] + A_B.translation, atol=1e-14)


def test_the_inverse_undoes_it():
    np.testing.assert_allclose(A_B.inverse().apply(A_B.apply(POINTS)), POINTS, atol=1e-14)


def test_a_stack_moves_points_as_its_members_do():
    np.testing.assert_allclose(STACK.apply(POINTS), [STACK.at(i).apply(POINTS) for i in range(4)], atol=1e-14)
    np.testing.assert_array_equal(STACK.at([2, 0]).translation, STACK.translation[[2, 0]])
    for part, same in zip(Rigid.stack(STACK.at(i) for i in range(4)), STACK):
        np.testing.assert_array_equal(part, same)


def test_a_step_leads_from_one_to_the_other():
    moved = A_B.moved(A_B.step_to(B_C))
    np.testing.assert_allclose(moved.rotation, B_C.rotation, atol=1e-14)
    np.testing.assert_allclose(moved.translation, B_C.translation, atol=1e-14)
    steps = RNG.normal(size=(4, 6)) * 0.1
    np.testing.assert_allclose(STACK.moved(steps).at(3).rotation, STACK.at(3).moved(steps[3]).rotation, atol=1e-14)
