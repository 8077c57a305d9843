"""ObjectModel: reading object files, and every refusal with file, key, wanted and got."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.limits import MAX_KEYPOINTS
from custom_pose_ros.core.object_file import Thresholds, find_object_folder, installed_objects
from custom_pose_ros.core.object_model import ObjectModel

MINIMAL = {'name': 'arm', 'keypoints': ['hand', 'elbow', 'base'], 'skeleton': [['base', 'elbow'], ['elbow', 'hand']]}
ALL_KEYS = (
    'name, keypoints, skeleton, description, sigmas, swaps, model_points, zero_roll_pitch_yaw_deg, symmetries, '
    'input_height, thresholds, estimator, network_source, mirror, hidden, unlabelled'
)
NAME = 'a name of letters, digits, "_", "-" and ".", not starting with "-" or "."'
FOLD = 'a whole number from 2 to 360 or "continuous"'


def write(folder, data) -> str:
    text = data if isinstance(data, str) else yaml.safe_dump(data)
    (folder / 'object.yaml').write_text(text, encoding='utf-8')
    return str(folder / 'object.yaml')


def refusal(source) -> str:
    with pytest.raises(ConfigError) as error:
        ObjectModel.load(source)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_minimal_object_and_its_defaults(tmp_path):
    file = write(tmp_path, MINIMAL)
    model = ObjectModel.load(tmp_path)
    assert model.name == 'arm'
    assert model.keypoint_names == ('hand', 'elbow', 'base')
    assert model.skeleton == ((2, 1), (1, 0))
    assert (model.keypoint_count, model.limb_count) == (3, 2)
    assert model.sigmas.tolist() == [0.05] * 3
    assert (model.swaps, model.model_points, model.symmetries, model.description) == ((), None, (), '')
    assert model.input_height == 256
    assert model.thresholds == Thresholds()
    assert model.source == file
    np.testing.assert_array_equal(model.zero_rotation, np.eye(3))


def test_full_object(tmp_path):
    write(
        tmp_path,
        {
            **MINIMAL,
            'description': 'An arm.',
            'sigmas': {'base': 0.03, 'hand': 0.01, 'elbow': 0.02},
            'swaps': [['hand', 'base']],
            'model_points': {'base': [0, 0, 0], 'hand': [1, 2, 3.5]},
            'zero_roll_pitch_yaw_deg': [0, 0, 90],
            'symmetries': [{'axis': [0, 0, 2], 'fold': 4}, {'axis': [3, 0, 4], 'fold': 'continuous'}],
            'input_height': 192,
            'thresholds': {'keypoint_score': 0.1, 'min_keypoints': 3},
        },
    )
    model = ObjectModel.load(tmp_path / 'object.yaml')
    assert model.sigmas.tolist() == [0.01, 0.02, 0.03]
    assert model.flip_order.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(model.model_points, [[1, 2, 3.5], [np.nan] * 3, [0, 0, 0]])
    np.testing.assert_allclose(model.zero_rotation @ [1, 0, 0], [0, 1, 0], atol=1e-15)  # yaw turns x to y
    assert [s.fold for s in model.symmetries] == [4, 0]
    np.testing.assert_allclose(model.symmetries[1].axis, [0.6, 0, 0.8], atol=1e-15)  # made a unit vector
    assert model.thresholds == Thresholds(keypoint_score=0.1, min_keypoints=3)
    assert model.input_height == 192


def test_one_keypoint_and_no_limbs(tmp_path):
    write(tmp_path, {'name': 'dot', 'keypoints': ['dot'], 'skeleton': []})
    model = ObjectModel.load(tmp_path)
    assert (model.keypoint_count, model.limb_count) == (1, 0)
    assert model.thresholds.min_keypoints == 1  # more than it has could never be found


def test_empty_optional_keys_are_their_defaults(tmp_path):
    optional = ALL_KEYS.split(', ')[3:]
    write(tmp_path, {**MINIMAL, **dict.fromkeys(optional)})
    assert ObjectModel.load(tmp_path).to_dict() == ObjectModel.from_dict(MINIMAL).to_dict()


@pytest.mark.parametrize('name', ['submarine', 'human18', 'face'])
def test_installed_objects_survive_a_round_trip(name):
    assert name in installed_objects()
    model = ObjectModel.load(name)
    assert model.name == name
    again = ObjectModel.from_dict(json.loads(model.to_json()))
    assert again.to_dict() == model.to_dict()
    assert model.difference_from(again) is None


def test_human18_has_the_order_of_published_checkpoints():
    model = ObjectModel.load('human18')
    assert model.keypoint_names == (
        'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow', 'left_wrist',
        'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
        'right_eye', 'left_eye', 'right_ear', 'left_ear',
    )  # fmt: skip
    assert model.skeleton == (
        (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 2), (2, 3), (3, 4), (2, 16), (1, 5), (5, 6), (6, 7),
        (5, 17), (1, 0), (0, 14), (0, 15), (14, 16), (15, 17),
    )  # fmt: skip
    assert model.model_points is None
    # Mirrored, every right is a left with the same sigma, and limbs go to limbs.
    order = model.flip_order
    assert [model.keypoint_names[k] for k in order[[0, 1, 2, 16]]] == ['nose', 'neck', 'left_shoulder', 'left_ear']
    np.testing.assert_array_equal(model.sigmas[order], model.sigmas)
    limbs = {frozenset(pair) for pair in model.skeleton}
    assert {frozenset(order[list(pair)].tolist()) for pair in model.skeleton} == limbs


def test_difference_names_both():
    model = ObjectModel.from_dict(MINIMAL)
    renamed = ObjectModel.from_dict({**MINIMAL, 'keypoints': ['base', 'elbow', 'hand']})
    assert model.difference_from(renamed) == (
        "keypoints ['base', 'elbow', 'hand'] instead of ['hand', 'elbow', 'base']"
    )
    rewired = ObjectModel.from_dict({**MINIMAL, 'skeleton': [['base', 'hand']]})
    assert model.difference_from(rewired) == 'skeleton [(2, 0)] instead of [(2, 1), (1, 0)]'


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'nmae': 1}, f"nmae: unknown key (did you mean 'name'?), wanted one of {ALL_KEYS}"),
        ({'zzz': 1}, f'zzz: unknown key, wanted one of {ALL_KEYS}'),
        ({7: 1}, f'7: unknown key, wanted one of {ALL_KEYS}'),
        ({'name': None}, 'name: is missing, wanted one'),
        ({'skeleton': None}, 'skeleton: is missing, wanted one'),
        ({'name': 3}, f'name: wanted {NAME}, got 3'),
        ({'name': ''}, f"name: wanted {NAME}, got ''"),
        ({'name': '..'}, f"name: wanted {NAME}, got '..'"),
        ({'name': 'my arm'}, f"name: wanted {NAME}, got 'my arm'"),
        ({'name': 'a\n'}, f"name: wanted {NAME}, got 'a\\n'"),
        ({'name': 'x' * 200}, f"name: wanted {NAME}, got '{'x' * 116}..."),
        ({'description': 4}, 'description: wanted text, got 4'),
        ({'keypoints': 'hand'}, f"keypoints: wanted a list of 1 to {MAX_KEYPOINTS} names, got 'hand'"),
        ({'keypoints': []}, f'keypoints: wanted a list of 1 to {MAX_KEYPOINTS} names, got []'),
        ({'keypoints': ['hand', True]}, f'keypoints[1]: wanted {NAME}, got True'),
        ({'keypoints': ['hand', 'hand']}, "keypoints: wanted different names, got 'hand twice'"),
        ({'skeleton': 'base'}, "skeleton: wanted a list of pairs of keypoint names, got 'base'"),
        ({'skeleton': ['base']}, "skeleton[0]: wanted a pair of keypoint names, got 'base'"),
        ({'skeleton': [['base', 'elbow', 'hand']]},
         "skeleton[0]: wanted a pair of keypoint names, got ['base', 'elbow', 'hand']"),
        ({'skeleton': [['base', 'elbow'], ['base', 'wrist']]},
         "skeleton[1]: wanted one of the keypoints hand, elbow, base, got 'wrist'"),
        ({'skeleton': [[['base'], 'elbow']]},
         "skeleton[0]: wanted one of the keypoints hand, elbow, base, got ['base']"),
        ({'skeleton': [['base', 'base']]}, "skeleton[0]: wanted two different keypoints, got ['base', 'base']"),
        ({'skeleton': [['base', 'hand'], ['hand', 'base']]},
         "skeleton: wanted every edge once, got [['base', 'hand'], ['hand', 'base']]"),
        ({'swaps': False}, 'swaps: wanted a list of pairs of keypoint names, got False'),
        ({'swaps': [['hand', 'toe']]}, "swaps[0]: wanted one of the keypoints hand, elbow, base, got 'toe'"),
        ({'swaps': [['hand', 'base'], ['base', 'elbow']]},
         "swaps: wanted every keypoint in one pair at most, got [['hand', 'base'], ['base', 'elbow']]"),
        ({'sigmas': [0.1, 0.1, 0.1]},
         'sigmas: wanted a value behind each keypoint name, as {hand: ..., base: ...}, got [0.1, 0.1, 0.1]'),
        ({'sigmas': {'hand': 0.1, 'elbow': 0.1}}, 'sigmas.base: is missing, wanted one'),
        ({'sigmas': {'hand': 0.1, 'elbow': 0.1, 'base': 0}}, 'sigmas.base: wanted a number from 0.0001 to 1, got 0'),
        ({'sigmas': {'hand': 0.1, 'elbow': 0.1, 'base': math.nan}},
         'sigmas.base: wanted a number from 0.0001 to 1, got nan'),
        ({'sigmas': {'hand': 0.1, 'elbow': 0.1, 'base': True}},
         'sigmas.base: wanted a number from 0.0001 to 1, got True'),
        ({'sigmas': {'hand': 0.1, 'elbow': 0.1, 'base': 0.1, 'hnad': 0.1}},
         "sigmas.hnad: unknown key (did you mean 'hand'?), wanted one of hand, elbow, base"),
        ({'model_points': {}},
         'model_points: wanted a value behind each keypoint name, as {hand: ..., base: ...}, got {}'),
        ({'model_points': {'wrist': [0, 0, 0]}},
         'model_points.wrist: unknown key, wanted one of hand, elbow, base'),
        ({'model_points': {'hand': [0, 0]}}, 'model_points.hand: wanted three numbers, got [0, 0]'),
        ({'model_points': {'hand': [0, 'a', 0]}},
         "model_points.hand[1]: wanted a number from -1e+06 to 1e+06, got 'a'"),
        ({'model_points': {'hand': [0, 0, math.inf]}},
         'model_points.hand[2]: wanted a number from -1e+06 to 1e+06, got inf'),
        ({'zero_roll_pitch_yaw_deg': 90}, 'zero_roll_pitch_yaw_deg: wanted three numbers, got 90'),
        ({'symmetries': {'axis': 1}},
         "symmetries: wanted a list of {axis: [x, y, z], fold: N or continuous}, got {'axis': 1}"),
        ({'symmetries': [4]}, 'symmetries[0]: wanted {axis: [x, y, z], fold: N or continuous}, got 4'),
        ({'symmetries': [{'axis': [0, 0, 1]}]}, 'symmetries[0].fold: is missing, wanted one'),
        ({'symmetries': [{'axis': [0, 0, 1], 'fold': 2, 'order': 1}]},
         'symmetries[0].order: unknown key, wanted one of axis, fold'),
        ({'symmetries': [{'axis': [0, 0, 0], 'fold': 2}]}, 'symmetries[0].axis: wanted a direction, got [0, 0, 0]'),
        ({'symmetries': [{'axis': [0, 0, 1], 'fold': 5}, {'axis': [3, 0, 4], 'fold': 7}]},
         'symmetries: wanted at most 720 rotations together, got more; two axes rarely fit'),
        ({'symmetries': [{'axis': [0, 0], 'fold': 2}]}, 'symmetries[0].axis: wanted three numbers, got [0, 0]'),
        ({'symmetries': [{'axis': [0, 0, 1], 'fold': 1}]}, f'symmetries[0].fold: wanted {FOLD}, got 1'),
        ({'symmetries': [{'axis': [0, 0, 1], 'fold': True}]}, f'symmetries[0].fold: wanted {FOLD}, got True'),
        ({'symmetries': [{'axis': [0, 0, 1], 'fold': 'endless'}]}, f"symmetries[0].fold: wanted {FOLD}, got 'endless'"),
        ({'mirror': 'sometimes'}, "mirror: wanted yes or no or auto, got 'sometimes'"),
        ({'hidden': 'unknown'}, "hidden: wanted known or absent, got 'unknown'"),
        ({'unlabelled': True}, 'unlabelled: wanted auto or absent or unknown, got True'),
        ({'mirror': 1}, 'mirror: wanted yes or no or auto, got 1'),
        ({'input_height': 250}, 'input_height: wanted a multiple of 32 from 64 to 1024, got 250'),
        ({'input_height': 256.0}, 'input_height: wanted a multiple of 32 from 64 to 1024, got 256.0'),
        ({'input_height': 2048}, 'input_height: wanted a multiple of 32 from 64 to 1024, got 2048'),
        ({'thresholds': [1]}, 'thresholds: wanted names and numbers, got [1]'),
        ({'thresholds': {'limbscore': 1}},
         "thresholds.limbscore: unknown key (did you mean 'limb_score'?), wanted one of keypoint_score, limb_score, "
         'pose_score, min_keypoints, max_instances'),
        ({'thresholds': {'limb_score': 1.5}}, 'thresholds.limb_score: wanted a number from 0 to 1, got 1.5'),
        ({'thresholds': {'max_instances': 0}}, 'thresholds.max_instances: wanted a whole number from 1 to 1000, got 0'),
        ({'thresholds': {'min_keypoints': 2.0}},
         'thresholds.min_keypoints: wanted a whole number from 1 to 1000, got 2.0'),
        ({'thresholds': {'min_keypoints': 4}},
         'thresholds.min_keypoints: wanted at most the number of keypoints, 3, got 4'),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_key_wanted_and_got(tmp_path, changes, text):
    file = write(tmp_path, {**MINIMAL, **changes})
    assert refusal(tmp_path) == f'{file}: {text}'


def test_too_many_keypoints(tmp_path):
    write(tmp_path, {**MINIMAL, 'keypoints': [f'k{i}' for i in range(MAX_KEYPOINTS + 1)]})
    assert f'keypoints: wanted a list of 1 to {MAX_KEYPOINTS} names, got [' in refusal(tmp_path)


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ('', '(whole file): wanted keys and values, got None'),
        ('- 1', '(whole file): wanted keys and values, got [1]'),
        ('name: [', 'is not valid YAML: while parsing'),
        ('name: arm\nname: leg\n', "is not valid YAML: the key 'name' stands twice"),
        ('sigmas: {hand: 0.1, hand: 0.2}', "is not valid YAML: the key 'hand' stands twice"),
        ('name: !!python/object/apply:os.getcwd []', 'is not valid YAML: could not determine a constructor'),
        ('name: 2020-13-45', 'is not valid YAML: month must be in 1..12'),
        ('[' * 800, 'is not valid YAML: it is nested more than 50 levels deep'),
    ],
)
def test_files_that_are_no_object_file(tmp_path, content, text):
    file = write(tmp_path, content)
    assert refusal(tmp_path).startswith(f'{file}: {text}')


def test_labels_are_no_object_file(tmp_path):
    labels = tmp_path / 'labels.json'
    labels.write_text('{"images": [], "annotations": [], "categories": []}')
    wanted = 'wanted an object.yaml, of which prepare_dataset.py drafts one from labels'
    assert refusal(labels) == f'{labels}: holds labels and describes no object; {wanted}'
    labels.write_text('name,x,y')
    assert refusal(labels).startswith(f'{labels}: (whole file): ') and refusal(labels).endswith(wanted)


def test_file_that_is_not_text(tmp_path):
    (tmp_path / 'object.yaml').write_bytes(b'\xff\xfe\x00name')
    assert refusal(tmp_path).startswith(f'{tmp_path}/object.yaml: is not valid YAML: ')


def test_places_without_an_object(tmp_path):
    assert refusal(tmp_path) == f'{tmp_path}: this folder has no object.yaml'
    assert refusal('submarin') == (
        "object 'submarin' not found: wanted a folder with object.yaml, an object.yaml, or one of the installed "
        f'objects: {", ".join(installed_objects())}'
    )
    assert refusal('x' * 5000).startswith(f"object '{'x' * 80}' cannot be looked up: ")
    assert refusal('~no_such_user/arm').startswith("object '~no_such_user/arm' cannot be looked up: ")


def test_folder_of_folder_file_and_name(tmp_path):
    file = write(tmp_path, MINIMAL)
    assert find_object_folder(tmp_path) == tmp_path
    assert find_object_folder(file) == tmp_path
    assert str(find_object_folder(tmp_path, wanted_file=True)) == file
    assert find_object_folder('submarine') == installed_objects()['submarine']


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 400) | st.floats() | st.sampled_from(['hand', 'base', 'axis', '']),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(['hand', 'axis', 'fold', 'x']), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(key=st.sampled_from(ALL_KEYS.split(', ')), value=_values)
def test_any_value_is_read_or_refused_by_its_key(key, value):
    try:
        model = ObjectModel.from_dict({**MINIMAL, key: value}, 'arm.yaml')
    except ConfigError as error:
        # Another keypoint list makes the skeleton the first thing that does not fit.
        assert str(error).startswith((f'arm.yaml: {key}', 'arm.yaml: skeleton' if key == 'keypoints' else '\0'))
    else:
        assert ObjectModel.from_dict(model.to_dict()).to_json() == model.to_json()


def test_the_size_is_that_of_the_known_model_points():
    points = np.array([[0.3, 0, 0], [-0.1, 0.3, 0], [0, 0, 0], [np.nan] * 3])
    model = ObjectModel('thing', ('a', 'b', 'c', 'd'), (), np.full(4, 0.1), model_points=points)
    np.testing.assert_allclose(model.extent_m, [0.4, 0.3, 0.0])
    assert model.size_m == pytest.approx(0.5)
    assert model.has_position.tolist() == [True, True, True, False]
    assert dataclasses.replace(model, model_points=None).size_m == 0.0
