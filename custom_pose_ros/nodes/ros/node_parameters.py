"""NodeParameters: the parameters of a running node, checked, changed live and given back as one dataclass."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.nodes.ros.declaration import Declaration, declarations

Schema = TypeVar('Schema')


class NodeParameters(Generic[Schema]):
    """
    The parameters of one node, declared from a parameter dataclass.

    values : instance of the dataclass, replaced as a whole when a live parameter changes; read it once per message.
    """

    def __init__(
        self,
        node: Node,
        schema: type[Schema],
        prefix: str = '',
        defaults: Mapping[str, Any] | None = None,
        on_change: Callable[[Schema], None] | None = None,
    ):
        """
        Declare and read all parameters.

        prefix : put before each field name, as in 'thresholds.'.
        defaults : defaults that replace those of the dataclass, by field name.
        on_change : called with the new values before they are taken; may refuse them with ConfigError.

        Raises ConfigError that names the parameter, what was wanted and what was given.
        """
        self._node = node
        self._declarations = declarations(schema, prefix)
        self._prefix = prefix
        self._on_change = on_change
        self._defaults = dict(defaults or {})
        read = {}
        for name, declaration in self._declarations.items():
            field = name[len(prefix) :]
            default = self._defaults.setdefault(field, declaration.default)
            read[field] = _declare(node, name, declaration, default)
        self.values: Schema = schema(**read)
        node.add_on_set_parameters_callback(self._set)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Schema:
        """Return the values with these defaults in place of those before, where nobody has changed them."""
        unchanged = {field: v for field, v in defaults.items() if getattr(self.values, field) == self._defaults[field]}
        return dataclasses.replace(self.values, **unchanged)

    def set(self, **values: Any) -> None:
        """Set live parameters of the node, as a user would. Raises ConfigError when they are refused."""
        result = self._node.set_parameters_atomically([
            Parameter(self._prefix + field, value=value) for field, value in values.items()
        ])
        if not result.successful:
            raise ConfigError(result.reason)

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Give the parameters that nobody has changed other defaults."""
        values = dataclasses.asdict(self.with_defaults(defaults))
        self._defaults = {**self._defaults, **defaults}
        self.set(**{field: value for field, value in values.items() if value != getattr(self.values, field)})

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Check and take live changes, all or none; other parameters are somebody else's."""
        own = [p for p in parameters if p.name in self._declarations]
        try:
            changes = {p.name[len(self._prefix) :]: self._declarations[p.name].check(p.name, p.value) for p in own}
            if changes:
                values = dataclasses.replace(self.values, **changes)
                if self._on_change:
                    self._on_change(values)
                self.values = values
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _declare(node: Node, name: str, declaration: Declaration, default: Any) -> Any:
    """Declare one parameter and return its checked value."""
    ros_default = (list(default) or ['']) if isinstance(default, tuple) else default
    # Declared once without a type, to read what the user gave and to complain in our own words, then for good.
    given = node.declare_parameter(name, ros_default, ParameterDescriptor(dynamic_typing=True)).value
    node.undeclare_parameter(name)
    value = declaration.check(name, given)
    ros_value = (list(value) or ['']) if isinstance(value, tuple) else value
    node.declare_parameter(name, ros_value, declaration.descriptor(), ignore_override=True)
    return value


def with_declared_type(node: Node, given: Parameter) -> Parameter:
    """Return a whole number as the float that the node has declared; everything else as it is."""
    if given.type_ != Parameter.Type.INTEGER or not node.has_parameter(given.name):
        return given
    declared = node.get_parameter(given.name).type_
    return Parameter(given.name, declared, float(given.value)) if declared == Parameter.Type.DOUBLE else given


def unknown_overrides(node: Node) -> list[str]:
    """
    Return one line for each parameter that was given to the node (file, command line) but that it does not have.

    Call it when everything is declared. rclpy ignores such parameters without a word and has no public list of them.
    """
    known = list(node.get_parameters_by_prefix(''))
    lines = []
    for name in getattr(node, '_parameter_overrides', {}):
        if not node.has_parameter(name):
            near = difflib.get_close_matches(name, known, 1)
            lines.append(f'parameter {name}: unknown, ignored' + (f' (did you mean {near[0]}?)' if near else ''))
    return lines
