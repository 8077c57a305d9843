"""Overlay: poses and orientations drawn on a copy of the image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, OrientationEstimate
from custom_pose_ros.core.orientation.outlines.outline_views import OUTLINE, OutlineViews

# Colours that differ for the colour-blind too (Okabe and Ito 2008), as BGR.
PALETTE = (
    (0, 159, 230),  # orange
    (233, 180, 86),  # sky blue
    (66, 228, 240),  # yellow
    (115, 158, 0),  # bluish green
    (167, 121, 204),  # reddish purple
    (0, 94, 213),  # vermilion
    (178, 114, 0),  # blue
)
_AXES = (('x', (0, 94, 213)), ('y', (115, 158, 0)), ('z', (233, 160, 50)))  # red, green, blue as in RViz, but distinct
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)
_GREY = (150, 150, 150)
_STROKE = 2.5  # half the length of one of an outline, in units
_SHIFT = 4  # drawing coordinates have 4 binary places
_FAR = 1e5  # [px]; what lies farther out is not drawn
_DEFAULT_AXIS_M = 0.1  # for objects without model points


def draw_poses(
    image: np.ndarray,
    poses: Sequence[KeypointPose],
    model: ObjectModel,
    orientations: Sequence[OrientationEstimate] | None = None,
    camera: CameraIntrinsics | None = None,
    *,
    labels: bool = True,
    names: bool = False,
    outline: OutlineViews | None = None,
) -> np.ndarray:
    """
    Draw poses, and the axes of orientations, on a copy of an image.

    Args:
        image: (H, W, 3) uint8, BGR; never changed. Lines and letters grow with its size.
        poses: in pixels of this image.
        model: the object.
        orientations: estimates whose axes (x, y, z of the object) and attitude are drawn; they need `camera`.
        camera: that took the image; it is scaled to the image where it is of another size.
        labels: write object, track id, score and ambiguity above each pose, attitude and distance below the axes.
        names: write the name of each keypoint beside it.
        outline: of the object, drawn where each orientation has it: white where it measured the pose, else grey.

    Returns:
        The new (H, W, 3) image.

    Raises:
        ValueError: the image is of another kind, a pose does not fit the object, or orientations come without a camera.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f'image must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}')
    if orientations and camera is None:
        raise ValueError('orientations need a camera to be drawn, got None')
    painter = _Painter(image)
    for pose in poses:
        if len(pose.visible) != model.keypoint_count:
            raise ValueError(
                f'poses of {model.name} must have {model.keypoint_count} keypoints, got {len(pose.visible)}'
            )
        _draw_pose(painter, pose, model)
    below = []
    if orientations and camera is not None:
        height, width = image.shape[:2]
        if (camera.width, camera.height) != (width, height):
            camera = camera.scaled_to(width, height)
        if outline is not None:
            for estimate in orientations:
                _draw_outline(painter, estimate, outline, camera)
        below = [(_draw_axes(painter, estimate, model, camera), estimate) for estimate in orientations]
    for pose in poses if names else ():  # texts lie on top of what is drawn, the letters of the axes included
        _write_names(painter, pose, model)
    for pose in poses if labels else ():
        _draw_label(painter, pose, model, names)
    for place, estimate in below if labels else ():
        if place is not None:
            painter.text(place, _attitude(estimate))
    return painter.image


def _draw_pose(painter: _Painter, pose: KeypointPose, model: ObjectModel) -> None:
    for limb, (a, b) in enumerate(model.skeleton):
        if pose.visible[a] and pose.visible[b]:
            painter.line(pose.keypoints[a], pose.keypoints[b], PALETTE[limb % len(PALETTE)])
    for k in np.flatnonzero(pose.visible):
        painter.dot(pose.keypoints[k], PALETTE[k % len(PALETTE)])


def _write_names(painter: _Painter, pose: KeypointPose, model: ObjectModel) -> None:
    for k in np.flatnonzero(pose.visible):
        painter.text(pose.keypoints[k] + painter.unit * np.array([6, -4]), model.keypoint_names[k], size=0.8)


def _draw_label(painter: _Painter, pose: KeypointPose, model: ObjectModel, names: bool) -> None:
    left, top, _, _ = pose.box
    track = '' if pose.track_id is None else f' #{pose.track_id}'
    turned = f' or turned: {pose.ambiguity:.2f}' if pose.ambiguity > AMBIGUOUS else ''
    text = f'{model.name}{track} {pose.score:.2f}{turned}'
    painter.text(np.array([left, top - (24 if names else 8) * painter.unit]), text)


def _draw_axes(
    painter: _Painter, estimate: OrientationEstimate, model: ObjectModel, camera: CameraIntrinsics
) -> np.ndarray | None:
    """Draw the object's axes from its origin, each half as long as the object; return (2,) the place below [px]."""
    camera_object = Rigid(estimate.R_camera_object, estimate.t_camera_object)
    points = camera_object.apply(axis_points(model))
    if not np.isfinite(points).all() or points[0, 2] <= 0:
        return None
    projected = camera.project(points)
    origin, tips = projected[0], projected[1:]
    for i in np.argsort(-points[1:, 2]):  # the nearest axis last, on top
        name, colour = _AXES[i]
        if points[i + 1, 2] > 0:
            painter.line(origin, tips[i], colour, width=3)
            painter.text(tips[i] + painter.unit * np.array([5, 5]), name)
    lowest = max(origin[1], *tips[points[1:, 2] > 0, 1])
    return np.array([origin[0], lowest + 26 * painter.unit])


def _draw_outline(
    painter: _Painter, estimate: OrientationEstimate, outline: OutlineViews, camera: CameraIntrinsics
) -> None:
    """Draw short strokes along the outline."""
    camera_object = Rigid(estimate.R_camera_object, estimate.t_camera_object)
    lines = outline.seen_in(camera_object)
    at_outline = lines.kinds == OUTLINE
    points = camera_object.apply(lines.points[at_outline])
    if not np.isfinite(points).all() or points[:, 2].min(initial=np.inf) <= 0:
        return
    along = np.cross(points, lines.normals[at_outline] @ camera_object.rotation.T)
    along *= points[:, 2:] / np.linalg.norm(along, axis=1, keepdims=True) / camera.K[0, 0]  # 1 px long
    ends = [camera.project(points + sign * _STROKE * painter.unit * along) for sign in (-1.0, 1.0)]
    colour = _GREY if np.isnan(estimate.outline_agreement) else _LIGHT
    painter.lines(zip(*ends), colour, width=1)


def _attitude(estimate: OrientationEstimate) -> str:
    roll, pitch, yaw = np.rad2deg(estimate.roll_pitch_yaw)
    note = f'  ambiguous {estimate.ambiguity:.2f}' if estimate.ambiguity > AMBIGUOUS else ''
    distance = np.linalg.norm(estimate.t_camera_object)
    return f'roll {roll:+.0f} pitch {pitch:+.0f} yaw {yaw:+.0f} deg  distance {distance:.2f} m{note}'


def axis_points(model: ObjectModel) -> np.ndarray:
    """Return the (4, 3) origin and tips of an object's axes x, y, z [m], each half as long as the object."""
    length = float(model.extent_m.max()) / 2.0 or _DEFAULT_AXIS_M
    return np.vstack([np.zeros((1, 3)), length * np.eye(3)])


class _Painter:
    """
    Draws on a copy of an image, anti-aliased and with sub-pixel positions, everything dark-rimmed.

    Attributes:
        image: the copy.
        unit: size of the finest line [px], 1 for an image of about 480 rows; lengths below are in units.
    """

    def __init__(self, image: np.ndarray):
        self.image = np.array(image, order='C')
        self.unit = max(0.5, min(image.shape[:2]) / 480)

    def line(self, start: np.ndarray, end: np.ndarray, colour: tuple[int, int, int], width: float = 2) -> None:
        self.lines([(start, end)], colour, width)

    def lines(self, ends: Iterable[tuple[np.ndarray, np.ndarray]], colour: tuple[int, int, int], width: float) -> None:
        """Draw lines whose dark rims lie below all of them."""
        fixed = [(self._fixed(start), self._fixed(end)) for start, end in ends]
        for thickness, shade in ((width + 2, _DARK), (width, colour)):
            for first, last in fixed:
                if first is not None and last is not None:
                    cv2.line(self.image, first, last, shade, self._pixels(thickness), cv2.LINE_AA, _SHIFT)

    def dot(self, centre: np.ndarray, colour: tuple[int, int, int]) -> None:
        where = self._fixed(centre)
        if where is not None:
            for radius, shade in ((5.0, _DARK), (4.0, _LIGHT), (3.0, colour)):
                size = round(radius * self.unit * 2**_SHIFT)
                cv2.circle(self.image, where, size, shade, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def text(self, corner: np.ndarray, text: str, colour: tuple[int, int, int] = _LIGHT, size: float = 1.0) -> None:
        """Write on a darkened box with its lower left at `corner` [px], moved into the image as far as it fits."""
        if not (np.isfinite(corner).all() and (np.abs(corner) < _FAR).all()):
            return
        scale, font, edge = 0.45 * size * self.unit, cv2.FONT_HERSHEY_SIMPLEX, self._pixels(3)
        (width, height), below = cv2.getTextSize(text, font, scale, self._pixels(1))
        box_width, box_height = width + 2 * edge, height + below + edge
        left = int(np.clip(corner[0], 0, max(0, self.image.shape[1] - box_width)))
        bottom = int(np.clip(corner[1], box_height, max(box_height, self.image.shape[0])))
        box = self.image[bottom - box_height : bottom, left : left + box_width]
        box[:] = box // 3
        where = (left + edge, bottom - below)
        cv2.putText(self.image, text, where, font, scale, colour, self._pixels(1), cv2.LINE_AA)

    def _pixels(self, units: float) -> int:
        return max(1, round(units * self.unit))

    @staticmethod
    def _fixed(point: np.ndarray) -> tuple[int, int] | None:
        """Return a point (2,) in OpenCV's fixed-point pixels, or None when it is unknown or far out."""
        if not (np.isfinite(point).all() and (np.abs(point) < _FAR).all()):
            return None
        x, y = np.rint(point * 2**_SHIFT)
        return int(x), int(y)
