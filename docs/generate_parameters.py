"""
Write docs/parameters.md from the declarations of both nodes; a test compares them.

    python docs/generate_parameters.py

Needs ROS 2, as `make test` sets it up.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.nodes.orientation.orientation_parameters import FilterNodeParameters, OrientationNodeParameters  # noqa: E402
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters, ThresholdParameters  # noqa: E402
from custom_pose_ros.nodes.ros.parameters import Declaration, declarations  # noqa: E402

PAGE = ROOT / 'docs/parameters.md'
NODES = {
    'pose_node': ((PoseNodeParameters, ''), (ThresholdParameters, 'thresholds.')),
    'orientation_node': ((OrientationNodeParameters, ''), (FilterNodeParameters, 'filter.')),
}
TYPES = {bool: 'bool', int: 'int', float: 'double', str: 'string', tuple: 'string[]'}
HEAD = """\
<!-- Written by docs/generate_parameters.py. -->
# Parameters

`config/pose_node.yaml` and `config/orientation_node.yaml` hold the same defaults, as templates for files of your own.
Live parameters may be changed while the node runs (`ros2 param set`); the others are read-only and need a restart. An
unknown or misspelt name is reported with the nearest known one, and a value out of range is refused. On a running node
`ros2 param describe` tells the same.
"""
NOTES = {
    'pose_node': 'The defaults of `thresholds.*` are those of the object file.',
    'orientation_node': 'A live change of `filter.*`, which says what the object can do, starts all tracks anew.',
}


def page() -> str:
    """Return the text of the page."""
    return '\n'.join([HEAD, *(section(node) for node in NODES)])


def section(node: str) -> str:
    """Return heading, note and table of one node."""
    rows = [
        row(name, declaration)
        for schema, prefix in NODES[node]
        for name, declaration in declarations(schema, prefix).items()
    ]
    head = ['| parameter | meaning | type, range | default | change |', '|---|---|---|---|---|']
    return '\n'.join([f'## {node}', '', NOTES[node], '', *head, *rows, ''])


def row(name: str, declaration: Declaration) -> str:
    """Return one line of a table."""
    default = declaration.default
    if declaration.choices:
        limits = f': {", ".join(declaration.choices)}'
    elif type(default) in (int, float):
        limits = ', ' + ' to '.join(str(end) if isinstance(end, int) else f'{end:g}' for end in declaration.bounds)
    else:
        limits = ''
    live = 'live' if declaration.live else 'read-only'
    cells = [f'`{name}`', declaration.description, TYPES[type(default)] + limits, shown(default), live]
    return f'| {" | ".join(cells)} |'.replace('<', r'\<')


def shown(default: bool | int | float | str | tuple) -> str:
    """Return a default as it is written in a parameter file."""
    if isinstance(default, bool):
        return f'`{str(default).lower()}`'
    return '(empty)' if default == '' else f'`{list(default) if isinstance(default, tuple) else default}`'


if __name__ == '__main__':
    PAGE.write_text(page(), encoding='utf-8')
