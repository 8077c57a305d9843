"""Body: the parts of one object on the graphics side, which can be placed, painted, lit and numbered."""

from __future__ import annotations

import numpy as np
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  gives abstract classes, here and in renderer.py, their implementation
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR, vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkFiltersCore import vtkPolyDataNormals
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkTexture

from custom_pose_ros.core.geometry.rigid import Rigid
from training.synthetic.geometry.parts import Material, Part, merge_by_material, unique_rows
from training.synthetic.rendering.shading import MAX_WINDOWS, TEXTURE_NAME, Lighting, shader

FEATURE_ANGLE_DEG = 35.0  # sharper edges are not smoothed over


class Body:
    """
    Something that can be placed in the scene: the parts of one object on the graphics side.

    One body may be placed only once per picture; make several for several instances (their meshes are shared).
    """

    def __init__(self, parts: list[Part], shared: Body | None = None):
        self.parts = merge_by_material(parts)
        self._meshes = shared._meshes if shared is not None else [_poly_data(part) for part in self.parts]
        self._textures = shared._textures if shared is not None else [_vtk_texture(part) for part in self.parts]
        self._matrix = vtkMatrix4x4()
        self.lit_actors = [self._lit_actor(*drawn) for drawn in zip(self._meshes, self._textures, self.parts)]
        seen = [part.belongs and part.material.solid for part in self.parts]
        self.id_actors = [
            self._id_actor(mesh, part) for mesh, part, solid in zip(self._meshes, self.parts, seen) if solid
        ]

    def copy(self) -> Body:
        """Return another body of the same parts, to be placed elsewhere."""
        return Body(self.parts, shared=self)

    def place(self, camera_object: Rigid) -> None:
        """Put the body at its pose in the camera frame."""
        rotation, translation = camera_object
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = rotation, translation
        self._matrix.DeepCopy(matrix.ravel())
        self._matrix.Modified()
        for actor in self.lit_actors:
            uniforms = actor.GetShaderProperty().GetFragmentCustomUniforms()
            for name, row in zip(('objectX', 'objectY', 'objectZ'), np.asarray(rotation, float).T):
                uniforms.SetUniform3f(name, row.tolist())
            uniforms.SetUniform3f('objectOrigin', np.asarray(translation, float).tolist())

    def paint(self, materials: list[Material]) -> None:
        """Give each part (in the order of `parts`) a material; whether it is solid and mirrors stays as built."""
        for actor, part, material in zip(self.lit_actors, self.parts, materials):
            _apply_material(actor, material)
            if part.is_printed:
                tint = np.array(material.color) / part.material.color
                actor.GetShaderProperty().GetFragmentCustomUniforms().SetUniform3f('tint', tint.tolist())

    def number(self, number: int) -> None:
        """Set the value in `Rendering.instance` that stands for this body."""
        for actor in self.id_actors:
            actor.GetProperty().SetColor(number / 255, number / 255, number / 255)

    def light(self, lighting: Lighting, texture_scale: float) -> None:
        """Set the light that falls on it, and the scale of grain and wrinkles."""
        for actor in self.lit_actors:
            look = actor.GetProperty()
            look.SetAmbient(lighting.ambient)
            look.SetDiffuse(lighting.diffuse)
            uniforms = actor.GetShaderProperty().GetFragmentCustomUniforms()
            uniforms.SetUniformf('textureScale', texture_scale)
            uniforms.SetUniform3f('environment', np.asarray(lighting.environment, float).tolist())
            uniforms.SetUniformf('rim', lighting.rim)
            for i in range(MAX_WINDOWS):
                window = lighting.windows[i] if i < len(lighting.windows) else np.zeros((4, 3))
                for letter, vector in zip('ABCD', window):
                    uniforms.SetUniform3f(f'window{i}{letter}', vector.tolist())

    def _lit_actor(self, mesh: vtkPolyData, texture: vtkTexture | None, part: Part) -> vtkActor:
        actor = _actor(mesh, self._matrix)
        actor.GetProperty().SetBackfaceCulling(not part.two_sided or part.material.opacity < 1)
        shading = actor.GetShaderProperty()
        for place, code in shader(part.texture is not None, part.material.reflectivity > 0):
            shading.AddFragmentShaderReplacement(place, True, code, False)
        if part.texture is not None:
            actor.GetProperty().SetTexture(TEXTURE_NAME, texture)
        shading.GetFragmentCustomUniforms().SetUniform3f('tint', (1.0, 1.0, 1.0))
        actor.GetMapper().SetScalarVisibility(part.is_printed)
        _apply_material(actor, part.material)
        return actor

    def _id_actor(self, mesh: vtkPolyData, part: Part) -> vtkActor:
        actor = _actor(mesh, self._matrix)
        look = actor.GetProperty()
        look.SetBackfaceCulling(not part.two_sided)
        look.LightingOff()
        look.SetInterpolationToFlat()
        return actor


def _poly_data(part: Part) -> vtkPolyData:
    """Return the mesh with normals, split at sharp edges; where only the print changes, the surface stays smooth."""
    where, first, vertex = part.vertices, np.arange(len(part.vertices)), np.arange(len(part.vertices))
    if part.is_printed:
        first, vertex = unique_rows(where)
    normals = vtkPolyDataNormals()
    normals.SetInputData(_plain_poly_data(where[first], vertex[part.faces]))
    normals.SetFeatureAngle(FEATURE_ANGLE_DEG)
    normals.SplittingOn()
    normals.ConsistencyOff()
    normals.Update()
    smooth = normals.GetOutput()
    return _printed(smooth, part) if part.is_printed else smooth


def _plain_poly_data(vertices: np.ndarray, faces: np.ndarray) -> vtkPolyData:
    mesh = vtkPolyData()
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(vertices, np.float32), deep=1))
    mesh.SetPoints(points)
    offsets = np.arange(0, 3 * len(faces) + 1, 3, dtype=np.int64)
    cells = vtkCellArray()
    indices = np.ascontiguousarray(faces, np.int64).ravel()
    cells.SetData(numpy_to_vtkIdTypeArray(offsets, deep=1), numpy_to_vtkIdTypeArray(indices, deep=1))
    mesh.SetPolys(cells)
    return mesh


def _printed(smooth: vtkPolyData, part: Part) -> vtkPolyData:
    """Return a mesh with the colours and places in the texture of a part, whose faces and corners are in that order."""
    corners = vtk_to_numpy(smooth.GetPolys().GetConnectivityArray()).astype(np.int64)
    pairs, points = unique_rows(np.stack([corners, part.faces.ravel()], 1).astype(float))
    point, vertex = corners[pairs], part.faces.ravel()[pairs]
    mesh = _plain_poly_data(vtk_to_numpy(smooth.GetPoints().GetData())[point], points.reshape(-1, 3))
    normals = vtk_to_numpy(smooth.GetPointData().GetNormals())[point]
    mesh.GetPointData().SetNormals(numpy_to_vtk(np.ascontiguousarray(normals, np.float32), deep=1))
    colors = np.full((len(vertex), 3), 255, np.uint8)  # a texture alone lies over white
    if part.vertex_colors is not None:
        colors = np.ascontiguousarray(np.clip(part.vertex_colors[vertex], 0, 1) * 255 + 0.5, np.uint8)
    mesh.GetPointData().SetScalars(numpy_to_vtk(colors, deep=1, array_type=VTK_UNSIGNED_CHAR))
    if part.uv is not None:
        mesh.GetPointData().SetTCoords(numpy_to_vtk(np.ascontiguousarray(part.uv[vertex], np.float32), deep=1))
    return mesh


def _vtk_texture(part: Part) -> vtkTexture | None:
    """Return the texture of a part on the graphics side: averaged in linear light where it appears small."""
    if part.texture is None or part.uv is None:
        return None
    height, width = part.texture.pixels.shape[:2]
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    rows = np.ascontiguousarray(part.texture.pixels[::-1]).reshape(-1, 3)
    image.GetPointData().SetScalars(numpy_to_vtk(rows, deep=1, array_type=VTK_UNSIGNED_CHAR))
    texture = vtkTexture()
    texture.SetInputData(image)
    texture.SetColorModeToDirectScalars()
    texture.InterpolateOn()
    texture.MipmapOn()
    texture.SetMaximumAnisotropicFiltering(1)  # Mesa's software renderer shifts strips of the picture with more
    texture.UseSRGBColorSpaceOn()
    beyond = part.uv.min() < 0 or part.uv.max() > 1
    texture.SetWrap(vtkTexture.Repeat if beyond else vtkTexture.ClampToEdge)
    return texture


def _actor(mesh: vtkPolyData, matrix: vtkMatrix4x4) -> vtkActor:
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    mapper.ScalarVisibilityOff()
    mapper.StaticOn()  # the mesh never changes: do not walk the pipeline for every picture
    actor = vtkActor()
    actor.SetMapper(mapper)
    actor.SetUserMatrix(matrix)
    return actor


def _apply_material(actor: vtkActor, material: Material) -> None:
    look = actor.GetProperty()
    look.SetColor(*material.color)
    look.SetSpecularColor(1, 1, 1)
    look.SetOpacity(material.opacity)
    look.SetInterpolationToPhong()
    look.SetSpecular(0.55 * (1 - material.roughness) ** 2 + 0.25 * material.reflectivity)
    look.SetSpecularPower(6 + 110 * (1 - material.roughness) ** 3)
    surface = (material.reflectivity, material.grain, material.wrinkle)
    actor.GetShaderProperty().GetFragmentCustomUniforms().SetUniform3f('surface', surface)
