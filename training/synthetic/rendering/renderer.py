"""
Renderer: draws bodies off-screen with VTK, without display or GPU, in the OpenCV camera frame.

Two passes share one window: a lit pass at SUPERSAMPLING times the size (colour and coverage), and an unlit pass at
the image's own size that writes which instance is in front, and how far away it is (labels, haze).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkFloatArray, vtkUnsignedCharArray
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkRenderingCore import vtkLight, vtkRenderer, vtkRenderWindow

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from training.synthetic.rendering.body import Body
from training.synthetic.rendering.lens import Lens
from training.synthetic.rendering.shading import Lighting

NEAR, FAR = 0.08, 200.0  # range of depth that is drawn, in sizes of the object
SUPERSAMPLING = 2  # the lit pass is drawn this many times larger and averaged (antialiasing)
TEXTURE_SIZE_M = 0.6  # grain and wrinkles look right on an object of this size; on others they grow with it
LENS_MARGIN = 1.2  # size of the pinhole image from which a picture with distortion is made


@dataclass(frozen=True, eq=False)
class Surfaces:
    """
    What is in front at each pixel of a pinhole image.

    Attributes:
        instance: (H, W) uint8; 0 = nothing, n = the n-th body given to `render`, counted from 1.
        depth: (H, W) float32 [m], along the optical axis, of the nearest solid surface; inf where there is none.
        K: (3, 3) matrix of that image [px].
    """

    instance: np.ndarray
    depth: np.ndarray
    K: np.ndarray

    def seen_through(self, lens: Lens) -> Surfaces:
        """Return the same as it appears in the picture of the lens's camera; K is then only its middle part's."""
        read = partial(
            cv2.remap, map1=lens.pixel_map, map2=None, interpolation=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT
        )
        return Surfaces(read(self.instance, borderValue=0), read(self.depth, borderValue=float('inf')), lens.camera.K)


@dataclass(frozen=True, eq=False)
class Rendering:
    """
    A picture of the bodies without any background.

    Attributes:
        color: (H, W, 3) float32 in [0, 1], blue, green, red, already multiplied by coverage.
        coverage: (H, W) float32 in [0, 1].
        surfaces: what is in front, in the picture.
        pinhole: the same in the pinhole image that was drawn.
    """

    color: np.ndarray
    coverage: np.ndarray
    surfaces: Surfaces
    pinhole: Surfaces


class Renderer:
    """
    Off-screen pictures of bodies, seen by a pinhole camera.

    Args:
        width: of the returned arrays [px].
        height: of the returned arrays [px].
        object_size: of the object that is drawn [m]; sets the range of depth and the scale of textures.
    """

    def __init__(self, width: int, height: int, object_size: float = TEXTURE_SIZE_M):
        self.width, self.height = width, height
        self._near, self._far = NEAR * object_size, FAR * object_size
        self._texture_scale = TEXTURE_SIZE_M / object_size
        self._window = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetSize(width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._window.SetMultiSamples(0)  # multisampling with translucency drops parts silently
        self._window.SetAlphaBitPlanes(1)
        self._lit = self._new_pass()
        self._ids = self._new_pass()
        self._ids.SetViewport(0, 0, 1 / SUPERSAMPLING, 1 / SUPERSAMPLING)
        self._shown: list[Body] = []
        self._lit_pixels, self._id_pixels, self._z = vtkUnsignedCharArray(), vtkUnsignedCharArray(), vtkFloatArray()
        self.set_camera(np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]]))

    def set_camera(self, K: np.ndarray) -> None:
        """Set the pinhole matrix (3, 3) [px], pixel (0, 0) being the centre of the top-left pixel."""
        width, height, near, far = self.width, self.height, self._near, self._far
        self._K = np.asarray(K, float)
        projection = np.zeros((4, 4))
        projection[0, :3] = 2 * K[0, 0] / width, -2 * K[0, 1] / width, 1 - 2 * (K[0, 2] + 0.5) / width
        projection[1, 1:3] = 2 * K[1, 1] / height, 2 * (K[1, 2] + 0.5) / height - 1
        projection[2, 2:] = -(far + near) / (far - near), -2 * far * near / (far - near)
        projection[3, 2] = -1
        matrix = vtkMatrix4x4()
        matrix.DeepCopy(projection.ravel())
        for scene in (self._lit, self._ids):
            scene.GetActiveCamera().SetExplicitProjectionTransformMatrix(matrix)
            scene.GetActiveCamera().UseExplicitProjectionTransformMatrixOn()

    def render(self, bodies: list[Body], lighting: Lighting, lens: Lens | None = None) -> Rendering:
        """
        Draw the bodies, each where it was placed.

        Args:
            bodies: at most 255.
            lighting: lamps and mirrored windows.
            lens: turns the pinhole image into the picture of a camera with distortion; `set_camera` must have its K.

        Raises:
            ValueError: for more than 255 bodies.
        """
        if len(bodies) > 255:
            raise ValueError(f'bodies must be at most 255, got {len(bodies)}')
        self._light(lighting)
        self._show(bodies)
        for number, body in enumerate(bodies, 1):
            body.number(number)
            body.light(lighting, self._texture_scale)
        pixels = self._draw_lit()
        pinhole = Surfaces(*self._draw_ids(), self._K)
        if lens is None:
            pixels = cv2.resize(pixels, (self.width, self.height), interpolation=cv2.INTER_AREA)
            return Rendering(*_color_and_coverage(pixels), pinhole, pinhole)
        # the mean of SUPERSAMPLING x SUPERSAMPLING pixels that begin at each one
        means = cv2.blur(pixels, (SUPERSAMPLING, SUPERSAMPLING), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        pixels = cv2.remap(
            means, lens.pixel_map * np.float32(SUPERSAMPLING), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        return Rendering(*_color_and_coverage(pixels), pinhole.seen_through(lens), pinhole)

    def clear(self) -> None:
        """Take all bodies out and free what they hold in this window; needed before they are drawn in another one."""
        self._show([])

    def _show(self, bodies: list[Body]) -> None:
        """Put exactly these bodies into the window; those of the last picture keep what they hold there."""
        changes = [(vtkRenderer.RemoveActor, body) for body in self._shown if body not in bodies]
        changes += [(vtkRenderer.AddActor, body) for body in bodies if body not in self._shown]
        for change, body in changes:
            for scene, actors in ((self._lit, body.lit_actors), (self._ids, body.id_actors)):
                for actor in actors:
                    change(scene, actor)
        self._shown = list(bodies)

    def _new_pass(self) -> vtkRenderer:
        scene = vtkRenderer()
        scene.SetBackground(0, 0, 0)
        scene.SetBackgroundAlpha(0.0)
        scene.SetAutomaticLightCreation(0)
        # plain blending: quicker, and our shader leaves no place for order-independent translucency (VTK >= 9.2)
        if hasattr(scene, 'SetUseOIT'):
            scene.SetUseOIT(False)
        camera = scene.GetActiveCamera()
        camera.SetPosition(0, 0, 0)
        camera.SetFocalPoint(0, 0, 1)
        camera.SetViewUp(0, -1, 0)
        camera.SetClippingRange(self._near, self._far)
        self._window.AddRenderer(scene)
        return scene

    def _light(self, lighting: Lighting) -> None:
        self._lit.RemoveAllLights()
        for direction, color, intensity in zip(lighting.directions, lighting.colors, lighting.intensities):
            light = vtkLight()
            light.SetLightTypeToSceneLight()
            light.SetPositional(False)
            light.SetPosition(*direction)
            light.SetFocalPoint(0, 0, 0)
            light.SetColor(*color)
            light.SetIntensity(intensity)
            self._lit.AddLight(light)

    def _draw_lit(self) -> np.ndarray:
        """Return red, green, blue, coverage (H, W, 4) uint8 of the lit pass, SUPERSAMPLING times the image's size."""
        self._lit.DrawOn()
        self._ids.DrawOff()
        self._window.Render()
        return self._read_pixels(self._lit_pixels, self.width * SUPERSAMPLING, self.height * SUPERSAMPLING)

    def _draw_ids(self) -> tuple[np.ndarray, np.ndarray]:
        """Return instance numbers and depth (H, W)."""
        self._lit.DrawOff()
        self._ids.DrawOn()
        self._window.Render()
        instance = self._read_pixels(self._id_pixels, self.width, self.height)[..., 0].copy()
        self._window.GetZbufferData(0, 0, self.width - 1, self.height - 1, self._z)
        z = vtk_to_numpy(self._z).reshape(self.height, self.width)[::-1]
        near, far = np.float32(self._near), np.float32(self._far)
        depth = 2 * far * near / ((far + near) - (2 * z - 1) * (far - near))
        return instance, np.where(instance > 0, depth, np.float32(np.inf))

    def _read_pixels(self, buffer: vtkUnsignedCharArray, width: int, height: int) -> np.ndarray:
        """Return the lower left pixels of the window, (height, width, 4) uint8, top row first: a view of the buffer."""
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, buffer)
        return vtk_to_numpy(buffer).reshape(height, width, 4)[::-1]


class CameraViews:
    """Renderers for pictures of one size: pinholes are drawn at that size, lenses from a larger pinhole image."""

    def __init__(self, width: int, height: int, object_size: float = TEXTURE_SIZE_M):
        self._size, self._object_size = (width, height), object_size
        self._renderers: dict[bool, Renderer] = {}
        self._lens: Lens | None = None

    def render(self, bodies: list[Body], lighting: Lighting, camera: CameraIntrinsics) -> Rendering:
        """Return the picture of the bodies that the camera takes."""
        lens = self.lens(camera)
        renderer = self._renderer(lens is not None)
        for other in self._renderers.values():
            if other is not renderer:
                other.clear()
        renderer.set_camera(camera.K if lens is None else lens.K)
        return renderer.render(bodies, lighting, lens)

    def lens(self, camera: CameraIntrinsics) -> Lens | None:
        """Return the lens of a camera, None when it is a pinhole."""
        if not camera.has_distortion:
            return None
        if self._lens is None or self._lens.camera is not camera:
            self._lens = Lens(camera, *(int(LENS_MARGIN * side) for side in self._size))
        return self._lens

    def _renderer(self, for_lens: bool) -> Renderer:
        if for_lens not in self._renderers:
            scale = LENS_MARGIN if for_lens else 1
            self._renderers[for_lens] = Renderer(*(int(scale * side) for side in self._size), self._object_size)
        return self._renderers[for_lens]


def _color_and_coverage(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (H, W, 3) blue, green, red and (H, W), float32 in [0, 1], of (H, W, 4) uint8 red, green, blue, alpha."""
    color = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR).astype(np.float32)
    coverage = cv2.extractChannel(pixels, 3).astype(np.float32)
    return color * np.float32(1 / 255), coverage * np.float32(1 / 255)
