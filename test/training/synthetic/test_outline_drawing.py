"""Lines taken from drawn views against the geometry of a cuboid, and the command that writes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import outlined_box
import pytest
import yaml

pytest.importorskip('vtk', reason='vtk is not installed')
pytest.importorskip('trimesh', reason='trimesh is not installed')

from trimesh.creation import box

from custom_pose_ros.core.orientation.outlines.outline_views import CREASE, OUTLINE, RISE, SIZE_ERROR, OutlineViews
from training.synthetic.geometry.parts import Material, Part
from training.synthetic.rendering.gl_probe import missing_requirement

MISSING = missing_requirement()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def plain_box() -> Part:
    return Part.from_mesh('box', box(2 * outlined_box.HALF_M), Material((0.8, 0.3, 0.1)))


def test_the_lines_lie_on_the_edges_of_the_object():
    from training.synthetic.output.outline_drawing import OutlineDrawing

    drawing = OutlineDrawing([plain_box()], 6)
    for direction, lines in zip(drawing.directions, drawing.views()):
        # Two coordinates of a point on an edge are those of the corners; a drawn pixel is 0.7 mm here.
        away = np.sort(np.abs(np.abs(lines.points) - outlined_box.HALF_M), axis=1)[:, 1]
        assert np.median(away[lines.kinds == OUTLINE]) < 0.7e-3
        assert away[lines.kinds == CREASE].max(initial=0.0) < 0.7e-3
        assert not (lines.kinds == RISE).any()
        np.testing.assert_allclose(lines.normals @ direction, 0.0, atol=1e-6)
        outwards = (lines.normals * (lines.points - drawing.centre)).sum(1)
        assert (outwards[lines.kinds == OUTLINE] > 0).all()


def test_print_is_found_and_its_normals_point_to_the_brighter_side():
    from training.synthetic.output.outline_drawing import OutlineDrawing

    dark = Part.from_mesh('left', box((0.2, 0.1, 0.01)), Material((0.1, 0.1, 0.1))).moved(translation=(0, -0.05, 0))
    bright = Part.from_mesh('right', box((0.2, 0.1, 0.01)), Material((0.9, 0.9, 0.9))).moved(translation=(0, 0.05, 0))
    drawing = OutlineDrawing([dark, bright], 20)
    above = int((drawing.directions @ [0, 0, 1.0]).argmax())
    lines = list(drawing.views())[above]
    found = lines.kinds == RISE
    assert found.sum() > 30
    assert np.median(np.abs(lines.points[found, 1])) < 0.5e-3
    assert np.median(lines.normals[found, 1]) > 0.9


def test_faint_print_is_left_out_beside_print_that_is_clear():
    """A camera a few times farther away does not see it, and lines that see nothing are no evidence for the rest."""
    from training.synthetic.output.outline_drawing import OutlineDrawing

    def stripe(grey: float, y: float) -> Part:
        return Part.from_mesh('stripe', box((0.2, 0.1, 0.01)), Material((grey,) * 3)).moved(translation=(0, y, 0))

    drawing = OutlineDrawing([stripe(0.1, -0.1), stripe(0.9, 0.0), stripe(0.7, 0.1)], 20)
    above = int((drawing.directions @ [0, 0, 1.0]).argmax())
    lines = list(drawing.views())[above]
    y = lines.points[lines.kinds == RISE, 1]
    assert len(y) > 30
    assert (np.abs(y + 0.05) < 1e-3).all()  # the step from 0.9 to 0.7, at y = 0.05, is a fourth as high


def test_the_command_writes_an_outline_that_belongs_to_the_object(tmp_path: Path, capsys):
    from training.outline import main

    (tmp_path / 'object.yaml').write_text(yaml.safe_dump(outlined_box.MODEL.to_dict()))
    box(2 * outlined_box.HALF_M).export(tmp_path / 'box.stl')
    arguments = ['--object', str(tmp_path), '--mesh', str(tmp_path / 'box.stl'), '--views', '20']
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert 'outline.npz: 20 views' in printed.out
    assert re.search(r'20 views take about \d+ s', printed.err)
    assert 'note: 20 views are 45 degrees apart: between them edges are wrong (--views)' in printed.err
    OutlineViews.load(tmp_path / 'outline.npz').check_fit(outlined_box.MODEL, 'outline.npz')
    assert OutlineViews.load(tmp_path / 'outline.npz').size_error == SIZE_ERROR
    assert main([*arguments, '--size-error', '0.1%']) == 0
    assert 'the size of the mesh within 0.10%' in capsys.readouterr().out
    assert OutlineViews.load(tmp_path / 'outline.npz').size_error == pytest.approx(0.001)
    for text in ('0.1', '%', '20%', '0%', 'nan%'):
        with pytest.raises(SystemExit, match='2'):
            main([*arguments, '--size-error', text])
        assert f"wanted percent from 0.01% to 5%, such as 0.1%, got '{text}'" in capsys.readouterr().err
    assert main([*arguments, '--variant', '3']) == 2
    assert 'leave it out with --mesh' in capsys.readouterr().err


def test_what_is_translucent_has_no_outline():
    from custom_pose_ros.core.errors import DatasetError
    from training.synthetic.output.outline_drawing import OutlineDrawing

    glass = plain_box().with_material(Material((0.5, 0.5, 0.5), opacity=0.2))
    with pytest.raises(DatasetError, match='no part of the mesh is solid'):
        OutlineDrawing([glass], 6)
