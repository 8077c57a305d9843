"""
Settings of the generator: settings.yaml holds every knob and its default, which is an indoor scene.

Another scene of presets/ changes some of them, and a user's YAML changes some of the scene's.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from custom_pose_ros.core.command_line import ANYWHERE, SIDES
from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.yaml_files import read_yaml

DEFAULTS_FILE = Path(__file__).with_name('settings.yaml')
DEFAULT_SCENE = 'indoor'  # what settings.yaml says
_PRESETS = {path.stem: path for path in sorted(Path(__file__).with_name('presets').glob('*.yaml'))}
SCENES = (DEFAULT_SCENE, *_PRESETS)


def load_settings(path: str | Path | None = None, scene: str = DEFAULT_SCENE) -> SimpleNamespace:
    """
    Return the settings as `settings.<group>.<knob>`: numbers, (low, high) tuples, tuples of weights or of words.

    Args:
        path: a YAML file with the knobs to change; None for those of the scene.
        scene: one of SCENES.

    Raises:
        ConfigError: naming file, knob, wanted and got.
    """
    way_out = f'give groups of knobs as in {DEFAULTS_FILE.name}'
    values = read_yaml(DEFAULTS_FILE, way_out)
    for file in (_PRESETS.get(scene), path):
        if file is None:
            continue
        changes = read_yaml(file, way_out)
        if not isinstance(changes, Mapping):
            raise ConfigError(f'{file}: wanted groups of knobs as in {DEFAULTS_FILE.name}, got {changes!r}')
        _overlay(values, changes, str(file))
    return settings_from_dict(values)


def settings_from_dict(values: Mapping[str, Mapping[str, Any]]) -> SimpleNamespace:
    """Return the settings that `settings_to_dict` wrote."""
    return SimpleNamespace(**{group: SimpleNamespace(**_frozen(knobs)) for group, knobs in values.items()})


def settings_to_dict(settings: SimpleNamespace) -> dict[str, dict[str, Any]]:
    """Return plain dictionaries, lists and numbers, to be written beside the data."""
    groups = {group: vars(knobs) for group, knobs in vars(settings).items()}
    return {g: {k: list(v) if isinstance(v, tuple) else v for k, v in knobs.items()} for g, knobs in groups.items()}


def _frozen(knobs: Mapping) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in knobs.items()}


def _overlay(values: dict, changes: Mapping, source: str) -> None:
    for group, knobs in changes.items():
        _require_known(source, '', group, values)
        if not isinstance(knobs, Mapping):
            raise ConfigError(f'{source}: {group}: wanted knobs and values, got {knobs!r}')
        for key, value in knobs.items():
            _require_known(source, f'{group}.', key, values[group])
            values[group][key] = _checked(f'{source}: {group}.{key}', value, values[group][key], key)


def _require_known(source: str, where: str, key: Any, known: Mapping) -> None:
    if key not in known:
        near = difflib.get_close_matches(str(key), list(known), 1)
        hint = f' (did you mean {near[0]!r}?)' if near else ''
        raise ConfigError(f'{source}: {where}{key}: unknown{hint}, wanted one of {", ".join(known)}')


def _checked(where: str, value: Any, default: Any, key: str) -> Any:
    """Return the value if it has the shape of the default: a number, a [low, high] range, or a list of weights."""
    if not isinstance(default, list):
        if not _is_number(value) or (key.endswith(('probability', 'share')) and not 0 <= value <= 1):
            wanted = 'a number from 0 to 1' if key.endswith(('probability', 'share')) else 'a number'
            raise ConfigError(f'{where}: wanted {wanted}, got {value!r}')
        return value
    if key == 'seen_from':
        return _checked_sides(where, value)
    if not isinstance(value, list) or not value or not all(_is_number(v) for v in value):
        raise ConfigError(f'{where}: wanted a list of numbers such as {default}, got {value!r}')
    if key == 'instances':
        if min(value) < 0 or sum(value) <= 0:
            raise ConfigError(f'{where}: wanted weights >= 0 with a positive sum, got {value}')
    elif len(value) != 2 or value[0] > value[1]:
        raise ConfigError(f'{where}: wanted [low, high] such as {default}, got {value}')
    return value


def _checked_sides(where: str, value: Any) -> list[str]:
    known = (ANYWHERE, *SIDES)
    if not isinstance(value, list) or not value or not all(side in known for side in value):
        raise ConfigError(f'{where}: wanted a list of {", ".join(known)}, got {value!r}')
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
