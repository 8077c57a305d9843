"""The names in the picture of an object: each beside its keypoint, and none over another."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip('vtk', reason='vtk is not installed')

from training.synthetic.output.preview import label_corners

HIGH_PX = 10


def boxes(corners, names):
    """Return left, top, right, bottom of written names [px]."""
    wide = [cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0] for name in names]
    return [(x, y - HIGH_PX, x + w, y) for (x, y), w in zip(corners, wide)]


@pytest.mark.parametrize('step', [(9.0, 0.0), (0.0, 7.0), (6.0, 3.0)], ids=['row', 'column', 'slanted'])
def test_names_of_keypoints_that_lie_close_do_not_overlap(step):
    names = [f'front_left_top_{i}' for i in range(10)]
    pixels = np.array([200.0, 180.0]) + np.outer(np.arange(10) - 5, step)
    shown = boxes(label_corners(pixels, names, pixels, (480, 400)), names)
    for i, (left, top, right, bottom) in enumerate(shown):
        assert left >= 0 and right <= 480 and top >= 0 and bottom <= 400
        for other in shown[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_a_name_stands_beside_its_own_keypoint_and_not_beside_another():
    """At the edge of the picture a name was put to the left of its keypoint, where it ended at the next one."""
    names, pixels = ['right_bottom', 'front_right_bottom'], np.array([[211.0, 313.0], [353.0, 313.0]])
    for own, (left, top, right, bottom) in enumerate(boxes(label_corners(pixels, names, pixels, (480, 400)), names)):
        away = np.linalg.norm(np.clip(pixels, (left, top), (right, bottom)) - pixels, axis=1)
        assert away[own] < 20 < away[1 - own]


def test_a_name_with_room_stands_beside_its_keypoint():
    assert label_corners(np.array([[100.0, 100.0]]), ['bow'], np.array([[100.0, 100.0]]), (480, 400)) == [(108, 96)]
