"""What predict prints and saves, by value."""

import json
import math
from dataclasses import replace

import numpy as np
import outlined_box
import pytest

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.orientation.estimate import OrientationEstimate
from custom_pose_ros.tools.predictions import CocoKeypoints, PictureResult, PictureSequence, format_json, format_table


@pytest.fixture
def result():
    """One instance with the third keypoint missing, turned by 10, 20, 30 degrees."""
    pose = KeypointPose(
        keypoints=np.array([[10.0, 20.0], [110.25, 60.0], [np.nan, np.nan], [50.0, 70.5]]),
        covariances=np.stack([np.eye(2), np.eye(2), np.full((2, 2), np.nan), [[4.0, 1.0], [1.0, 9.0]]]),
        scores=np.array([0.9, 0.8, 0.0, 0.7]),
        visible=np.array([True, True, False, True]),
        score=0.8,
        track_id=3,
    )
    estimate = OrientationEstimate(
        pose=Rigid(matrix_from_roll_pitch_yaw(np.deg2rad([10.0, 20.0, 30.0])), np.array([0.1, -0.2, 1.5])),
        covariance=np.eye(6),
        reprojection_error_px=math.nan,
        ambiguity=0.25,
        track_id=3,
        keypoints_used=4,
    )
    return PictureResult(
        source='dive.mp4', frame=7, stamp_s=0.28, width=320, height=256, poses=[pose], orientations={3: estimate}
    )


class Corners:
    """Finds the corners of the box where they are."""

    model = outlined_box.MODEL

    def __init__(self, motion):
        self.motion, self.frame = motion, 0

    def __call__(self, image, stream=None):
        return [outlined_box.keypoints(self.motion[self.frame], self.frame, track_id=None)]


@pytest.mark.parametrize(
    ('sides', 'remark'), [((1.0, 1.0, 1.0), ''), ((1.6, 0.6, 1.0), 'the image does not show it')], ids=['own', 'other']
)
def test_a_single_picture_is_measured_by_the_outline_on_its_own(sides, remark):
    """It never was, and "over the last second the images did not show it" was the reason."""
    corners, views = Corners([outlined_box.TILTED]), outlined_box.box_views(300, sides)
    sequence = PictureSequence(corners, outlined_box.CAMERA, 'camera_optical', views)
    (estimate,) = sequence.analyse(outlined_box.picture(outlined_box.TILTED), 'box.png').orientations.values()
    assert (estimate.outline_remark, estimate.outline_agreement > 0.7) == (remark, not remark)


def test_a_sequence_is_measured_by_the_outline_and_says_so():
    motion = outlined_box.slow_motion(6)
    corners = Corners(motion)
    sequence = PictureSequence(corners, outlined_box.CAMERA, 'camera_optical', outlined_box.box_views())
    for corners.frame, pose in enumerate(motion):
        image = outlined_box.picture(pose, corners.frame)
        result = sequence.analyse(image, 'box.mp4', corners.frame, 0.1 * corners.frame)
    (told,) = json.loads(format_json(result, outlined_box.MODEL))['poses']
    assert told['orientation']['outline_agreement'] > 0.7
    assert 'outline agrees' in format_table(result, outlined_box.MODEL)
    arguments = image, [], outlined_box.MODEL, list(result.orientations.values()), outlined_box.CAMERA
    drawn = draw_poses(*arguments, outline=outlined_box.box_views())
    white = ((drawn != draw_poses(*arguments)).any(2) & (drawn > 180).all(2)).nonzero()
    corners_px = outlined_box.CAMERA.project(motion[-1].apply(outlined_box.CORNERS))
    assert len(white[0]) > 100
    np.testing.assert_allclose(
        [white[1].min(), white[1].max()], [corners_px[:, 0].min(), corners_px[:, 0].max()], atol=6
    )


def test_table(result, tiny_model):
    lines = format_table(result, tiny_model).splitlines()
    assert lines == [
        'dive.mp4 frame 7 (0.28 s): 320x256 px, 1 x tiny',
        '  tiny 3  score 0.80',
        '    front      10.0     20.0 px  score 0.90',
        '    left      110.2     60.0 px  score 0.80',
        '    right  not found',
        '    top        50.0     70.5 px  score 0.70',
        '    roll    10.0  pitch   20.0  yaw    30.0 deg   ambiguity 0.25',
        '    x      0.100  y     -0.200  z     1.500 m   distance 1.517 m   reprojection nan px',
    ]


def test_the_other_identity_of_an_ambiguous_pose_is_told_in_words_and_numbers(result, tiny_model):
    (pose,) = result.poses
    other = replace(pose, keypoints=pose.keypoints[::-1], visible=pose.visible[::-1], score=0.77)
    estimate = result.orientations[3]
    turned = Rigid(estimate.pose.rotation @ np.diag([-1.0, -1.0, 1.0]), estimate.pose.translation)
    estimate = replace(estimate, ambiguity=0.96, alternative=turned)
    result = replace(result, poses=[replace(pose, alternative=other, ambiguity=0.96)], orientations={3: estimate})
    lines = format_table(result, tiny_model).splitlines()
    assert lines[1] == '  tiny 3  score 0.80  or turned: 0.96'
    assert lines[-1].endswith('deg   0.96 times as likely')
    data = json.loads(format_json(result, tiny_model))['poses'][0]
    assert (data['ambiguity'], data['alternative']['score']) == (0.96, 0.77)
    assert data['alternative']['keypoints'][0]['x_px'] == 50.0
    assert data['orientation']['alternative']['position_m'] == [0.1, -0.2, 1.5]
    assert data['orientation']['alternative']['roll_deg'] != data['orientation']['roll_deg']


def test_json_is_one_line_with_null_for_unknown_numbers(result, tiny_model):
    line = format_json(result, tiny_model)
    assert '\n' not in line and 'NaN' not in line
    data = json.loads(line)
    assert {key: data[key] for key in ('source', 'frame', 'stamp_s', 'width', 'height', 'object')} == {
        'source': 'dive.mp4', 'frame': 7, 'stamp_s': 0.28, 'width': 320, 'height': 256, 'object': 'tiny',
    }  # fmt: skip
    pose = data['poses'][0]
    assert pose['box_px'] == [10.0, 20.0, 110.25, 70.5]
    assert pose['keypoints'][2] == {
        'name': 'right', 'x_px': None, 'y_px': None, 'covariance_px2': [None] * 3, 'score': 0.0, 'visible': False,
    }  # fmt: skip
    assert pose['keypoints'][3]['covariance_px2'] == [4.0, 1.0, 9.0]
    orientation = pose['orientation']
    assert (orientation['roll_deg'], orientation['pitch_deg'], orientation['yaw_deg']) == (10.0, 20.0, 30.0)
    assert orientation['position_m'] == [0.1, -0.2, 1.5]
    assert orientation['reprojection_error_px'] is None
    assert np.linalg.norm(orientation['quaternion_xyzw']) == pytest.approx(1, abs=1e-6)  # written with 7 digits


def test_reason_for_no_orientation_is_given(result, tiny_model):
    bare = PictureResult(
        source='a.png',
        frame=None,
        stamp_s=0.0,
        width=320,
        height=256,
        poses=result.poses,
        refusals={3: 'too few keypoints'},
    )
    lines = format_table(bare, tiny_model).splitlines()
    assert (lines[0], lines[-1]) == ('a.png: 320x256 px, 1 x tiny', '    no orientation: too few keypoints')
    pose = json.loads(format_json(bare, tiny_model))['poses'][0]
    assert (pose['orientation'], pose['no_orientation_because']) == (None, 'too few keypoints')


def test_coco_annotation(result, tiny_model, tmp_path):
    coco = CocoKeypoints(tiny_model, [tmp_path / 'x' / 'a.png', tmp_path / 'y' / 'a.png'])
    for source, frame in ((str(tmp_path / 'y' / 'a.png'), None), ('dive.mp4', 7)):
        coco.add(PictureResult(source=source, frame=frame, stamp_s=0, width=320, height=256, poses=result.poses))
    data = coco.to_dict()
    assert data['info']['image_root'] == str(tmp_path)
    assert [image['file_name'] for image in data['images']] == ['y/a.png', 'dive.mp4#000007']
    assert data['annotations'][1] | {'id': 1, 'image_id': 1} == data['annotations'][0]
    annotation = data['annotations'][0]
    assert annotation['keypoints'] == [10.0, 20.0, 2, 110.25, 60.0, 2, 0, 0, 0, 50.0, 70.5, 2]
    assert annotation['num_keypoints'] == 3
    assert annotation['bbox'] == [10.0, 20.0, 100.25, 50.5]
    assert annotation['score'] == 0.8
    assert data['categories'] == [
        {
            'id': 1,
            'name': 'tiny',
            'supercategory': 'object',
            'keypoints': ['front', 'left', 'right', 'top'],
            'skeleton': [[1, 2], [1, 3], [1, 4]],
        }
    ]
