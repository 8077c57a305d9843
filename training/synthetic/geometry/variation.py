"""What differs between copies of an object, or between days: variation.yaml beside the object file and its mesh."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.yaml_files import read_yaml
from training.synthetic.geometry.parts import Part
from training.synthetic.geometry.shapes import turn
from training.synthetic.settings import SCENES

FILE_NAME = 'variation.yaml'
FINISH = ('roughness', 'opacity', 'reflectivity', 'grain', 'wrinkle')
_KEYS = ('mesh', 'scene', 'alternatives', 'optional', 'moves', 'looks', 'open_surfaces', 'hanging')


class Variation:
    """
    Draws variants of an object's parts, which are named by patterns such as 'dome.*' (docs/from_a_mesh.md).

    Attributes:
        path: of the file.
        mesh: what is drawn when no other mesh is given.
        scene: that the object is in when no other is given; None where the file does not say.
    """

    def __init__(self, path: Path):
        """Read the file; ConfigError names it and what is wrong with it."""
        self.path = path
        content = read_yaml(path, 'give a mapping with the keys ' + ', '.join(_KEYS))
        self._check(isinstance(content, Mapping), '', 'a mapping', content)
        unknown = [str(key) for key in content if key not in _KEYS]
        self._check(not unknown, '', f'only the keys {", ".join(_KEYS)}', ', '.join(unknown))
        self._check(isinstance(content.get('mesh'), str), 'mesh', 'the name of a file beside it', content.get('mesh'))
        self.mesh = path.parent / content['mesh']
        self.scene: str | None = content.get('scene')
        self._check(self.scene in (None, *SCENES), 'scene', f'one of {", ".join(SCENES)}', self.scene)
        self._alternatives = self._list(content, 'alternatives')
        for group in self._alternatives:
            self._check_patterns('alternatives', group)
            self._check(len(group) > 0, 'alternatives', 'lists of patterns', group)
        self._optional = self._rules(content, 'optional', ('share',))
        self._moves = self._rules(content, 'moves', ('about', 'turn_deg', 'shift_m'))
        self._looks = self._rules(content, 'looks', ('any_of',))
        self._open = self._list(content, 'open_surfaces') if 'open_surfaces' in content else None
        self._hanging = self._list(content, 'hanging')
        self._check_patterns('open_surfaces', self._open or [])
        self._check_patterns('hanging', self._hanging)
        self._read_rules()

    def _check(self, right: bool, where: str, wanted: str, got: Any) -> None:
        if not right:
            raise ConfigError(f'{self.path}: {where + ": " if where else ""}wanted {wanted}, got {got!r:.100}')

    def _check_patterns(self, where: str, patterns: Any) -> None:
        right = isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)
        self._check(right, where, 'lists of patterns', patterns)

    def _list(self, content: Mapping, key: str) -> list:
        value = content.get(key, [])
        self._check(isinstance(value, list), key, 'a list', value)
        return value

    def _rules(self, content: Mapping, key: str, known: Sequence[str]) -> list[dict]:
        rules = self._list(content, key)
        for rule in rules:
            right = isinstance(rule, Mapping) and isinstance(rule.get('parts'), str) and {*rule} <= {'parts', *known}
            self._check(right, key, f'rules with parts (a pattern) and {", ".join(known)}', rule)
        return rules

    def _read_rules(self) -> None:
        """Turn the numbers of all rules into ranges, (low, high) or (3, 2)."""
        for rule in self._optional:
            rule['share'] = self._range(rule.get('share'), 'optional: share')[0]
        for rule in self._moves:
            rule['about'] = self._ranges(rule.get('about', [0, 0, 0]), 'moves: about')[:, 0]
            for key in ('turn_deg', 'shift_m'):
                rule[key] = self._ranges(rule.get(key, [0, 0, 0]), f'moves: {key}')
        for rule in self._looks:
            self._check(isinstance(rule.get('any_of'), list) and rule['any_of'], 'looks: any_of', 'a list', rule)
            rule['any_of'] = [self._look(look) for look in rule['any_of']]
            likely = any('share' not in look or look['share'][0] > 0 for look in rule['any_of'])
            self._check(likely, 'looks: any_of', 'a look with a share above 0', rule['any_of'])

    def _look(self, look: Any) -> dict[str, Any]:
        right = isinstance(look, Mapping) and {*look} <= {'share', 'color', 'grey', *FINISH}
        self._check(right, 'looks: any_of', f'share, color, grey, {", ".join(FINISH)}', look)
        read = {key: self._range(value, f'looks: {key}') for key, value in look.items() if key != 'color'}
        if 'color' in look:
            read['color'] = self._ranges(look['color'], 'looks: color')
        inside = all(0 <= limits.min() and limits.max() <= 1 for limits in read.values())
        self._check(inside, 'looks: any_of', 'numbers from 0 to 1', look)
        return read

    def _range(self, value: Any, where: str) -> np.ndarray:
        """Return (low, high) of a number or of a range."""
        numbers = value if isinstance(value, list) else [value, value]
        right = len(numbers) == 2 and all(isinstance(v, (int, float)) and np.isfinite(v) for v in numbers)
        self._check(right and numbers[0] <= numbers[1], where, 'a number or [low, high]', value)
        return np.array(numbers, float)

    def _ranges(self, value: Any, where: str) -> np.ndarray:
        """Return (3, 2) of three numbers or ranges."""
        self._check(isinstance(value, list) and len(value) == 3, where, 'three numbers or [low, high]', value)
        return np.array([self._range(each, where) for each in value])

    def check_names(self, parts: Sequence[Part]) -> None:
        """Raise ConfigError for a pattern that no part of the mesh fits."""
        rules = [*self._optional, *self._moves, *self._looks]
        ruled = [rule['parts'] for rule in rules]
        for pattern in itertools.chain(ruled, *self._alternatives, self._open or [], self._hanging):
            if not any(_fits(part, [pattern]) for part in parts):
                names = ', '.join(sorted({part.name for part in parts})[:8])
                raise ConfigError(f'{self.path}: no part of {self.mesh.name} fits {pattern!r}; it has {names}, ...')

    def constant(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts without what is optional or hanging, and with the first of alternatives."""
        others = [pattern for group in self._alternatives for pattern in group[1:]]
        left_out = [*others, *self._hanging, *(rule['parts'] for rule in self._optional)]
        return [part for part in parts if not _fits(part, left_out)]

    def draw(self, rng: np.random.Generator, parts: Sequence[Part]) -> list[Part]:
        """Return a variant of the parts."""
        left_out = [pattern for group in self._alternatives for pattern in _all_but_one(rng, group)]
        left_out += [rule['parts'] for rule in self._optional if rng.random() >= rule['share']]
        shown = [part for part in parts if not _fits(part, left_out)]
        for rule in self._moves:
            shown = _applied(shown, rule['parts'], _move(rng, rule))
        for rule in self._looks:
            shown = _applied(shown, rule['parts'], _painted(rng, rule['any_of']))
        if self._open is not None:
            shown = [replace(part, two_sided=_fits(part, self._open)) for part in shown]
        return [replace(part, belongs=not _fits(part, self._hanging)) for part in shown]


def constant_parts(mesh: Path, parts: Sequence[Part]) -> list[Part]:
    """
    Return what belongs to every variant of an object whose variation file names this mesh; all parts of another mesh.

    Of alternatives that is the first; what is optional or only hangs on the object is left out.
    """
    path = mesh.with_name(FILE_NAME)
    if not path.is_file() or (variation := Variation(path)).mesh.resolve() != mesh.resolve():
        return list(parts)
    variation.check_names(parts)
    return variation.constant(parts)


def _fits(part: Part, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(part.name, pattern) for pattern in patterns)


def _all_but_one(rng, group: Sequence[str]) -> list[str]:
    kept = rng.integers(len(group))
    return [pattern for k, pattern in enumerate(group) if k != kept]


def _applied(parts: list[Part], pattern: str, change: Callable[[Part], Part]) -> list[Part]:
    return [change(part) if _fits(part, [pattern]) else part for part in parts]


def _move(rng, rule: Mapping[str, np.ndarray]) -> Callable[[Part], Part]:
    """Return a random turn about a point, about x, then y, then z, and a shift; the same for all parts of the rule."""
    angles = np.deg2rad(rng.uniform(*rule['turn_deg'].T))
    R = turn('z', angles[2]) @ turn('y', angles[1]) @ turn('x', angles[0])
    about, shift = rule['about'], rng.uniform(*rule['shift_m'].T)
    return lambda part: part.moved(R, about - R @ about + shift)


def _painted(rng, looks: Sequence[Mapping[str, np.ndarray]]) -> Callable[[Part], Part]:
    """Return a random one of the looks; what it does not name stays as the mesh has it."""
    shares = np.array([look['share'][0] if 'share' in look else 1.0 for look in looks])
    look = looks[rng.choice(len(looks), p=shares / shares.sum())]
    changes: dict[str, Any] = {key: float(rng.uniform(*look[key])) for key in FINISH if key in look}
    if 'grey' in look:
        changes['color'] = (float(rng.uniform(*look['grey'])),) * 3
    if 'color' in look:
        changes['color'] = tuple(map(float, rng.uniform(*look['color'].T)))
    return lambda part: part.with_material(replace(part.material, **changes))
