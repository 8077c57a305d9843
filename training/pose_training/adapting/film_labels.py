"""Labels for the frames of a film from what a network finds in it, where one rigid body or the flow confirms it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.pnp import PointSet, initial_poses
from training.pose_training.adapting.film_sights import FilmSights, Sight
from training.pose_training.footage.body_tracks import flow, refined_pose
from training.pose_training.footage.clicked_body import FEWEST_KEYPOINTS, FEWEST_PICTURES
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.rigid_propagation import FEWEST_SIGHTS, RigidPropagation
from training.pose_training.labels.coco import LabelledImage

_FOUND = 0.3  # share of the frames, below which the object is not what the film shows
_AGREED = 0.15  # share of the frames, below which the copies do not agree often enough
_FEWEST = 12  # frames that agree
_TURNED = 0.1  # share of the frames with the object, above which nobody can say which way it is turned
_MOST_ANCHORS = 40  # frames whose keypoints the body is adjusted to
_EACH = 3  # of the frames; in those between only what moves with the body says where it is
_SURE_SHARE = 0.03  # of the object's size: spread over the copies, and steps against the flow, of a keypoint to use
_FOLLOWED = 0.25  # of the frames, into which the body has to be followed
_OFF_SHARE = 0.08  # of the object's size, off the rigid body: such a frame contradicts it
_TURN_SHARE = 0.12  # the same, off where the flow carries it from the frame before
_MOST_OFF = 0.2  # of the anchors
_MISFIT = 0.08  # of the object's size: median error of poses of `model_points`, above which they are another object's
_CONFIRMED = 0.015  # of the object's size: median error of labels of each keypoint, up to which model_points are right
_FEWEST_CONFIRMED = 3  # labels of each keypoint
_POINT_SHARE = 0.001  # of the object's size: how exact these are then taken to be
_LEAST_ERROR_PX = 1.5
_ERROR_SHARE = 0.02  # of the object's size: largest expected error of a label
_NEAR_SHARE = 0.05  # of the object's size: what is found within that of its place is found there
_BEHIND, _IN_FRONT = -0.05, 0.15  # cosine, up to which the hull hides a keypoint, and from which on it surely does not
_BESIDE = 5  # frames before and after one, that say with it whether a keypoint is found there
_OFTEN = 0.6  # share of these
NOT_ALONE = 'several objects, or none'
UNSURE = 'copies do not agree'
LOST = 'not followed to it'
INEXACT = 'place too uncertain'
UNKNOWN_PLACES = 'too few sure keypoints'


@dataclass(eq=False)
class FilmLabels:
    """
    Labels of one film.

    Attributes:
        seen: The film as the network sees it.
        points: By frame: (K, 3) x, y [px] and state, UNKNOWN, ABSENT, HIDDEN or SEEN.
        rejected: How many frames have no labels, by reason.
        rigid: They are those of one rigid body that was followed; else each keypoint is confirmed by the flow alone.
    """

    seen: FilmSights
    points: dict[int, np.ndarray] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    rigid: bool = True


def label_film(seen: FilmSights, model: ObjectModel, points_confirmed: bool = False) -> FilmLabels:
    """
    Return labels of a film's frames.

    Args:
        seen: The film as the network sees it.
        model: The object; its model_points help where there are any.
        points_confirmed: They are right, and more so than what the network has learned.

    Raises:
        DatasetError: The film does not show the object, the object file is not its own, or nobody can say which way the
            object is turned.
    """
    source, total = seen.film.source, len(seen.sights)
    found = {number: sights for number, sights in seen.sights.items() if sights}
    if len(found) < max(_FOUND * total, 1):
        raise DatasetError(f'{source}: the network finds the object in {len(found)} of {total} frames: is it in there?')
    turned = [number for number, sights in found.items() if any(sight.contradicted for sight in sights)]
    if len(turned) > _TURNED * len(found):
        raise DatasetError(
            f'{source}: cannot decide which way the object is turned: in {len(turned)} of {len(found)} frames '
            'turned or enlarged copies contradict each other; label pictures that show it, and train with them first'
        )
    agreed = {number: sights[0] for number, sights in found.items() if len(sights) == 1 and sights[0].agreed}
    if len(agreed) < max(_FEWEST, _AGREED * total):
        raise DatasetError(
            f'{source}: copies of a frame agree on one object in {len(agreed)} of {total} frames (at least '
            f'{max(_FEWEST, round(_AGREED * total))} are needed): the film is short, or shows another object, or the '
            'network hardly knows it'
        )
    propagation = _confirmed_body(seen, agreed, model, points_confirmed)
    return _flow_labels(seen, agreed) if propagation is None else _rigid_labels(seen, propagation)


def _confirmed_body(
    seen: FilmSights, agreed: Mapping[int, Sight], model: ObjectModel, points_confirmed: bool
) -> RigidPropagation | None:
    """
    Return the rigid body that most of the sure frames show, one way round; None where there is none.

    Raises:
        DatasetError: Nobody can say which way round, or the model points are not those of this object.
    """
    clicks = _anchors(agreed, len(seen.greys))
    known = model.model_points is not None and PointSet(model.model_points[model.has_position]).refusal is None
    start = _start(seen, clicks, model) if known else None
    if start is not None:
        clicks = {number: clicks[number] for number in start}
    sigma = _POINT_SHARE * model.size_m if points_confirmed else np.inf
    propagation = _body(clicks, start, seen.camera, model, sigma)
    for contradicts in (_off, _turned):
        if propagation is None:
            return None
        off = contradicts(propagation, agreed, seen)
        if off.mean() > _MOST_OFF:
            if not known and contradicts is _off:  # it may bend
                return None
            raise DatasetError(
                f'{seen.film.source}: cannot decide which way the object is turned: what is surely found in '
                f'{off.sum()} of {len(off)} frames contradicts the others'
            )
        kept = [number for number, is_off in zip(propagation.clicked, off) if not is_off]
        if off.any():
            clicks = {number: clicks[number] for number in kept}
            propagation = _body(clicks, start, seen.camera, model, sigma)
    return propagation


def _rigid_labels(seen: FilmSights, propagation: RigidPropagation) -> FilmLabels:
    """
    Return labels by one rigid body that is followed through the film.

    Raises:
        DatasetError: It cannot be followed.
    """
    proposals = propagation.propose(seen.greys)
    between = len(seen.greys) - len(propagation.clicked)
    if len(proposals.numbers) - len(propagation.clicked) < _FOLLOWED * between:
        raise DatasetError(
            f'{seen.film.source}: the object is followed into {len(proposals.numbers) - len(propagation.clicked)} of '
            f'{between} frames: these are no consecutive frames, or nothing on the object can be followed; cannot '
            'decide which way the object is turned, nor whether its places are right'
        )
    labels = FilmLabels(seen)
    sizes = {n: max(float(np.ptp(p[:, :2], axis=0).max()), 1.0) for n, p in zip(proposals.numbers, proposals.points)}
    located = np.isfinite(proposals.sigmas).all(0)
    limits = np.array([max(_LEAST_ERROR_PX, _ERROR_SHARE * size) for size in sizes.values()])
    exact = proposals.sigmas[:, located].max(1) <= limits
    numbers = proposals.numbers.tolist()
    looked = np.array([n in seen.sights for n in numbers])
    near = np.array([_near(seen.sights.get(n, ()), p[:, :2], sizes[n]) for n, p in zip(numbers, proposals.points)])
    states = _states(numbers, looked, near, proposals.facing)
    states[:, ~located] = UNKNOWN
    inside = (proposals.points[..., :2] >= 0) & (proposals.points[..., :2] <= np.array(_size(seen.camera)) - 1)
    states[~inside.all(2) & located] = ABSENT
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
    return {number: _sure_points(agreed[number]) for number in chosen}


def _sure_points(sight: Sight) -> np.ndarray:
    """Return (K, 3) x, y [px] and SEEN, or 0 where the copies do not agree on a keypoint."""
    sure = sight.pose.visible & (np.nan_to_num(sight.spread_px, nan=np.inf) <= _SURE_SHARE * sight.size_px)
    return np.column_stack([np.where(sure[:, None], sight.pose.keypoints, 0.0), np.where(sure, SEEN, 0)])


def nearest_pose(points: np.ndarray, model: ObjectModel, camera: FilmCamera) -> tuple[Rigid, np.ndarray] | None:
    """
    Return the pose of `model_points` that is nearest to labels of one picture; None where these tell none.

    Args:
        points: (K, 3) x, y [px of the film] and state; 0 without a label.
        model: With model_points.
        camera: Of the picture.

    Returns:
        The pose, and (K,) errors of the labels as a share of the object's size; NaN where there is none.
    """
    assert model.model_points is not None
    used = (points[:, 2] > 0) & model.has_position
    known = PointSet(model.model_points[used])
    if known.refusal:
        return None
    ideal = camera.ideal(camera.to_copy(points[used, :2]))
    size = max(float(np.ptp(ideal, axis=0).max()), 1.0)
    stack = initial_poses(known, ideal / camera.focal_px)
    if not len(stack.translation):
        return None
    starts = [stack.at(i) for i in range(len(stack.translation))]
    found = [refined_pose(start, known.points, ideal, camera.focal_px) for start in starts]
    pose, own = min(found, key=lambda one: float(np.median(one[1])))
    errors = np.full(len(points), np.nan)
    errors[used] = own / size
    return pose, errors


def confirmed_by_labels(
    model: ObjectModel, images: Sequence[LabelledImage], camera_for: Callable[[int, int], CameraIntrinsics | None]
) -> bool:
    """Return whether every keypoint of labelled pictures is where poses of the model points have it."""
    if model.model_points is None:
        return False
    errors = []
    for image in images:
        camera = FilmCamera(image.width, image.height, camera_for(image.width, image.height))
        for places, labelled in zip(image.keypoints, image.labelled):
            found = nearest_pose(np.column_stack([places, labelled]), model, camera)
            errors += [] if found is None else [found[1]]
    often = np.isfinite(errors).sum(0) >= _FEWEST_CONFIRMED if errors else np.zeros(model.keypoint_count, bool)
    if not often.all():
        return False
    return bool((np.nanmedian(errors, axis=0) < _CONFIRMED).all())


def _start(seen: FilmSights, clicks: Mapping[int, np.ndarray], model: ObjectModel) -> dict[int, Rigid]:
    """
    Return the poses of `model_points` in the frames of which there is one.

    Raises:
        DatasetError: The model points do not fit what is found.
    """
    assert model.model_points is not None
    poses, misfits = {}, []
    for number, points in sorted(clicks.items()):
        found = nearest_pose(points, model, seen.camera)
        if found is not None:
            poses[number], errors = found
            misfits.append(float(np.nanmedian(errors)))
    if not misfits:
        return {}
    if (misfit := float(np.median(misfits))) > _MISFIT:
        raise DatasetError(
            f'{seen.film.source}: what is found is {misfit:.0%} of its size off every pose of the model_points of '
            f'{model.name!r}: the object file is not that of this object, or the camera is not this one'
        )
    return poses


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
    poses = [start[number] for number in sorted(clicks)]
    stack = Rigid(np.array([pose.rotation for pose in poses]), np.array([pose.translation for pose in poses]))
    assert model.model_points is not None
    points = np.where(model.has_position[:, None], model.model_points, model.middle)
    return RigidPropagation(clicks, camera, (points, stack), sigma)


def _off(propagation: RigidPropagation, agreed: Mapping[int, Sight], seen: FilmSights) -> np.ndarray:
    """Return (C,) bool: frames that the body is adjusted to, and whose keypoints contradict it."""
    sizes = np.array([agreed[number].size_px for number in propagation.clicked])
    return np.nanmedian(propagation.click_errors, axis=1) > _OFF_SHARE * sizes * seen.camera.scale


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


def _states(numbers: Sequence[int], looked: np.ndarray, near: np.ndarray, facing: np.ndarray | None) -> np.ndarray:
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
    """
    order = np.array(numbers)
    around = (np.abs(order - order[:, None]) <= _BESIDE) & looked
    beside = around.astype(float) @ near / np.maximum(around.sum(1, keepdims=True), 1)
    states = np.where(near | (beside >= _OFTEN), SEEN, UNKNOWN)
    if facing is None:
        return states
    behind = facing < _BEHIND
    shown_behind = (near & behind).sum(0) > 0.5 * (behind & looked[:, None]).sum(0)
    hidden = np.where(shown_behind, HIDDEN, ABSENT)
    return np.select([behind, facing < _IN_FRONT], [np.broadcast_to(hidden, facing.shape), UNKNOWN], states)


def _flow_labels(seen: FilmSights, agreed: Mapping[int, Sight]) -> FilmLabels:
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
        points, moved = _sure_points(agreed[number]), np.zeros(len(agreed[number].pose.visible), bool)
        for other in (number - seen.step, number + seen.step):
            if other not in agreed:
                continue
            there, good = flow(seen.greys[number], seen.greys[other], seen.camera.to_copy(points[:, :2]))
            apart = np.linalg.norm(seen.camera.to_film(there) - agreed[other].pose.keypoints, axis=1)
            same = good & (points[:, 2] > 0) & (apart <= _SURE_SHARE * agreed[number].size_px)
            moved |= same
            pairs, confirmed = pairs + (points[:, 2] > 0).sum(), confirmed + same.sum()
        points[:, 2] = np.where(moved, SEEN, UNKNOWN)
        if 2 * moved.sum() >= agreed[number].pose.visible.sum():
            labels.points[number] = points
        else:
            labels.rejected[UNKNOWN_PLACES] += 1
    if confirmed < 0.5 * max(pairs, 1):
        raise DatasetError(
            f'{seen.film.source}: {confirmed} of {pairs} keypoints move from frame to frame as the pictures do: these '
            'are no consecutive frames, or not this object; nothing but the network itself would speak for its labels'
        )
    return labels


def _size(camera: FilmCamera) -> tuple[int, int]:
    return camera.width, camera.height
