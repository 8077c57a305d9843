"""ObjectModel: everything the package knows about one object, read from its object.yaml and checked."""

from __future__ import annotations

import difflib
import functools
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError, ObjectFileError
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw, roll_pitch_yaw_from_matrix
from custom_pose_ros.core.geometry.symmetry import Symmetry, SymmetryGroup
from custom_pose_ros.core.limits import MAX_KEYPOINTS
from custom_pose_ros.core.object_checks import doubtful_geometry, doubtful_sigmas, impossible_points, mirroring
from custom_pose_ros.core.yaml_files import UniqueKeyLoader, read_yaml

DEFAULT_SIGMA = 0.05  # OKS sigma of a point labelled with about 1 % of the object's size (COCO: eyes 0.025, hips 0.107)
ESTIMATORS = ('network', 'face_mesh')
_MIRROR = {True: 'yes', False: 'no', 'yes': 'yes', 'no': 'no', 'auto': 'auto'}  # YAML reads yes as true
_HIDDEN = {word: word for word in ('known', 'absent')}
_UNLABELLED = {word: word for word in ('auto', 'absent', 'unknown')}
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


@dataclass(frozen=True, eq=False)
class ObjectModel:
    """
    One object: its keypoints, skeleton and geometry. K keypoints, L skeleton edges.

    Attributes:
        name: identifier, used in topics, frames and file names.
        keypoint_names: K names in the order of every array in this package.
        skeleton: L pairs of keypoint indices; limbs that the part affinity fields are trained on.
        sigmas: (K,) OKS sigmas, as a share of the object's size.
        swaps: pairs of keypoint indices that change places when the image is mirrored.
        model_points: (K, 3) keypoint positions in the object frame [m], REP 103 axes (x forward, y left, z up); None
            when the object has no rigid shape and only 2-D keypoints are wanted. NaN rows: points without a known
            position.
        zero_roll_pitch_yaw_deg: fixed-axis angles of the attitude whose roll, pitch and yaw read zero.
        symmetries: rotations that leave the object looking the same.
        input_height: height of the network input [px].
        thresholds: acceptance limits of decoding and grouping.
        description: text for people.
        estimator: what finds it in images, one of ESTIMATORS: a network trained for it, or MediaPipe's face mesh.
        network_source: where a trained network comes from, said when there is none.
        mirror: whether training mirrors images: 'yes', 'no', or 'auto', see `mirroring`.
        hidden: what a keypoint that is labelled as hidden is to the network: 'known' (to be found at its place) or
            'absent' (not to be found).
        unlabelled: what a keypoint without a label is in an object with other labels: 'absent', 'unknown', or 'auto':
            absent where other objects of the same file label it, unknown where none does.
        source: where it was read from, for messages.
    """

    name: str
    keypoint_names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: np.ndarray
    swaps: tuple[tuple[int, int], ...] = ()
    model_points: np.ndarray | None = None
    zero_roll_pitch_yaw_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    symmetries: tuple[Symmetry, ...] = ()
    input_height: int = 256
    thresholds: Thresholds = Thresholds()
    description: str = ''
    estimator: str = 'network'
    network_source: str = ''
    mirror: str = 'auto'
    hidden: str = 'known'
    unlabelled: str = 'auto'
    source: str = ''

    @property
    def keypoint_count(self) -> int:
        return len(self.keypoint_names)

    @property
    def limb_count(self) -> int:
        return len(self.skeleton)

    @property
    def flip_order(self) -> np.ndarray:
        """(K,) int: keypoint k of the mirrored object is keypoint flip_order[k] of the original."""
        order = np.arange(self.keypoint_count)
        for a, b in self.swaps:
            order[[a, b]] = b, a
        return order

    @cached_property
    def mirroring(self) -> tuple[bool, str | None]:
        """Whether training mirrors images, and what its user should know about it."""
        return mirroring(self.mirror, self.keypoint_names, self._points, self.flip_order)

    @property
    def warnings(self) -> list[str]:
        """What is most likely a mistake in the object file, though it can be used."""
        names = self.keypoint_names
        geometry = doubtful_geometry(names, self._points, self.flip_order, self.symmetries)
        return [*geometry, *doubtful_sigmas(names, self.sigmas)]

    @property
    def _points(self) -> np.ndarray:
        """(K, 3) model points [m], NaN where not known."""
        return np.full((self.keypoint_count, 3), np.nan) if self.model_points is None else self.model_points

    @cached_property
    def zero_rotation(self) -> np.ndarray:
        """(3, 3) R_reference_object of the attitude whose roll, pitch and yaw read zero."""
        return matrix_from_roll_pitch_yaw(np.deg2rad(self.zero_roll_pitch_yaw_deg))

    @cached_property
    def has_position(self) -> np.ndarray:
        """(K,) bool: whether the position of each keypoint on the object is known."""
        if self.model_points is None:
            return np.zeros(self.keypoint_count, bool)
        return np.isfinite(self.model_points).all(1)

    @cached_property
    def middle(self) -> np.ndarray:
        """(3,) mean of the known model points [m]; zeros when none is known."""
        if self.model_points is None or not self.has_position.any():
            return np.zeros(3)
        return self.model_points[self.has_position].mean(0)

    @cached_property
    def extent_m(self) -> np.ndarray:
        """(3,) sides of the box around the model points [m]; zeros when none is known."""
        if self.model_points is None or not self.has_position.any():
            return np.zeros(3)
        return np.ptp(self.model_points[self.has_position], axis=0)

    @property
    def size_m(self) -> float:
        """Diagonal of the box around the model points [m]; 0 when it is not known."""
        return float(np.linalg.norm(self.extent_m))

    def roll_pitch_yaw(self, R_reference_object: np.ndarray) -> np.ndarray:
        """
        Return the (3,) fixed-axis angles [rad] about X, Y, Z of the reference frame, of a (3, 3) attitude.

        They are all zero in the attitude that the object file calls zero (zero_roll_pitch_yaw_deg).
        """
        return roll_pitch_yaw_from_matrix(R_reference_object @ self.zero_rotation.T)

    def check_thresholds(self, thresholds: Thresholds) -> None:
        """Raise ConfigError when no instance of this object can pass the thresholds."""
        if thresholds.min_keypoints > self.keypoint_count:
            raise ConfigError(
                f'{self.source or self.name}: thresholds.min_keypoints: wanted at most the number of keypoints, '
                f'{self.keypoint_count}, got {thresholds.min_keypoints}'
            )

    @classmethod
    def load(cls, source: str | Path) -> ObjectModel:
        """
        Read an object: a folder with object.yaml, an object.yaml, or the name of an installed object.

        What is most likely a mistake in it is logged as a warning, once.

        Raises:
            ConfigError: there is no such object.
            ObjectFileError: the file cannot be used; the text names file, key, what was wanted and what it says.
        """
        path = find_object_folder(source, wanted_file=True)
        try:
            model = cls.from_dict(read_yaml(path, 'give a folder with an object.yaml', UniqueKeyLoader), str(path))
        except ConfigError as error:
            raise ObjectFileError(str(error)) from error
        for text in model.warnings:
            _warn_once(f'warning: {path}: {text}')
        return model

    @classmethod
    def from_dict(cls, data: Any, source: str = 'object') -> ObjectModel:
        """Build from the content of an object.yaml; `source` names it in the ConfigError of every mistake."""
        return _Reader(source).read(data)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of an object.yaml that loads as this object; plain lists, numbers and text."""
        names = self.keypoint_names
        data: dict[str, Any] = {
            'name': self.name,
            'keypoints': list(names),
            'skeleton': [[names[a], names[b]] for a, b in self.skeleton],
            'sigmas': {name: float(sigma) for name, sigma in zip(names, self.sigmas)},
            'swaps': [[names[a], names[b]] for a, b in self.swaps],
            'zero_roll_pitch_yaw_deg': list(self.zero_roll_pitch_yaw_deg),
            'symmetries': [{'axis': list(s.axis), 'fold': s.fold or 'continuous'} for s in self.symmetries],
            'input_height': self.input_height,
            'thresholds': {f.name: getattr(self.thresholds, f.name) for f in fields(Thresholds)},
        }
        for key in ('description', 'network_source'):
            if getattr(self, key):
                data[key] = getattr(self, key)
        for key in ('estimator', 'mirror', 'hidden', 'unlabelled'):
            if getattr(self, key) != getattr(ObjectModel, key):
                data[key] = getattr(self, key)
        if self.model_points is not None:
            known = zip(names, self.model_points.tolist())
            data['model_points'] = {name: point for name, point in known if not math.isnan(point[0])}
        return data

    def to_json(self) -> str:
        """Return to_dict as JSON: what an exported network carries in its metadata."""
        return json.dumps(self.to_dict())

    def difference_from(self, other: ObjectModel) -> str | None:
        """Say why a network made for `other` cannot serve this object, or None when it can."""
        if self.keypoint_names != other.keypoint_names:
            return f'keypoints {list(other.keypoint_names)} instead of {list(self.keypoint_names)}'
        if self.skeleton != other.skeleton:
            return f'skeleton {list(other.skeleton)} instead of {list(self.skeleton)}'
        return None


def config_folder() -> Path:
    """Return the folder `config` of the package: its installed data, or that of a checkout."""
    root = Path(__file__).resolve().parents[1]
    installed = root / 'config'
    return installed if installed.is_dir() else root.parent / 'config'


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning('%s', text)


def installed_objects() -> dict[str, Path]:
    """Return the folders of the objects that come with the package, by name."""
    return {p.parent.name: p.parent for p in sorted(config_folder().glob('*/object.yaml'))}


def find_object_folder(source: str | Path, wanted_file: bool = False) -> Path:
    """
    Resolve a folder, an object.yaml or the name of an installed object to its folder (or its object.yaml).

    Raises:
        ConfigError: it is not there; the text lists what is installed.
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
            raise ConfigError(
                f'object {str(source)!r} not found: wanted a folder with object.yaml, an object.yaml, '
                f'or one of the installed objects: {", ".join(installed) or "none"}'
            )
        file = installed[str(source)] / 'object.yaml'
    return file if wanted_file else file.parent


class _Reader:
    """Checks the content of one object.yaml; every complaint names file, key, wanted and got."""

    def __init__(self, source: str):
        self.source = source

    def want(self, good: bool, key: str, wanted: str, got: Any) -> None:
        if not good:
            text = repr(got)
            text = text if len(text) < 120 else text[:117] + '...'
            raise ConfigError(f'{self.source}: {key}: wanted {wanted}, got {text}')

    def read(self, data: Any) -> ObjectModel:
        self.want(isinstance(data, Mapping), '(whole file)', 'keys and values', data)
        self.check_keys('', data, _REQUIRED_KEYS, _OPTIONAL_KEYS)
        data = {key: value for key, value in data.items() if value is not None}  # an empty optional key is its default
        names = self.read_names(data['keypoints'])
        swaps = self.read_pairs('swaps', data.get('swaps', []), names)
        used = [k for pair in swaps for k in pair]
        self.want(len(set(used)) == len(used), 'swaps', 'every keypoint in one pair at most', data.get('swaps'))
        skeleton = self.read_pairs('skeleton', data['skeleton'], names)
        different = len({frozenset(pair) for pair in skeleton}) == len(skeleton)
        self.want(different, 'skeleton', 'every edge once', data['skeleton'])
        zero_key, estimators = 'zero_roll_pitch_yaw_deg', {name: name for name in ESTIMATORS}
        model = ObjectModel(
            name=self.read_name('name', data['name']),
            keypoint_names=names,
            skeleton=skeleton,
            sigmas=self.read_sigmas(data.get('sigmas'), names),
            swaps=swaps,
            model_points=self.read_model_points(data.get('model_points'), names),
            zero_roll_pitch_yaw_deg=self.read_vector(zero_key, data.get(zero_key, [0, 0, 0])),
            symmetries=self.read_symmetries(data.get('symmetries', [])),
            input_height=self.read_input_height(data.get('input_height', ObjectModel.input_height)),
            thresholds=self.read_thresholds(data.get('thresholds', {}), len(names)),
            description=self.read_text('description', data.get('description', '')),
            estimator=self.read_choice('estimator', data.get('estimator', ObjectModel.estimator), estimators),
            network_source=self.read_text('network_source', data.get('network_source', '')),
            mirror=self.read_choice('mirror', data.get('mirror', ObjectModel.mirror), _MIRROR),
            hidden=self.read_choice('hidden', data.get('hidden', ObjectModel.hidden), _HIDDEN),
            unlabelled=self.read_choice('unlabelled', data.get('unlabelled', ObjectModel.unlabelled), _UNLABELLED),
            source=self.source,
        )
        model.check_thresholds(model.thresholds)
        return model

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
        self.want(isinstance(value, Mapping) and bool(value), key, 'one value for each keypoint name', value)
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
