"""Left and right in names of keypoints, as people and other tools write them; directions by name."""

from __future__ import annotations

import numpy as np
import pytest

from custom_pose_ros.core.keypoint_names import find_sides, named_directions


def pairs_of(*names):
    return [(names[a], names[b]) for a, b in find_sides(names).pairs]


@pytest.mark.parametrize(
    'left, right',
    [
        ('left_engine', 'right_engine'), ('leftear', 'rightear'), ('Left-Paw', 'Right-Paw'), ('Left Hip', 'Right Hip'),
        ('leftEye', 'rightEye'), ('Eye_Left', 'Eye_Right'), ('eyeL', 'eyeR'), ('eye_l', 'eye_r'),
        ('L_Elbow', 'R_Elbow'), ('LBigToe', 'RBigToe'), ('hand.L', 'hand.R'), ('2l', '2r'), ('l2', 'r2'),
        ('forelegL1', 'forelegR1'), ('port_engine', 'starboard_engine'), ('Nearknee', 'Offknee'),
        ('Ohr_links', 'Ohr_rechts'),
        ('linkeroog', 'rechteroog'),
        ('oeil_gauche', 'oeil_droit'), ('main_gauche', 'main_droite'), ('ala_izquierda', 'ala_derecha'),
        ('left_hand_right_finger', 'right_hand_left_finger'), ('cam_left_l', 'cam_right_r'), ('lhs', 'rhs'),
    ],
)  # fmt: skip
def test_names_that_differ_in_left_and_right_are_pairs(left, right):
    assert pairs_of('nose', left, right) == [(left, right)]


@pytest.mark.parametrize(
    'names, pairs',
    [
        (['lshdr', 'rshdr', 'lwing', 'rwing', 'tail'], [('lshdr', 'rshdr'), ('lwing', 'rwing')]),  # in the same way
        (['wingL', 'wingR', 'lwing', 'rwing'], [('wingL', 'wingR'), ('lwing', 'rwing')]),  # "wing" is a word
        (['FL', 'FR', 'RL', 'RR'], [('FL', 'FR'), ('RL', 'RR')]),
        (['LF', 'RF', 'LR', 'RR'], [('LF', 'RF'), ('LR', 'RR')]),
        (['ul', 'ur', 'll', 'lr'], [('ul', 'ur'), ('ll', 'lr')]),
        (['wing_l', 'wing_c', 'wing_r'], [('wing_l', 'wing_r')]),
    ],
)
def test_letters_within_words_are_pairs_where_a_second_one_agrees(names, pairs):
    assert pairs_of(*names) == pairs


@pytest.mark.parametrize(
    'names', [['upright', 'bright'], ['p_k', 'p_l', 'p_r'], list('klmnopqr'), ['roll', 'rorr', 'port'], ['1', '2']]
)
def test_other_names_are_none(names):
    assert find_sides(names) == ([], [], [])


def test_a_single_pair_of_letters_is_likely_only():
    assert find_sides(['lamp', 'ramp', 'head']) == ([], [(0, 1)], [])
    assert find_sides(['lear', 'rear']).likely == [(0, 1)]


def test_names_without_a_partner_are_known():
    assert find_sides(['top_left', 'top_right', 'bottom_right']) == ([(0, 1)], [], [2])


def test_directions_lie_between_opposite_names():
    names = ['front_left', 'front_right', 'rear', 'roof']
    points = np.array([[1, 0.5, 0], [1, -0.5, 0], [-1, 0, 0], [0, 0, 1.0]])
    front, left, top = named_directions(names, points)
    np.testing.assert_allclose(front, [1, 0, 0])
    np.testing.assert_allclose(left, [0, 1, 0])
    assert top is None
    points[2] = np.nan
    assert named_directions(names, points)[0] is None
