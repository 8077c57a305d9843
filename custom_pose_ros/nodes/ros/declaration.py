"""Declaration: what ROS is told about one parameter, and the check of its values."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from custom_pose_ros.core.errors import ConfigError

_NAMESPACE = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


@dataclass(frozen=True)
class Declaration:
    """
    What ROS is told about one parameter; its type is that of the default (a tuple is a list of names).

    minimum, maximum : inclusive range of a number, or None where there is no end.
    choices : the only texts accepted; empty: any.
    live : whether it may be changed while the node runs.
    """

    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def wanted(self) -> str:
        """Say in words which values are accepted."""
        if isinstance(self.default, bool):
            return 'true or false'
        if isinstance(self.default, (int, float)):
            kind = 'a whole number' if isinstance(self.default, int) else 'a number'
            low = '' if self.minimum is None else f' from {self.minimum:g}'
            return kind + low + ('' if self.maximum is None else f' to {self.maximum:g}')
        if isinstance(self.default, tuple):
            return 'a list of different topic namespaces, like [front, down]'
        return f'one of {", ".join(self.choices)}' if self.choices else 'a text'

    def check(self, name: str, value: Any) -> Any:
        """Return the value as it is used (a float for a whole number, a tuple for a list) or raise ConfigError."""
        wrong = ConfigError(f'parameter {name}: wanted {self.wanted}, got {value!r}')
        if isinstance(self.default, tuple):
            return self._check_names(value, wrong)
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise wrong
        if isinstance(value, (int, float)):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            if not (math.isfinite(value) and low <= value <= high):
                raise wrong
        if self.choices and value not in self.choices:
            raise wrong
        return value

    @staticmethod
    def _check_names(value: Any, wrong: ConfigError) -> tuple[str, ...]:
        """Return the names without empty ones: ROS has no other way to write an empty list than [''], or no value."""
        value = [] if value is None else value
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise wrong
        names = tuple(name for name in value if name)
        if len(set(names)) != len(names) or not all(_NAMESPACE.fullmatch(name) for name in names):
            raise wrong
        return names

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        text = ParameterDescriptor(
            description=self.description,
            read_only=not self.live,
            additional_constraints='' if isinstance(self.default, (bool, int, float)) else f'wanted: {self.wanted}',
        )
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                text.floating_point_range = [
                    FloatingPointRange(from_value=float(self.minimum), to_value=float(self.maximum))
                ]
            else:
                text.integer_range = [IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)]
        return text


def parameter(default: Any, description: str, **constraints: Any) -> Any:
    """Make a dataclass field that carries its Declaration."""
    declaration = Declaration(default, ' '.join(description.split()), **constraints)
    return dataclasses.field(default=default, metadata={'declaration': declaration})


def declarations(schema: type, prefix: str = '') -> dict[str, Declaration]:
    """Return the declarations of a parameter dataclass by full parameter name."""
    return {prefix + field.name: field.metadata['declaration'] for field in dataclasses.fields(schema)}
