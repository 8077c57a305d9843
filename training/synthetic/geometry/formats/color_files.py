"""Finds the files that a mesh takes its colours from, and says which of them are missing or cannot be read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from PIL import Image
from trimesh.resolvers import FilePathResolver

from custom_pose_ros.core.errors import DatasetError, one_line
from custom_pose_ros.core.files import read_own_bytes
from custom_pose_ros.core.limits import MAX_MESH_BYTES
from training.synthetic.geometry.formats.mesh_problems import are_numbers, warn, warn_of_looks

_LOST = 'drawn without these colours'
_NO_PICTURES = ('.mtl', '.bin')
_OPTION = r'-(?:blendu|blendv|cc|clamp|texres|bm|boost|imfchan|type|colorspace)[ \t]+\S+[ \t]+'
_PLACE = r'-(?:mm|o|s|t)(?:[ \t]+[-+.\d]\S*)+[ \t]+'
_TEXTURE = re.compile(rf'^([ \t]*map_Kd[ \t]+)((?:{_OPTION}|{_PLACE})+)', re.IGNORECASE | re.MULTILINE)


class ColorFiles(FilePathResolver):
    """
    The files beside a mesh, as trimesh asks for them.

    Attributes:
        materials: names that the material libraries of an OBJ define, as far as they were read.
    """

    def __init__(self, path: Path):
        super().__init__(str(path))
        self._mesh = path
        self.materials: set[str] = set()

    def get(self, name: str) -> bytes:
        """Return the content of a file; FileNotFoundError when it is missing, which has been told then."""
        if name.lower().rstrip().endswith('.mtl'):
            return self._libraries(name)
        content = self._content(name)
        if not name.lower().endswith(_NO_PICTURES):
            self._check_picture(name, content)
        return content

    def _libraries(self, names: str) -> bytes:
        """Return one or several material libraries as one text, with the options of textures taken out."""
        whole = next(self._places(names), None)
        contents = []
        for name in [names] if whole else names.split():
            try:
                contents.append(self._content(name).decode('latin-1'))
            except FileNotFoundError:
                continue
        if not contents:
            raise FileNotFoundError(names)
        text = '\n'.join(contents)
        self.materials |= {name.strip() for name in re.findall(r'^\s*newmtl[ \t]+(.*)$', text, re.I | re.M)}
        self._warn_of_looks(text)
        for _, options in _TEXTURE.findall(text):
            if re.search(_PLACE, options, re.IGNORECASE):
                warn(self._mesh, f'its texture has options ({options.strip()}) that are not read: drawn without them')
        return _TEXTURE.sub(r'\1', text).encode()

    def _warn_of_looks(self, text: str) -> None:
        """Tell what of the materials of an OBJ is not read: `d` is the opacity, `Tr` 1 - d, `Ke` the emission."""
        opacities: dict[str, float] = {}
        shining: dict[str, None] = {}
        name = ''
        for key, _, rest in (line.strip().partition(' ') for line in text.splitlines()):
            words = rest.split()
            if key.lower() == 'newmtl':
                name = rest.strip()
            elif key == 'd' and are_numbers(words[-1:], 1):
                opacities[name] = float(words[-1])
            elif key == 'Tr' and are_numbers(words, 1) and float(words[0]) < 1:  # 1 is written for solid as well
                opacities.setdefault(name, 1 - float(words[0]))
            elif key == 'Ke' and are_numbers(words, len(words)) and any(float(word) > 0 for word in words):
                shining[name] = None
        warn_of_looks(self._mesh, opacities, shining)

    def _content(self, name: str) -> bytes:
        place = next(self._places(name), None)
        if place is None:
            warn(self._mesh, f'its file {name.strip()} is missing: {_LOST}', lost=True)
            raise FileNotFoundError(name)
        try:
            return read_own_bytes(place, MAX_MESH_BYTES)
        except DatasetError as error:
            warn(self._mesh, f'its file {error}: {_LOST}', lost=True)
            raise FileNotFoundError(name) from error

    def _places(self, name: str) -> Iterator[Path]:
        """Yield where a file can lie: where its name says, or beside the mesh; case counts only where it must."""
        plain = name.strip(' \t\r\n"').replace('\\', '/').removeprefix('file://')
        for text in dict.fromkeys([plain, unquote(plain)]):
            for place in (self._mesh.parent / text, self._mesh.parent / Path(text).name):
                if place.is_file():
                    yield place
                elif place.parent.is_dir():
                    alike = [p for p in place.parent.iterdir() if p.name.lower() == place.name.lower() and p.is_file()]
                    yield from alike if len(alike) == 1 else ()

    def _check_picture(self, name: str, content: bytes) -> None:
        try:
            Image.open(io.BytesIO(content)).load()
        except Exception as error:  # the reader of each format has its own
            reason = one_line(error)[:120]
            warn(self._mesh, f'its picture {name.strip()} cannot be read ({reason}): {_LOST}', lost=True)
            raise FileNotFoundError(name) from error
