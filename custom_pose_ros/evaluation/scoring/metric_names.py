"""Names of the numbers that --fail-if can test, from the schema of metrics.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.evaluation.scoring.conditions import Condition

SCHEMA_FILE = Path(__file__).with_name('metrics.schema.json')
_OF_LABELS = 'labels'


def check_conditions(conditions: Sequence[Condition], with_truth: bool, with_labels: bool) -> None:
    """Refuse conditions on numbers that metrics.json will not contain; UsageError with similar names or an option."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding='utf-8'))
    names = list(number_names(schema, schema))
    for condition in conditions:
        condition.check(names)
        group = condition.name.partition('.')[0]
        if group == _OF_LABELS and not with_labels:
            raise UsageError(f'--fail-if {condition}: is known only where there are labels; give --truth-coco')
        if group not in (_OF_LABELS, *schema['required']) and not with_truth:
            raise UsageError(
                f'--fail-if {condition}: is known only where there is a truth; give --truth, --truth-tf or --truth-tags'
            )


def number_names(node: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
    """Yield the names of all numbers in a part of the schema, keys joined by dots, `*` for keys that vary."""
    if '$ref' in node:
        node = schema['$defs'][node['$ref'].rpartition('/')[2]]
    kinds = node.get('type', ())
    if {'number', 'integer'} & set([kinds] if isinstance(kinds, str) else kinds):
        yield prefix
    children = {**node.get('properties', {}), '*': node.get('additionalProperties')}
    for key, child in children.items():
        if isinstance(child, Mapping):
            yield from number_names(child, schema, f'{prefix}.{key}' if prefix else key)
