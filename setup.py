"""Install the package: for pip as for colcon. Its metadata and requirements stand in setup.cfg."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

# Here, since colcon cannot read a setup.cfg with python_requires.
if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit('custom_pose_ros needs Python 3.10 or newer, this is ' + sys.version.split()[0])

NAME = 'custom_pose_ros'
CONFIG = (
    f'{NAME}.config'  # the objects, installed as data of the package so that ObjectModel.load('submarine') finds them
)
COMMANDS = {
    'pose_node': 'nodes.commands:pose_node',
    'orientation_node': 'nodes.commands:orientation_node',
    'both_nodes': 'nodes.commands:both_nodes',
    'show_in_rviz': 'nodes.commands:show_in_rviz',
    'predict': 'tools.predict:main',
    'evaluate_bag': 'tools.evaluate_bag:main',
    'demo': 'tools.demo:main',
    'analyze_object': 'tools.analyze_object:main',
}


def share(folder: str) -> list:
    """List the files of a folder for share/custom_pose_ros, where ROS tools look for them."""
    files = sorted(path for path in Path(folder).rglob('*') if path.is_file() and '__pycache__' not in path.parts)
    folders = sorted({path.parent for path in files})
    return [(f'share/{NAME}/{parent}', [str(path) for path in files if path.parent == parent]) for parent in folders]


setup(
    packages=[*find_packages(include=[NAME, f'{NAME}.*']), CONFIG],
    package_dir={CONFIG: 'config'},
    package_data={CONFIG: ['*.rviz', '*/*', '*/demo/*'], f'{NAME}.evaluation': ['*/*.html', '*/*.json']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'.make/resource/{NAME}']),
        (f'share/{NAME}', ['package.xml']),
        *share('config'),
        *share('launch'),
    ],
    entry_points={'console_scripts': [f'{name} = {NAME}.{function}' for name, function in COMMANDS.items()]},
)
