"""Parameters of a node: declared as fields of a dataclass, checked, changed live, and read as one object."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from custom_pose_ros.core.errors import ConfigError

# Descriptions that both nodes share.
SWITCHED = 'Once configured it changes by ~/switch_object.'
AUTOSTART = 'Configure and activate at the start; false: wait for a lifecycle manager, or for ros2 lifecycle set.'

IMAGE_TRANSPORT = 'raw: sensor_msgs/Image on image; compressed: sensor_msgs/CompressedImage on image/compressed.'
IMAGE_TRANSPORTS = ('raw', 'compressed')
IMAGE_RELIABILITY = 'Reliability asked of the image publisher; best_effort matches every publisher.'
RELIABILITIES = ('best_effort', 'reliable')

Schema = TypeVar('Schema')
_NAMESPACE = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


@dataclass(frozen=True)
class Declaration:
    """
    What ROS is told about one parameter.

    Attributes:
        default: also gives the type; a tuple is a list of names.
        description: what `ros2 param describe` shows.
        bounds: smallest and largest number accepted; every number has them.
        choices: the only texts accepted; empty: any.
        live: whether it may be changed while the node runs.
    """

    default: Any
    description: str
    bounds: tuple[float, float] = (0, 0)
    choices: tuple[str, ...] = ()
    live: bool = False

    @property
    def wanted(self) -> str:
        """Say in words which values are accepted."""
        if isinstance(self.default, bool):
            return 'true or false'
        if isinstance(self.default, (int, float)):
            kind = 'a whole number' if isinstance(self.default, int) else 'a number'
            return f'{kind} from {self.bounds[0]:g} to {self.bounds[1]:g}'
        if isinstance(self.default, tuple):
            return 'a list of different topic namespaces, like [front, down]'
        return f'one of {", ".join(self.choices)}' if self.choices else 'a text'

    def check(self, name: str, value: Any) -> Any:
        """
        Return the value as it is used: a float for a whole number, a tuple for a list.

        Raises:
            ConfigError: the value is not accepted.
        """
        wrong = ConfigError(f'parameter {name}: wanted {self.wanted}, got {value!r}')
        if isinstance(self.default, tuple):
            return self._check_names(value, wrong)
        kind = type(self.default)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise wrong
        if kind in (int, float) and not self.bounds[0] <= value <= self.bounds[1]:
            raise wrong
        if self.choices and value not in self.choices:
            raise wrong
        return value

    @staticmethod
    def _check_names(value: Any, wrong: ConfigError) -> tuple[str, ...]:
        """Return the names without empty ones: in ROS an empty list is written [''], or has no value."""
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
        low, high = self.bounds
        if type(self.default) is float:
            text.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif type(self.default) is int:
            text.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return text


def parameter(default: Any, description: str, **constraints: Any) -> Any:
    """Make a dataclass field that carries its Declaration."""
    declaration = Declaration(default, ' '.join(description.split()), **constraints)
    return dataclasses.field(default=default, metadata={'declaration': declaration})


def declarations(schema: type, prefix: str = '') -> dict[str, Declaration]:
    """Return the declarations of a parameter dataclass by full parameter name."""
    return {prefix + field.name: field.metadata['declaration'] for field in dataclasses.fields(schema)}


class NodeParameters(Generic[Schema]):
    """
    The parameters of one node, declared from a parameter dataclass.

    Attributes:
        values: instance of the dataclass, replaced as a whole when a live parameter changes; read it once per message.
    """

    def __init__(
        self,
        node: Node,
        schema: type[Schema],
        prefix: str = '',
        defaults: Mapping[str, Any] | None = None,
        check: Callable[[Schema], None] | None = None,
        apply: Callable[[Schema], None] | None = None,
        beside: NodeParameters | None = None,
    ):
        """
        Declare and read all parameters.

        Args:
            node: the node that gets them.
            schema: dataclass whose fields are made by `parameter`.
            prefix: put before each field name, as in 'thresholds.'.
            defaults: defaults that replace those of the dataclass, by field name.
            check: called with new values before they hold; may refuse them with ConfigError.
            apply: called with new values that hold.
            beside: other parameters of the same node: a request that one of them refuses changes none of both.

        Raises:
            ConfigError: names the parameter, the values accepted and the one given.
        """
        self._node = node
        self._declarations = declarations(schema, prefix)
        self._prefix = prefix
        self._check, self._apply = check, apply
        self._together = [self] if beside is None else beside._together
        self._defaults = dict(defaults or {})
        read = {}
        for name, declaration in self._declarations.items():
            field = name[len(prefix) :]
            default = self._defaults.setdefault(field, declaration.default)
            read[field] = _declare(node, name, declaration, default)
        self.values: Schema = schema(**read)
        if beside:
            self._together.append(self)
        else:
            node.add_on_set_parameters_callback(self._set)

    def with_defaults(self, defaults: Mapping[str, Any]) -> Schema:
        """Return the values with these defaults in place of those before, where nobody has changed them."""
        unchanged = {field: v for field, v in defaults.items() if getattr(self.values, field) == self._defaults[field]}
        return dataclasses.replace(self.values, **unchanged)

    def set(self, **values: Any) -> None:
        """
        Set live parameters of the node, as a user would.

        Raises:
            ConfigError: they are refused.
        """
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
        """Check and apply live changes, all or none; parameters declared elsewhere are not looked at."""
        try:
            changed = [(group, values) for group in self._together if (values := group._checked(parameters))]
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for group, values in changed:
            group.values = values
            if group._apply:
                group._apply(values)
        return SetParametersResult(successful=True)

    def _checked(self, parameters: list[Parameter]) -> Schema | None:
        """Return the values as they will be, None when nothing of this group changes; ConfigError refuses them."""
        own = [p for p in parameters if p.name in self._declarations]
        changes = {p.name[len(self._prefix) :]: self._declarations[p.name].check(p.name, p.value) for p in own}
        if not changes:
            return None
        values = dataclasses.replace(self.values, **changes)
        if self._check:
            self._check(values)
        return values


def _declare(node: Node, name: str, declaration: Declaration, default: Any) -> Any:
    """Declare one parameter and return its checked value."""
    ros_default = (list(default) or ['']) if isinstance(default, tuple) else default
    # Declared first without a type, so that a value of another type gets this error text and not that of rclpy.
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


def warn_of_unknown_overrides(node: Node) -> None:
    """Log once what `unknown_overrides` finds; those of the quality of service are declared by the first activation."""
    if lines := unknown_overrides(node):
        node.get_logger().warning('; '.join(lines), once=True)


def unknown_overrides(node: Node) -> list[str]:
    """
    Return one line for each parameter that was given to the node (file, command line) but that it does not have.

    To be called when all are declared. rclpy ignores such parameters silently and has no public list of them.
    """
    known = list(node.get_parameters_by_prefix(''))
    lines = []
    for name in getattr(node, '_parameter_overrides', {}):
        if not node.has_parameter(name):
            near = difflib.get_close_matches(name, known, 1)
            lines.append(f'parameter {name}: unknown, ignored' + (f' (did you mean {near[0]}?)' if near else ''))
    return lines
