"""Keypoints of an object that is not rigid: each one followed on its own, from the clicked frames on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from custom_pose_ros.core.labels.raw_labels import ABSENT, SEEN, UNKNOWN
from training.pose_training.footage.body_tracks import flow
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.rigid_propagation import REACH, Proposals

_CLICK_PX = 1.0  # expected error where both directions agree


def follow_keypoints(
    clicks: Mapping[int, np.ndarray], greys: Mapping[int, np.ndarray], camera: FilmCamera
) -> Proposals:
    """
    Propose keypoints between clicked frames; where the two directions part, the error is expected to be half of that.

    Args:
        clicks: By frame: (K, 3) x, y [px of the film] and state.
        greys: Copies of the frames by number.
        camera: Of the film.
    """
    clicked = sorted(clicks)
    points, sigmas = (
        {number: clicks[number] for number in clicked},
        dict.fromkeys(clicked, np.zeros(len(clicks[clicked[0]]))),
    )
    for first, last in zip(clicked, clicked[1:]):
        between = [number for number in sorted(greys) if first <= number <= last]
        if last - first > 2 * REACH:
            continue
        forward = _path(clicks[first], between, greys, camera)
        backward = _path(clicks[last], between[::-1], greys, camera)[::-1]
        a, b = clicks[first][:, 2], clicks[last][:, 2]
        share = np.linspace(0, 1, len(between))[:, None, None]
        places = (1 - share) * forward + share * backward
        gaps = np.linalg.norm(forward - backward, axis=2)
        known = np.isfinite(gaps)
        for i, number in enumerate(between[1:-1], 1):
            state = np.where((a == SEEN) & (b == SEEN) & known[i], SEEN, UNKNOWN)
            state[(a == ABSENT) & (b == ABSENT)] = ABSENT
            points[number] = np.column_stack([np.where(known[i, :, None], places[i], 0.0), state])
            sigmas[number] = np.where(known[i], np.maximum(_CLICK_PX, gaps[i] / 2), np.inf)
    numbers = sorted(points)
    return Proposals(np.array(numbers), np.array([points[n] for n in numbers]), np.array([sigmas[n] for n in numbers]))


def _path(click: np.ndarray, order: Sequence[int], greys: Mapping[int, np.ndarray], camera: FilmCamera) -> np.ndarray:
    """Return places (F, K, 2) [px of the film] of what is seen in the first frame; NaN from where it is lost on."""
    places = np.where(click[:, 2:] == SEEN, camera.to_copy(click[:, :2]), np.nan)
    path = [places]
    for before, after in zip(order, order[1:]):
        alive = np.flatnonzero(np.isfinite(places[:, 0]))
        there, good = flow(greys[before], greys[after], places[alive])
        places = np.full(places.shape, np.nan)
        places[alive[good]] = there[good]
        path.append(places)
    return camera.to_film(np.array(path))
