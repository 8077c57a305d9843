"""Reads the visual parts of a robot description (URDF) through yourdfpy, and names what is wrong in it."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import trimesh
import yourdfpy
from yourdfpy import URDF

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_own_bytes
from custom_pose_ros.core.limits import MAX_XML_BYTES
from custom_pose_ros.core.xml_files import parse_xml
from training.synthetic.geometry.formats.mesh_checks import stated_unit
from training.synthetic.geometry.mesh_addresses import find_mesh
from training.synthetic.geometry.mesh_colors import DEFAULT_COLOR, MeshColors, colored_part
from training.synthetic.geometry.mesh_files import read_mesh
from training.synthetic.geometry.parts import Part

_PARSE_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # what yourdfpy raises for a wrong file
_EXPAND = 'expand it first: xacro robot.urdf.xacro > robot.urdf'
_READ = ('link', 'joint', 'material')  # elements of a robot that say how it looks
# Element -> its attributes with how many numbers each has.
_NUMBERS = {
    'origin': {'xyz': 3, 'rpy': 3},
    'axis': {'xyz': 3},
    'color': {'rgba': 4},
    'box': {'size': 3},
    'cylinder': {'radius': 1, 'length': 1},
    'sphere': {'radius': 1},
    'mesh': {'scale': 3},
}
_SIZES = ('size', 'radius', 'length')


def load_urdf(path: Path) -> list[Part]:
    """
    Return the visual parts of a robot description [m].

    A mesh keeps its own colours where it has some, as in RViz; the URDF colours the others. Units that a mesh file
    states count, besides the scale in the URDF.

    Raises:
        DatasetError: naming the file, and the link, joint or mesh that is wrong.
    """
    document = _parsed(path)
    try:
        robot = URDF.load(io.BytesIO(ElementTree.tostring(document)), load_meshes=False)
        places = {name: robot.get_transform(name, robot.base_link) for name in robot.link_map}
    except _PARSE_ERRORS as error:
        raise DatasetError(f'{path}: {_fault(document, error)}') from error
    materials = {material.name: material for material in robot.robot.materials}
    parts: list[Part] = []
    shapes = _Shapes(path)
    for link in robot.robot.links:
        for visual in link.visuals:
            place = places[link.name] @ (np.eye(4) if visual.origin is None else visual.origin)
            material = visual.material
            if material is not None and material.color is None:
                material = materials.get(material.name)
            known = material is not None and material.color is not None
            color = tuple(material.color.rgba[:3]) if known else DEFAULT_COLOR
            try:
                parts += [part.transformed(place) for part in shapes.parts(visual.geometry, color)]
            except DatasetError as error:
                raise DatasetError(f'{path}: link {link.name}: {error}') from error
    if not parts:
        raise DatasetError(f'{path}: no <visual> shapes in it')
    return parts


def scaled_meshes(path: Path) -> dict[Path, float]:
    """Return the metres per unit of the meshes of a robot description that state another unit than the metre."""
    addresses = {mesh.get('filename', '') for mesh in _parsed(path).iterfind('link/visual/geometry/mesh')}
    units = {mesh: stated_unit(mesh) for mesh in (find_mesh(address, path) for address in sorted(addresses))}
    return {mesh: unit for mesh, unit in units.items() if unit not in (None, 1.0)}


class _Shapes:
    """The shapes of a robot description; a mesh that several visuals share is found and read once."""

    def __init__(self, path: Path):
        self._find = cache(lambda address: find_mesh(address, path))
        self._read = cache(read_mesh)

    def parts(self, geometry: yourdfpy.Geometry, color: tuple[float, ...]) -> list[Part]:
        """Return the parts of one shape [m], in the frame of its <visual>."""
        if geometry.mesh is not None:
            file = self._find(geometry.mesh.filename or '')
            scale = np.ones(3) * (1 if geometry.mesh.scale is None else geometry.mesh.scale) * (stated_unit(file) or 1)
            return [part.transformed(np.diag([*scale, 1])) for part in self._read(file, color)]
        if geometry.box is not None:
            name, mesh = 'box', trimesh.creation.box(geometry.box.size)
        elif geometry.sphere is not None:
            name, mesh = 'sphere', trimesh.creation.icosphere(radius=geometry.sphere.radius)
        else:
            name, mesh = 'cylinder', trimesh.creation.cylinder(geometry.cylinder.radius, geometry.cylinder.length)
        return [colored_part(name, mesh, MeshColors(), color)]


def _parsed(path: Path) -> ElementTree.Element:
    """Return the XML of a description whose numbers are numbers; comments, which yourdfpy stumbles over, are gone."""
    content = read_own_bytes(path, MAX_XML_BYTES)
    try:
        document = parse_xml(content)
    except ValueError as error:
        reason = f'is not expanded; {_EXPAND}' if 'unbound prefix' in str(error) else f'is not valid XML: {error}'
        raise DatasetError(f'{path}: {reason}') from error
    if document.tag != 'robot':
        raise DatasetError(f'{path}: is no URDF: it begins with <{document.tag}>, wanted <robot>')
    document.attrib.setdefault('name', path.stem)  # means nothing here, and some descriptions lack it
    for element in (element for element in document if element.tag in _READ):
        for part in element.iter():
            _check_element(path, f'{element.tag} {element.get("name")}', part)
    for element in (element for element in document if 'xacro' in element.tag):
        raise DatasetError(f'{path}: <{_short(element.tag)} {element.get("name", "")}> is not expanded; {_EXPAND}')
    if problem := _tree_problem(document):
        raise DatasetError(f'{path}: its links and joints must form one tree: {problem}')
    return document


def _tree_problem(document: ElementTree.Element) -> str:
    """Say why links and joints are no tree: yourdfpy takes the last of two namesakes, and puts loose links anywhere."""
    links = [link.get('name', '') for link in document.iterfind('link')]
    children = []
    for joint in document.iterfind('joint'):
        ends = {tag: part.get('link', '') for tag in ('parent', 'child') for part in joint.iterfind(tag)}
        for tag in ('parent', 'child'):
            if ends.get(tag) not in links:
                return f'joint {joint.get("name")}: its {tag} {ends.get(tag, "")!r} is no link'
        children.append(ends['child'])
    for names, what in ((links, 'links are called'), (children, 'joints have the child')):
        if twice := [name for name in names if names.count(name) > 1]:
            return f'two {what} {twice[0]!r}'
    roots = [name for name in links if name not in children]
    if len(roots) > 1:
        return f'nothing joins {" and ".join(roots[:3])}'
    return 'its joints form a loop' if links and not roots else ''


def _short(tag: str) -> str:
    return 'xacro:' + tag.rpartition('}')[2] if '}' in tag else tag


def _check_element(path: Path, where: str, part: ElementTree.Element) -> None:
    """Raise DatasetError when an element is not expanded, or has something else where numbers belong."""
    unexpanded = [value for value in part.attrib.values() if '${' in value or '$(' in value]
    if unexpanded or 'xacro' in part.tag:
        text = repr(unexpanded[0]) if unexpanded else f'<{_short(part.tag)}>'
        raise DatasetError(f'{path}: {where}: {text} is not expanded; {_EXPAND}')
    if (part.tag == 'visual' and part.find('geometry') is None) or (part.tag == 'geometry' and not len(part)):
        raise DatasetError(f'{path}: {where}: a <{part.tag}> has no shape, wanted a box, cylinder, sphere or mesh')
    for attribute, count in _NUMBERS.get(part.tag, {}).items():
        text = part.get(attribute, '' if attribute in _SIZES else None)
        wanted = (1, count) if attribute == 'scale' else (count,)
        if text is not None and not _are_numbers(text, wanted, -np.inf if attribute not in _SIZES else 0):
            limit = ' from 0 up' if attribute in _SIZES else ''
            numbers = 'number' if count == 1 else 'numbers'
            spaces = ' with spaces between them' if count > 1 else ''
            raise DatasetError(
                f'{path}: {where}: {part.tag} {attribute}: wanted {count} {numbers}{limit}{spaces}, got {text!r}'
            )
        if attribute == 'scale' and text and 0 in map(float, text.split()):
            raise DatasetError(f'{path}: {where}: mesh scale {text!r} makes the mesh flat: wanted numbers other than 0')


def _are_numbers(text: str, counts: tuple[int, ...], least: float) -> bool:
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return False
    return len(numbers) in counts and all(least <= number < np.inf for number in numbers)


def _fault(document: ElementTree.Element, error: Exception) -> str:
    """Say which link or joint cannot be read: yourdfpy's errors do not name it."""
    for element in document:
        alone = ElementTree.Element('robot', name='alone')
        alone.append(element)
        try:
            URDF.load(io.BytesIO(ElementTree.tostring(alone)), build_scene_graph=False)
        except _PARSE_ERRORS as fault:
            return f'{element.tag} {element.get("name")}: cannot be read ({fault!r})'
    return f'its links and joints must form one tree ({error!r})'
