"""Labels of a film of an object that is not rigid: keypoints that move as the pictures do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import SEEN, UNKNOWN
from training.pose_training.adapting.film_labels import NOT_ALONE, UNKNOWN_PLACES, UNSURE, FilmLabels
from training.pose_training.adapting.film_sights import SURE_SHARE, FilmSights, Sight
from training.pose_training.footage.body_tracks import flow


def flow_labels(seen: FilmSights, agreed: Mapping[int, Sight]) -> FilmLabels:
    """
    Return labels of an object that is not rigid: averaged keypoints that move as the pictures do.

    Raises:
        DatasetError: The frames do not follow one another, so that nothing but the network itself speaks for them.
    """
    labels, pairs, confirmed = FilmLabels(seen, rigid=False), 0, 0
    for number, sights in seen.sights.items():
        if number not in agreed:
            labels.rejected[UNSURE if sights else NOT_ALONE] += 1
            continue
        points, moved = agreed[number].sure_points(), np.zeros(len(agreed[number].pose.visible), bool)
        for other in (number - seen.step, number + seen.step):
            if other not in agreed:
                continue
            there, good = _carried(seen, number, other, points[:, :2])
            apart = np.linalg.norm(there - agreed[other].pose.keypoints, axis=1)
            same = good & (points[:, 2] > 0) & (apart <= SURE_SHARE * agreed[number].size_px)
            moved |= same
            pairs, confirmed = pairs + (points[:, 2] > 0).sum(), confirmed + same.sum()
        points[:, 2] = np.where(moved, SEEN, UNKNOWN)
        if 2 * moved.sum() >= agreed[number].pose.visible.sum():
            labels.points[number] = points
        else:
            labels.rejected[UNKNOWN_PLACES] += 1
    if confirmed < 0.5 * max(pairs, 1):
        raise DatasetError(
            f'{seen.film.source}: {confirmed} of {pairs} keypoints are found where the motion between two frames '
            'carries them: the pictures are not consecutive frames of a film, or show too little on the object to be '
            'followed; nothing but the network itself would say where its keypoints are'
        )
    return labels


def _carried(seen: FilmSights, first: int, last: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the flow carries places (K, 2) [px] of one frame to in another one, and whether it does (K,)."""
    numbers = [n for n in range(first, last, 1 if first < last else -1) if n in seen.greys] + [last]
    there, good = seen.camera.to_copy(places), np.ones(len(places), bool)
    for before, after in zip(numbers, numbers[1:]):
        there, followed = flow(seen.greys[before], seen.greys[after], there)
        good &= followed
    return seen.camera.to_film(there), good
