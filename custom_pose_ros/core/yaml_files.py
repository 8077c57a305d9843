"""YAML files that users give: read within bounds, whatever stands in them; plain values only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import yaml

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.limits import MAX_YAML_BYTES, MAX_YAML_VALUES


def read_yaml(path: str | Path, wanted: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """
    Return what a YAML file says.

    Args:
        path: of the file.
        wanted: what the user can do about a wrong one, such as 'give a folder with an object.yaml'.
        loader: class that reads the values.

    Raises:
        ConfigError: it is no file, cannot be read, is too large or is not YAML; the text names the file.
    """
    try:
        return _parse(_read(Path(path)), loader)
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read ({error.strerror}); {wanted}') from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or no date: 2020-13-45
        raise ConfigError(f'{path}: is not valid YAML: {" ".join(str(error).split())}') from error


def _read(path: Path) -> str:
    # Not blocking, since opening a pipe waits for somebody to write into it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(0, 'it is no file')
        content = stream.read(MAX_YAML_BYTES + 1)
    if len(content) > MAX_YAML_BYTES:
        raise OSError(0, f'it has more than {MAX_YAML_BYTES} bytes')
    return content.decode('utf-8')


def _parse(text: str, loader: type[yaml.SafeLoader]) -> Any:
    reader = loader(text)
    try:
        node = reader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_YAML_VALUES:
            raise yaml.YAMLError(f'its aliases stand for more than {MAX_YAML_VALUES} values')
        return reader.construct_document(node)
    finally:
        reader.dispose()


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
