"""Which numbers a condition can speak of: every number that an evaluation writes, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest
from bag_maker import TRUTH

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.scoring import compare
from custom_pose_ros.evaluation.scoring.conditions import Condition
from custom_pose_ros.evaluation.scoring.metric_names import SCHEMA_FILE, check_conditions, number_names
from custom_pose_ros.evaluation.truth.source import TruthSettings


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
    conditions = [Condition(name, '<', 1.0) for name in ('detection.rate', 'latency_ms.p95', 'frames.image_sizes.6x4')]
    check_conditions(conditions, with_truth=False, with_labels=False)
