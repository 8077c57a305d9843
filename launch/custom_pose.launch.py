"""
Run pose_node and orientation_node beside a camera: <camera>/image_raw, camera_info -> poses, orientations.

    ros2 launch custom_pose_ros custom_pose.launch.py object:=submarine camera:=front rviz:=true

Several cameras share the two nodes: cameras:=front,down instead of camera:=front.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = 'custom_pose_ros'
CONFIG = Path(get_package_share_directory(PACKAGE), 'config')
BOOLEANS = ['true', 'false']
RESPAWN_DELAY_S = 2.0

# Arguments that are parameters of the same name; what is left empty stays as the parameter file has it.
BOTH = {
    'object': 'what to find: a folder with object.yaml, an object.yaml, or the name of an installed object',
    'image_transport': 'raw: Image on <image>; compressed: CompressedImage on <image>/compressed',
}
NODES = {
    'pose_node': {
        **BOTH,
        'model': 'trained network instead of model.onnx beside the object.yaml',
        'backend': 'what runs the network, such as onnxruntime',
        'precision': 'precision of the network, such as bf16',
    },
    'orientation_node': {
        **BOTH,
        'camera_calibration': 'camera_calibration YAML file instead of camera_info',
        'reference_frame': 'frame of the published poses: camera_optical, camera_body or a TF frame',
        'refine': "outline: correct poses by the object's outline in the image; off",
        'outline_file': 'outline of the object instead of outline.npz beside the object.yaml',
    },
}
# The other arguments: name, default, description, choices.
ARGUMENTS = (
    ('camera', 'camera', 'namespace of the camera and of all results', None),
    ('cameras', '', 'several cameras instead, by their namespaces, such as front,down', None),
    ('image', 'image_raw', 'image topic, in the namespace of the camera', None),
    ('pose', '', 'topic of the best pose, such as /detected_dock_pose; empty: <camera>/pose, fused/pose', None),
    ('one_process', 'false', 'run both nodes in one process, which share each image without a copy', BOOLEANS),
    ('autostart', '', 'false: wait for a lifecycle manager; empty: as in the parameter files', ['', *BOOLEANS]),
    ('respawn', 'false', 'start a node that has ended again', BOOLEANS),
    ('use_sim_time', 'false', 'take time from /clock', BOOLEANS),
    ('rviz', 'false', 'show the results in RViz', BOOLEANS),
    ('fixed_frame', '', 'fixed frame of RViz; empty: that of the camera', None),
    ('log_level', 'info', 'lowest severity the nodes log', ['debug', 'info', 'warn', 'error', 'fatal']),
)
BEFORE_KILTED = ('humble', 'iron', 'jazzy')
DDS_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')  # before and from Kilted
DDS_TRANSPORTS_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, which `ros2 launch ... --show-args` lists, and start what they ask for."""
    return LaunchDescription([*declare_arguments(), *give_room_for_images(), OpaqueFunction(function=start)])


def give_room_for_images() -> list[SetEnvironmentVariable]:
    """Return what makes Fast DDS carry images without loss; nothing where the user has set up its transports."""
    if any(variable in os.environ for variable in (*DDS_PROFILE_VARIABLES, DDS_TRANSPORTS_VARIABLE)):
        return []
    # One of them only: Kilted warns of the old name.
    variable = DDS_PROFILE_VARIABLES[os.environ.get('ROS_DISTRO') not in BEFORE_KILTED]
    return [SetEnvironmentVariable(variable, str(CONFIG / 'fastdds.xml'))]


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Return all arguments with their descriptions."""
    parameters = {name: text for arguments in NODES.values() for name, text in arguments.items()}
    rows = [
        *((name, '', f'{text}; empty: as in the parameter file', None) for name, text in parameters.items()),
        *ARGUMENTS,
        *((f'{node}_file', str(CONFIG / f'{node}.yaml'), f'parameter file of {node}', None) for node in NODES),
    ]
    return [DeclareLaunchArgument(n, default_value=v, description=text, choices=c) for n, v, text, c in rows]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes that the arguments ask for."""
    arguments = context.launch_configurations
    cameras = [name.strip() for name in arguments['cameras'].split(',') if name.strip()]
    namespace = '' if cameras else arguments['camera']
    common = {'use_sim_time': arguments['use_sim_time'] == 'true'}
    if cameras:
        common['cameras'] = cameras
    if arguments['autostart']:
        common['autostart'] = arguments['autostart'] == 'true'
    usual = {
        'package': PACKAGE,
        'namespace': namespace,
        'output': 'screen',
        'remappings': [*image_remappings(cameras, arguments['image']), *pose_remappings(cameras, arguments['pose'])],
        'ros_arguments': ['--log-level', arguments['log_level']],
        'respawn': arguments['respawn'] == 'true',
        'respawn_delay': RESPAWN_DELAY_S,
    }
    if arguments['one_process'] == 'true':
        processes = [Node(executable='both_nodes', arguments=arguments_of_both(arguments, common), **usual)]
    else:
        processes = [
            Node(
                executable=node,
                name=node,
                parameters=[arguments[f'{node}_file'], {**chosen_parameters(arguments, NODES[node]), **common}],
                **usual,
            )
            for node in NODES
        ]
    return processes + ([rviz(arguments, namespace, cameras)] if arguments['rviz'] == 'true' else [])


def arguments_of_both(arguments: dict[str, str], common: dict[str, Any]) -> list[str]:
    """Return the arguments of both_nodes: the parameters of each node, written as YAML."""
    words = []
    for node, names in NODES.items():
        values = {**{name: arguments[name] for name in names if arguments[name]}, **common}
        words += [f'--{node.replace("_", "-")}', '--params-file', arguments[f'{node}_file']]
        words += [word for name, value in values.items() for word in ('-p', f'{name}:={json.dumps(value)}')]
    return words


def image_remappings(cameras: list[str], image: str) -> list[tuple[str, str]]:
    """Return what leads the nodes to the image topics of the drivers."""
    prefixes = [f'{name}/' for name in cameras] or ['']
    return [(f'{prefix}image{end}', f'{prefix}{image}{end}') for prefix in prefixes for end in ('', '/compressed')]


def pose_remappings(cameras: list[str], pose: str) -> list[tuple[str, str]]:
    """Return what leads the best pose, of several cameras the fused one, to a topic of another name."""
    return [('fused/pose' if cameras else 'pose', pose)] if pose else []


def rviz(arguments: dict[str, str], namespace: str, cameras: list[str]) -> Node:
    """Return RViz; of several cameras it shows the first."""
    frame = ['--fixed-frame', arguments['fixed_frame']] if arguments['fixed_frame'] else []
    shown = [('pose_node/', 'overlay'), ('orientation_node/', 'markers'), ('', 'poses'), ('', 'camera_info')]
    return Node(
        package=PACKAGE,
        executable='show_in_rviz',
        namespace=namespace,  # the topics in the RViz file are relative
        output='screen',
        arguments=['--display-config', str(CONFIG / 'custom_pose.rviz'), *frame],
        parameters=[{'use_sim_time': arguments['use_sim_time'] == 'true'}],
        remappings=[(node + topic, f'{node}{name}/{topic}') for node, topic in shown for name in cameras[:1]],
    )


def chosen_parameters(arguments: dict[str, str], names: dict[str, str]) -> dict[str, ParameterValue]:
    """Return the parameters that were given a value; all of them are texts, also when they look like a number."""
    return {name: ParameterValue(arguments[name], value_type=str) for name in names if arguments[name]}
