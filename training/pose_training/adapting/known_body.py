"""How `model_points` fit what is labelled or found in pictures: poses, misfits, and from where a keypoint is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.labels.raw_labels import ABSENT, SEEN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.pnp import PointSet, initial_poses
from training.pose_training.adapting.film_sights import FilmSights
from training.pose_training.footage.body_tracks import Surface, refined_pose
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.labels.coco import LabelledImage

# Cosine at which a facet of the hull faces the camera: up to it its keypoints are hidden, from it on they are seen.
HIDDEN_TO, SEEN_FROM = -0.05, 0.15
_MISFIT = 0.08  # of the object's size: median error of poses of `model_points`, above which they are another object's
_CONFIRMED = 0.015  # of the object's size: median error of labels of each keypoint, up to which model_points are right
_FEWEST_CONFIRMED = 3  # labels of each keypoint


@dataclass(frozen=True, eq=False)
class LabelledBody:
    """
    What labelled pictures say of `model_points` that they confirm.

    Attributes:
        hidden_to: (K,) cosine at which a keypoint's facet of the hull faces the camera, up to which it is hidden.
        seen_from: (K,) the same, from which on it is seen; between them, edge-on, people label it or do not.
            Where labels tell both, these are the middle between them.
    """

    hidden_to: np.ndarray
    seen_from: np.ndarray


def labelled_body(
    model: ObjectModel, images: Sequence[LabelledImage], camera_for: Callable[[int, int], CameraIntrinsics | None]
) -> LabelledBody | None:
    """Return what labels say of the body; None unless each keypoint is where poses of the model points have it."""
    if model.model_points is None or not model.has_position.all():
        return None
    surface = Surface(model.model_points)
    errors, facing, states = [], [], []
    for image in images:
        camera = FilmCamera(image.width, image.height, camera_for(image.width, image.height))
        for places, labelled, own in zip(image.keypoints, image.labelled, image.states):
            found = nearest_pose(np.column_stack([places, labelled]), model, camera)
            if found is not None:
                errors.append(found[1])
                facing.append(surface.facing(found[0]))
                states.append(own)
    if not errors or (np.isfinite(errors).sum(0) < _FEWEST_CONFIRMED).any():
        return None
    if (np.nanmedian(errors, axis=0) >= _CONFIRMED).any():
        return None
    cosines, labels = np.array(facing), np.array(states)
    edge_on = (cosines > HIDDEN_TO) & (cosines < SEEN_FROM)
    hidden_to = np.where(edge_on & (labels == ABSENT), cosines, HIDDEN_TO).max(0)
    seen_from = np.where(edge_on & (labels == SEEN), cosines, SEEN_FROM).min(0)
    agree = hidden_to < seen_from
    hidden_to, seen_from = np.where(agree, hidden_to, HIDDEN_TO), np.where(agree, seen_from, SEEN_FROM)
    told = (hidden_to > HIDDEN_TO) & (seen_from < SEEN_FROM)  # by labels: it changes in the middle, about
    middle = 0.5 * (hidden_to + seen_from)
    return LabelledBody(np.where(told, middle, hidden_to), np.where(told, middle, seen_from))


def shape_known(model: ObjectModel) -> bool:
    """Return whether the model points are enough for a pose."""
    return model.model_points is not None and PointSet(model.model_points[model.has_position]).refusal is None


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


def known_poses(seen: FilmSights, clicks: Mapping[int, np.ndarray], model: ObjectModel) -> dict[int, Rigid]:
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
            f"{seen.film.source}: what the network finds is {misfit:.0%} of the object's size off every pose of the "
            f'model_points of {model.name!r}: give the object file of this object, and the --camera that filmed it'
        )
    return poses
