"""
Play a bag through pose_node and orientation_node, on the bag's own time. Ends with the bag; with status 1 if it fails.

    ros2 launch custom_pose_ros replay.launch.py bag:=dive_3 camera:=front rviz:=true

Takes every argument of custom_pose.launch.py besides its own.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, include the nodes, start the player."""
    nodes = PythonLaunchDescriptionSource(str(Path(__file__).with_name('custom_pose.launch.py')))
    return LaunchDescription([
        DeclareLaunchArgument('bag', description='bag to play'),
        DeclareLaunchArgument('rate', default_value='1.0', description='speed of playing, 1.0 is real time'),
        DeclareLaunchArgument(
            'loop', default_value='false', choices=['true', 'false'], description='play again and again'
        ),
        DeclareLaunchArgument(
            'delay', default_value='5.0', description='time to wait [s] for the nodes to load before playing'
        ),
        IncludeLaunchDescription(nodes, launch_arguments={'use_sim_time': 'true'}.items()),
        OpaqueFunction(function=play),
    ])


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the player, which ends the rest."""
    arguments = context.launch_configurations
    options = ['--clock', '--rate', arguments['rate'], '--delay', arguments['delay']]
    options += ['--loop'] if arguments['loop'] == 'true' else []
    command = ['ros2', 'bag', 'play', arguments['bag'], *options]
    return [ExecuteProcess(cmd=command, output='screen', on_exit=end)]


def end(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return what ends the rest; RuntimeError, with which ros2 launch ends with status 1, where the player failed."""
    if event.returncode and not context.is_shutdown:  # not by Ctrl-C
        raise RuntimeError(f'the bag was not played to its end: ros2 bag play ended with status {event.returncode}')
    return [Shutdown(reason='the bag has ended')]
