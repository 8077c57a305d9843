"""Object files: where they are, and their content checked key by key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.command_line import is_path
from custom_pose_ros.core.errors import ChoiceError, ConfigError
from custom_pose_ros.core.geometry.symmetry import Symmetry, SymmetryGroup
from custom_pose_ros.core.limits import MAX_KEYPOINTS
from custom_pose_ros.core.object_checks import impossible_points

DEFAULT_SIGMA = 0.05  # OKS sigma of a point labelled with about 1 % of the object's size (COCO: eyes 0.025, hips 0.107)
DRAFT = 'wanted an object.yaml, of which prepare_dataset.py drafts one from labels'
ESTIMATORS = ('network', 'face_mesh')
_CHOICES: dict[str, dict[Any, str]] = {  # what may stand there, and what it means
    'estimator': {word: word for word in ESTIMATORS},
    'mirror': {True: 'yes', False: 'no', 'yes': 'yes', 'no': 'no', 'auto': 'auto'},  # YAML reads yes as true
    'hidden': {word: word for word in ('known', 'absent')},
    'unlabelled': {word: word for word in ('auto', 'absent', 'unknown')},
}
_REQUIRED_KEYS = ('name', 'keypoints', 'skeleton')
_OPTIONAL_KEYS = (
    'description', 'sigmas', 'swaps', 'model_points', 'zero_roll_pitch_yaw_deg', 'symmetries', 'input_height',
    'thresholds', 'estimator', 'network_source', 'mirror', 'hidden', 'unlabelled',
)  # fmt: skip


@dataclass(frozen=True)
class Thresholds:
    """
    Acceptance limits of decoding and grouping, all in [0, 1] unless said otherwise.

    Attributes:
        keypoint_score: lowest heatmap peak that counts as a keypoint.
        limb_score: lowest mean agreement of the part affinity field along a limb.
        pose_score: lowest score of a whole instance.
        min_keypoints: lowest number of visible keypoints of an instance (>= 1).
        max_instances: largest number of instances reported for one image (>= 1).
    """

    keypoint_score: float = 0.25
    limb_score: float = 0.15
    pose_score: float = 0.25
    min_keypoints: int = 2
    max_instances: int = 50


def config_folder() -> Path:
    """Return the folder `config` of the package: its installed data, or that of a checkout."""
    root = Path(__file__).resolve().parents[1]
    installed = root / 'config'
    return installed if installed.is_dir() else root.parent / 'config'


def installed_objects() -> dict[str, Path]:
    """Return the folders of the objects that come with the package, by name."""
    return {p.parent.name: p.parent for p in sorted(config_folder().glob('*/object.yaml'))}


def find_object_folder(source: str | Path, wanted_file: bool = False) -> Path:
    """
    Resolve a folder, an object.yaml or the name of an installed object to its folder (or its object.yaml).

    Raises:
        ConfigError: it is not there; the text lists what is installed. ChoiceError where it is no path either.
    """
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # too long a name, no permission, no such user behind "~"
        raise ConfigError(f'object {str(source)[:80]!r} cannot be looked up: {error}') from error
    if is_folder:
        file = path / 'object.yaml'
        if not file.is_file():
            raise ConfigError(f'{path}: this folder has no object.yaml')
    elif is_file:
        file = path
    else:
        installed = installed_objects()
        if str(source) not in installed:
            raise (ConfigError if is_path(str(source)) else ChoiceError)(
                f'object {str(source)!r} not found: wanted a folder with object.yaml, an object.yaml, '
                f'or one of the installed objects: {", ".join(installed) or "none"}'
            )
        file = installed[str(source)] / 'object.yaml'
    return file if wanted_file else file.parent


def object_fields(data: Any, source: str) -> dict[str, Any]:
    """Return the fields of `ObjectModel` that the content of an object.yaml states; ConfigError for every mistake."""
    return _Reader(source).read(data)


class _Reader:
    """Checks the content of one object.yaml; every complaint names file, key, wanted and got."""

    def __init__(self, source: str):
        self.source = source

    def want(self, good: bool, key: str, wanted: str, got: Any) -> None:
        if not good:
            text = repr(got)
            text = text if len(text) < 120 else text[:117] + '...'
            raise ConfigError(f'{self.source}: {key}: wanted {wanted}, got {text}')

    def read(self, data: Any) -> dict[str, Any]:
        self.want(isinstance(data, Mapping), '(whole file)', 'keys and values', data)
        if 'annotations' in data:
            raise ConfigError(f'{self.source}: holds labels and describes no object; {DRAFT}')
        self.check_keys('', data, _REQUIRED_KEYS, _OPTIONAL_KEYS)
        data = {key: value for key, value in data.items() if value is not None}  # an empty optional key is its default
        names = self.read_names(data['keypoints'])
        swaps = self.read_pairs('swaps', data.get('swaps', []), names)
        used = [k for pair in swaps for k in pair]
        self.want(len(set(used)) == len(used), 'swaps', 'every keypoint in one pair at most', data.get('swaps'))
        skeleton = self.read_pairs('skeleton', data['skeleton'], names)
        different = len({frozenset(pair) for pair in skeleton}) == len(skeleton)
        self.want(different, 'skeleton', 'every edge once', data['skeleton'])
        read: dict[str, Any] = {
            'name': self.read_name('name', data['name']),
            'keypoint_names': names,
            'skeleton': skeleton,
            'sigmas': self.read_sigmas(data.get('sigmas'), names),
            'swaps': swaps,
            'model_points': self.read_model_points(data.get('model_points'), names),
            'symmetries': self.read_symmetries(data.get('symmetries', [])),
            'thresholds': self.read_thresholds(data.get('thresholds', {}), len(names)),
        }
        if (zero := data.get('zero_roll_pitch_yaw_deg')) is not None:
            read['zero_roll_pitch_yaw_deg'] = self.read_vector('zero_roll_pitch_yaw_deg', zero)
        if 'input_height' in data:
            read['input_height'] = self.read_input_height(data['input_height'])
        read |= {key: self.read_text(key, data[key]) for key in ('description', 'network_source') if key in data}
        read |= {key: self.read_choice(key, data[key], words) for key, words in _CHOICES.items() if key in data}
        return read

    def check_keys(self, where: str, data: Mapping, required: Sequence[str], optional: Sequence[str]) -> None:
        allowed = (*required, *optional)
        for key in data:
            if key not in allowed:
                near = difflib.get_close_matches(str(key), allowed, 1)
                hint = f' (did you mean {near[0]!r}?)' if near else ''
                raise ConfigError(f'{self.source}: {where}{key}: unknown key{hint}, wanted one of {", ".join(allowed)}')
        for key in required:
            if data.get(key) is None:
                raise ConfigError(f'{self.source}: {where}{key}: is missing, wanted one')

    def read_name(self, key: str, value: Any) -> str:
        good = isinstance(value, str) and re.fullmatch(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}', value)
        self.want(bool(good), key, 'a name of letters, digits, "_", "-" and ".", not starting with "-" or "."', value)
        return value

    def read_text(self, key: str, value: Any) -> str:
        self.want(isinstance(value, str), key, 'text', value)
        return value

    def read_choice(self, key: str, value: Any, choices: Mapping[Any, str]) -> str:
        good = isinstance(value, (str, bool)) and value in choices
        self.want(good, key, ' or '.join(dict.fromkeys(choices.values())), value)
        return choices[value]

    def read_names(self, value: Any) -> tuple[str, ...]:
        good = isinstance(value, list) and 1 <= len(value) <= MAX_KEYPOINTS
        self.want(good, 'keypoints', f'a list of 1 to {MAX_KEYPOINTS} names', value)
        names = tuple(self.read_name(f'keypoints[{i}]', v) for i, v in enumerate(value))
        double = next((name for name in names if names.count(name) > 1), '')
        self.want(not double, 'keypoints', 'different names', double + ' twice')
        return names

    def read_pairs(self, key: str, value: Any, names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
        self.want(isinstance(value, list), key, 'a list of pairs of keypoint names', value)
        pairs = []
        for i, pair in enumerate(value):
            self.want(isinstance(pair, list) and len(pair) == 2, f'{key}[{i}]', 'a pair of keypoint names', pair)
            for name in pair:
                self.want(name in names, f'{key}[{i}]', f'one of the keypoints {", ".join(names)}', name)
            self.want(pair[0] != pair[1], f'{key}[{i}]', 'two different keypoints', pair)
            pairs.append((names.index(pair[0]), names.index(pair[1])))
        return tuple(pairs)

    def read_number(self, key: str, value: Any, low: float, high: float) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        self.want(good, key, f'a number from {low:g} to {high:g}', value)
        return float(value)

    def read_vector(self, key: str, value: Any) -> tuple[float, float, float]:
        self.want(isinstance(value, list) and len(value) == 3, key, 'three numbers', value)
        x, y, z = (self.read_number(f'{key}[{i}]', v, -1e6, 1e6) for i, v in enumerate(value))
        return x, y, z

    def read_sigmas(self, value: Any, names: tuple[str, ...]) -> np.ndarray:
        if value is None:
            return np.full(len(names), DEFAULT_SIGMA)
        self.check_names('sigmas', value, names, complete=True)
        return np.array([self.read_number(f'sigmas.{n}', value[n], 1e-4, 1.0) for n in names])

    def read_model_points(self, value: Any, names: tuple[str, ...]) -> np.ndarray | None:
        if value is None:
            return None
        self.check_names('model_points', value, names, complete=False)
        points = np.full((len(names), 3), np.nan)
        for name, point in value.items():
            points[names.index(name)] = self.read_vector(f'model_points.{name}', point)
        if fault := impossible_points(names, points):
            raise ConfigError(f'{self.source}: model_points: {fault}')
        return points

    def check_names(self, key: str, value: Any, names: tuple[str, ...], complete: bool) -> None:
        wanted = f'a value behind each keypoint name, as {{{names[0]}: ..., {names[-1]}: ...}}'
        self.want(isinstance(value, Mapping) and bool(value), key, wanted, value)
        self.check_keys(f'{key}.', value, names if complete else (), () if complete else names)

    def read_symmetries(self, value: Any) -> tuple[Symmetry, ...]:
        form = '{axis: [x, y, z], fold: N or continuous}'
        self.want(isinstance(value, list), 'symmetries', f'a list of {form}', value)
        symmetries = tuple(self.read_symmetry(f'symmetries[{i}]', item, form) for i, item in enumerate(value))
        try:
            SymmetryGroup(symmetries)
        except ValueError as error:
            raise ConfigError(f'{self.source}: symmetries: {error}; two axes rarely fit') from error
        return symmetries

    def read_symmetry(self, key: str, item: Any, form: str) -> Symmetry:
        self.want(isinstance(item, Mapping), key, form, item)
        self.check_keys(key + '.', item, ('axis', 'fold'), ())
        axis = np.array(self.read_vector(key + '.axis', item['axis']))
        length = float(np.linalg.norm(axis))
        self.want(length >= 1e-9, key + '.axis', 'a direction', item['axis'])
        fold = 0 if item['fold'] == 'continuous' else item['fold']
        good = fold == 0 if item['fold'] == 'continuous' else _is_whole(fold, 2, 360)
        self.want(good, key + '.fold', 'a whole number from 2 to 360 or "continuous"', item['fold'])
        x, y, z = (axis / length).tolist()
        return Symmetry((x, y, z), fold)

    def read_input_height(self, value: Any) -> int:
        good = _is_whole(value, 64, 1024) and value % 32 == 0
        self.want(good, 'input_height', 'a multiple of 32 from 64 to 1024', value)
        return value

    def read_thresholds(self, value: Any, keypoint_count: int) -> Thresholds:
        self.want(isinstance(value, Mapping), 'thresholds', 'names and numbers', value)
        self.check_keys('thresholds.', value, (), [f.name for f in fields(Thresholds)])
        read: dict[str, Any] = {}
        for name, number in value.items():
            key = f'thresholds.{name}'
            if isinstance(getattr(Thresholds, name), int):
                self.want(_is_whole(number, 1, 1000), key, 'a whole number from 1 to 1000', number)
                read[name] = number
            else:
                read[name] = self.read_number(key, number, 0.0, 1.0)
        return Thresholds(**{'min_keypoints': min(Thresholds.min_keypoints, keypoint_count), **read})


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
