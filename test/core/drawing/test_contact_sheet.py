"""Contact sheets: marks lie where the labels are, in rows of four below a legend; small objects are cut out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.drawing import contact_sheet
from custom_pose_ros.core.drawing.contact_sheet import TILE, draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import OutputError

BLUE, GREEN, RED = range(3)  # the colours of three keypoints are red, green and blue
POINTS = np.array([[100.0, 100.0, 2], [500.0, 400.0, 1], [200.0, 400.0, 0]])  # so far apart that nothing is cut off


def centre(values: np.ndarray) -> np.ndarray:
    """Return x and y of the centre of gravity of one channel."""
    rows, columns = np.indices(values.shape)
    return np.array([(columns * values).sum(), (rows * values).sum()]) / values.sum()


def test_marks_lie_where_the_labels_are():
    tile = draw_tile(np.zeros((480, 640, 3), np.uint8), [POINTS])
    np.testing.assert_allclose(centre(tile[..., RED]), [49.75, 49.75], atol=0.1)  # (100 + 0.5) / 2 - 0.5
    np.testing.assert_allclose(centre(tile[..., GREEN]), [249.75, 199.75], atol=0.1)
    assert tile[50, 50].any() and not tile[200, 250].any()  # a seen keypoint has a dot inside, a hidden one has not
    assert not tile[..., BLUE].any()  # the third keypoint is absent


def test_found_points_skeleton_and_box_are_drawn_on_any_shape():
    tall = np.zeros((960, 320, 3), np.uint8)
    found = np.array([[40.0, 40.0, 1], [80.0, 40.0, 0], [120.0, 840.0, 1]])
    tile = draw_tile(tall, [], [found], title='a')
    assert tile.shape == (TILE[1], TILE[0], 3)
    np.testing.assert_allclose(centre(tile[:100, :, RED]), [9.6, 9.6], atol=0.5)  # a quarter of the size, whole pixels
    assert not tile[:100, :, GREEN].any()
    assert (draw_tile(tall, [POINTS / (2, 1, 1)], skeleton=[(0, 1)]) > 80).all(-1).sum() > 30
    assert (draw_tile(tall, [], boxes=[(40, 40, 280, 880)]) > 80).all(-1).sum() > 200


def test_an_object_that_is_small_in_the_picture_fills_the_tile():
    small = np.array([[600.0, 40.0, 2], [635.0, 60.0, 2], [620.0, 70.0, 2]])
    tile = draw_tile(np.zeros((480, 640, 3), np.uint8), [small])
    marks = np.array([centre(tile[..., channel]) for channel in (RED, GREEN, BLUE)])
    np.testing.assert_allclose(marks[1:] - marks[0], 3.0 * (small[1:, :2] - small[0, :2]), atol=1.0)  # the most
    apart = small[:, :2] + (-300.0, 200.0)
    tile = draw_tile(np.zeros((480, 640, 3), np.uint8), [small], [np.column_stack([apart, np.full(3, 2)])])
    assert tile[20, 300].any() and tile[120, 150].any()  # what was found far away is shown: half of the whole image


def test_marks_have_an_outline_that_tells_them_from_print_of_their_colour():
    white = np.full((480, 640, 3), 255, np.uint8)
    tile = draw_tile(white, [POINTS], skeleton=[(0, 1)])
    assert (tile[125, 140:160] < 80).all(-1).sum() >= 2  # both sides of the line, in the middle between its ends


@pytest.mark.parametrize(('count', 'rows'), [(0, 1), (4, 1), (5, 2)])
def test_tiles_stand_in_rows_of_four(tmp_path, count, rows):
    write_contact_sheet(tmp_path / 'sheet.png', [np.zeros((TILE[1], TILE[0], 3), np.uint8)] * count, ['nose', 'tail'])
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[1] == 4 * TILE[0]
    assert sheet.shape[0] == 2 * 22 + rows * TILE[1]
    assert sheet[:22].any() and sheet[22:44].any()  # key of the marks, and the colours of the keypoints


def test_a_sheet_of_frames_without_labels_has_no_key_of_rings(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(
        contact_sheet, '_legend', lambda shown: (texts.append(shown), np.zeros((22, 4 * TILE[0], 3)))[1]
    )
    for rings in ('proposed', ''):
        write_contact_sheet(tmp_path / 'sheet.png', [], ['nose'], rings)
    assert texts[0][0][0].startswith('ring: proposed, with a dot')
    assert texts[2] == [('frames without labels', (255, 255, 255))]


def test_a_sheet_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OutputError, match=r'sheet\.png'):
        write_contact_sheet(tmp_path / 'file' / 'sheet.png', [], [])
