"""Tests of custom_pose_ros.nodes.ros.parameters: defaults, refusals by text, live changes, and the YAML files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from rclpy.parameter import Parameter

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.nodes.orientation.orientation_parameters import FilterNodeParameters, OrientationNodeParameters
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters, ThresholdParameters
from custom_pose_ros.nodes.ros.parameters import Declaration, NodeParameters, declarations, unknown_overrides

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / 'config'
NODES = ('pose_node', 'orientation_node')
SCHEMAS = [(PoseNodeParameters, ''), (OrientationNodeParameters, ''), (FilterNodeParameters, 'filter.')]


def declared_in_yaml(name: str) -> dict[str, Declaration]:
    """Return the declarations of a node whose defaults its YAML file gives, by full parameter name."""
    if name == 'pose_node':
        return declarations(PoseNodeParameters)
    return {**declarations(OrientationNodeParameters), **declarations(FilterNodeParameters, 'filter.')}


def flattened(values: dict, prefix: str = '') -> dict[str, object]:
    """Return nested parameters by full name, as ROS reads them."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= flattened(value, f'{prefix}{key}.') if isinstance(value, dict) else {prefix + key: value}
    return flat


@pytest.mark.parametrize('name', NODES)
def test_yaml_and_code_have_the_same_parameters_and_defaults(name: str) -> None:
    text = (CONFIG / f'{name}.yaml').read_text(encoding='utf-8')
    written = flattened(yaml.safe_load(text)['/**']['ros__parameters'])
    declared = {
        key: (list(d.default) or ['']) if isinstance(d.default, tuple) else d.default
        for key, d in declared_in_yaml(name).items()
    }
    assert written == declared
    assert {key: type(value) for key, value in written.items()} == {key: type(value) for key, value in declared.items()}


def test_the_thresholds_in_the_yaml_comment_are_those_of_the_core() -> None:
    text = (CONFIG / 'pose_node.yaml').read_text(encoding='utf-8')
    block = text[text.index('# thresholds:') :]
    uncommented = yaml.safe_load('\n'.join(line.strip().lstrip('#') for line in block.splitlines()))
    assert uncommented == {'thresholds': dataclasses.asdict(Thresholds())}
    assert dataclasses.asdict(ThresholdParameters()) == dataclasses.asdict(Thresholds())


def test_the_filter_of_the_node_is_that_of_the_core() -> None:
    assert FilterNodeParameters().core == FilterParameters()
    changed = {name: 2 * value for name, value in dataclasses.asdict(FilterParameters()).items()}
    assert dataclasses.asdict(FilterNodeParameters(**changed).core) == changed


@pytest.mark.parametrize('name', NODES)
def test_live_parameters_are_marked_in_the_yaml(name: str) -> None:
    lines = (CONFIG / f'{name}.yaml').read_text(encoding='utf-8').splitlines()
    for key, declaration in declared_in_yaml(name).items():
        (at,) = [i for i, line in enumerate(lines) if line.strip().startswith(f'{key.rpartition(".")[2]}:')]
        comment = []
        while lines[at - 1 - len(comment)].strip().startswith('#'):
            comment.append(lines[at - 1 - len(comment)].strip(' #'))
        assert comment[-1].startswith('Live.') == declaration.live, key


@pytest.mark.parametrize(('schema', 'prefix'), SCHEMAS)
def test_every_parameter_has_descriptor_and_default_on_the_node(bare_node, schema: type, prefix: str) -> None:
    node = bare_node()
    assert NodeParameters(node, schema, prefix).values == schema()
    for key, declaration in declarations(schema, prefix).items():
        descriptor = node.describe_parameter(key)
        assert descriptor.description == declaration.description != ''
        assert descriptor.read_only == (not declaration.live)
        if isinstance(declaration.default, (int, float)) and not isinstance(declaration.default, bool):
            (limits,) = [*descriptor.floating_point_range, *descriptor.integer_range]
            assert (limits.from_value, limits.to_value) == declaration.bounds


def test_given_values_are_read_and_shown(bare_node) -> None:
    node = bare_node(cameras=['front', 'down'], threads=2, overlay=False, track_max_gap=3, model='x.onnx')
    values = NodeParameters(node, PoseNodeParameters).values
    assert (values.cameras, values.threads, values.overlay, values.model) == (('front', 'down'), 2, False, 'x.onnx')
    assert values.track_max_gap == 3.0  # a whole number will do for a number
    assert node.get_parameter('cameras').value == ['front', 'down']
    assert node.get_parameter('track_max_gap').type_ == Parameter.Type.DOUBLE


@pytest.mark.parametrize('empty', [None, [''], []])  # `cameras: []` in a YAML file comes without type and value
def test_every_way_to_write_an_empty_list_is_accepted(bare_node, empty) -> None:
    node = bare_node(cameras=empty)
    assert NodeParameters(node, PoseNodeParameters).values.cameras == ()
    assert node.get_parameter('cameras').value == ['']


@pytest.mark.parametrize(
    ('schema', 'name', 'value', 'text'),
    [
        (PoseNodeParameters, 'image_transport', 'zip', "image_transport: wanted one of raw, compressed, got 'zip'"),
        (PoseNodeParameters, 'image_reliability', 'x', "wanted one of best_effort, reliable, got 'x'"),
        (PoseNodeParameters, 'threads', -1, 'parameter threads: wanted a whole number from 0 to 256, got -1'),
        (PoseNodeParameters, 'threads', 1.5, 'parameter threads: wanted a whole number from 0 to 256, got 1.5'),
        (PoseNodeParameters, 'threads', True, 'wanted a whole number from 0 to 256, got True'),
        (PoseNodeParameters, 'overlay', 'yes', "parameter overlay: wanted true or false, got 'yes'"),
        (PoseNodeParameters, 'object', 5, 'parameter object: wanted a text, got 5'),
        (
            PoseNodeParameters,
            'cameras',
            'front',
            "cameras: wanted a list of different topic namespaces, .*, got 'front'",
        ),
        (
            PoseNodeParameters,
            'cameras',
            ['front cam'],
            r'wanted a list of different topic namespaces, .*got \[.front cam.\]',
        ),
        (PoseNodeParameters, 'cameras', ['a', 'a'], 'wanted a list of different topic namespaces'),
        (PoseNodeParameters, 'cameras', [1, 2], 'wanted a list of different topic namespaces'),
        (OrientationNodeParameters, 'fallback_fov_deg', 171.0, 'wanted a number from 0 to 170, got 171.0'),
        (OrientationNodeParameters, 'fallback_fov_deg', np.nan, 'wanted a number from 0 to 170, got nan'),
        (OrientationNodeParameters, 'tf_timeout', -0.5, 'wanted a number from 0 to 5, got -0.5'),
        (OrientationNodeParameters, 'track_id', -2, 'wanted a whole number from -1 to'),
        (FilterNodeParameters, 'max_speed', 0.0, 'parameter max_speed: wanted a number from 0.001 to 100, got 0.0'),
        (FilterNodeParameters, 'max_hypotheses', 1, 'wanted a whole number from 2 to 50, got 1'),
    ],
)
def test_unknown_values_are_refused_at_the_start(bare_node, schema, name: str, value, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        NodeParameters(bare_node(**{name: value}), schema)


def test_live_parameters_change_and_refuse_with_a_reason(bare_node) -> None:
    node = bare_node()
    parameters = NodeParameters(node, ThresholdParameters, 'thresholds.', {'pose_score': 0.5})
    assert parameters.values == ThresholdParameters(pose_score=0.5)  # the default of the object file
    (good,) = node.set_parameters([Parameter('thresholds.pose_score', value=0.75)])
    assert (good.successful, parameters.values.pose_score) == (True, 0.75)
    (bad,) = node.set_parameters([Parameter('thresholds.pose_score', value=float('nan'))])
    assert not bad.successful
    assert 'thresholds.pose_score' in bad.reason  # by rclpy, which knows the range
    (wrong,) = node.set_parameters([Parameter('thresholds.min_keypoints', value=0)])
    assert not wrong.successful
    assert parameters.values == ThresholdParameters(pose_score=0.75)
    assert node.get_parameter('thresholds.pose_score').value == 0.75


def test_the_owner_may_refuse_a_change(bare_node) -> None:
    def refuse(values: ThresholdParameters) -> None:
        raise ConfigError(f'not {values.max_instances}')

    node = bare_node()
    parameters = NodeParameters(node, ThresholdParameters, 'thresholds.', check=refuse)
    (result,) = node.set_parameters([Parameter('thresholds.max_instances', value=3)])
    assert (result.successful, result.reason) == (False, 'not 3')
    assert parameters.values.max_instances == ThresholdParameters().max_instances


def test_a_refused_request_changes_nothing_in_any_group(bare_node) -> None:
    def refuse_nine_tenths(values: ThresholdParameters) -> None:
        if values.pose_score == 0.9:
            raise ConfigError('not 0.9')

    node = bare_node()
    applied: list[PoseNodeParameters] = []
    settings = NodeParameters(node, PoseNodeParameters, apply=applied.append)
    thresholds = NodeParameters(node, ThresholdParameters, 'thresholds.', check=refuse_nine_tenths, beside=settings)
    wrong = [Parameter('overlay', value=False), Parameter('thresholds.pose_score', value=0.9)]
    for request in (wrong, wrong[::-1]):
        assert node.set_parameters_atomically(request).reason == 'not 0.9'
    assert (settings.values.overlay, thresholds.values.pose_score, applied) == (True, 0.25, [])
    right = [Parameter('overlay', value=False), Parameter('thresholds.pose_score', value=0.5)]
    assert node.set_parameters_atomically(right).successful
    assert (settings.values.overlay, thresholds.values.pose_score) == (False, 0.5)
    assert applied == [settings.values]


def test_static_parameters_are_read_only(bare_node) -> None:
    node = bare_node()
    parameters = NodeParameters(node, PoseNodeParameters)
    (result,) = node.set_parameters([Parameter('backend', value='torch')])
    assert not result.successful
    assert 'read-only' in result.reason
    assert parameters.values.backend == 'auto'


def test_parameters_of_others_are_left_to_them(bare_node) -> None:
    node = bare_node()
    NodeParameters(node, PoseNodeParameters)
    node.declare_parameter('somebody.elses', 1)
    (result,) = node.set_parameters([Parameter('somebody.elses', value=2)])
    assert result.successful


def test_a_misspelt_name_is_reported_with_the_nearest(bare_node) -> None:
    node = bare_node(treads=4, thresholds__pose_score=0.5)
    NodeParameters(node, PoseNodeParameters)
    NodeParameters(node, ThresholdParameters, 'thresholds.')
    (line,) = unknown_overrides(node)
    assert ('treads' in line, 'did you mean threads?' in line) == (True, True)
