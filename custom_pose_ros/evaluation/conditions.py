"""Conditions of --fail-if, such as `rotation_error_deg.p90 > 5`: a number of metrics.json, a comparison, a limit."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from custom_pose_ros.core.errors import ConfigError

_OPERATORS = {
    '>': operator.gt,
    '>=': operator.ge,
    '<': operator.lt,
    '<=': operator.le,
    '==': operator.eq,
    '!=': operator.ne,
}
_FORM = re.compile(r'\s*([\w.\-]+)\s*(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*')


@dataclass(frozen=True)
class Condition:
    """`name` of a number (keys joined by dots), comparison and limit; the run fails when it holds."""

    name: str
    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read `NAME OPERATOR NUMBER`; ConfigError with an example otherwise."""
        match = _FORM.fullmatch(text)
        if not match:
            raise ConfigError(
                f'--fail-if {text!r}: wanted NAME, one of {" ".join(_OPERATORS)} and a number, '
                'as in "rotation_error_deg.p90 > 5"'
            )
        return cls(match[1], match[2], float(match[3]))

    def __str__(self) -> str:
        return f'{self.name} {self.comparison} {self.limit:g}'

    def value(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the number; None when it was not measured. ConfigError with near names when there is none such."""
        node: Any = metrics
        for key in self.name.split('.'):
            if not isinstance(node, Mapping) or key not in node:
                raise ConfigError(
                    f'--fail-if {self}: there is no {self.name}; there are {_suggestions(metrics, self.name)}'
                )
            node = node[key]
        if isinstance(node, bool) or not (node is None or isinstance(node, (int, float))):
            raise ConfigError(
                f'--fail-if {self}: {self.name} is not a number; there are {_suggestions(metrics, self.name)}'
            )
        return node

    def holds(self, metrics: Mapping[str, Any]) -> bool:
        """Whether the run fails: the comparison is true, or the number was not measured (never passes unnoticed)."""
        value = self.value(metrics)
        return value is None or bool(_OPERATORS[self.comparison](value, self.limit))


def number_names(metrics: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
    """Yield the names of all numbers that a condition can speak of."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from number_names(value, f'{prefix}{key}.')
        elif not isinstance(value, bool) and (value is None or isinstance(value, (int, float))):
            yield f'{prefix}{key}'


def _suggestions(metrics: Mapping[str, Any], name: str) -> str:
    names = sorted(number_names(metrics))
    first = name.split('.')[0]
    near = [n for n in names if n.split('.')[0] == first] or names
    return ', '.join(near[:40])
