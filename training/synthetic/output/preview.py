"""A picture of the object from six sides with its keypoints: the first thing to look at before anything is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.drawing.contact_sheet import keypoint_colours
from custom_pose_ros.core.files import write_image
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
_SIDE = (480, 400)  # width and height of each of the six pictures [px]
_FIELD_OF_VIEW = np.radians(20)  # narrow: little perspective
_MARGIN = 1.1  # the object's size fits that often into a picture
_SHADE = 0.35
_BACKGROUND = (225, 210, 200)  # BGR
_DARK, _LIGHT = (40, 40, 40), (255, 255, 255)
_NAME_SIZE = 0.4  # of OpenCV's letters
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
    write_image(path, np.vstack([np.hstack(sides[:3]), np.hstack(sides[3:])]))


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
    for i in np.argsort(shown, kind='stable'):  # seen ones lie over hidden ones
        centre = tuple(int(v) for v in np.rint(pixels[i]))
        cv2.circle(image, centre, 6, _DARK, -1 if shown[i] else 3, cv2.LINE_AA)
        cv2.circle(image, centre, 4 if shown[i] else 6, colours[i], -1 if shown[i] else 1, cv2.LINE_AA)
        if shown[i]:
            (wide, _), _ = cv2.getTextSize(names[i], cv2.FONT_HERSHEY_SIMPLEX, _NAME_SIZE, 1)
            left = centre[0] + 8 if centre[0] + 8 + wide < image.shape[1] else centre[0] - 8 - wide
            _write(image, names[i], (left, centre[1] - 4), _NAME_SIZE)


def _write(image: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    for thickness, colour in ((3, _LIGHT), (1, _DARK)):
        cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
