"""Checks 3MF files, and reads the colours and textures of their triangles, which trimesh leaves out."""

from __future__ import annotations

import contextlib
import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.limits import MAX_MESH_BYTES
from custom_pose_ros.core.xml_files import first_elements, parse_xml
from training.synthetic.geometry.formats.mesh_problems import EXPORT_AGAIN, warn

_GROUPS = {'basematerials': ('base', 'displaycolor'), 'colorgroup': ('color', 'color')}
_METRES = {'micron': 1e-6, 'millimeter': 1e-3, 'centimeter': 1e-2, 'inch': 0.0254, 'foot': 0.3048, 'meter': 1.0}


def check_3mf(path: Path, content: bytes) -> bytes:
    """Check a 3MF file; return it with each object called by its id, as `ThreeMFColors` looks for them."""
    with _reading(path), zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(part.file_size for part in archive.infolist()) > MAX_MESH_BYTES:
            raise DatasetError(f'{path}: has more than {MAX_MESH_BYTES} bytes, unpacked')
        name = _model_name(path, archive)
        model = parse_xml(archive.read(name))
        parts = {part: archive.read(part) for part in archive.namelist() if part != name}
    for element in model.iterfind('.//{*}object'):
        element.set('name', element.get('id', ''))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, 'w') as archive:
        for part, data in {name: ElementTree.tostring(model), **parts}.items():
            archive.writestr(part, data)
    return packed.getvalue()


def unit_of_3mf(path: Path) -> str:
    """Return the metres per unit of a 3MF file as text, or the name of its unit when that is unknown."""
    with _reading(path), zipfile.ZipFile(path) as archive, archive.open(_model_name(path, archive)) as model:
        name = next((root.get('unit', 'millimeter') for _, root in first_elements(model)), '')
    return str(_METRES.get(name, name))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make what the libraries say of a damaged file an error that names it."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DatasetError(f'{path}: is no 3MF file, or cut off: {error}') from error
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f'{path}: its model is cut off or damaged: {error}') from error


def _model_name(path: Path, archive: zipfile.ZipFile) -> str:
    name = next((n for n in archive.namelist() if n.lower().endswith('3d/3dmodel.model')), None)
    if name is None:
        raise DatasetError(f'{path}: is no 3MF file: it has no 3D/3dmodel.model')
    return name


class ThreeMFColors:
    """
    The colours of the objects in a 3MF file.

    Args:
        path: of the file, for what is told.
        content: of it, as `check_3mf` returns it.
    """

    def __init__(self, path: Path, content: bytes):
        self._path = path
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._model = parse_xml(self._archive.read(_model_name(path, self._archive)))
        self._colors: dict[str, np.ndarray] = {}
        self._places: dict[str, tuple[str, np.ndarray]] = {}  # of texture coordinates: their texture, (N, 2)
        for element in self._model.iter():
            tag = element.tag.rpartition('}')[2]
            if tag in _GROUPS:
                item, key = _GROUPS[tag]
                colors = [_color(each.get(key, '')) for each in element.iterfind(f'{{*}}{item}')]
                self._colors[element.get('id', '')] = np.array(colors).reshape(-1, 3)
            elif tag == 'texture2dgroup':
                rows = [(each.get('u', 'nan'), each.get('v', 'nan')) for each in element.iterfind('{*}tex2coord')]
                self._places[element.get('id', '')] = element.get('texid', ''), np.array(rows, float).reshape(-1, 2)

    def texture(self, number: str) -> Image.Image | None:
        """Return the picture of a texture, or None when it cannot be read, which is told."""
        element = next((e for e in self._model.iterfind('.//{*}texture2d') if e.get('id') == number), None)
        name = '' if element is None else posixpath.normpath(element.get('path', '')).lstrip('/')
        try:
            image = Image.open(io.BytesIO(self._archive.read(name)))
            image.load()
        except Exception as error:  # the reader of each format has its own
            warn(self._path, f'its texture {name or number} cannot be read ({error}): drawn without it', lost=True)
            return None
        return image

    def of_object(self, name: str, default: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, str | None]]:
        """
        Yield the faces of an object that are drawn alike.

        Args:
            name: of the object: its id.
            default: (3,) colour of corners that have none.

        Yields:
            Their indices (N,); for each of their corners its colour (N, 3, 3), or its place (N, 3, 2) in a texture; the
            texture's number, None where they are colours.

        Raises:
            DatasetError: a corner has a colour that the file does not have.
        """
        element = next((e for e in self._model.iterfind('.//{*}object') if e.get('id') == name), None)
        if element is None:
            return
        group, index = element.get('pid'), element.get('pindex', '0')
        groups, corners = [], []
        for triangle in element.iterfind('.//{*}triangle'):
            first = triangle.get('p1', index)
            groups.append(triangle.get('pid', group))
            corners.append([int(first), int(triangle.get('p2', first)), int(triangle.get('p3', first))])
        numbers = np.array(corners).reshape(-1, 3)
        self._check_numbers(name, groups, numbers)
        colored = np.array([each not in self._places for each in groups])
        if unread := sorted({each for each in groups if each} - set(self._places) - set(self._colors)):
            warn(self._path, f'has materials (resource {unread[0]}) of a kind that is not read: drawn in grey')
        for texture in sorted({self._places[each][0] for each in groups if each in self._places}):
            mine = np.flatnonzero([each in self._places and self._places[each][0] == texture for each in groups])
            yield mine, np.stack([self._places[groups[i]][1][numbers[i]] for i in mine]), texture
        if colored.any():
            rows = [self._colors[g][n] if g in self._colors else np.tile(default, (3, 1))
                    for g, n, mine in zip(groups, numbers, colored) if mine]  # fmt: skip
            yield np.flatnonzero(colored), np.array(rows), None

    def _check_numbers(self, name: str, groups: list[str | None], numbers: np.ndarray) -> None:
        """Raise DatasetError when a corner has a colour, or a place in a texture, that its group (F,) does not have."""
        counts = {group: len(rows) for group, rows in self._colors.items()}
        counts |= {group: len(places) for group, (_, places) in self._places.items()}
        for group, row in zip(groups, numbers.tolist()):
            wrong = [number for number in row if group in counts and not 0 <= number < counts[group]]
            if wrong:
                raise DatasetError(
                    f'{self._path}: object {name}: a triangle has colour {wrong[0]} of resource {group}, '
                    f'wanted 0 to {counts[group] - 1}: {EXPORT_AGAIN}'
                )


def _color(text: str) -> tuple[float, ...]:
    """Return red, green, blue in [0, 1] of #RRGGBB or #RRGGBBAA."""
    digits = text.lstrip('#')
    return tuple(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
