"""Orientations -> visualization_msgs/MarkerArray: axes, skeleton, keypoints, uncertainty and a label for each."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import skew_matrix
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.nodes.ros.conversions import (
    Orientation,
    OrientationArray,
    rigid_pose_message,
    rotation_from_message,
)

LIFETIME = Duration(sec=1)  # what is not renewed for so long disappears, also when the node is gone
_AXIS_COLORS = ((0.9, 0.1, 0.1), (0.1, 0.7, 0.1), (0.2, 0.3, 1.0))  # x red, y green, z blue, as RViz draws them
_SURE, _UNSURE = np.array([0.2, 0.9, 0.4]), np.array([1.0, 0.45, 0.0])  # colour of ambiguity 0 and 1
_REGION_ALPHA = 0.3
_REGION_SIGMAS_3D, _REGION_SIGMAS_2D = 2.796, 2.448  # hold 95 % of a normal distribution in space and in a plane
_CONE_SEGMENTS = 24
_SMALLEST_SIGMA_M = 1e-4  # RViz does not draw what has no extent
_WIDEST_CONE_RAD = np.deg2rad(75.0)  # wider ones are drawn like this: they would be larger than the scene
_DEFAULT_SIZE_M = 0.1  # of an object without extent or model points
_POINT_SHARE, _LINE_SHARE, _AXIS_SHARE, _TEXT_SHARE = 0.06, 0.02, 0.6, 0.075  # of the object's size
_LINE_HEIGHT = 1.75  # from line to line of RViz's text, in heights of an upper-case letter
_NEAREST = 0.5  # of the distance of the object: what is nearer to the eye does not move the label further


def orientations_to_markers(message: OrientationArray, model: ObjectModel, optical: bool) -> MarkerArray:
    """
    Return what RViz draws of one message, after clearing what was drawn before; an empty array clears.

    Each instance has one id in the namespaces axes, skeleton, keypoints, position_region, rotation_region and label.
    The regions hold the truth with 95 %: an ellipsoid around the origin of the object, and a cone around each of its
    axes. Everything but the axes turns from green to orange with the ambiguity, and the axes fade; the label above the
    object gives the track and roll, pitch, yaw in degrees.

    Args:
        message: orientations, all in the frame of its header.
        model: their object.
        optical: whether that is a camera optical frame: up is -y, and the camera is its origin; else up is z (REP 103).
    """
    markers = [Marker(header=message.header, action=Marker.DELETEALL)]
    size = model.size_m or _DEFAULT_SIZE_M
    for index, orientation in enumerate(message.orientations):
        for marker in _instance_markers(orientation, model, size, optical):
            marker.header, marker.id, marker.lifetime = message.header, index, LIFETIME
            markers.append(marker)
    return MarkerArray(markers=markers)


def _instance_markers(orientation: Orientation, model: ObjectModel, size: float, optical: bool) -> list[Marker]:
    points = np.full((model.keypoint_count, 3), np.nan) if model.model_points is None else model.model_points
    known = np.isfinite(points).all(1)
    color = _color(_SURE + (_UNSURE - _SURE) * orientation.ambiguity)
    ends = np.concatenate([np.zeros((1, 3)), size * _AXIS_SHARE * np.eye(3), points[known]])
    skeleton = [points[k] for edge in model.skeleton if known[list(edge)].all() for k in edge]
    return [
        _axes(orientation, size),
        _lines('skeleton', orientation, skeleton, size * _LINE_SHARE, color),
        Marker(
            ns='keypoints', type=Marker.SPHERE_LIST, pose=orientation.pose.pose, color=color,
            scale=_cube(size * _POINT_SHARE), points=[_point(p) for p in points[known]],
        ),
        _position_region(orientation, color),
        _rotation_region(orientation, size, color),
        _label(orientation, ends, size * _TEXT_SHARE, optical),
    ]  # fmt: skip


def _axes(orientation: Orientation, size: float) -> Marker:
    ends = [end for axis in np.eye(3) * size * _AXIS_SHARE for end in (np.zeros(3), axis)]
    marker = _lines('axes', orientation, ends, size * _LINE_SHARE, _color((1.0, 1.0, 1.0)))
    alpha = 1.0 - 0.7 * orientation.ambiguity
    marker.colors = [_color(color, alpha) for color in _AXIS_COLORS for _ in range(2)]
    return marker


def _position_region(orientation: Orientation, color: ColorRGBA) -> Marker:
    """Return the ellipsoid that holds the origin of the object with 95 %, along the covariance's principal axes."""
    variances, axes = np.linalg.eigh(orientation.pose.covariance.reshape(6, 6)[:3, :3])
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    origin = orientation.pose.pose.position
    pose = rigid_pose_message(Rigid(axes, np.array([origin.x, origin.y, origin.z])))
    diameters = 2.0 * _REGION_SIGMAS_3D * np.sqrt(np.maximum(variances, _SMALLEST_SIGMA_M**2))
    return Marker(
        ns='position_region', type=Marker.SPHERE, pose=pose, color=_faded(color),
        scale=Vector3(**dict(zip('xyz', diameters.tolist()))),
    )  # fmt: skip


def _rotation_region(orientation: Orientation, size: float, color: ColorRGBA) -> Marker:
    """
    Return a cone around each axis of the object that holds the true axis with 95 %; in the object frame.

    RViz lights one side of a triangle only, and a triangle with colours of its own not at all, so that both sides show.
    """
    R = rotation_from_message(orientation.pose.pose.orientation)
    turning = R.T @ orientation.pose.covariance.reshape(6, 6)[3:, 3:] @ R  # about the object's axes
    corners: list[np.ndarray] = []
    for axis in np.eye(3):
        rim = size * _AXIS_SHARE * _cone_rim(axis, turning)
        for start, end in zip(rim, np.roll(rim, -1, axis=0)):
            corners += [np.zeros(3), end, start]  # clockwise, seen from the rim: the normal points outwards
    return Marker(
        ns='rotation_region', type=Marker.TRIANGLE_LIST, pose=orientation.pose.pose, color=_faded(color),
        scale=_cube(1.0), points=[_point(corner) for corner in corners], colors=[_faded(color)] * len(corners),
    )  # fmt: skip


def _cone_rim(axis: np.ndarray, turning: np.ndarray) -> np.ndarray:
    """
    Return the (N, 3) unit directions around a unit axis (3,), for the (3, 3) covariance of the rotation [rad^2].

    They go around counterclockwise, seen from the tip of the axis.
    """
    to_axis = -skew_matrix(axis)  # a small rotation w moves the axis by w x axis
    variances, directions = np.linalg.eigh(to_axis @ turning @ to_axis.T)  # the first one is along the axis: nothing
    directions[:, 2] = np.cross(axis, directions[:, 1])
    angles = _REGION_SIGMAS_2D * np.sqrt(np.maximum(variances[1:], 0.0))
    around = np.linspace(0.0, 2.0 * np.pi, _CONE_SEGMENTS, endpoint=False)
    aside = (np.stack([np.cos(around), np.sin(around)], 1) * angles) @ directions[:, 1:].T
    angle = np.linalg.norm(aside, axis=1, keepdims=True)
    shown = np.minimum(angle, _WIDEST_CONE_RAD)
    return np.cos(shown) * axis + np.sin(shown) * aside / np.maximum(angle, 1e-12)


def _faded(color: ColorRGBA) -> ColorRGBA:
    return ColorRGBA(r=color.r, g=color.g, b=color.b, a=_REGION_ALPHA)


def _lines(name: str, orientation: Orientation, ends: list[np.ndarray], width: float, color: ColorRGBA) -> Marker:
    return Marker(
        ns=name, type=Marker.LINE_LIST, pose=orientation.pose.pose, color=color,
        scale=Vector3(x=width), points=[_point(end) for end in ends],
    )  # fmt: skip


def _label(orientation: Orientation, ends: np.ndarray, height: float, optical: bool) -> Marker:
    """
    Return the label above the object.

    Without a blank: RViz draws each one 1 m wide, whatever the size of the text (ros2/rviz#1336).

    Args:
        orientation: the instance.
        ends: (N, 3) m, the outermost of what is drawn of it, in the object frame.
        height: of an upper-case letter [m].
        optical: as for orientations_to_markers.
    """
    tracked = orientation.track_id != Orientation.TRACK_ID_NOT_TRACKED
    angles = {'roll': orientation.roll, 'pitch': orientation.pitch, 'yaw': orientation.yaw}
    lines = [
        f'{orientation.object_name}_{orientation.track_id}' if tracked else orientation.object_name,
        *(f'{name}:{round(math.degrees(angle))}' for name, angle in angles.items()),
        *(['ambiguous'] if orientation.ambiguity > AMBIGUOUS else []),
    ]
    pose = orientation.pose.pose
    origin = np.array([pose.position.x, pose.position.y, pose.position.z])
    marker = Marker(
        ns='label', type=Marker.TEXT_VIEW_FACING, color=_color((1.0, 1.0, 1.0)), scale=Vector3(z=height),
        text='\n'.join(lines),
    )  # fmt: skip
    outline = ends @ rotation_from_message(pose.orientation).T + origin
    marker.pose.position = _point(_above(outline, 0.5 * _LINE_HEIGHT * height * (len(lines) + 1), optical))
    return marker


def _above(outline: np.ndarray, distance: float, optical: bool) -> np.ndarray:
    """Return the point (3,) m that is a distance [m] above the middle of the topmost of some points (N, 3) m."""
    low, high = outline.min(0), outline.max(0)
    middle = (low + high) / 2.0
    if not optical:
        return np.array([*middle[:2], high[2] + distance])
    depth = max(middle[2], distance)
    seen = outline * (depth / np.maximum(outline[:, 2:], _NEAREST * depth))  # from the camera, in the label's plane
    low, high = seen.min(0), seen.max(0)
    return np.array([(low[0] + high[0]) / 2.0, low[1] - distance, depth])


def _color(rgb: tuple[float, ...] | np.ndarray, alpha: float = 1.0) -> ColorRGBA:
    r, g, b = (float(value) for value in rgb)
    return ColorRGBA(r=r, g=g, b=b, a=alpha)


def _cube(side: float) -> Vector3:
    return Vector3(x=side, y=side, z=side)


def _point(values: np.ndarray) -> Point:
    x, y, z = values.tolist()
    return Point(x=x, y=y, z=z)
