"""Conditions of --fail-if: what they mean, and what is no condition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.scoring.conditions import Condition

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
