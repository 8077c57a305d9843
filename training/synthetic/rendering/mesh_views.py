"""Plain pictures of one mesh in a given pose: its colours as the file has them, which part is where, and the depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.parts import Material, Part, all_vertices
from training.synthetic.rendering.body import Body
from training.synthetic.rendering.renderer import CameraViews, Rendering
from training.synthetic.rendering.shading import Lighting

MAX_BODIES = 255  # what one picture can tell apart


def _matt(material: Material) -> Material:
    return replace(material, roughness=1.0, reflectivity=0.0, grain=0.0, wrinkle=0.0)


class MeshViews:
    """
    Pictures of one mesh under even light from everywhere: neither shadows nor highlights, colours as they are.

    Args:
        parts: of the mesh [m].
        width: of the pictures [px].
        height: of the pictures [px].
        shade: how much darker a surface is that turns away from the camera, in [0, 1]; 0 leaves its colours alone.
    """

    def __init__(self, parts: list[Part], width: int, height: int, shade: float = 0.0):
        vertices = all_vertices(parts)
        self.centre = (vertices.min(0) + vertices.max(0)) / 2
        self.size = float(np.linalg.norm(np.ptp(vertices, 0)))
        groups = [parts] if len(parts) > MAX_BODIES else [[part] for part in parts]
        self._bodies = [Body([part.with_material(_matt(part.material)) for part in group]) for group in groups]
        self._views = CameraViews(width, height, self.size)
        self._lighting = Lighting(np.array([[0, 0, -1.0]]), np.ones((1, 3)), np.ones(1), 1 - shade, shade)

    def render(self, camera: CameraIntrinsics, camera_object: Rigid) -> Rendering:
        """
        Return the picture of the mesh in a pose.

        In `surfaces.instance` number n stands for part n - 1 (for the whole mesh if it has more parts than MAX_BODIES),
        0 for nothing.
        """
        for body in self._bodies:
            body.place(camera_object)
        return self._views.render(self._bodies, self._lighting, camera)
