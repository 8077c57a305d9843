"""Object files that nobody can mean are refused, those that are most likely a mistake are named with the cause."""

from __future__ import annotations

import logging

import pytest
import yaml

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_file import installed_objects
from custom_pose_ros.core.object_model import ObjectModel

PLATE = {'a': [0, 0, 0], 'b': [0.3, 0, 0], 'c': [0.3, 0.2, 0], 'd': [0, 0.2, 0]}
CAR = {
    'front_left': [1, 0.5, 0], 'front_right': [1, -0.5, 0], 'rear_left': [-1, 0.5, 0], 'rear_right': [-1, -0.5, 0],
    'top': [0, 0, 0.8], 'bottom': [0, 0, -0.1],
}  # fmt: skip
CAR_SWAPS = [['front_left', 'front_right'], ['rear_left', 'rear_right']]


def model(points, **other):
    return ObjectModel.from_dict(
        {'name': 'thing', 'keypoints': list(points), 'skeleton': [], 'model_points': points, **other}, 'thing.yaml'
    )


def with_axis(points, axis, factor):
    return {name: [v * factor if i == axis else v for i, v in enumerate(p)] for name, p in points.items()}


def scaled(points, factor):
    return {name: [v * factor for v in p] for name, p in points.items()}


@pytest.mark.parametrize('name', sorted(installed_objects()))
def test_shipped_objects_are_mirrored_without_a_word(name):
    shipped = ObjectModel.load(name)
    assert shipped.warnings == []
    assert shipped.mirroring == (True, None)


@pytest.mark.parametrize(
    'points, text',
    [
        ({**PLATE, 'b': [0, 0, 0]}, 'a and b are at the same place (0, 0, 0); leave out'),
        (scaled(PLATE, 0), 'a and b are at the same place'),  # as the draft has them
        ({**PLATE, 'b': [0, 0.0002, 0]}, 'a and b are at the same place'),  # 0.2 mm of 360
        (scaled(PLATE, 1e4), 'they are spread over 3606 m; positions are in metres'),
    ],
)
def test_points_that_cannot_be_meant_are_refused(points, text):
    with pytest.raises(ConfigError) as error:
        model(points)
    assert str(error.value).startswith(f'thing.yaml: model_points: {text}')


@pytest.mark.parametrize(
    'points, other, text',
    [
        (scaled(PLATE, 1e3), {}, 'spread over 360.6 m; positions are in metres (if these are millimetres, the object '),
        (scaled(PLATE, 1e2), {}, 'if centimetres, 0.361 m)'),
        (scaled(PLATE, 1e-3), {}, 'spread over 0.361 mm only'),
        ({**PLATE, 'b': [0, 0.002, 0]}, {}, 'a and b are so near each other that labels cannot tell them apart'),
        (with_axis(CAR, 1, -1), {}, 'by the names, front along +x, left along -y, top along +z: this is left-handed'),
        (with_axis(CAR, 2, -1), {}, 'top along -z: this is left-handed'),
        (dict(list(with_axis(CAR, 1, -1).items())[:4]), {}, 'front along +x, left along -y: this is left-handed'),
        (
            {**CAR, 'rear_left': [-1, 1.5, 0]}, {'swaps': CAR_SWAPS},
            'swaps: do not fit model_points: mirrored, ',
        ),
        (CAR, {'swaps': [['front_left', 'top'], ['rear_left', 'bottom']]}, 'swaps: do not fit model_points'),
        (PLATE, {'symmetries': [{'axis': [0, 0, 1], 'fold': 2}]}, 'symmetries[0]: turned by it about the origin, c '),
        (PLATE, {'symmetries': [{'axis': [0, 0, 1], 'fold': 'continuous'}]}, 'c lies 0.36 m from the axis'),
        (PLATE, {'sigmas': {'a': 0.5, 'b': 0.05, 'c': 0.05, 'd': 0.05}}, "sigmas.a: 0.5 of the object's size"),
    ],
)  # fmt: skip
def test_what_is_most_likely_a_mistake_is_named(points, other, text):
    (warning,) = model(points, **other).warnings
    assert text in warning


@pytest.mark.parametrize(
    'points, other',
    [
        (CAR, {'swaps': CAR_SWAPS}),
        (with_axis(with_axis(CAR, 0, -1), 1, -1), {}),  # turned about z
        (with_axis(CAR, 0, -1), {}),  # left and right of a viewer in front of it, as on a printed box
        ({**CAR, 'rear_left': [-1, 0.53, 0]}, {'swaps': CAR_SWAPS}),  # measured by hand
        ({name: [p[1], p[0], p[2]] for name, p in with_axis(CAR, 0, -1).items()}, {}),  # y forward, x right
        (
            {name: [p[0] - 0.15, p[1] - 0.1, 0] for name, p in PLATE.items()},
            {'symmetries': [{'axis': [0, 0, 1], 'fold': 2}]},
        ),
        ({'tip': [0, 0, 0.1], 'base': [0, 0, 0]}, {'symmetries': [{'axis': [0, 0, 1], 'fold': 'continuous'}]}),
        (scaled(CAR, 5), {}),  # a lorry
        (scaled(PLATE, 0.05), {}),  # a microchip
    ],
)
def test_good_objects_stay_without_a_word(points, other):
    assert model(points, **other).warnings == []


def test_an_origin_far_from_the_object_is_named():
    far = {name: [x + 50, y, z] for name, (x, y, z) in PLATE.items()}
    (warning,) = model(far).warnings
    assert warning.startswith('model_points: the nearest is 50 m from the origin, the object is 0.36 m large')
    near = {name: [x + 5, y, z] for name, (x, y, z) in PLATE.items()}  # such as a gripper in the frame of its robot
    assert model(near).warnings == []


def test_a_warning_is_logged_once_when_the_file_is_read(tmp_path, caplog):
    content = {'name': 'thing', 'keypoints': list(PLATE), 'skeleton': [], 'model_points': scaled(PLATE, 1e3)}
    (tmp_path / 'object.yaml').write_text(yaml.safe_dump(content))
    with caplog.at_level(logging.WARNING):
        assert ObjectModel.load(tmp_path).keypoint_count == ObjectModel.load(tmp_path).keypoint_count == 4
    assert [record.getMessage() for record in caplog.records] == [
        f'warning: {tmp_path}/object.yaml: model_points: are spread over 360.6 m; positions are in metres '
        '(if these are millimetres, the object is 0.361 m large; if centimetres, 3.61 m); right if it is 361 m large'
    ]


@pytest.mark.parametrize(
    'keypoints, other, mirrored, text',
    [
        (['head', 'eyeL', 'eyeR'], {'swaps': [['eyeL', 'eyeR']]}, True, None),
        (['head', 'eyeL', 'eyeR'], {}, False, 'swaps lacks eyeL/eyeR'),
        (['head', 'lear', 'rear'], {}, False, 'swaps lacks lear/rear'),
        (['head', 'lear', 'rear'], {'mirror': 'yes'}, True, 'mirror: yes, but swaps lacks lear/rear'),
        (['head', 'back_right'], {'mirror': 'yes'}, True, 'mirror: yes, but swaps lacks a partner of back_right'),
        (['head', 'eyeL', 'eyeR'], {'mirror': False}, False, None),
        (['head', 'tail'], {}, False, 'swaps is empty; list the keypoints that change places in a mirror'),
        (['head', 'tail'], {'mirror': True}, True, None),
        (['eyeL', 'eyeR', 'right_fin'], {'swaps': [['eyeL', 'eyeR']]}, False, 'right_fin without a partner in swaps'),
    ],
)
def test_images_are_mirrored_only_where_the_object_says_what_a_mirror_does(keypoints, other, mirrored, text):
    thing = ObjectModel.from_dict({'name': 'thing', 'keypoints': keypoints, 'skeleton': [], **other})
    assert thing.mirroring[0] == mirrored
    assert (thing.mirroring[1] is None) if text is None else (text in thing.mirroring[1])
    assert ObjectModel.from_dict(thing.to_dict()).mirroring == thing.mirroring


def test_an_object_that_is_not_its_own_mirror_image_is_not_mirrored():
    screw = {**CAR, 'mark': [0.5, 0.4, 0.3]}
    assert model(CAR, swaps=CAR_SWAPS).mirroring == (True, None)
    mirrored, text = model(screw, swaps=CAR_SWAPS).mirroring
    assert not mirrored
    assert 'swaps do not fit model_points (mirrored, mark lies 0.6' in text
