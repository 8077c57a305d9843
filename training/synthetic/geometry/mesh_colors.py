"""The colours of a mesh as its file has them: of all of it, its vertices, faces or texture; what is lost is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from PIL import Image

from custom_pose_ros.core.errors import one_line
from custom_pose_ros.core.limits import MAX_TEXTURE_SIDE
from training.synthetic.geometry.formats.gltf_files import GltfSurface
from training.synthetic.geometry.formats.mesh_problems import warn
from training.synthetic.geometry.parts import Material, Part, Texture, is_closed, unique_rows

DEFAULT_COLOR = (0.6, 0.6, 0.6)
_STL_HEADER = 80  # bytes
_OWN_COLOR, _FIVE_BITS = 0x8000, 31  # in the two bytes that a triangle of a binary STL has for its colour
_SPREAD = 0.01  # colours that differ less than this are one


@dataclass(eq=False)
class MeshColors:
    """
    The colours of one mesh, red, green, blue in [0, 1] as the eye sees them (sRGB); None for what it does not have.

    Attributes:
        plain: (3,) of all of it.
        vertex: (V, 3).
        face: (F, 3).
        uv: (V, 2) as of Part.
        texture: which vertex colours multiply.
    """

    plain: np.ndarray | None = None
    vertex: np.ndarray | None = None
    face: np.ndarray | None = None
    uv: np.ndarray | None = None
    texture: Texture | None = None


def colored_part(
    name: str, piece: trimesh.Trimesh, colors: MeshColors, default: tuple[float, ...] = DEFAULT_COLOR
) -> Part:
    """Return the part of a mesh with its colours; its vertices are joined where place and colours are the same."""
    faces = np.asarray(piece.faces, np.int64)
    rows = {'vertices': np.asarray(piece.vertices, float), 'vertex_colors': colors.vertex, 'uv': colors.uv}
    if colors.face is not None:
        rows = {key: None if array is None else array[faces.ravel()] for key, array in rows.items()}
        rows['vertex_colors'] = np.repeat(colors.face, 3, 0)
        faces = np.arange(len(faces) * 3).reshape(-1, 3)
    first, kind = unique_rows(np.concatenate([array for array in rows.values() if array is not None], 1))
    kept = {key: None if array is None else array[first] for key, array in rows.items()}
    color = np.asarray(default if colors.plain is None else colors.plain, float)
    if kept['vertex_colors'] is not None:
        color = kept['vertex_colors'].mean(0)
        if np.ptp(kept['vertex_colors'], 0).max() < _SPREAD and colors.texture is None:
            kept['vertex_colors'] = None
    if colors.texture is not None:
        color = colors.texture.mean_color * (1 if kept['vertex_colors'] is None else color)
    material = Material(tuple(map(float, np.clip(color, 0.01, 1))), 0.5)
    faces, open_surface = kind[faces], not is_closed(kept['vertices'], kind[faces])
    return Part(name, faces=faces, material=material, two_sided=open_surface, texture=colors.texture, **kept)


def colors_of(path: Path, piece: trimesh.Trimesh, textures: dict[Any, Texture | None]) -> MeshColors:
    """
    Return the colours that trimesh has read of a mesh.

    Args:
        path: of its file, for what is told.
        piece: the mesh.
        textures: those made so far of the pictures of this file, by picture.
    """
    visual: Any = piece.visual
    if visual.kind == 'vertex':
        return MeshColors(vertex=_rgb(visual.vertex_colors))
    if visual.kind == 'face':
        return MeshColors(face=_face_colors(path, piece, _rgb(visual.face_colors)))
    if visual.kind != 'texture':
        return _stl_colors(path, piece) if 'stl' in piece.face_attributes else MeshColors()
    colors = MeshColors()
    if 'color' in piece.face_attributes:
        colors.face = _face_colors(path, piece, _rgb(piece.face_attributes['color']))
    elif 'color' in piece.vertex_attributes:
        colors.vertex = _rgb(piece.vertex_attributes['color'])
    painted = colors.vertex if colors.face is None else colors.face
    material = visual.material
    # The picture of a simple or of a physically based material.
    image = getattr(material, 'image', None) or getattr(material, 'baseColorTexture', None)
    is_stand_in = image is not None and image.format is None  # trimesh's own, where the file names no material
    if is_stand_in and painted is None:
        warn(path, 'has texture coordinates, but no texture: drawn in grey')
    if image is None or is_stand_in:
        plain = None if is_stand_in or painted is not None else material.main_color
        return colors if plain is None else MeshColors(plain=_rgb(plain[None])[0])
    if visual.uv is None:
        warn(path, 'has a texture, but no texture coordinates: drawn without it')
        return colors
    texture = _texture(path, image, textures, hides_through=True)
    if texture is None:
        return colors
    if painted is not None and np.ptp(painted, 0).max() > _SPREAD:
        warn(path, 'has vertex or face colours beside its texture: drawn with the texture alone')
    return MeshColors(uv=np.asarray(visual.uv, float), texture=texture)


def gltf_colors(
    path: Path, piece: trimesh.Trimesh, surface: GltfSurface | None, textures: dict[Any, Texture | None]
) -> MeshColors:
    """Return the colours of a primitive of a glTF file, whose factors and vertex colours are linear; as `colors_of`."""
    visual: Any = piece.visual
    colors = MeshColors()
    raw = visual.vertex_attributes.get('color')
    if raw is not None:
        largest = np.iinfo(raw.dtype).max if raw.dtype.kind in 'iu' else 1.0
        colors.vertex = np.asarray(raw, float)[:, :3] / largest
    if surface is None:
        if colors.vertex is not None:
            colors.vertex = srgb_of_linear(colors.vertex)
        return colors
    factor = surface.factor
    if factor is None:  # of the older kind of material, which trimesh converts
        own = visual.material.baseColorFactor
        factor = np.ones(3) if own is None else np.asarray(own[:3], float) / 255
    image = visual.material.baseColorTexture
    if surface.has_texture and image is None:
        warn(path, 'has a texture that is missing or cannot be read: drawn without it', lost=True)
    if image is not None and visual.uv is None:
        warn(path, 'has a texture, but no texture coordinates: drawn without it')
    elif image is not None:
        colors.texture = _texture(path, image, textures, surface.hides_through, tuple(factor))
    if colors.texture is not None:
        down = np.asarray(visual.uv, float) * (1, -1) + (0, 1)  # as the file has them; trimesh has turned them over,
        if surface.largest > 1:  # whole numbers too
            down = np.mod(down, surface.largest + 1) / surface.largest
        u, v = surface.uv_matrix @ np.c_[down, np.ones(len(down))].T
        colors.uv = np.stack([u, 1 - v], 1)
        if not surface.wraps and (min(u.min(), v.min()) < 0 or max(u.max(), v.max()) > 1):
            warn(path, 'has a texture that is not to be repeated beyond its edges: drawn repeated')
    elif colors.vertex is not None:
        colors.vertex = colors.vertex * factor
    else:
        colors.plain = srgb_of_linear(factor)
    if colors.vertex is not None:
        colors.vertex = srgb_of_linear(colors.vertex)
    return colors


def srgb_of_linear(values: np.ndarray) -> np.ndarray:
    """Return the sRGB values of linear light, both in [0, 1]."""
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def linear_of_srgb(values: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB values, both in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def texture_of(path: Path, image: Image.Image | None) -> Texture | None:
    """Return the texture of a picture; None where there is none, or it cannot be read, which is told."""
    return None if image is None else _texture(path, image, {}, hides_through=True)


def _rgb(colors: np.ndarray) -> np.ndarray:
    colors = np.asarray(colors)
    largest = np.iinfo(colors.dtype).max if colors.dtype.kind in 'iu' else 1.0
    return np.clip(np.asarray(colors, float)[:, :3] / largest, 0, 1)


def _texture(
    path: Path,
    image: Image.Image,
    textures: dict[Any, Texture | None],
    hides_through: bool,
    factor: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> Texture | None:
    """Return the texture of a picture whose linear light is multiplied by a factor; None if it cannot be read."""
    key = (id(image), factor)
    if key not in textures:
        try:
            pixels = _pixels(image)
        except Exception as error:  # the reader of each format has its own
            reason = one_line(error)[:120]
            warn(path, f'a texture of it cannot be read ({reason}): drawn without it', lost=True)
            textures[key] = None
            return None
        if hides_through and 'A' in image.getbands() and image.getchannel('A').getextrema()[0] < 255:
            warn(path, 'has a texture with transparent places: drawn solid')
        if min(factor) < 1:
            levels = srgb_of_linear(linear_of_srgb(np.arange(256)[:, None] / 255) * factor)
            tables = np.round(levels * 255).astype(np.uint8)
            pixels = np.stack([tables[pixels[..., c], c] for c in range(3)], -1)
        textures[key] = Texture(pixels)
    return textures[key]


def _pixels(image: Image.Image) -> np.ndarray:
    """Return red, green, blue (h, w, 3) uint8 of a picture, made smaller where it is larger than can be drawn."""
    if image.mode.startswith('I'):  # of 16 bits, which Pillow would cut off above 255
        grey = (np.asarray(image, float) / 257).clip(0, 255).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, -1)
    else:
        pixels = np.asarray(image.convert('RGB'))
    scale = MAX_TEXTURE_SIDE / max(pixels.shape)
    return pixels if scale >= 1 else cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _face_colors(path: Path, piece: trimesh.Trimesh, colors: np.ndarray) -> np.ndarray | None:
    """Return the colours of triangles (F, 3), where a PLY file has those of its polygons."""
    if len(colors) == len(piece.faces):
        return colors
    sides = np.array([len(corners) for corners in _polygons(piece)])
    numbers = np.arange(len(sides))
    # In the order in which trimesh splits them: triangles, the two halves of all quadrangles, then fans.
    more = sides > 4
    owners = np.concatenate([
        numbers[sides == 3], np.tile(numbers[sides == 4], 2), np.repeat(numbers[more], np.maximum(sides[more] - 2, 0))
    ])  # fmt: skip
    if len(owners) != len(piece.faces) or len(colors) != len(sides):
        warn(path, 'its face colours do not belong to its faces: drawn in grey', lost=True)
        return None
    return colors[owners]


def _polygons(piece: trimesh.Trimesh) -> Any:
    """Return the corners of the polygons that a PLY file has."""
    data = piece.metadata.get('_ply_raw', {}).get('face', {}).get('data', {})
    names = data.dtype.names or () if isinstance(data, np.ndarray) else data
    name = next((name for name in ('vertex_indices', 'vertex_index') if name in names), None)
    if name is None:
        return []
    return data[name]['f1'] if isinstance(data, np.ndarray) else data[name]


def _stl_colors(path: Path, piece: trimesh.Trimesh) -> MeshColors:
    """
    Return the colours of a binary STL, of which there are two conventions.

    VisCAM and SolidView: the highest bit marks a triangle that has a colour, with blue in the lowest bits. Materialise
    Magics, whose header has COLOR= and the colour of the whole: it marks one without a colour; red in the lowest bits.
    """
    marks = np.asarray(piece.face_attributes['stl'], np.uint16).reshape(-1)
    with path.open('rb') as file:
        _, is_magics, rest = file.read(_STL_HEADER).partition(b'COLOR=')
    is_own = (marks & _OWN_COLOR) != 0
    low, middle, high = ((marks >> shift & _FIVE_BITS) / _FIVE_BITS for shift in (0, 5, 10))
    if is_magics and not is_own.all():
        whole = np.frombuffer(rest[:3].ljust(3, b'\0'), np.uint8) / 255
        return MeshColors(face=np.where(is_own[:, None], whole, np.stack([low, middle, high], 1)))
    if not is_own.any():
        return MeshColors()
    if is_magics and not (np.array_equal(low, high)):
        warn(path, 'marks its colours in two ways at once: red and blue may be exchanged')
    colors = np.stack([high, middle, low], 1)
    return MeshColors(face=np.where(is_own[:, None], colors, DEFAULT_COLOR))
