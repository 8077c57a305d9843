"""The cases of meshes that people brought: refused in one line, or read from the right place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip('yourdfpy', reason='yourdfpy is not installed')
pytest.importorskip('vtk', reason='vtk is not installed')

from training import synthesize
from training.synthetic.geometry.object_builder import load_parts


@pytest.mark.parametrize(
    ('file', 'facts'),
    [
        ('15-urdf-numbers-traceback/unexpanded.urdf', ('link base', '${h/2}', 'expand it first: xacro')),
        ('15-urdf-numbers-traceback/cyl.urdf', ('link base', '${r}', 'expand it first: xacro')),
        ('15-urdf-numbers-traceback/rgb3.urdf', ('link base', '1,0,0,1', 'spaces between them')),
        ('16-damaged-meshes/lfs.dae', ('is a git-lfs pointer: run git lfs pull',)),
        ('16-damaged-meshes/lfs.obj', ('is a git-lfs pointer: run git lfs pull',)),
        ('16-damaged-meshes/lfs.ply', ('is a git-lfs pointer: run git lfs pull',)),
        ('16-damaged-meshes/lfs.stl', ('is a git-lfs pointer: run git lfs pull',)),
        ('16-damaged-meshes/html.stl', ('is a web page',)),
        ('16-damaged-meshes/cut.stl', ('is cut off: 12 triangles are promised, 5 are there',)),
        ('18-draco-glb/draco.glb', ('Draco-compressed', 'without compression')),
        ('18-draco-glb/mixed_draco.glb', ('Draco-compressed', 'without compression')),
    ],
)
def test_a_mesh_that_cannot_be_drawn_is_refused_in_one_line(shared, tmp_path, capsys, monkeypatch, file, facts):
    monkeypatch.setitem(sys.modules, 'DracoPy', None)  # which reads such files
    path = (shared / 'cases' / file).resolve()
    code = synthesize.main(['--object', str(shared / 'cases/box.yaml'), '--mesh', str(path), '--out', str(tmp_path)])
    line = capsys.readouterr().err.splitlines()[-1]
    assert code == 1
    assert line.startswith(f'error: {path}: ')
    assert all(fact in line for fact in facts), line


def test_a_package_is_the_one_of_that_name(shared: Path) -> None:
    (part,) = load_parts(shared / 'cases/11-package-uri-wrong-mesh/ws/arm_description/urdf/tool.urdf')
    assert part.vertices.max(0) == pytest.approx([0.05] * 3)  # the gripper's; the arm's own base_link is 0.45
