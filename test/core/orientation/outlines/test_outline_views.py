"""The file of an object's outline: written and read back, its nearest view, and what is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile

import numpy as np
import outlined_box
import pytest

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import OUTLINE, SIZE_ERROR, OutlineViews


@pytest.fixture
def views() -> OutlineViews:
    return outlined_box.box_views(40)


def test_what_is_written_is_read_back(views, tmp_path):
    views = dataclasses.replace(views, size_error=0.002)
    views.save(tmp_path / 'outline.npz')
    again = OutlineViews.load(tmp_path / 'outline.npz')
    assert again.model.to_dict() == views.model.to_dict()
    assert again.size_error == 0.002
    for name in ('centre', 'directions', 'starts', 'points', 'normals', 'room', 'kinds'):
        np.testing.assert_array_equal(getattr(again, name), getattr(views, name))


def test_the_view_is_the_nearest_and_its_lines_are_those_of_the_outline_first(views):
    camera_object = outlined_box.TILTED
    lines = views.seen_in(camera_object)
    assert (np.diff(lines.kinds.astype(int)) >= 0).all()
    on_edges = np.abs(np.abs(lines.points) - outlined_box.HALF_M) < 1e-5  # int16: 0.17 m / 32767 = 5 um
    assert (on_edges.sum(1) >= 2).all()
    outline = lines.points[lines.kinds == OUTLINE]
    assert len(outline) == 120  # six edges bound a cuboid seen from anywhere but square on


@pytest.mark.parametrize('change', ['points', 'keypoints'])
def test_the_outline_of_another_object_is_refused(views, change):
    content = views.model.to_dict()
    if change == 'points':
        content['model_points']['corner_0'] = [0.0, 0.0, 0.0]
    else:
        content = json.loads(json.dumps(content).replace('corner_3', 'other'))
    with pytest.raises(ModelError, match=r'was made for box with .*make it again for .* with training/outline.py'):
        views.check_fit(ObjectModel.from_dict(content), 'outline.npz')


def test_a_file_that_states_no_size_error_has_the_usual_one(views, tmp_path):
    path = tmp_path / 'outline.npz'
    dataclasses.replace(views, size_error=0.002).save(path)
    with np.load(path) as content:
        arrays = dict(content)
    about = json.loads(str(arrays['about']))
    del about['size_error']
    np.savez(path, **{**arrays, 'about': np.array(json.dumps(about))})
    assert OutlineViews.load(path).size_error == SIZE_ERROR


def damaged(views: OutlineViews, path, **changes) -> None:
    dataclasses.replace(views, **changes).save(path)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'points': np.zeros((3, 3), np.int16)}, 'points is int16'),
        ({'directions': np.full((40, 3), np.nan, np.float32)}, 'impossible values'),
        ({'radius': -1.0}, 'impossible values'),
        ({'size_error': 0.0}, 'size_error is 0'),
        ({'size_error': float('nan')}, 'size_error is nan'),
        ({'starts': np.zeros(41, np.int64)}, 'views do not fit'),
    ],
)
def test_a_damaged_outline_is_refused(views, tmp_path, changes, reason):
    path = tmp_path / 'outline.npz'
    damaged(views, path, **changes)
    with pytest.raises(ModelError, match=f'outline.npz: is damaged or not an outline; make it again.*{reason}'):
        OutlineViews.load(path)


def test_what_is_no_outline_is_refused(views, tmp_path):
    path = tmp_path / 'outline.npz'
    with pytest.raises(ModelError, match=r'cannot be read .*training/outline.py makes it'):
        OutlineViews.load(path)
    for content in (b'PK\x03\x04 no archive', b'version https://git-lfs.github.com/spec/v1\n'):
        path.write_bytes(content)
        with pytest.raises(ModelError, match='outline.npz: is '):
            OutlineViews.load(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(ModelError, match='damaged or not an outline'):
        OutlineViews.load(path)
    views.save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ModelError, match='damaged or not an outline'):
        OutlineViews.load(path)


def test_any_wrong_bit_is_refused_in_one_line_or_does_not_matter(views, tmp_path):
    path = tmp_path / 'outline.npz'
    views.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            OutlineViews.load(path)
        except ModelError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused > 200


def test_lists_within_lists_are_refused(views, tmp_path):
    path = tmp_path / 'outline.npz'
    np.savez(path, about=np.array('[' * 200_000))
    with pytest.raises(ModelError, match='damaged or not an outline'):
        OutlineViews.load(path)


def test_a_file_that_unpacks_to_more_than_any_outline_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / 'outline.npz'
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '|u1', 'fortran_order': False, 'shape': (1 << 28,)})
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('kinds.npy', header.getvalue() + bytes(1 << 28))
    with pytest.raises(ModelError, match='unpacks to more than'):
        OutlineViews.load(path)


def test_a_camera_inside_of_the_object_has_a_view_all_the_same(views):
    assert len(views.seen_in(Rigid(np.eye(3), np.zeros(3))).kinds)


def test_edges_beside_a_face_that_is_seen_almost_edge_on_are_elsewhere_in_neighbouring_views():
    views = outlined_box.box_views(300)  # 12 degrees apart
    slightly, squarely = np.deg2rad([85.0, 50.0])  # from the normal of the long face, about z

    def shift(angle: float) -> np.ndarray:
        """Return the shifts of the outline, for a camera above the front face."""
        direction = np.array([np.cos(angle), np.sin(angle), 0.6])
        x = np.cross([0.0, 0.0, 1.0], -direction)
        R = np.stack([x / np.linalg.norm(x), np.cross(-direction, x) / np.linalg.norm(x) / 1.17, -direction / 1.17])
        lines = views.seen_in(Rigid(R, np.array([0.0, 0.0, 0.8])))
        return lines.shift[lines.kinds == OUTLINE]

    assert shift(slightly).max() > 0.01
    assert np.median(shift(squarely)) < 1e-3


def test_a_file_of_another_version_is_refused_by_its_format(views, tmp_path):
    path = tmp_path / 'outline.npz'
    views.save(path)
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files if name != 'shift'}  # as format 1 had it
    about = json.loads(str(arrays.pop('about'))) | {'format': 1}
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(
        ModelError, match=r'another version \(format 1, this one reads 2\); make it again with training/outline.py'
    ):
        OutlineViews.load(path)
