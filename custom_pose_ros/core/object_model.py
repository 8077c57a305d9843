"""ObjectModel: everything the package knows about one object, as its object.yaml says it."""

from __future__ import annotations

import functools
import json
import logging
import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import ConfigError, ObjectFileError
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw, roll_pitch_yaw_from_matrix
from custom_pose_ros.core.geometry.symmetry import Symmetry
from custom_pose_ros.core.object_checks import doubtful_geometry, doubtful_sigmas, mirroring
from custom_pose_ros.core.object_file import DRAFT, Thresholds, find_object_folder, object_fields
from custom_pose_ros.core.yaml_files import UniqueKeyLoader, read_yaml


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
    thresholds: Thresholds = field(default_factory=Thresholds)
    description: str = ''
    estimator: str = 'network'
    network_source: str = ''
    mirror: str = 'auto'
    hidden: str = 'known'
    unlabelled: str = 'auto'
    source: str = ''

    @property
    def keypoint_count(self) -> int:
        """Number of keypoints, K."""
        return len(self.keypoint_names)

    @property
    def limb_count(self) -> int:
        """Number of limbs between them, L."""
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
        return np.isfinite(self._points).all(1)

    @cached_property
    def middle(self) -> np.ndarray:
        """(3,) mean of the known model points [m]; zeros when none is known."""
        return self._points[self.has_position].mean(0) if self.has_position.any() else np.zeros(3)

    @cached_property
    def extent_m(self) -> np.ndarray:
        """(3,) sides of the box around the model points [m]; zeros when none is known."""
        return np.ptp(self._points[self.has_position], axis=0) if self.has_position.any() else np.zeros(3)

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
            model = cls.from_dict(read_yaml(path, DRAFT, UniqueKeyLoader), str(path))
        except ConfigError as error:
            other = path.suffix.lower() not in ('.yaml', '.yml') and DRAFT not in str(error)
            raise ObjectFileError(f'{error}; {DRAFT}' if other else str(error)) from error
        for text in model.warnings:
            _warn_once(f'warning: {path}: {text}')
        return model

    @classmethod
    def from_dict(cls, data: Any, source: str = 'object') -> ObjectModel:
        """Build from the content of an object.yaml; `source` names it in the ConfigError of every mistake."""
        model = cls(**object_fields(data, source), source=source)
        model.check_thresholds(model.thresholds)
        return model

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


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning('%s', text)
