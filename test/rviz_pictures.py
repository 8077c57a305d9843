"""
Pictures of markers as RViz draws them, by VTK: what of RViz's rules decides whether somebody can read them.

Seen in rviz2 14.3 (ROS 2 Kilted): a triangle without colours of its own is lit from one side and black from the other;
a blank in a text is 1 m wide; lines of a text stand 1.75 heights of an upper-case letter apart, flush left, and the
middle of the block is at the pose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  gives the abstract classes below their OpenGL implementation
from visualization_msgs.msg import Marker
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkFiltersSources import vtkSphereSource
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer, vtkRenderWindow
from vtkmodules.vtkRenderingFreeType import vtkVectorText

from custom_pose_ros.core.geometry.rotations import matrix_from_quaternion

BACKGROUND = (30, 34, 40)  # of config/custom_pose.rviz; RGB
VIEW_ANGLE_DEG = 45.0  # of RViz, from top to bottom
BLANK_M = 1.0
LINE_HEIGHT = 1.75


def draw(markers: Sequence[Marker], width: int = 600, height: int = 600) -> np.ndarray:
    """Return the (H, W, 3) uint8 RGB picture for an eye at the origin that looks along z, with y down."""
    window, scene = vtkRenderWindow(), vtkRenderer()
    window.SetOffScreenRendering(1)
    window.SetSize(width, height)
    window.SetMultiSamples(0)
    window.AddRenderer(scene)
    scene.SetBackground(*(value / 255 for value in BACKGROUND))
    for marker in markers:
        if marker.action == Marker.ADD:
            for actor in _actors(marker):
                scene.AddActor(actor)
    camera = scene.GetActiveCamera()
    camera.SetPosition(0, 0, 0)
    camera.SetFocalPoint(0, 0, 1)
    camera.SetViewUp(0, -1, 0)
    camera.SetViewAngle(VIEW_ANGLE_DEG)
    scene.ResetCameraClippingRange()
    window.Render()
    pixels = vtkUnsignedCharArray()
    window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, pixels)
    return vtk_to_numpy(pixels).reshape(height, width, 4)[::-1, :, :3].copy()


def _actors(marker: Marker) -> list[vtkActor]:
    if marker.type == Marker.TRIANGLE_LIST:
        return _triangles(marker)
    if marker.type == Marker.LINE_LIST:
        return [_lines(marker)]
    if marker.type == Marker.TEXT_VIEW_FACING:
        return [_text(marker)]
    assert marker.type in (Marker.SPHERE, Marker.SPHERE_LIST), marker.type
    points = _array(marker.points) if marker.type == Marker.SPHERE_LIST else np.zeros((1, 3))
    return [_sphere(marker, point) for point in points]


def _triangles(marker: Marker) -> list[vtkActor]:
    mesh = _mesh(_array(marker.points), 3)
    if marker.colors:
        assert len(marker.colors) == len(marker.points)
        _paint(mesh, marker)
        actors = [_actor(mesh, marker)]
    else:
        actors = [_actor(mesh, marker), _actor(mesh, marker)]
        for actor, front in zip(actors, (True, False)):
            look = actor.GetProperty()
            look.SetBackfaceCulling(front)
            look.SetFrontfaceCulling(not front)
            look.SetColor(*((marker.color.r, marker.color.g, marker.color.b) if front else (0.0, 0.0, 0.0)))
            look.SetOpacity(marker.color.a)
    for actor in actors:
        actor.GetProperty().LightingOff()
    return actors


def _lines(marker: Marker) -> vtkActor:
    mesh = _mesh(_array(marker.points), 2)
    if marker.colors:
        _paint(mesh, marker)
    actor = _actor(mesh, marker)
    look = actor.GetProperty()
    look.LightingOff()
    look.SetLineWidth(4)
    look.SetColor(marker.color.r, marker.color.g, marker.color.b)
    return actor


def _sphere(marker: Marker, center: np.ndarray) -> vtkActor:
    source = vtkSphereSource()
    source.SetRadius(0.5)
    source.SetThetaResolution(24)
    source.SetPhiResolution(24)
    source.Update()
    actor = _actor(source.GetOutput(), marker, center, np.array([marker.scale.x, marker.scale.y, marker.scale.z]))
    actor.GetProperty().SetColor(marker.color.r, marker.color.g, marker.color.b)
    actor.GetProperty().SetOpacity(marker.color.a)
    return actor


def _text(marker: Marker) -> vtkActor:
    """Return the text in letters as high as the marker says, facing the eye: x right, y down."""
    unit = marker.scale.z / _word('A')[:, 1].max()
    vertices, width = [], 0.0
    lines = marker.text.split('\n')
    for row, line in enumerate(lines):
        x = 0.0
        for word in line.split(' '):
            if word:
                letters = unit * _word(word)
                vertices.append(letters + [x, -LINE_HEIGHT * marker.scale.z * row, 0.0])
                x += letters[:, 0].max()
            width = max(width, x)
            x += BLANK_M
    corners = np.concatenate(vertices)
    tall = (LINE_HEIGHT * (len(lines) - 1) + 1.0) * marker.scale.z
    corners += [-0.5 * width, 0.5 * tall - marker.scale.z, 0.0]
    position = marker.pose.position
    actor = _actor(_mesh(corners * [1.0, -1.0, 1.0] + [position.x, position.y, position.z], 3), None)
    actor.GetProperty().LightingOff()
    actor.GetProperty().SetColor(marker.color.r, marker.color.g, marker.color.b)
    return actor


def _word(text: str) -> np.ndarray:
    """Return the corners (3 N, 3) of triangles that make up letters, from (0, 0) to the right and up."""
    source = vtkVectorText()
    source.SetText(text)
    source.Update()
    mesh = source.GetOutput()
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(float)
    return points[vtk_to_numpy(mesh.GetPolys().GetConnectivityArray())]


def _array(points: Sequence) -> np.ndarray:
    return np.array([[p.x, p.y, p.z] for p in points])


def _mesh(points: np.ndarray, corners: int) -> vtkPolyData:
    """Return lines (2 corners) or triangles (3) of consecutive points (N, 3)."""
    mesh, cells, places = vtkPolyData(), vtkCellArray(), vtkPoints()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points), deep=True))
    for first in range(0, len(points), corners):
        cells.InsertNextCell(corners, list(range(first, first + corners)))
    mesh.SetPoints(places)
    (mesh.SetLines if corners == 2 else mesh.SetPolys)(cells)
    return mesh


def _paint(mesh: vtkPolyData, marker: Marker) -> None:
    colors = np.array([[255 * value for value in (c.r, c.g, c.b, c.a)] for c in marker.colors]).round()
    mesh.GetPointData().SetScalars(numpy_to_vtk(colors.astype(np.uint8), deep=True))


def _actor(
    mesh: vtkPolyData, marker: Marker | None, center: np.ndarray | None = None, scale: np.ndarray | None = None
) -> vtkActor:
    mapper, actor, matrix = vtkPolyDataMapper(), vtkActor(), np.eye(4)
    mapper.SetInputData(mesh)
    actor.SetMapper(mapper)
    if marker is not None:
        pose = marker.pose
        q = pose.orientation
        R = matrix_from_quaternion(np.array([q.x, q.y, q.z, q.w]))
        origin = np.array([pose.position.x, pose.position.y, pose.position.z])
        matrix[:3, :3] = R * (np.ones(3) if scale is None else scale)
        matrix[:3, 3] = origin if center is None else origin + R @ center
    placed = vtkMatrix4x4()
    placed.DeepCopy(matrix.ravel())
    actor.SetUserMatrix(placed)
    return actor
