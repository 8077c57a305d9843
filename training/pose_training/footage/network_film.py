"""Frames of a film that are worth a label, by what a network makes of them; proposals from its poses over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import skew_matrix
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.pnp import PointSet
from training.pose_training.labels.film import FilmFrame
from training.pose_training.labels.proposed_labels import ProposedObject

_AROUND = 8  # frames before and after a chosen one, over which its pose is smoothed
_UNSURE = 2.0  # how much a score of 0 is worth beside one of 1, as `unlike` counts it
_CONTRADICTED = 2.0
_NOTHING_FOUND = 1.5
_SIGMAS = 4.0  # by which forward and backward pose may differ, and a keypoint that is found from where the pose has it
_LEAST_PX = 2.0


@dataclass(frozen=True, eq=False)
class FoundFrame:
    """
    What a network found in a frame.

    Attributes:
        stamp_s: Since the first frame [s].
        size: Width and height [px].
        poses: The instances.
    """

    stamp_s: float
    size: tuple[int, int]
    poses: list[KeypointPose]

    @classmethod
    def of(cls, frame: FilmFrame, estimator: Callable[[np.ndarray], list[KeypointPose]]) -> FoundFrame:
        """Return what a network finds in a frame of a film."""
        height, width = frame.image.shape[:2]
        return cls(frame.stamp_s, (width, height), estimator(frame.image))


def worth_of_label(
    found: Mapping[int, FoundFrame], model: ObjectModel, camera: CameraIntrinsics | None
) -> tuple[np.ndarray, list[str]]:
    """
    Return how much each frame is wanted (F,), and why, '' where nothing speaks for it but that it is unlike others.

    A frame is wanted where the network is unsure, finds nothing, or where its keypoints contradict the rigid object.

    Args:
        found: By number of frame.
        model: The object; with a camera its model_points are used.
        camera: Of these pictures; None: no pose is computed.
    """
    worth, reasons = [], []
    for frame in found.values():
        value, reason = _NOTHING_FOUND, 'nothing found'
        if frame.poses:
            score = min(pose.score for pose in frame.poses)
            value, reason = _UNSURE * (1 - score), f'score {score:.2f}' if score < 0.5 else ''
            if any(pose.ambiguity > AMBIGUOUS for pose in frame.poses):
                value, reason = value + 1, 'may be turned'
            if camera is not None and _contradicts(frame.poses, model, camera):
                value, reason = value + _CONTRADICTED, 'not rigid'
        worth.append(value)
        reasons.append(reason)
    return np.array(worth), reasons


def pose_camera(
    model: ObjectModel, size: tuple[int, int], camera_for: Callable[[int, int], CameraIntrinsics | None]
) -> CameraIntrinsics | None:
    """Return the camera of pictures of a size [px], None where nobody knows it or the object has no orientation."""
    if model.model_points is None or PointSet(model.model_points[model.has_position]).refusal:
        return None
    return camera_for(*size)


def _contradicts(poses: Sequence[KeypointPose], model: ObjectModel, camera: CameraIntrinsics) -> bool:
    """Return whether keypoints of an instance cannot be those of the rigid object."""
    estimates = OrientationEstimator(model, camera, smoothing=False).update(poses)
    return any(estimate.outlier_suspected for estimate in estimates)


def smoothed_objects(
    number: int, found: Mapping[int, FoundFrame], model: ObjectModel, camera: CameraIntrinsics
) -> tuple[list[ProposedObject], int]:
    """
    Return the objects in a frame as their poses over time have them, and how many that are found there have none.

    The filter runs from some frames before up to this one, and from some after it back to this one. Keypoints that the
    network finds near the place of the pose are seen, others in the picture hidden.

    Args:
        number: Of the frame.
        found: What was found in it and around it.
        model: With model_points.
        camera: Of these pictures.
    """
    around = [n for n in range(number - _AROUND, number + _AROUND + 1) if n in found]
    before = _run([n for n in around if n <= number], found, model, camera, 1.0)
    after = _run([n for n in around if n >= number][::-1], found, model, camera, -1.0)
    objects = []
    for estimate in before:
        partner = min(after, key=lambda other: _apart(estimate, other), default=None)
        combined = None if partner is None else _combined(estimate, partner)
        if combined is not None:
            objects.append(_projected(*combined, found[number], model, camera))
    return objects, max(0, len(found[number].poses) - len(objects))


def window(numbers: Sequence[int], count: int) -> list[int]:
    """Return the numbers of all frames that chosen ones are smoothed over."""
    return sorted({n for number in numbers for n in range(number - _AROUND, number + _AROUND + 1) if 0 <= n < count})


def _run(
    order: Sequence[int], found: Mapping[int, FoundFrame], model: ObjectModel, camera: CameraIntrinsics, sense: float
) -> list[OrientationEstimate]:
    """Return what the filter says of the last frame of `order`, where it is measured; sense: -1 to go back in time."""
    estimator = OrientationEstimator(model, camera)
    estimates: list[OrientationEstimate] = []
    for number in order:
        estimates = estimator.update(found[number].poses, sense * found[number].stamp_s)
    return [estimate for estimate in estimates if not estimate.coasting]


def _apart(one: OrientationEstimate, other: OrientationEstimate) -> float:
    return float(np.linalg.norm(one.pose.translation - other.pose.translation))


def _combined(one: OrientationEstimate, other: OrientationEstimate) -> tuple[Rigid, np.ndarray] | None:
    """Return the weighted mean of both poses and its covariance; None where they disagree or are ambiguous."""
    if max(one.ambiguity, other.ambiguity) > AMBIGUOUS or one.outlier_suspected or other.outlier_suspected:
        return None
    step = one.pose.step_to(other.pose)
    both = one.covariance + other.covariance
    if step @ np.linalg.solve(both, step) > _SIGMAS**2 * len(step):
        return None
    gain = one.covariance @ np.linalg.inv(both)
    return one.pose.moved(gain @ step), one.covariance - gain @ one.covariance


def _projected(
    pose: Rigid, covariance: np.ndarray, frame: FoundFrame, model: ObjectModel, camera: CameraIntrinsics
) -> ProposedObject:
    """Return the keypoints of a pose as labels: seen where the network finds them there, else hidden."""
    assert model.model_points is not None
    known = model.has_position
    points = np.full((len(known), 3), np.nan)
    points[known] = pose.apply(model.model_points[known])
    places = np.full((len(points), 2), np.nan)
    places[known], jacobians = camera.project_with_jacobian(points[known])
    lever = np.concatenate(
        [np.repeat(np.eye(3)[None], known.sum(), 0), -skew_matrix(points[known] - pose.translation)], 2
    )
    spread = jacobians @ lever
    sigmas = np.full(len(points), np.inf)
    sigmas[known] = np.sqrt(np.linalg.eigvalsh(spread @ covariance @ spread.transpose(0, 2, 1))[:, 1].clip(0))
    nearest = min(frame.poses, key=lambda found: np.nanmedian(np.linalg.norm(found.keypoints - places, axis=1)))
    own = np.sqrt(np.nan_to_num(np.trace(nearest.covariances, axis1=1, axis2=2)))
    distances = np.linalg.norm(nearest.keypoints - places, axis=1)
    seen = nearest.visible & (distances < np.maximum(_LEAST_PX, _SIGMAS * (own + np.where(known, sigmas, 0))))
    places[~known], seen[~known] = nearest.keypoints[~known], nearest.visible[~known]
    inside = (known | seen) & (places >= 0).all(1) & (places <= np.array(frame.size) - 1).all(1)
    states = np.where(inside, np.where(seen, SEEN, HIDDEN), ABSENT)
    return ProposedObject(np.column_stack([np.where(inside[:, None], places, 0.0), states]), float(nearest.score))
