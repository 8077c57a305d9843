"""Tests of inference.faces.face_detector: the regions of an image show every face whole and large enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_pose_ros.inference.faces.face_detector import regions_of
from custom_pose_ros.inference.faces.face_models import DETECTOR

SMALLEST_PX = 50.0
SEEN_PX = 17.5  # in the detector's input; the code aims at 18, the rest is rounding of whole pixels


@given(width=st.integers(16, 4000), height=st.integers(16, 4000), data=st.data())
def test_every_face_lies_in_a_region_in_which_it_is_large_enough(width, height, data):
    size = data.draw(st.floats(SMALLEST_PX, max(SMALLEST_PX, min(width, height))))
    if size > min(width, height):
        return  # does not fit into the image
    left = data.draw(st.floats(0, width - size))
    top = data.draw(st.floats(0, height - size))

    def shows(region) -> bool:
        x, y, w, h = region
        whole = x <= left and y <= top and left + size <= x + w and top + size <= y + h
        return whole and size * DETECTOR.size_px / max(w, h) >= SEEN_PX

    assert any(shows(region) for region in regions_of(width, height, SMALLEST_PX))


@pytest.mark.parametrize(('width', 'height', 'count'), [(320, 240, 1), (640, 480, 3), (1920, 1080, 18)])
def test_number_of_regions(width, height, count):
    """Each costs one run of the network; one for a small image, two more for the halves of VGA."""
    regions = regions_of(width, height, SMALLEST_PX)
    assert len(regions) <= count
    assert regions[0] == (0, 0, width, height)
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in regions)
