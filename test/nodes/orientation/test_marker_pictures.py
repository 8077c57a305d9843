"""What somebody sees of the markers, drawn by VTK with the rules of RViz: colours, and a label that can be read."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovariance
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.nodes.orientation.markers import orientations_to_markers
from custom_pose_ros.nodes.ros.conversions import Orientation, OrientationArray, rigid_pose_message
from training.synthetic.rendering.gl_probe import missing_requirement

rviz_pictures = pytest.importorskip('rviz_pictures', reason='vtk is missing: run `make test`')

SIZE = 400  # px, both ways; the view is 45 degrees high
MODEL = ObjectModel.load('submarine')
COVARIANCE = np.diag([1e-6] * 3 + [1e-2, 4e-3, 2e-2])  # the cones are some 15 degrees wide
ATTITUDES = [(-167, -34, -118), (30, 20, 60), (0, 0, 0), (90, 80, -45)]  # roll, pitch, yaw [deg]


@pytest.fixture(scope='module', autouse=True)
def gl() -> None:
    if line := missing_requirement():
        pytest.skip(line)


def markers_at(attitude: tuple[int, ...], ambiguity: float = 0.0, track_id: int = 0) -> dict[str, Marker]:
    """Return the markers of a submarine 1.8 m in front of the camera, by namespace."""
    angles = np.deg2rad(np.array(attitude, float))
    pose = Rigid(matrix_from_roll_pitch_yaw(angles), np.array([0.1, 0.2, 1.8]))
    orientation = Orientation(
        object_name='submarine', track_id=track_id, ambiguity=ambiguity,
        pose=PoseWithCovariance(pose=rigid_pose_message(pose), covariance=COVARIANCE.ravel()),
        **dict(zip(('roll', 'pitch', 'yaw'), angles.tolist())),
    )  # fmt: skip
    message = OrientationArray(header=Header(frame_id='camera'), orientations=[orientation])
    return {marker.ns: marker for marker in orientations_to_markers(message, MODEL, optical=True).markers}


def drawn(*markers: Marker) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture and a mask of what is in it."""
    picture = rviz_pictures.draw(markers, SIZE, SIZE)
    return picture, np.abs(picture.astype(int) - rviz_pictures.BACKGROUND).max(2) > 3


@pytest.mark.parametrize('attitude', ATTITUDES)
@pytest.mark.parametrize(('ambiguity', 'strong', 'weak'), [(0.0, 1, 0), (1.0, 0, 1)], ids=['green', 'orange'])
def test_cones_have_the_colour_of_the_ambiguity_from_every_side(attitude, ambiguity, strong, weak) -> None:
    picture, mask = drawn(markers_at(attitude, ambiguity)['rotation_region'])
    seen = picture[mask].astype(int)
    assert len(seen) > 2000  # of 160,000: three cones
    assert (seen[:, strong] > seen[:, weak] + 20).all()  # nothing black or grey in them
    assert (seen[:, strong] > rviz_pictures.BACKGROUND[strong] + 20).all()


def test_triangles_without_colours_of_their_own_would_be_black() -> None:
    """The stand-in for RViz knows its rule; otherwise the test above would prove nothing."""
    cones = markers_at(ATTITUDES[0])['rotation_region']
    cones.colors = []
    picture, mask = drawn(cones)
    assert (picture[mask].max(1) < max(rviz_pictures.BACKGROUND)).mean() > 0.1


@pytest.mark.parametrize('attitude', ATTITUDES)
def test_the_label_is_beside_the_object_and_whole(attitude) -> None:
    markers = markers_at(attitude)
    label = markers.pop('label')
    del markers['position_region'], markers['rotation_region']  # 95 % of what could be, not the object
    _, of_label = drawn(label)
    _, of_object = drawn(*markers.values())
    rows, columns = (np.flatnonzero(of_label.any(axis)) for axis in (1, 0))
    assert 0 < rows[0] < rows[-1] < np.flatnonzero(of_object.any(1))[0]  # above all of it, and in the picture
    assert 0 < columns[0] < columns[-1] < SIZE - 1
    # One block of four lines: within a line no gap is wider than a letter. It used to be torn over the whole view.
    letter = label.scale.z / label.pose.position.z * SIZE / 2 / np.tan(np.deg2rad(22.5))
    assert letter > 8  # px, in a small window
    assert np.diff(columns).max() <= letter
    assert len(rows) and rows[-1] - rows[0] < 7 * letter
    assert columns[-1] - columns[0] < 11 * letter  # 'submarine_0'


def test_a_blank_would_tear_the_label() -> None:
    """As for the colours: otherwise the test above would prove nothing."""
    label = markers_at(ATTITUDES[0])['label']
    label.text = label.text.replace('_', ' ')
    _, mask = drawn(label)
    assert np.diff(np.flatnonzero(mask.any(0))).max() > SIZE / 4
