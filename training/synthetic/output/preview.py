"""A picture of the object from six sides with its keypoints: the first thing to look at before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.drawing.contact_sheet import keypoint_colours
from custom_pose_ros.core.files import has_mark, mark_of, write_image
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.object_model import ObjectModel
from training.synthetic.geometry.keypoint_sites import keypoint_sites
from training.synthetic.geometry.parts import Part
from training.synthetic.rendering.mesh_views import MeshViews
from training.synthetic.rendering.renderer import Surfaces
from training.synthetic.scenes.annotation import keypoint_seen
from training.synthetic.scenes.attitudes import looking_along

PREVIEW = 'preview.png'
is_preview = has_mark(PREVIEW)  # whether a picture is one of `write_preview`
_SIDE = (480, 400)  # width and height of each of the six pictures [px]
_FIELD_OF_VIEW = np.radians(20)  # narrow: little perspective
_MARGIN = 1.1  # the object's size fits that often into a picture
_SHADE = 0.35
_BACKGROUND = (225, 210, 200)  # BGR
_DARK, _LIGHT = (40, 40, 40), (255, 255, 255)
_NAME_SIZE = 0.4  # of OpenCV's letters
_TITLE_PX = 26  # of the picture
_REACHES = (0, 14, 28, 42, 60, 80, 110, 140)  # how far a name is moved away from others [px]
_NEAR_PX = 20  # a name farther from its keypoint, or nearer to another one, has a line to it
# Title, direction towards the camera, what is up in the picture; in the object's axes x forward, y left, z up.
_SIDES = (
    ('from the front (+x)', (1, 0, 0), (0, 0, 1)),
    ('from the left (+y)', (0, 1, 0), (0, 0, 1)),
    ('from above (+z), y up', (0, 0, 1), (0, 1, 0)),
    ('from behind (-x)', (-1, 0, 0), (0, 0, 1)),
    ('from the right (-y)', (0, -1, 0), (0, 0, 1)),
    ('from below (-z), y up', (0, 0, -1), (0, 1, 0)),
)


def write_preview(path: Path, parts: list[Part], model: ObjectModel, visibility: SimpleNamespace) -> None:
    """
    Write the picture of an object.

    Args:
        path: of the picture.
        parts: of the object.
        model: with complete model_points; a keypoint that is hidden from a side is a ring there, a seen one a dot.
        visibility: the group of this name of the settings.
    """
    views = MeshViews(parts, *_SIDE, shade=_SHADE)
    sites = keypoint_sites(parts, model.model_points, visibility.radius * (model.size_m or 1.0))

    def shown(surfaces: Surfaces, points: np.ndarray, R_camera_object: np.ndarray) -> np.ndarray:
        whole = Surfaces((surfaces.instance > 0).astype(np.uint8), surfaces.depth, surfaces.K)
        rest = R_camera_object, visibility.seen_share
        return np.array([keypoint_seen(whole, 1, point, site, *rest) for point, site in zip(points, sites)])

    sides = [_side(views, model, shown, *side) for side in progress_bar('preview', len(_SIDES), 'side', _SIDES)]
    write_image(path, np.vstack([np.hstack(sides[:3]), np.hstack(sides[3:])]), mark=mark_of(PREVIEW))


def _side(views: MeshViews, model: ObjectModel, shown, title: str, towards, up) -> np.ndarray:
    camera = CameraIntrinsics.from_fov(*_SIDE, _FIELD_OF_VIEW)
    R = looking_along(-np.array(towards, float), np.array(up, float))
    distance = _MARGIN * views.size * camera.K[1, 1] / _SIDE[1]
    camera_object = Rigid(R, distance * np.array([0, 0, 1.0]) - R @ views.centre)
    rendering = views.render(camera, camera_object)
    cover = rendering.coverage[..., None]
    image = np.clip(rendering.color * 255 + (1 - cover) * _BACKGROUND, 0, 255).round().astype(np.uint8)
    points = camera_object.apply(model.model_points)
    _draw_keypoints(image, camera.project(points), shown(rendering.pinhole, points, R), model.keypoint_names)
    _write(image, title, (8, 20), 0.55)
    return image


def _draw_keypoints(image: np.ndarray, pixels: np.ndarray, shown: np.ndarray, names) -> None:
    colours = keypoint_colours(len(names))
    seen = [i for i in range(len(names)) if shown[i]]
    corners = label_corners(pixels[seen], [names[i] for i in seen], pixels, (image.shape[1], image.shape[0]))
    for i, corner in zip(seen, corners):
        steps = _steps_to(_box(corner, names[i]), pixels)
        away = np.linalg.norm(steps, axis=1)
        if away[i] > _NEAR_PX or np.delete(away, i).min(initial=np.inf) < _NEAR_PX:  # say whose it is
            ends = np.rint([pixels[i], pixels[i] + steps[i]]).astype(int)
            cv2.line(image, *ends.tolist(), _DARK, 1, cv2.LINE_AA)
    for i in np.argsort(shown, kind='stable'):  # seen ones lie over hidden ones
        centre = tuple(int(v) for v in np.rint(pixels[i]))
        cv2.circle(image, centre, 6, _DARK, -1 if shown[i] else 3, cv2.LINE_AA)
        cv2.circle(image, centre, 4 if shown[i] else 6, colours[i], -1 if shown[i] else 1, cv2.LINE_AA)
    for i, corner in zip(seen, corners):
        _write(image, names[i], corner, _NAME_SIZE)


def label_corners(
    pixels: np.ndarray, names: Sequence[str], marks: np.ndarray, size: tuple[int, int]
) -> list[tuple[int, int]]:
    """
    Return where to write names, where possible over no mark or other name, near to the own mark and not to another one.

    Args:
        pixels: (N, 2) of the keypoints.
        names: of them.
        marks: (M, 2) pixels of all marks in the picture.
        size: width and height of the picture.

    Returns:
        The lower left corner of each name [px].
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks.tolist()]
    taken.append((0.0, 0.0, float(size[0]), float(_TITLE_PX)))
    corners: list[tuple[int, int]] = []
    for (x, y), name in zip(pixels.tolist(), names):
        wide, high = _text_size(name)
        places = [
            (min(max(left, 2), size[0] - wide - 2), min(max(y + down, high), size[1] - 4))
            for reach in _REACHES
            for down in (-4, high + 6, -4 - reach, high + 6 + reach)
            for left in (x + 8 + reach / 2, x - 8 - wide - reach / 2, x - wide / 2)
        ]
        boxes = [_box(place, name) for place in places]
        others = np.linalg.norm(marks - (x, y), axis=1) > 1
        costs = []
        for box in boxes:
            away = np.linalg.norm(_steps_to(box, np.vstack([(x, y), marks[others]])), axis=1)
            strays = max(0.0, _NEAR_PX - away[1:].min(initial=np.inf))
            costs.append((sum(_common_area(box, other) for other in taken), round(away[0] + 2 * strays)))
        best = costs.index(min(costs))
        taken.append(boxes[best])
        corners.append((round(places[best][0]), round(places[best][1])))
    return corners


def _box(corner: tuple[float, float], name: str) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a name with its margin."""
    (left, low), (wide, high) = corner, _text_size(name)
    return left - 2, low - high - 2, left + wide + 2, low + 4


def _steps_to(box: tuple[float, ...], points: np.ndarray) -> np.ndarray:
    """Return the steps (N, 2) from points to what is nearest to them of a box."""
    return np.clip(points, box[:2], box[2:]) - points


def _common_area(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _text_size(text: str) -> tuple[int, int]:
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _NAME_SIZE, 1)
    return wide, high


def _write(image: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    for thickness, colour in ((3, _LIGHT), (1, _DARK)):
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
