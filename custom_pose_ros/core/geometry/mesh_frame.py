"""The frame of a mesh: which of its axes point forward, left and up, and the options that say so."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from custom_pose_ros.core.command_line import positive_number
from custom_pose_ros.core.errors import ConfigError


def add_mesh_options(parser: argparse._ActionsContainer, mesh_help: str = '', required: bool = False) -> None:
    """Add --mesh, and what says where the object's frame is in it."""
    kinds = 'stl, obj, glb, ply, dae, 3mf or urdf'
    parser.add_argument('--mesh', type=Path, required=required, help=f'{kinds}{mesh_help}')
    parser.add_argument(
        '--mesh-scale', type=positive_number, metavar='M',
        help='metres per unit of the mesh (default: the unit that the file states, 1 where it states none)',
    )  # fmt: skip
    parser.add_argument(
        '--mesh-axes', type=_mesh_axes, default='x,y,z', metavar='F,L,U',
        help='mesh axes that point forward, left, up, e.g. --mesh-axes=-y,x,z',
    )  # fmt: skip
    parser.add_argument(
        '--mesh-origin', type=float, nargs=3, default=[0, 0, 0], metavar=('X', 'Y', 'Z'),
        help="the object's origin in the mesh, in its units and axes",
    )  # fmt: skip


def _mesh_axes(text: str) -> str:
    try:
        axes_rotation(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def axes_rotation(axes: str) -> np.ndarray:
    """
    Return R_object_file (3, 3) for the axes of a file that point forward, left and up, such as '-y,x,z'.

    Raises:
        ConfigError: They are no axes, or no right-handed frame.
    """
    names = [name.strip().lower() for name in axes.split(',')]
    rows = {
        sign + letter: value * np.eye(3)[i]
        for i, letter in enumerate('xyz')
        for sign, value in (('', 1), ('+', 1), ('-', -1))
    }
    if len(names) != 3 or any(name not in rows for name in names):
        raise ConfigError(f'wanted three of x, y, z, -x, -y, -z such as "-y,x,z", got {axes!r}')
    rotation = np.array([rows[name] for name in names])
    if round(float(np.linalg.det(rotation))) != 1:
        raise ConfigError(f'wanted a right-handed frame (no axis twice, not mirrored), got {axes!r}')
    return rotation
