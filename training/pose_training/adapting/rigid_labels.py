"""Labels of a film by one rigid body: adjusted to what is surely found, and followed through the film both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.adapting.film_labels import INEXACT, LOST, UNKNOWN_PLACES, FilmLabels
from training.pose_training.adapting.film_sights import FilmSights, Sight
from training.pose_training.adapting.known_body import HIDDEN_TO, SEEN_FROM, LabelledBody, known_poses, shape_known
from training.pose_training.footage.clicked_body import FEWEST_KEYPOINTS, FEWEST_PICTURES
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.rigid_propagation import FEWEST_SIGHTS, RigidPropagation

_MOST_ANCHORS = 40  # frames whose keypoints the body is adjusted to
_EACH = 3  # of the frames; in those between only what moves with the body says where it is
_FOLLOWED = 0.25  # of the frames, into which the body has to be followed
_OFF_SHARE = 0.08  # of the object's size, off the rigid body: such a frame contradicts it
_TURN_SHARE = 0.12  # the same, off where the flow carries it from the frame before
_MOST_OFF = 0.2  # of the anchors
_FEWEST_UNKNOWN = 6  # keypoints that show a rigid body of unknown shape: to few of them any motion fits
_BENDS = 0.04  # of the object's size, off the body in most frames: such a keypoint moves against the others
_POINT_SHARE = 0.001  # of the object's size: how exact model_points are taken to be that labels confirm
_LEAST_ERROR_PX = 1.5
_ERROR_SHARE = 0.02  # of the object's size: largest expected error of a label
_NEAR_SHARE = 0.05  # of the object's size: what is found within that of its place is found there
_BESIDE = 5  # frames before and after one, that say with it whether a keypoint is found there
_OFTEN = 0.6  # share of these


def confirmed_body(
    seen: FilmSights, agreed: Mapping[int, Sight], model: ObjectModel, points_confirmed: bool
) -> RigidPropagation | None:
    """
    Return the rigid body that most of the sure frames show, one way round; None where there is none.

    Raises:
        DatasetError: Nobody can say which way round, or the model points are not those of this object.
    """
    clicks = _anchors(agreed, len(seen.greys))
    known = shape_known(model)
    start = known_poses(seen, clicks, model) if known else None
    if start is not None:
        clicks = {number: clicks[number] for number in start}
    sigma = _POINT_SHARE * model.size_m if points_confirmed else np.inf
    propagation = _body(clicks, start, seen.camera, model, sigma)
    if propagation is not None and not known and _may_bend(propagation, agreed, seen):
        return None
    for contradicts in (_off, _turned):
        if propagation is None:
            return None
        off = contradicts(propagation, agreed, seen)
        if off.mean() > _MOST_OFF:
            if not known and contradicts is _off:  # it may bend
                return None
            raise DatasetError(
                f'{seen.film.source}: cannot decide which way the object is turned: what the network surely finds in '
                f'{off.sum()} of {len(off)} frames contradicts the other ones'
            )
        kept = [number for number, is_off in zip(propagation.clicked, off) if not is_off]
        if off.any():
            clicks = {number: clicks[number] for number in kept}
            propagation = _body(clicks, start, seen.camera, model, sigma)
    return propagation


def rigid_labels(seen: FilmSights, propagation: RigidPropagation, labelled: LabelledBody | None) -> FilmLabels | None:
    """Return labels by one rigid body that is followed through the film; None where it cannot be followed."""
    proposals = propagation.propose(seen.greys)
    between = len(seen.greys) - len(propagation.clicked)
    if len(proposals.numbers) - len(propagation.clicked) < _FOLLOWED * between:
        return None
    labels = FilmLabels(seen)
    sizes = {n: max(float(np.ptp(p[:, :2], axis=0).max()), 1.0) for n, p in zip(proposals.numbers, proposals.points)}
    located = np.isfinite(proposals.sigmas).all(0)
    limits = np.array([max(_LEAST_ERROR_PX, _ERROR_SHARE * size) for size in sizes.values()])
    exact = proposals.sigmas[:, located].max(1) <= limits
    numbers = proposals.numbers.tolist()
    looked = np.array([n in seen.sights for n in numbers])
    near = np.array([_near(seen.sights.get(n, ()), p[:, :2], sizes[n]) for n, p in zip(numbers, proposals.points)])
    states = _states(numbers, looked, near, proposals.facing, labelled)
    states[:, ~located] = UNKNOWN
    places, last = proposals.points[..., :2], (seen.camera.width - 1, seen.camera.height - 1)
    inside = ((places >= 0) & (places <= last)).all(2)
    states[~inside & located] = ABSENT
    for number, points, state, is_exact in zip(numbers, proposals.points, states, exact):
        if not is_exact:
            labels.rejected[INEXACT] += 1
        elif 2 * (state == SEEN).sum() < located.sum():
            labels.rejected[UNKNOWN_PLACES] += 1
        else:
            labels.points[number] = np.column_stack([points[:, :2], state])
    labels.rejected[LOST] += len(seen.greys) - len(numbers)
    return labels


def _anchors(agreed: Mapping[int, Sight], frames: int) -> dict[int, np.ndarray]:
    """Return keypoints (K, 3) of the surest of so many frames, spread over the film, as if they had been clicked."""
    numbers = sorted(agreed)
    parts = np.array_split(np.array(numbers), min(_MOST_ANCHORS, max(FEWEST_PICTURES, frames // _EACH), len(numbers)))
    chosen = [min(part.tolist(), key=lambda n: np.nanmedian(agreed[n].spread_px) / agreed[n].size_px) for part in parts]
    return {number: agreed[number].sure_points() for number in chosen}


def _body(
    clicks: Mapping[int, np.ndarray],
    start: Mapping[int, Rigid] | None,
    camera: FilmCamera,
    model: ObjectModel,
    sigma: float,
) -> RigidPropagation | None:
    """Return the rigid body that frames show; None where they are too few or show too little."""
    if len(clicks) < FEWEST_PICTURES:
        return None
    often = (np.array([points[:, 2] > 0 for points in clicks.values()]).sum(0)) >= FEWEST_SIGHTS
    if often.sum() < FEWEST_KEYPOINTS:
        return None
    if not start:
        return RigidPropagation(clicks, camera)
    assert model.model_points is not None
    points = np.where(model.has_position[:, None], model.model_points, model.middle)
    return RigidPropagation(clicks, camera, (points, Rigid.stack(start[number] for number in sorted(clicks))), sigma)


def _off(propagation: RigidPropagation, agreed: Mapping[int, Sight], seen: FilmSights) -> np.ndarray:
    """Return (C,) bool: frames that the body is adjusted to, and whose keypoints contradict it."""
    return np.nanmedian(_error_shares(propagation, agreed, seen), axis=1) > _OFF_SHARE


def _may_bend(propagation: RigidPropagation, agreed: Mapping[int, Sight], seen: FilmSights) -> bool:
    """Return whether the keypoints are too few to tell that the object is rigid, or one moves against the others."""
    errors = _error_shares(propagation, agreed, seen)
    errors = errors[:, np.isfinite(errors).any(0)]
    return errors.shape[1] < _FEWEST_UNKNOWN or bool((np.nanmedian(errors, axis=0) > _BENDS).any())


def _error_shares(propagation: RigidPropagation, agreed: Mapping[int, Sight], seen: FilmSights) -> np.ndarray:
    """Return (C, K) distances of what is found from the body, as shares of the object's size."""
    sizes = np.array([agreed[number].size_px for number in propagation.clicked])
    return propagation.click_errors / (sizes * seen.camera.scale)[:, None]


def _turned(propagation: RigidPropagation, agreed: Mapping[int, Sight], seen: FilmSights) -> np.ndarray:
    """Return (C,) bool: frames that have the object turned otherwise than most of those that the flow joins to them."""
    sizes = np.array([agreed[number].size_px for number in propagation.clicked[1:]])
    steps = propagation.steps_against_flow(seen.greys)
    joined = np.isfinite(steps)
    flips = np.where(joined, steps > _TURN_SHARE * sizes * seen.camera.scale, False)
    run = np.concatenate([[0], np.cumsum(~joined)])
    way = np.concatenate([[0], np.cumsum(flips)]) % 2
    share = np.array([way[run == number].mean() for number in run])
    return (way == 1) == (share <= 0.5) if len(way) else way.astype(bool)


def _near(sights: Sequence[Sight], places: np.ndarray, size: float) -> np.ndarray:
    """Return (K,) bool: keypoints that the network finds near their places (K, 2)."""
    found = [np.linalg.norm(sight.pose.keypoints - places, axis=1) <= _NEAR_SHARE * size for sight in sights]
    return np.any(found, axis=0) if found else np.zeros(len(places), bool)


def _states(
    numbers: Sequence[int],
    looked: np.ndarray,
    near: np.ndarray,
    facing: np.ndarray | None,
    labelled: LabelledBody | None,
) -> np.ndarray:
    """
    Return the states (F, K) of keypoints whose places are known.

    What the object itself hides is labelled as the network has learned it: as absent, or, where it mostly finds it
    there, as hidden. What is in front counts as seen where the network finds it there in this frame or in most beside
    it; else something else may cover it, and nobody knows. Edge-on, people label it or do not: nobody knows either.

    Args:
        numbers: (F,) of the frames.
        looked: (F,) bool, whether the network looked at the frame.
        near: (F, K) bool, whether the network finds it near its place.
        facing: As in Proposals.
        labelled: Tells more closely what is edge-on; None without labels that do.
    """
    order = np.array(numbers)
    around = (np.abs(order - order[:, None]) <= _BESIDE) & looked
    beside = around.astype(float) @ near / np.maximum(around.sum(1, keepdims=True), 1)
    states = np.where(near | (beside >= _OFTEN), SEEN, UNKNOWN)
    if facing is None:
        return states
    hidden_to, seen_from = (labelled.hidden_to, labelled.seen_from) if labelled else (HIDDEN_TO, SEEN_FROM)
    behind = facing < hidden_to
    shown_behind = (near & behind).sum(0) > 0.5 * (behind & looked[:, None]).sum(0)
    hidden = np.where(shown_behind, HIDDEN, ABSENT)
    return np.select([behind, facing < seen_from], [np.broadcast_to(hidden, facing.shape), UNKNOWN], states)
