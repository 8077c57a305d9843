"""On which pixels labels lie: every EXIF orientation, every tool, every stated size; what is not certain is refused."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.placement import bring_inside, place
from custom_pose_ros.core.labels.raw_labels import REFUSED, REPAIRED, STORED, TURNED, TURNED_WITH_SIZE
from custom_pose_ros.core.pictures import Picture

UNKNOWN = ''
QUARTER, SAME_SIZE = (5, 6, 7, 8), (2, 3, 4)
FILE, SHOWN, NONE = (120, 80), (80, 120), (0, 0)  # sizes of a picture turned by a quarter


def picture(orientation, size=FILE):
    return Picture(np.zeros((size[1], size[0], 3), np.uint8), orientation)


@pytest.mark.parametrize('orientation', QUARTER)
@pytest.mark.parametrize(
    ('exif', 'stated', 'wanted'),
    [
        (UNKNOWN, SHOWN, SHOWN),  # a tool that states the turned size obeyed EXIF
        (TURNED, SHOWN, SHOWN),
        (TURNED, FILE, SHOWN),  # Label Studio: size of the file, points on the turned picture
        (TURNED, NONE, SHOWN),
        (TURNED_WITH_SIZE, SHOWN, SHOWN),
        (TURNED_WITH_SIZE, NONE, SHOWN),
        (STORED, FILE, FILE),  # coco-annotator
        (STORED, NONE, FILE),
    ],
)
def test_certain_pictures_turned_by_a_quarter(orientation, exif, stated, wanted):
    found = place(picture(orientation), stated, exif)
    assert (found.width, found.height) == wanted
    assert found.upright == (wanted == SHOWN)
    assert found.factors == (1, 1)
    assert bool(found.repair) == (stated == FILE or wanted == FILE)


@pytest.mark.parametrize('orientation', QUARTER)
@pytest.mark.parametrize(
    ('exif', 'stated'), [(UNKNOWN, FILE), (UNKNOWN, NONE), (STORED, SHOWN), (TURNED_WITH_SIZE, FILE)]
)
def test_pictures_turned_by_a_quarter_are_refused_where_that_is_not_certain(orientation, exif, stated):
    with pytest.raises(DatasetError, match=f'has EXIF orientation {orientation}, and .*--exif turned.*--exif stored'):
        place(picture(orientation), stated, exif)


@pytest.mark.parametrize(
    ('orientation', 'size'), [*((o, FILE) for o in SAME_SIZE), *((o, (90, 90)) for o in (*QUARTER, *SAME_SIZE))]
)
def test_where_the_size_says_nothing_the_tool_must_be_known(orientation, size):
    for known in (TURNED, TURNED_WITH_SIZE):
        assert place(picture(orientation, size), size, known).upright
    assert not place(picture(orientation, size), size, STORED).upright
    with pytest.raises(DatasetError, match='does not tell whether'):
        place(picture(orientation, size), size, UNKNOWN)


def test_nearly_square_pictures_are_as_square_ones():
    """Rounding hides which of both sizes was scaled."""
    with pytest.raises(DatasetError, match='does not tell whether'):
        place(picture(6, (400, 399)), (200, 200), UNKNOWN)


@pytest.mark.parametrize('exif', [UNKNOWN, TURNED, STORED])
def test_pictures_that_are_not_turned_need_no_tool(exif):
    assert place(picture(1), FILE, exif) == (*FILE, (1, 1), True, '')
    assert place(picture(1), NONE, exif) == (*FILE, (1, 1), True, '')


def test_labels_of_another_size_are_scaled_in_the_frame_they_lie_in():
    found = place(picture(6), (60, 40), TURNED)  # stated as the file lies, half as large
    assert (found.width, found.height, found.factors) == (*SHOWN, (2, 2))
    assert 'labelled at 40 x 60, is 80 x 120: labels scaled' in found.repair
    assert place(picture(8), (60, 40), STORED)[:3] == (*FILE, (2, 2))
    assert place(picture(1), (240, 160), UNKNOWN)[:3] == (*FILE, (0.5, 0.5))


def test_labels_of_another_shape_are_refused():
    for exif, orientation in ((UNKNOWN, 1), (TURNED, 6), (STORED, 6)):
        with pytest.raises(DatasetError, match='labels are for 77 x 50 px, the file has'):
            place(picture(orientation), (77, 50), exif)


def test_shares_belong_to_the_picture_that_was_shown():
    assert place(picture(6), SHOWN, TURNED_WITH_SIZE, relative=True)[:4] == (*SHOWN, SHOWN, True)
    assert place(picture(6), NONE, TURNED_WITH_SIZE, relative=True).factors == SHOWN
    assert place(picture(1), (240, 160), TURNED_WITH_SIZE, relative=True).factors == FILE
    assert place(picture(6), FILE, TURNED, relative=True).factors == SHOWN  # somebody says so
    with pytest.raises(DatasetError, match='does not tell'):  # a browser that does not turn, or a model's proposals
        place(picture(6), FILE, TURNED_WITH_SIZE, relative=True)
    with pytest.raises(DatasetError, match='labels are for 77 x 50 px'):
        place(picture(1), (77, 50), TURNED, relative=True)


def outside(*points):
    """Return points of an image of 100 x 60 px, and what was said about them."""
    array = np.array([(50, 50, 2), *points], float)
    return array[1:], bring_inside(array, 100, 60, ['seen', 'a', 'b', 'c'])


def test_points_just_outside_are_moved_onto_the_border():
    points, said = outside((-0.4, 5, 2), (99.9, 59, 2), (-50, -50, 0))
    np.testing.assert_array_equal(points, [[0, 5, 2], [99, 59, 2], [-50, -50, 0]])
    assert said == [(REPAIRED, '1 points just outside moved onto the border')]  # half a pixel: corner or centre


def test_points_that_somebody_guessed_outside_are_not_labelled():
    points, said = outside((105, 5, 1), (30, -8, 2))
    np.testing.assert_array_equal(points[:, 2], [0, 0])
    text = 'lies outside of the image of 100 x 60 px: taken as not labelled'
    assert said == [(REPAIRED, f'a at (105, 5) {text}'), (REPAIRED, f'b at (30, -8) {text}')]


def test_points_far_outside_are_refused_and_those_of_which_all_are():
    _, said = outside((105, 5, 2), (300, 5, 1))
    assert [(kind, text[:14]) for kind, text in said] == [(REFUSED, 'a at (105, 5) '), (REFUSED, 'b at (300, 5) ')]
    assert bring_inside(np.array([[105.0, 5, 2]]), 100, 60, ['a'])[0][0] == REFUSED
