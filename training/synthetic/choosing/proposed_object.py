"""The object file that is proposed for a mesh: chosen keypoints with names, limbs, swaps, symmetries, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import yaml

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.geometry.symmetry import Symmetry, SymmetryGroup
from custom_pose_ros.core.labels.raw_labels import safe_name
from custom_pose_ros.core.object_checks import connected_parts, unconnected
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.choosing.keypoint_choice import KeypointChoice
from training.synthetic.choosing.mesh_symmetry import CENTRED, SAME, SymmetryFinder, Twin
from training.synthetic.choosing.surface_views import SurfaceViews
from training.synthetic.geometry.parts import Part, all_vertices

_SIDES = (('front', 'back'), ('left', 'right'), ('top', 'bottom'))
_ASIDE = 0.3  # share of half the object's extent beyond which a place is at the front, at the back and so on
_BEST_SIGMA, _WORST_SIGMA = 0.03, 0.05
_SAME_TURN_RAD = np.deg2rad(3.0)
_MAY_FALL_APART = 0.05  # share of the views in which what is seen of an object may
_GROUPS = 'points that its symmetries exchange are taken together'
_NO_MORE = 'no other points lie far enough apart and stand out, which points on rims and straight edges do not'


class OffCentreError(ConfigError):
    """An axis of symmetry misses the object's origin; `centre` (3,) [m] would be one that it passes."""

    def __init__(self, text: str, centre: np.ndarray):
        super().__init__(text)
        self.centre = centre


@dataclass(frozen=True, eq=False)
class Proposal:
    """
    An object file for a mesh.

    Attributes:
        data: content of object.yaml.
        views: of the mesh, that they were chosen in.
        notes: what its user should know of the symmetries.
    """

    data: dict
    views: SurfaceViews
    notes: list[str] = field(default_factory=list)

    def yaml(self, source: str) -> str:
        """Return the text of object.yaml; `source` says in its first line what it was made from."""
        notes = ''.join(f'# {note}\n' for note in self.notes)
        text = yaml.safe_dump(self.data, sort_keys=False, default_flow_style=None, width=110)
        return f'{first_line(source)}\n{notes}{text}'


def first_line(source: str) -> str:
    """Return the first line of an object.yaml that was proposed for a mesh."""
    return f'# Keypoints chosen on {source}; rename them as you like.'


def propose(name: str, parts: list[Part], count: int, seen_from: Sequence[np.ndarray] = ()) -> Proposal:
    """
    Return an object file with up to `count` keypoints on a mesh.

    Args:
        name: of the object; what cannot stand in a name is replaced by `safe_name`.
        parts: of the mesh, in the object frame [m].
        count: of keypoints.
        seen_from: see `KeypointChoice`.

    Raises:
        OffCentreError: its symmetries are not about the origin.
        ConfigError: there are fewer than four points that can be found again, or all are on a line.
    """
    views = SurfaceViews(parts)
    finder = SymmetryFinder(views.points, views.size)
    turns, mirrors = finder.turns(), finder.mirrors()
    rotations = generating([turn for turn in turns if turn.same])
    _check_centred(rotations, views.size)
    mirror = mirrors[0] if mirrors and mirrors[0].same else None
    vertices = all_vertices([part for part in parts if part.belongs])
    choice = KeypointChoice(views, vertices, [*rotations, *([mirror] if mirror else [])], seen_from)
    chosen = sorted(choice.choose(count), key=lambda i: tuple(-choice.places[i].round(4)))
    notes = [*map(_turn_note, rotations), *_near_notes(turns), _mirror_note(mirrors)]
    larger = choice.larger_count(count) if len(chosen) < count else None
    if len(chosen) < 4:
        raise ConfigError(_too_few(len(chosen), count, larger, rotations))
    if len(chosen) < count:
        reason = _GROUPS + f': --choose {larger} gives {larger}' if larger else _NO_MORE
        notes.append(f'{len(chosen)} keypoints instead of {count}: {reason}')
    places = choice.places[chosen]
    pairs = _mirror_pairs(places, mirror)
    seen = choice.noise[chosen], choice.seen[:, chosen]
    names = _names(places, views)
    data = _object_data(name, names, places, *seen, pairs, rotations, mirror)
    model = ObjectModel.from_dict(data)
    if model.warnings or model.mirroring[1]:  # names that do not fit what they say, as where front is not along x
        names = [f'point_{number}' for number in range(1, len(names) + 1)]
        data = _object_data(name, names, places, *seen, pairs, rotations, mirror)
    return Proposal(data, views, notes)


def generating(turns: Sequence[Twin]) -> list[Twin]:
    """Return those of some turns of which the others are combinations."""
    chosen: list[Twin] = []
    group = SymmetryGroup([])
    for turn in turns:
        made = group.turn_towards(np.eye(3), turn.matrix)
        if np.arccos(np.clip((np.trace(made.T @ turn.matrix) - 1) / 2, -1, 1)) < _SAME_TURN_RAD:
            continue
        try:
            group = SymmetryGroup([_symmetry(twin) for twin in (*chosen, turn)])
        except ValueError:  # axes that were found not exactly enough to be combined
            continue
        chosen.append(turn)
    return chosen


def _symmetry(turn: Twin) -> Symmetry:
    x, y, z = turn.axis.tolist()
    return Symmetry((x, y, z), turn.fold)


def _check_centred(turns: Sequence[Twin], size: float) -> None:
    for turn in turns:
        across = turn.centre - turn.axis * (turn.axis @ turn.centre)
        if np.linalg.norm(across) > CENTRED * size:
            centre = turn.centre.round(2 - int(np.floor(np.log10(size)))) + 0.0
            place = ', '.join(f'{value:g}' for value in centre)
            raise OffCentreError(
                f'it looks the same turned about {_axis_words(turn.axis)} through ({place}) m, and symmetries must be '
                'about the origin',
                centre,
            )


def _too_few(found: int, count: int, larger: int | None, turns: Sequence[Twin]) -> str:
    axis = next((_axis_words(turn.axis) for turn in turns if turn.fold == 0), None)
    if axis:
        return (
            f'it looks the same at every angle about {axis}, so that only points on this axis can be found again, and '
            'these tell no orientation: give a mesh with the print or the detail that tells its sides apart'
        )
    if larger:
        return f'{found} keypoints with --choose {count}: {_GROUPS}: give --choose {larger}'
    return f'wanted at least 4 keypoints, found {found}: {_NO_MORE}; give a mesh with its print, or choose by hand'


def _turn_note(turn: Twin) -> str:
    return f'It looks the same {_turn_words(turn)}: see symmetries.'


def _turn_words(turn: Twin) -> str:
    angle = 'at every angle' if turn.fold == 0 else f'turned by {360 / turn.fold:g} degrees'
    return f'{angle} about {_axis_words(turn.axis)}'


def _near_notes(turns: Sequence[Twin]) -> list[str]:
    """Say which turns are told from the true attitude by little only, or by the colours."""
    notes = []
    for turn in turns:
        if turn.same:
            continue
        where = _turn_words(turn)
        if turn.shape_differs > SAME:
            notes.append(f'{where[0].upper()}{where[1:]} all but {turn.shape_differs:.0%} of its surface looks alike.')
        else:
            share = f'{turn.colors_differ:.0%}'
            notes.append(
                f'{where[0].upper()}{where[1:]} it has the same shape: only its colours tell ({share} differ).'
            )
    return notes[:4]


def _mirror_note(mirrors: Sequence[Twin]) -> str:
    if not mirrors:
        return 'It is not its own mirror image: training does not mirror.'
    normal = _axis_words(mirrors[0].axis)
    if mirrors[0].same:
        return f'It is its own mirror image across {normal}: training mirrors.'
    differ = f'{mirrors[0].colors_differ:.0%}'
    return (
        f'Mirrored across {normal} it has the same shape and other colours ({differ} differ): training does not mirror.'
    )


def _axis_words(axis: np.ndarray) -> str:
    """Return x, y or z for a direction along it, else its numbers."""
    along = int(np.abs(axis).argmax())
    return 'xyz'[along] if abs(axis[along]) > 0.9999 else f'({", ".join(f"{value:.3g}" for value in axis)})'


def _mirror_pairs(places: np.ndarray, mirror: Twin | None) -> list[tuple[int, int]]:
    """Return the pairs of keypoints that a reflection exchanges."""
    if mirror is None:
        return []
    nearest = np.linalg.norm(mirror.moved(places)[:, None] - places, axis=2).argmin(1)
    return [(a, int(b)) for a, b in enumerate(nearest) if a < b]


def _names(places: np.ndarray, views: SurfaceViews) -> list[str]:
    """Return what each place (K, 3) is called by where it is, with numbers where several are called the same."""
    surface = views.points.places
    low, high = surface.min(0), surface.max(0)
    share = (2 * places - low - high) / np.maximum(high - low, 1e-9)
    bases = [
        '_'.join(sides[int(value < 0)] for sides, value in zip(_SIDES, row) if abs(value) > _ASIDE) or 'middle'
        for row in share
    ]
    order = sorted(range(len(places)), key=lambda k: (*(-np.abs(share[k]).round(2)), *(-share[k])))
    numbers = {k: sum(bases[other] == bases[k] for other in order[:at]) + 1 for at, k in enumerate(order)}
    return [f'{base}_{numbers[k]}' if bases.count(base) > 1 else base for k, base in enumerate(bases)]


def _limbs(places: np.ndarray, seen: np.ndarray) -> list[tuple[int, int]]:
    """
    Return limbs that hold together what is seen of an object, also where any one of its keypoints is covered.

    A tree of those most often seen together comes first, then whatever joins most of what falls apart, the shortest of
    equals; in the end those go that are not needed, the longest first. All keypoints stay connected, also those never
    seen together: parts that no limb joins would be taken for one object at any distance.

    Args:
        places: (K, 3) of the keypoints.
        seen: (V, K) bool, which keypoint is seen in which view.
    """
    count = seen.shape[1]
    together = np.round(seen.T.astype(float) @ seen / len(seen), 1)
    length = np.linalg.norm(places[:, None] - places, axis=2)
    pairs = sorted(combinations(range(count), 2), key=lambda pair: (-together[pair], length[pair]))
    part, limbs = np.arange(count), []
    for a, b in pairs:
        if part[a] != part[b]:
            part[part == part[b]] = part[a]
            limbs.append((a, b))
    covered = (seen[:, None] & ~np.eye(count, dtype=bool)).reshape(-1, count)
    present, often = np.unique(covered, axis=0, return_counts=True)
    often, whole = often / len(covered), np.ones((1, count), bool)
    torn, share = present, often  # no limb more tears what holds together
    while len(limbs) < len(pairs):
        apart = unconnected(torn, limbs).any(1)
        torn, share = torn[apart], share[apart]
        if share.sum() <= _MAY_FALL_APART:
            break
        limbs.append(pairs[int(np.argmax(_joined_by(pairs, torn, share, connected_parts(torn, limbs))))])
    for limb in sorted(limbs, key=lambda pair: -length[pair]):
        rest = [other for other in limbs if other != limb]
        if unconnected(whole, rest).any():
            continue
        if often @ unconnected(present, rest).any(1) <= _MAY_FALL_APART:
            limbs = rest
    return limbs


def _joined_by(
    pairs: Sequence[tuple[int, int]], present: np.ndarray, share: np.ndarray, parts: np.ndarray
) -> list[float]:
    """Return of which share of the views (N,) each pair would join two parts (N, K) of the present keypoints (N, K)."""
    part = np.where(present, parts, -1).T.copy()
    return [float(share @ ((part[a] != part[b]) & (part[a] >= 0) & (part[b] >= 0))) for a, b in pairs]


def _object_data(
    name: str,
    names: list[str],
    places: np.ndarray,
    noise: np.ndarray,
    seen: np.ndarray,
    pairs: list[tuple[int, int]],
    turns: Sequence[Twin],
    mirror: Twin | None,
) -> dict:
    decimals = max(0, 4 - int(np.floor(np.log10(np.ptp(places, 0).max()))))
    return {
        'name': safe_name(name),
        'keypoints': names,
        'skeleton': [[names[a], names[b]] for a, b in _limbs(places, seen)],
        'swaps': [[names[a], names[b]] for a, b in pairs],
        'mirror': 'yes' if mirror else 'no',
        'sigmas': {n: round(min(_BEST_SIGMA * s, _WORST_SIGMA), 3) for n, s in zip(names, noise.tolist())},
        'symmetries': [
            {'axis': [round(v, 9) + 0.0 for v in t.axis.tolist()], 'fold': t.fold or 'continuous'} for t in turns
        ],
        'model_points': {n: [round(v, decimals) + 0.0 for v in p] for n, p in zip(names, places.tolist())},
        'input_height': ObjectModel.input_height,
    }
