"""Where the mesh lies that a robot description names: by package://, model://, file:// or a path beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import read_bytes
from custom_pose_ros.core.limits import MAX_XML_BYTES
from custom_pose_ros.core.xml_files import parse_xml

_PREFIXES = ('AMENT_PREFIX_PATH', 'COLCON_PREFIX_PATH', 'CMAKE_PREFIX_PATH')  # packages lie in share/ of each entry
_FOLDERS = ('ROS_PACKAGE_PATH', 'GZ_SIM_RESOURCE_PATH', 'IGN_GAZEBO_RESOURCE_PATH', 'GAZEBO_MODEL_PATH')
_NO_PACKAGES = ('COLCON_IGNORE', 'AMENT_IGNORE', 'CATKIN_IGNORE')
_MOST_FOLDERS = 10_000  # looked into in one workspace


def find_mesh(address: str, description: Path) -> Path:
    """
    Return the file that a mesh's address in a robot description means.

    A package or model is the one of that name and no other: the description's own, one beside it or in the same
    workspace, or one of the environment's (AMENT_PREFIX_PATH, ROS_PACKAGE_PATH, GZ_SIM_RESOURCE_PATH, ...).

    Raises:
        DatasetError: There is no such package or file, or the address is of another kind.
    """
    scheme, separator, rest = address.replace('\\', '/').partition('://')
    if not separator:
        return _existing(address, [description.parent / place for place in _spellings(scheme)])
    if scheme == 'file':
        return _existing(address, [description.parent / place for place in _spellings(rest.removeprefix('localhost'))])
    if scheme not in ('package', 'model'):
        raise DatasetError(f'mesh {address!r}: {scheme}:// is not read: save the file, and give package:// or file://')
    name, _, inside = rest.partition('/')
    folders = list(dict.fromkeys(_named(name, description.resolve()))) if name else []
    if not folders:
        raise DatasetError(
            f'mesh {address!r}: no {scheme} is called {name!r} beside {description} or in its workspace: source the '
            f'workspace that has it, add the folder that holds {name}/ to ROS_PACKAGE_PATH, or name its folder {name}'
        )
    return _existing(address, [folder / place for folder in folders for place in _spellings(inside)])


def _spellings(text: str) -> list[str]:
    """Return a path as it stands, and with %20 and its like written out."""
    return list(dict.fromkeys([text, unquote(text)]))


def _existing(address: str, places: list[Path]) -> Path:
    for place in places:
        if place.is_file():
            return place
    parent, wanted = places[0].parent, places[0].name.lower()
    near = [p.name for p in parent.iterdir() if p.name.lower() == wanted] if parent.is_dir() else []
    hint = f'; {near[0]} is there' if near else ''
    raise DatasetError(f'mesh {address!r}: there is no file {os.path.normpath(places[0])}{hint}')


def _named(name: str, description: Path) -> Iterator[Path]:
    """Yield the folders of the packages with a name, the nearest first."""
    for folder in description.parents:
        if _package_name(folder) == name:
            yield folder
        if (folder / name).is_dir() and _package_name(folder / name) == name:
            yield folder / name
    for root in _workspaces(description):
        yield from (folder for folder in _packages(root) if _package_name(folder) == name)
    for variable in _PREFIXES + _FOLDERS:
        for entry in filter(None, os.environ.get(variable, '').split(os.pathsep)):
            root = Path(entry, 'share') if variable in _PREFIXES else Path(entry)
            if (root / name).is_dir() and _package_name(root / name) == name:
                yield root / name
            elif variable == 'ROS_PACKAGE_PATH':
                yield from (folder for folder in _packages(root) if _package_name(folder) == name)


def _workspaces(description: Path) -> Iterator[Path]:
    """Yield the folders in which the packages of the description's own workspace or repository lie."""
    for folder in description.parents:
        if folder.name == 'src' or (folder / '.git').exists():
            yield folder
        elif (folder / 'package.xml').is_file():
            yield from (beside for beside in sorted(folder.parent.iterdir()) if (beside / 'package.xml').is_file())


def _package_name(folder: Path) -> str:
    """Return the name in a folder's package.xml; without one, that of the folder."""
    try:
        return (parse_xml(read_bytes(folder / 'package.xml', MAX_XML_BYTES)).findtext('name') or '').strip()
    except (OSError, ValueError):
        return folder.name


def _packages(root: Path) -> Iterator[Path]:
    """Yield the folders with a package.xml in a folder, itself or below, as colcon finds them."""
    for count, (folder, names, files) in enumerate(os.walk(root)):
        if count > _MOST_FOLDERS:
            return
        if 'package.xml' in files:
            yield Path(folder)
        if 'package.xml' in files or any(mark in files for mark in _NO_PACKAGES):
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith('.'))
