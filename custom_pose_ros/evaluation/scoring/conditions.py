"""Conditions of --fail-if, such as `rotation_error_deg.p90 > 5`, what they say, and the numbers that they can test."""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from custom_pose_ros.core.errors import UsageError

SCHEMA_FILE = Path(__file__).with_name('metrics.schema.json')
_OF_LABELS = 'labels'
_OF_TRACK = ('outline', 'calibration')  # which need no truth, and are not in every file
_OPERATORS = {
    '>': operator.gt,
    '>=': operator.ge,
    '<': operator.lt,
    '<=': operator.le,
    '==': operator.eq,
    '!=': operator.ne,
}
_SUGGESTIONS = 12
_FORM = re.compile(r'\s*([\w.\-]+)\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*')


@dataclass(frozen=True)
class Condition:
    """`name` of a number (keys joined by dots), comparison and limit; the run fails when it holds."""

    name: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `NAME OPERATOR NUMBER`; UsageError with an example otherwise."""
        match = _FORM.fullmatch(text)
        if not match:
            raise UsageError(
                f'--fail-if {text!r}: wanted NAME, one of {" ".join(_OPERATORS)} and a number, '
                'as in "rotation_error_deg.p90 > 5"'
            )
        return cls(match[1], match[2], float(match[3]))

    def __str__(self) -> str:
        return f'{self.name} {self.comparison} {self.limit:g}'

    def check(self, names: Collection[str]) -> None:
        """Raise UsageError with near names unless one of `names` is meant, in which `*` stands for anything."""
        if not any(fnmatchcase(self.name, name) for name in names):
            raise UsageError(
                f'--fail-if {self}: there is no number {self.name}; there are {_suggestions(names, self.name)}'
            )

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the number; None when it was not measured."""
        return number_at(metrics, self.name)

    def holds(self, metrics: Mapping[str, Any]) -> bool:
        """Whether the run fails: the comparison is true, or the number was not measured (never passes unnoticed)."""
        value = self.value(metrics)
        return value is None or bool(_OPERATORS[self.comparison](value, self.limit))


@dataclass(frozen=True)
class Verdict:
    """
    What the conditions of --fail-if say.

    Attributes:
        results: Condition, the number it speaks of (None: not measured) and whether it holds, which fails the run.
    """

    results: tuple[tuple[Condition, float | None, bool], ...] = ()

    @classmethod
    def of(cls, conditions: Sequence[Condition], metrics: Mapping[str, Any]) -> Verdict:
        return cls(tuple((c, c.value(metrics), c.holds(metrics)) for c in conditions))

    @property
    def failed(self) -> bool:
        return any(holds for _, _, holds in self.results)

    def sentence(self) -> list[str]:
        """Return the limits that are exceeded as a sentence, or that all are kept; nothing without."""
        failed = [str(condition) for condition, _, holds in self.results if holds]
        exceeded = f'{len(failed)} of {len(self.results)} limits exceeded: {", ".join(failed)}.'
        kept = 'The limit is kept.' if len(self.results) == 1 else f'All {len(self.results)} limits are kept.'
        return [exceeded if failed else kept] if self.results else []

    def lines(self) -> list[str]:
        """Return one line for each condition."""
        return [
            f'{"FAIL" if holds else "pass"}: {condition.name} is {"not measured" if value is None else f"{value:g}"} '
            f'(fails if {condition.comparison} {condition.limit:g})'
            for condition, value, holds in self.results
        ]


def number_at(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return the number under keys joined by dots; None where there is none."""
    node: Any = metrics
    for key in name.split('.'):
        node = node.get(key) if isinstance(node, Mapping) else None
    return None if isinstance(node, bool) or not isinstance(node, (int, float)) else node


def _suggestions(names: Collection[str], name: str) -> str:
    """Return the names in the same group, else those that are spelt alike, else some."""
    group = name.rpartition('.')[0]
    near = [n for n in names if n.rpartition('.')[0] == group] if group else []
    near = near or difflib.get_close_matches(name, names, _SUGGESTIONS, 0.5) or list(names)
    return ', '.join(near[:_SUGGESTIONS])


def check_conditions(conditions: Sequence[Condition], with_truth: bool, with_labels: bool) -> None:
    """Refuse conditions on numbers that metrics.json will not contain; UsageError with similar names or an option."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding='utf-8'))
    names = list(number_names(schema, schema))
    for condition in conditions:
        condition.check(names)
        group = condition.name.partition('.')[0]
        if group == _OF_LABELS and not with_labels:
            raise UsageError(f'--fail-if {condition}: is known only where there are labels; give --truth-coco')
        if group not in (_OF_LABELS, *_OF_TRACK, *schema['required']) and not with_truth:
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
