"""Conditions of --fail-if: what they mean, what is no condition, and that they can test every number written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest
from bag_maker import TRUTH
from hypothesis import given
from hypothesis import strategies as st

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.scoring import compare
from custom_pose_ros.evaluation.scoring.conditions import (
    SCHEMA_FILE,
    Condition,
    Verdict,
    check_conditions,
    number_names,
)
from custom_pose_ros.evaluation.truth.source import TruthSettings

METRICS = {
    'rotation_error_deg': {'count': 3, 'p90': 5.0, 'worst': None},
    'object': 'submarine',
    'unique': True,
    'bins': [],
}


@pytest.mark.parametrize(
    ('text', 'holds'),
    [
        ('rotation_error_deg.p90 > 5', False),
        ('rotation_error_deg.p90>=5', True),
        (' rotation_error_deg.p90 < 5.5e0 ', True),
        ('rotation_error_deg.p90 <= -1', False),
        ('rotation_error_deg.p90 == 5', True),
        ('rotation_error_deg.p90 != .5', True),
        ('rotation_error_deg.count < 10', True),
    ],
)
def test_the_run_fails_when_the_comparison_is_true(text, holds):
    assert Condition.parse(text).holds(METRICS) is holds


def test_what_was_not_measured_never_passes():
    assert Condition.parse('rotation_error_deg.worst > 5').holds(METRICS)
    assert Condition.parse('rotation_error_deg.worst < 5').holds(METRICS)


@pytest.mark.parametrize(
    'text', ['', 'p90', 'p90 > x', '> 5', 'p90 => 5', 'p90 > 5 and p50 > 1', '__import__("os") > 1', 'a b > 1']
)
def test_what_is_no_condition_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match='as in "rotation_error_deg.p90 > 5"'):
        Condition.parse(text)


@pytest.mark.parametrize('name', ['rotation_error_deg', 'object', 'unique', 'bins', 'bins.0', 'nothing.p90'])
def test_what_is_no_number_never_passes(name):
    assert Condition.parse(f'{name} > 1').value(METRICS) is None
    assert Condition.parse(f'{name} > 1').holds(METRICS)


@pytest.mark.parametrize(
    ('name', 'near'),
    [
        ('rotation_error_deg.p99', 'rotation_error_deg.count, rotation_error_deg.p90$'),
        ('rotation_eror_deg.p90', 'rotation_error_deg.p90'),
        ('x', r'frames.scored, sizes\.\*, rotation_error_deg.count'),
    ],
)
def test_unknown_names_are_refused_with_near_ones(name, near):
    names = ['frames.scored', 'sizes.*', 'rotation_error_deg.count', 'rotation_error_deg.p90']
    with pytest.raises(UsageError, match=f'there is no number {name}; there are {near}'):
        Condition.parse(f'{name} > 1').check(names)
    Condition.parse('sizes.640x480 > 1').check(names)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_a_refusal(text):
    try:
        assert isinstance(Condition.parse(text).limit, float)
    except UsageError as error:
        assert '--fail-if' in str(error)


def written(metrics: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
    """Yield the names of the numbers that were written."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from written(value, f'{prefix}{key}.')
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f'{prefix}{key}'


def test_every_number_of_an_evaluation_has_its_name(evaluate, dive):
    schema = json.loads(SCHEMA_FILE.read_text(encoding='utf-8'))
    names = list(number_names(schema, schema))
    numbers = list(written(evaluate(dive[0], truth=TruthSettings(topic=TRUTH)).metrics))
    assert 'rotation_error_deg.p90' in numbers and 'keypoint_error_px.per_keypoint.front.median' in numbers
    assert [number for number in numbers if not any(fnmatchcase(number, name) for name in names)] == []
    check_conditions([Condition(number, '>', 1.0) for number in numbers], with_truth=True, with_labels=False)


def test_every_number_of_a_comparison_has_its_name(evaluate, dive, tmp_path):
    evaluation = evaluate(dive[0], truth=TruthSettings(topic=TRUTH))
    (tmp_path / 'metrics.json').write_text(evaluation.metrics_text())
    (tmp_path / 'frames.csv').write_text(evaluation.frames_text())
    run = compare.FinishedRun.load(tmp_path)
    assert set(written(compare.compare(run, run))) == set(compare.number_names())


@pytest.mark.parametrize(
    ('name', 'with_truth', 'with_labels', 'text'),
    [
        ('rotation_error_deg.p99', True, True, 'there are rotation_error_deg.count, rotation_error_deg.mean'),
        ('rotation_error_deg.p90', False, True, 'known only where there is a truth; give --truth'),
        ('alignment.rotation_rms_deg', False, False, 'known only where there is a truth'),
        ('labels.recall', True, False, 'known only where there are labels; give --truth-coco'),
        ('object', True, True, 'there is no number object'),
        ('frames', True, True, 'there is no number frames'),
    ],
)
def test_what_will_not_be_measured_is_refused(name, with_truth, with_labels, text):
    with pytest.raises(UsageError, match=text):
        check_conditions([Condition(name, '>', 1.0)], with_truth, with_labels)


def test_what_needs_no_truth_is_accepted_without():
    names = ('detection.rate', 'latency_ms.p95', 'frames.image_sizes.6x4', 'rotation_error_deg.p90')
    with pytest.raises(UsageError, match='^--fail-if rotation_error_deg.p90 '):  # the first that is refused
        check_conditions([Condition(name, '<', 1.0) for name in names], with_truth=False, with_labels=False)


def test_a_single_limit_is_told_as_one():
    assert Verdict.of([Condition.parse('rotation_error_deg.p90 > 5')], METRICS).sentence() == ['The limit is kept.']
