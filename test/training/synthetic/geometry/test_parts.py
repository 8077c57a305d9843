"""Which meshes are closed, so that their inner sides need not be drawn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box, uv_sphere
from trimesh.util import concatenate

from training.synthetic.geometry.parts import is_closed


def apart(mesh):
    """Return the mesh with three vertices of its own for each face, as files have them whose faces differ in colour."""
    return mesh.triangles.reshape(-1, 3), np.arange(3 * len(mesh.faces)).reshape(-1, 3)


def beside(mesh, other):
    return concatenate([mesh, other.copy().apply_translation((5, 0, 0))])


def inverted(mesh):
    return type(mesh)(mesh.vertices, mesh.faces[:, ::-1], process=False)


def test_closed_meshes() -> None:
    cube, ball = box((1, 2, 3)), uv_sphere(count=(8, 8))
    for mesh in (cube, ball, beside(cube, ball)):
        assert is_closed(mesh.vertices, mesh.faces)
        assert is_closed(*apart(mesh))
    degenerate = np.vstack([cube.faces, [[0, 0, 1]]])  # a face without area is none
    assert is_closed(cube.vertices, degenerate)


def test_meshes_of_which_an_inner_side_may_be_seen() -> None:
    cube = box((1, 2, 3))
    turned = cube.faces.copy()
    turned[0] = turned[0, ::-1]
    for faces in (cube.faces[1:], turned, cube.faces[:, ::-1], np.vstack([cube.faces, cube.faces[:1]])):
        assert not is_closed(cube.vertices, faces)
    both = beside(cube, inverted(cube))  # the second would vanish
    assert not is_closed(both.vertices, both.faces)
