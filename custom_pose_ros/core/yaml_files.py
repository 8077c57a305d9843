"""YAML files read: plain values only, and no more of them than a file has that somebody wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from custom_pose_ros.core.errors import ConfigError, one_line
from custom_pose_ros.core.files import read_bytes
from custom_pose_ros.core.limits import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_SCALAR, MAX_YAML_VALUES

try:
    from yaml import CSafeLoader as YamlLoader  # ten times as fast
except ImportError:
    from yaml import SafeLoader as YamlLoader  # type: ignore[assignment]


class UniqueKeyLoader(YamlLoader):
    """Plain values only, and a key that stands twice in one mapping is an error instead of overwriting the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                text = f'the key {key.value!r} stands twice'
                raise yaml.constructor.ConstructorError(None, None, text, key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, wanted: str, loader: type[YamlLoader] = YamlLoader) -> Any:
    """
    Return what a YAML file says.

    Args:
        path: of the file.
        wanted: what the user can do about a wrong one, such as 'give a folder with an object.yaml'.
        loader: class that reads the values.

    Raises:
        ConfigError: it is no file, cannot be read, is too large or is not YAML; the text names the file.
    """
    documents = read_yaml_documents(path, wanted, loader)
    if len(documents) > 1:
        raise ConfigError(f'{path}: is not valid YAML: it has {len(documents)} documents, wanted one')
    return documents[0] if documents else None


def read_yaml_documents(path: str | Path, wanted: str, loader: type[YamlLoader] = YamlLoader) -> list[Any]:
    """Return what each document of a YAML file says, those between lines of `---`; see `read_yaml`."""
    try:
        return parse_yaml(read_bytes(Path(path), MAX_YAML_BYTES), loader)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read ({error.strerror}); {wanted}') from error
    except ValueError as error:
        text = str(error).replace('in "<unicode string>", ', 'in ')  # the name that PyYAML gives to text in memory
        raise ConfigError(f'{path}: is not valid YAML: {text}') from error


def parse_yaml(content: bytes, loader: type[YamlLoader] = YamlLoader) -> list[Any]:
    """
    Return the values of the YAML documents in a UTF-8 content.

    Raises:
        ValueError: It is not YAML, or more than it may be (core/limits.py); the text is one line.
    """
    try:
        text = content.decode('utf-8')
        _check_extent(text, loader)
        reader = loader(text)
        try:
            documents, values = [], 0
            while reader.check_node():
                node = reader.get_node()
                values += _values(node, {}) if node else 0
                if values > MAX_YAML_VALUES:
                    raise ValueError(f'its aliases stand for more than {MAX_YAML_VALUES} values')
                documents.append(reader.construct_document(node))
            return documents
        finally:
            reader.dispose()
    # PyYAML itself does not catch what a tag makes of a wrong value: !!int '', !!bool x, !!timestamp x, 1:1e999.
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f'{one_line(error):.300}') from error


def _check_extent(text: str, loader: type[YamlLoader]) -> None:
    """Raise ValueError for more, deeper or longer values than a file has that somebody wrote; before they are built."""
    depth = values = 0
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.NodeEvent):
            values += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_YAML_SCALAR:
            raise ValueError(f'a value has {len(event.value)} characters; at most {MAX_YAML_SCALAR} are read')
        if depth > MAX_YAML_DEPTH:
            raise ValueError(f'it is nested more than {MAX_YAML_DEPTH} levels deep')
        if values > MAX_YAML_VALUES:
            raise ValueError(f'it has more than {MAX_YAML_VALUES} values')


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node with its aliases written out; without writing them out."""
    if id(node) not in known:
        known[id(node)] = MAX_YAML_VALUES + 1  # for an alias of itself
        children: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_values(child, known) for child in children)
    return known[id(node)]
