"""The visual shapes of a URDF, all joints at zero, as parts in the frame of the root link."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.rotations import matrix_from_roll_pitch_yaw
from training.synthetic.geometry.meshes import DEFAULT_COLOR, read_mesh
from training.synthetic.geometry.parts import Material, Part
from training.synthetic.geometry.shapes import blob, box, cylinder


def load_urdf(path: Path) -> list[Part]:
    """
    Return the visual parts of a robot description.

    Meshes are looked for beside the file: `package://name/rest` as `rest` in the folders above, others relative to it.
    Raises DatasetError naming the file and the link that is wrong.
    """
    try:
        robot = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DatasetError(f'{path}: is not valid XML: {error}') from error
    colors = {m.get('name'): c for m in robot.findall('material') if (c := _color(m)) is not None}
    poses = _link_poses(robot, path)
    parts = []
    for link in robot.findall('link'):
        for visual in link.findall('visual'):
            R, t = _origin(visual.find('origin'))
            R_link, t_link = poses[link.get('name', '')]
            for part in _visual_parts(visual, colors, path, link.get('name', '')):
                parts.append(part.moved(R, t).moved(R_link, t_link))
    if not parts:
        raise DatasetError(f'{path}: no <visual> shapes in it')
    return parts


def _link_poses(robot: ElementTree.Element, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return rotation and translation of every link in the frame of its root."""
    joints = {}
    for joint in robot.findall('joint'):
        ends = [joint.find(tag) for tag in ('parent', 'child')]
        if any(end is None for end in ends):
            raise DatasetError(f'{path}: joint {joint.get("name")}: wanted a parent and a child')
        parent, child = (end.get('link', '') for end in ends)
        joints[child] = (parent, *_origin(joint.find('origin')))
    poses = {}
    for link in robot.findall('link'):
        name = link.get('name', '')
        R, t, here, steps = np.eye(3), np.zeros(3), name, 0
        while here in joints:
            here, R_joint, t_joint = joints[here]
            R, t = R_joint @ R, R_joint @ t + t_joint
            steps += 1
            if steps > len(joints):
                raise DatasetError(f'{path}: link {name}: its joints form a circle')
        poses[name] = (R, t)
    return poses


def _visual_parts(visual: ElementTree.Element, colors: dict, path: Path, link: str) -> list[Part]:
    geometry = visual.find('geometry')
    shape = geometry[0] if geometry is not None and len(geometry) else None
    if shape is None:
        raise DatasetError(f'{path}: link {link}: a <visual> without geometry')
    material = visual.find('material')
    color = None if material is None else (_color(material) or colors.get(material.get('name')))
    if shape.tag == 'mesh':
        parts = read_mesh(_mesh_file(shape.get('filename', ''), path, link))
        scale = _numbers(shape.get('scale', '1 1 1'))
        parts = [
            Part(p.name, p.vertices * scale, p.faces, p.material, two_sided=True, vertex_colors=p.vertex_colors)
            for p in parts
        ]
        return (
            parts
            if color is None
            else [Part(p.name, p.vertices, p.faces, Material(color), two_sided=True) for p in parts]
        )
    looks = Material(color or DEFAULT_COLOR)
    if shape.tag == 'box':
        mesh = box(_numbers(shape.get('size', '')))
    elif shape.tag == 'cylinder':
        mesh = cylinder(float(shape.get('radius', 'nan')), float(shape.get('length', 'nan')))
    elif shape.tag == 'sphere':
        mesh = blob(np.full(3, float(shape.get('radius', 'nan'))), 0.0, np.random.default_rng(0))
    else:
        raise DatasetError(
            f'{path}: link {link}: <{shape.tag}> is not a shape of URDF: wanted mesh, box, cylinder or sphere'
        )
    return [Part(link, *mesh, looks)]


def _mesh_file(name: str, path: Path, link: str) -> Path:
    plain = name.removeprefix('file://')
    places = [path.parent / plain]
    if name.startswith('package://'):
        rest = name.removeprefix('package://').split('/', 1)[-1]
        places = [folder / rest for folder in path.resolve().parents]
    for place in places:
        if place.is_file():
            return place
    raise DatasetError(f'{path}: link {link}: mesh {name!r} not found beside the file or in the folders above')


def _color(material: ElementTree.Element) -> tuple[float, float, float] | None:
    color = material.find('color')
    return None if color is None else tuple(map(float, _numbers(color.get('rgba', '0.6 0.6 0.6 1'))[:3]))


def _origin(element: ElementTree.Element | None) -> tuple[np.ndarray, np.ndarray]:
    if element is None:
        return np.eye(3), np.zeros(3)
    return matrix_from_roll_pitch_yaw(_numbers(element.get('rpy', '0 0 0'))), _numbers(element.get('xyz', '0 0 0'))


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])
