"""Faults of the camera: silence, other sizes and encodings, damaged files, stamps that are no time."""

from __future__ import annotations

import array
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.nodes.ros import diagnostics
from custom_pose_ros.nodes.ros.conversions import bgr_to_image


def test_the_camera_stops_and_returns(rig, monkeypatch) -> None:
    monkeypatch.setattr(diagnostics, 'SILENT_AFTER_S', 0.5)
    monkeypatch.setattr(diagnostics, 'STALE_AFTER_S', 2.0)

    def told(level: bytes, text: str) -> bool:
        found = (s for m in list(rig.diagnostics) for s in m.status if s.name.startswith(rig.graph.namespace[1:]))
        return any(s.level == level and text in s.message and 'pose_node' in s.name for s in found)

    rig.graph.wait(lambda: told(DiagnosticStatus.OK, 'running'), 'the nodes to be well')
    good, rig.make = rig.make, lambda: None
    rig.assert_no_answers()
    text = f'{rig.graph.namespace}/tester publishes {rig.graph.namespace}/image, but nothing comes'
    rig.graph.wait(lambda: told(DiagnosticStatus.STALE, text), text)
    rig.assert_recovers(lambda: setattr(rig, 'make', good))
    rig.graph.wait(lambda: told(DiagnosticStatus.WARN, 'running; until'), 'the warning that it was stale')


def test_the_publisher_of_the_camera_goes_and_another_one_comes(rig) -> None:
    publisher = rig._images
    rig.make = lambda: None
    rig.assert_no_answers()
    rig.graph.tester.destroy_publisher(publisher)

    def come_back() -> None:
        rig._images = rig.graph.advertise('image', Image, 5)
        rig.make = lambda: bgr_to_image(rig.picture, Header())

    rig.assert_recovers(come_back)


def test_the_resolution_changes_and_changes_back(rig) -> None:
    for width, height in [(640, 512), (240, 192), (320, 256)]:
        picture = rig.draw(width, height)
        rig.assert_recovers(lambda p=picture: setattr(rig, 'make', lambda: bgr_to_image(p, Header())))
    wide = rig.draw(320, 128)  # of another shape than the calibration
    good, rig.make = rig.make, lambda: bgr_to_image(wide, Header())
    rig.assert_refused('calibration is for 320x256 and the image has 320x128')
    rig.assert_no_answers()
    rig.assert_recovers(lambda: setattr(rig, 'make', good))


def test_the_encoding_changes_and_changes_back(rig) -> None:
    bgr = rig.picture

    def message(encoding: str, pixels: np.ndarray) -> Image:
        image = bgr_to_image(bgr, Header())
        image.encoding, image.step = encoding, pixels[0].nbytes
        image.data = array.array('B', pixels.tobytes())
        return image

    for encoding, pixels in [('rgb8', bgr[..., ::-1].copy()), ('bgra8', cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA))]:
        rig.assert_recovers(lambda e=encoding, p=pixels: setattr(rig, 'make', lambda: message(e, p)))
    rig.make = lambda: message('32FC1', bgr)
    rig.assert_refused('image encoding 32FC1 looks like depth')
    rig.assert_no_answers()
    rig.assert_recovers(lambda: setattr(rig, 'make', lambda: bgr_to_image(bgr, Header())))


def test_jpegs_are_corrupt_for_a_while(make_rig) -> None:
    rig = make_rig(image_transport='compressed')
    compress, good, file = rig.compress, rig.make, rig.file
    rig.assert_answers()
    for spoilt, text in [
        (file[: len(file) // 2], 'is cut off, wanted a complete jpeg, png or webp'),
        (file[:60] + bytes(len(file) - 100) + file[-40:], 'is damaged, wanted a complete jpeg, png or webp'),
        (b'', 'wanted a jpeg, png or webp file'),
    ]:
        rig.make = lambda data=spoilt: compress(data)
        rig.assert_refused(text)
        rig.assert_recovers(lambda: setattr(rig, 'make', good))


@pytest.mark.parametrize(
    'stamp',
    [
        pytest.param(lambda: 0, id='zero'),
        pytest.param(lambda: 10**18 - time.time_ns() % 10**15, id='backwards'),
        pytest.param(lambda: time.time_ns() + 10**17, id='future'),
        pytest.param(lambda: (time.time_ns() // 10**8 % 2) * 2 * 10**18, id='jumping'),
    ],
)
def test_stamps_are_no_time_for_a_while(rig, stamp) -> None:
    good = rig.stamp
    rig.stamp = stamp
    rig.assert_answers(time.monotonic())  # every frame is answered all the same
    time.sleep(0.5)
    assert rig.refusals('') == 0
    rig.assert_recovers(lambda: setattr(rig, 'stamp', good))
    for _, answer in rig.answers[-3:]:
        for orientation in answer.orientations:
            assert np.isfinite(orientation.pose.covariance).all()
