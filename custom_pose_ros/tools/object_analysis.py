"""Analysis: the expected errors of an object over the distance, and what another keypoint would make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custom_pose_ros.core.errors import UsageError
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.orientation.observability import HALF, Change, Observability, ViewErrors

Summary = dict[str, float | None]  # what is said of the views at one distance
_COLUMNS = 'distance    in image   rotation error [deg]    wrong one   position [mm]   ambiguous'
_SUBCOLUMNS = '     [m]   [% views]   right one    with wrong    chosen [%]    median   90 %   [% views]'


@dataclass(frozen=True, eq=False)
class Analysis:
    """
    Errors of an object at D distances, as it is and with changes.

    Attributes:
        distances: (D,) m.
        errors: Summaries of the object as it is, one for each distance.
        changes: Keypoints to add or to move, chosen for the largest distance.
        changed_errors: Summaries of the object with each change, at each distance.
    """

    distances: np.ndarray
    errors: Sequence[Summary]
    changes: Sequence[Change]
    changed_errors: Sequence[Sequence[Summary]]


def analyse(
    observability: Observability,
    distances: np.ndarray,
    candidates: Mapping[str, np.ndarray],
    places: np.ndarray | None = None,
    places_seen: np.ndarray | None = None,
) -> Analysis:
    """
    Return the errors at all distances (D,) [m], and what a keypoint added or moved would make of them.

    Args:
        observability: Object, camera, noise and attitudes.
        distances: (D,) m.
        candidates: Names and places (3,) [m] of points that could become keypoints; the best of them comes first.
        places: (N, 3) on the object's mesh [m], where a keypoint may be; None where there is no mesh.
        places_seen: (attitudes, N) bool, in which of them each place is seen; None for all of them.

    Raises:
        UsageError: The object does not fit into the image at any of the distances.
    """
    errors = [_summary(observability.errors(distance)) for distance in distances.tolist()]
    seen = [distance for distance, error in zip(distances.tolist(), errors) if error['fitting']]
    if not seen:
        raise UsageError(
            f'--distance: the object does not fit into the image even at {distances[-1]:g} m; give a larger distance '
            '(its model_points are in metres)'
        )
    known = [observability.with_candidate(seen[-1], name, point) for name, point in candidates.items()]
    found = [observability.best_change(seen[-1], added, places, places_seen) for added in (True, False)]
    changes = sorted(known, key=lambda change: change.median_rotation_rad)
    changes += [change for change in found if change is not None]
    changed = [
        [_summary(observability.errors(distance, c.points, c.seen)) for distance in distances.tolist()] for c in changes
    ]
    return Analysis(distances, errors, changes, changed)


def format_table(analysis: Analysis) -> str:
    """Return one line for each distance."""
    return '\n'.join([_COLUMNS, _SUBCOLUMNS, *map(_row, analysis.distances.tolist(), analysis.errors)])


def _row(distance_m: float, e: Summary) -> str:
    start = f'{distance_m:8.3f}   {e["fitting"]:9.0%}'
    if not e['fitting']:
        return f'{start}   (does not fit into the image)'
    return (
        f'{start}   {e["rotation_deg"]:9.1f}   {e["rotation_with_wrong_choice_deg"]:11.1f}   {e["wrong_choice"]:11.1%}'
        f'   {e["position_mm"]:7.1f}  {e["position_p90_mm"]:5.1f}   {e["ambiguous"]:9.0%}'
    )


def format_changes(analysis: Analysis) -> str:
    """Say which keypoint to add and which to move, and what the errors are then at the far end."""
    if not analysis.changes:
        return 'No other keypoint makes it better.'
    far = max(i for i, error in enumerate(analysis.errors) if error['fitting'])
    distance, before = analysis.distances[far], analysis.errors[far]
    now_deg = before['rotation_with_wrong_choice_deg']
    better, not_better = [], []
    for change, errors in zip(analysis.changes, analysis.changed_errors):
        then_deg = errors[far]['rotation_with_wrong_choice_deg']
        place = ', '.join(f'{value:.3f}' for value in change.point)
        side = ' on either side' if change.either_side else ''
        halved = '' if then_deg <= HALF * now_deg or then_deg >= now_deg else ' (not halved)'
        (better if then_deg < now_deg else not_better).append(
            f'  {_in_words(change)}, at ({place}) m, {change.lift_m:.3f} m from the main plane{side}: '
            f'{then_deg:.1f} deg{halved}, '
            f'{errors[far]["ambiguous"]:.0%} of views ambiguous instead of {before["ambiguous"]:.0%}'
        )
    start = f'At {distance:g} m the rotation error, wrong choices included, is {now_deg:.1f} deg.'
    groups = {'Better:': better, 'Not better:': not_better}
    return f'{start} ' + '\n'.join('\n'.join([title, *lines]) for title, lines in groups.items() if lines)


def _in_words(change: Change) -> str:
    if change.candidate:
        return f'add {change.name}'
    return f'add a keypoint near {change.name}' if change.added else f'move {change.name}'


def to_dict(analysis: Analysis) -> dict[str, Any]:
    """Return the numbers as plain lists; what is not a number (nothing fits into the image) is None."""
    return {
        'distances_m': analysis.distances.tolist(),
        'ambiguous_from_likelihood_ratio': AMBIGUOUS,
        'errors': analysis.errors,
        'changes': [
            {
                'keypoint': change.name if change.candidate or not change.added else None,
                'added': change.added,
                'near': None if change.candidate else change.name,
                'either_side': change.either_side,
                'point_m': change.point.tolist(),
                'lift_m': change.lift_m,
                'errors': changed,
            }
            for change, changed in zip(analysis.changes, analysis.changed_errors)
        ],
    }


def _summary(errors: ViewErrors) -> Summary:
    """Return what is said of the views at one distance; None where nothing fits into the image."""
    if not errors.fitting:
        names = ('rotation_deg', 'rotation_with_wrong_choice_deg', 'wrong_choice', 'position_mm', 'position_p90_mm')
        return {'fitting': 0.0, **dict.fromkeys((*names, 'ambiguous'))}
    return {
        'fitting': errors.fitting,
        'rotation_deg': math.degrees(float(np.median(errors.sure_rotation_rad))),
        'rotation_with_wrong_choice_deg': math.degrees(errors.median_rotation_rad),
        'wrong_choice': float(errors.wrong_choice.mean()),
        'position_mm': 1e3 * float(np.median(errors.position_m)),
        'position_p90_mm': 1e3 * float(np.percentile(errors.position_m, 90)),
        'ambiguous': float(errors.ambiguous.mean()),
    }


def error_curves(analysis: Analysis) -> dict[str, Sequence[Summary]]:
    """Return the summaries at each distance, by the name of the curve."""
    names = (f'{_in_words(change)}, {100 * change.lift_m:.0f} cm out' for change in analysis.changes)
    return {'as it is': analysis.errors, **dict(zip(names, analysis.changed_errors))}
