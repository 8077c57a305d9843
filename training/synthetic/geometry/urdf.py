"""The visual shapes of a URDF, all joints at zero, as parts in the frame of the root link; yourdfpy reads it."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

from yourdfpy import URDF

from custom_pose_ros.core.errors import DatasetError
from training.synthetic.geometry.mesh_files import read_mesh, scene_parts
from training.synthetic.geometry.parts import Part

_PARSE_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what yourdfpy raises for a wrong file


def load_urdf(path: Path) -> list[Part]:
    """
    Return the visual parts of a robot description.

    A mesh keeps its own colours where it has some, as in RViz; the URDF colours the others. Meshes are looked for
    beside the file: `package://name/rest` as `name/rest`, then as `rest`, in the folders above.

    Raises:
        DatasetError: naming the file, and the link, joint or mesh that is wrong.
    """
    try:
        document = ElementTree.parse(path).getroot()  # yourdfpy would draw what it understands of broken XML
        robot = URDF.load(str(path), load_meshes=False)
        for name in robot.link_map:
            robot.get_transform(name, robot.base_link)
    except ElementTree.ParseError as error:
        raise DatasetError(f'{path}: is not valid XML: {error}') from error
    except _PARSE_ERRORS as error:
        raise DatasetError(f'{path}: {_fault(document, error)}') from error
    meshes = {
        name: _find_mesh(name, path, link.get('name', ''))
        for link in document.findall('link')
        for name in (mesh.get('filename', '') for mesh in link.findall('visual/geometry/mesh'))
    }
    for mesh in meshes.values():
        read_mesh(mesh)  # refuses what yourdfpy would leave out
    parts = scene_parts(URDF.load(str(path), filename_handler=lambda fname: str(meshes[fname])).scene)
    if not parts:
        raise DatasetError(f'{path}: no <visual> shapes in it')
    return parts


def _fault(document: ElementTree.Element, error: Exception) -> str:
    """Say which link or joint cannot be read: yourdfpy's errors do not name it."""
    for element in document:
        alone = ElementTree.Element('robot', name='alone')
        alone.append(element)
        try:
            URDF.load(io.BytesIO(ElementTree.tostring(alone)), build_scene_graph=False)
        except _PARSE_ERRORS as fault:
            hint = '; expand it first: xacro FILE > robot.urdf' if '${' in str(fault) else ''
            return f'{element.tag} {element.get("name")}: cannot be read ({fault!r}){hint}'
    return f'its links and joints must form one tree ({error!r})'


def _find_mesh(name: str, path: Path, link: str) -> Path:
    folders = path.resolve().parents
    if name.startswith('package://'):
        package, _, rest = name.removeprefix('package://').partition('/')
        places = [folder / package / rest for folder in folders] + [folder / rest for folder in folders]
    else:
        places = [path.parent / name.removeprefix('file://')]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f'{path}: link {link}: mesh {name!r} not found beside the file or in the folders above')
