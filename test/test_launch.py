"""The launch files and the RViz file: their content always, what they start where ROS's `launch` is installed."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / 'launch'
CUSTOM_POSE, REPLAY = LAUNCH / 'custom_pose.launch.py', LAUNCH / 'replay.launch.py'
# What these files use, all of it in the launch and launch_ros of Humble.
HUMBLE_API = {
    'launch': {'LaunchContext', 'LaunchDescription', 'LaunchDescriptionEntity'},
    'launch.actions': {
        'DeclareLaunchArgument', 'ExecuteProcess', 'IncludeLaunchDescription', 'OpaqueFunction',
        'SetEnvironmentVariable', 'Shutdown',
    },
    'launch.events.process': {'ProcessExited'},
    'launch.launch_description_sources': {'PythonLaunchDescriptionSource'},
    'launch_ros.actions': {'Node'},
    'launch_ros.parameter_descriptions': {'ParameterValue'},
    'ament_index_python.packages': {'get_package_share_directory'},
}  # fmt: skip


def has_launch() -> bool:
    """Tell ROS's launch from the unrelated project of that name on PyPI."""
    return all(importlib.util.find_spec(name) for name in ('launch', 'launch_ros', 'ament_index_python'))


needs_launch = pytest.mark.skipif(
    not has_launch(), reason='launch and launch_ros are missing: they come with a ROS 2 distribution, not from PyPI'
)


@pytest.mark.parametrize('path', [CUSTOM_POSE, REPLAY], ids=lambda path: path.name)
def test_only_what_humble_knows_is_imported(path):
    imported = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module.split('.')[0] in ('launch', 'launch_ros', 'ament_index_python')
    }
    assert imported <= {(module, name) for module, names in HUMBLE_API.items() for name in names}


@pytest.mark.parametrize('path', [CUSTOM_POSE, REPLAY], ids=lambda path: path.name)
def test_every_argument_is_described(path):
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == 'DeclareLaunchArgument'
    ]
    assert calls
    assert [ast.unparse(call) for call in calls if 'description' not in {k.arg for k in call.keywords}] == []


def test_arguments_are_parameters_of_their_node():
    """A parameter that was renamed must not live on as an argument of the launch file."""
    pytest.importorskip('custom_pose_ros.nodes.ros.parameters', reason='rclpy is missing: run `make test`')
    from custom_pose_ros.nodes.orientation.orientation_parameters import OrientationNodeParameters
    from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters
    from custom_pose_ros.nodes.ros.parameters import declarations

    tree = ast.parse(CUSTOM_POSE.read_text(encoding='utf-8'))
    values = {
        node.targets[0].id: ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    nodes = eval(values['NODES'], {'BOTH': ast.literal_eval(values['BOTH'])})
    assert set(nodes['pose_node']) <= set(declarations(PoseNodeParameters))
    assert set(nodes['orientation_node']) <= set(declarations(OrientationNodeParameters))


@pytest.fixture(scope='module')
def view() -> dict:
    """The content of the RViz file."""
    return yaml.safe_load((ROOT / 'config/custom_pose.rviz').read_text(encoding='utf-8'))


def test_rviz_shows_topics_the_nodes_publish(view):
    displays = view['Visualization Manager']['Displays']
    shown = {display['Class'].split('/')[1]: display.get('Topic', {}).get('Value') for display in displays}
    assert shown == {'Image': 'pose_node/overlay', 'MarkerArray': 'orientation_node/markers', 'TF': None, 'Axes': None}
    for module, topic in (('pose/pose_camera', 'overlay'), ('orientation/orientation_outputs', 'markers')):
        text = (ROOT / f'custom_pose_ros/nodes/{module}.py').read_text(encoding='utf-8')
        assert topic in text[text.index('~/') :]
    enabled = {display['Class'].split('/')[1] for display in displays if display['Enabled']}
    assert 'TF' not in enabled  # its axes would lie over those of the markers


def test_rviz_shows_every_namespace_of_the_markers(view):
    (markers,) = (d for d in view['Visualization Manager']['Displays'] if d['Class'].endswith('MarkerArray'))
    text = (ROOT / 'custom_pose_ros/nodes/orientation/markers.py').read_text(encoding='utf-8')
    named = set(re.findall(r"ns='(\w+)'|_lines\('(\w+)'", text))
    assert set(markers['Namespaces']) == {a or b for a, b in named}


def test_rviz_opens_with_picture_and_space_side_by_side(view):
    """Qt's state of the window: the docks on the left, from top to bottom, and the width left for the 3-D view."""
    state = bytes.fromhex(view['Window Geometry']['QMainWindow State'])
    docks = [name for name in ('Overlay', 'Displays', 'Views', 'Time') if name.encode('utf-16-be') in state]
    assert docks == ['Overlay', 'Displays']
    assert [panel['Class'] for panel in view['Panels']] == ['rviz_common/Displays']
    area, left, width = (int.from_bytes(state[start : start + 4], 'big') for start in (13, 17, -68))
    assert area == 0
    assert width > left > 0.3 * view['Window Geometry']['Width']


def test_rviz_looks_from_the_camera_and_names_no_frame(view):
    manager = view['Visualization Manager']
    assert 'Fixed Frame' not in manager['Global Options']  # show_in_rviz has it from the camera
    look = manager['Views']['Current']
    focus = np.array([look['Focal Point'][axis] for axis in 'XYZ'])
    yaw, pitch = look['Yaw'], look['Pitch']
    to_eye = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])  # of RViz's Orbit
    np.testing.assert_allclose(focus + look['Distance'] * to_eye, 0.0, atol=0.01)  # m


def write_recorder(path: Path) -> None:
    """Write an executable that appends its command line and DDS profile to $RECORD, in place of the real one."""
    path.write_text(
        '#!/bin/sh\necho "$0 $* profile=$FASTDDS_DEFAULT_PROFILES_FILE$FASTRTPS_DEFAULT_PROFILES_FILE" >> "$RECORD"\n'
    )
    path.chmod(0o755)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """An ament prefix with this checkout's files, and executables that record how they are called; yields its share."""
    prefix = tmp_path / 'prefix'
    marker = prefix / 'share/ament_index/resource_index/packages/custom_pose_ros'
    marker.parent.mkdir(parents=True)
    marker.touch()
    binaries = prefix / 'lib/custom_pose_ros'
    binaries.mkdir(parents=True)
    for name in ('pose_node', 'orientation_node', 'both_nodes', 'show_in_rviz'):
        write_recorder(binaries / name)
    share = prefix / 'share/custom_pose_ros'
    share.mkdir()
    shutil.copytree(LAUNCH, share / 'launch')
    shutil.copytree(ROOT / 'config', share / 'config', ignore=shutil.ignore_patterns('*.onnx'))
    bag_player = tmp_path / 'bin/ros2'
    bag_player.parent.mkdir()
    write_recorder(bag_player)
    monkeypatch.setenv('RECORD', str(tmp_path / 'record'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}:{os.environ.get("AMENT_PREFIX_PATH", "")}')
    monkeypatch.setenv('PATH', f'{bag_player.parent}:{os.environ["PATH"]}')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE', 'FASTDDS_BUILTIN_TRANSPORTS'):
        monkeypatch.setenv(variable, '')  # so that it is undone when launch sets it in this process
        monkeypatch.delenv(variable)
    return share


def launch_status(path: Path, *arguments: str) -> int:
    """Launch a file with name:=value arguments; return the status that `ros2 launch` would end with."""
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    pairs = [tuple(argument.split(':=')) for argument in arguments]
    service = LaunchService(noninteractive=True)
    source = PythonLaunchDescriptionSource(str(path))
    service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)]))
    return service.run()


def run_launch(path: Path, *arguments: str) -> dict[str, str]:
    """Launch a file; return how each process was called, by the name of its executable."""
    assert launch_status(path, *arguments) == 0
    lines = Path(os.environ['RECORD']).read_text().splitlines()
    return {Path(line.split()[0]).name: line for line in lines}


@needs_launch
def test_nodes_start_in_the_namespace_of_the_camera(installed):
    started = run_launch(installed / 'launch/custom_pose.launch.py', 'camera:=front', 'object:=42', 'log_level:=debug')
    assert set(started) == {'pose_node', 'orientation_node'}
    for name, line in started.items():
        assert f'__node:={name}' in line
        assert '__ns:=/front' in line
        assert 'image:=image_raw' in line
        assert 'image/compressed:=image_raw/compressed' in line
        assert '--log-level debug' in line
        files = [word for word, before in zip(line.split()[1:], line.split()) if before == '--params-file']
        assert files[0] == str(installed / f'config/{name}.yaml')  # first, so that what follows overrides it
        assert line.endswith(f'profile={installed / "config/fastdds.xml"}')


def parameters_given(line: str) -> dict[str, object]:
    """Return the parameters of the last file on a command line, which launch writes what it was given into."""
    files = [word for word, before in zip(line.split()[1:], line.split()) if before == '--params-file']
    text = Path(files[-1]).read_text(encoding='utf-8').replace('!!python/tuple', '')  # a tag that rcl does not mind
    (node,) = yaml.safe_load(text).values()
    return node['ros__parameters']


@needs_launch
def test_both_nodes_run_in_one_process_with_the_parameters_of_each(installed):
    arguments = 'one_process:=true', 'cameras:=front,down', 'object:=42', 'refine:=outline', 'backend:=onnxruntime'
    started = run_launch(installed / 'launch/custom_pose.launch.py', *arguments)
    assert set(started) == {'both_nodes'}
    of_pose, of_orientation = started['both_nodes'].split(' --pose-node ')[1].split(' --orientation-node ')
    of_orientation, shared = of_orientation.split(' --ros-args ', 1)
    for name, given in (('pose_node', of_pose), ('orientation_node', of_orientation)):
        assert given.startswith(f'--params-file {installed / f"config/{name}.yaml"} -p object:="42" ')
        assert '-p cameras:=["front", "down"]' in given
    assert ('backend:="onnxruntime"' in of_pose, 'backend' in of_orientation) == (True, False)
    assert ('refine' in of_pose, 'refine:="outline"' in of_orientation) == (False, True)
    assert 'front/image:=front/image_raw' in shared
    assert '__node:=' not in shared


@needs_launch
def test_several_cameras_share_the_nodes(installed):
    started = run_launch(installed / 'launch/custom_pose.launch.py', 'cameras:=front,rig/down', 'rviz:=true')
    for name in ('pose_node', 'orientation_node'):
        assert parameters_given(started[name])['cameras'] == ['front', 'rig/down']
        assert '__ns:=/ ' in started[name]
        for camera in ('front', 'rig/down'):
            assert f'{camera}/image:={camera}/image_raw' in started[name]
            assert f'{camera}/image/compressed:={camera}/image_raw/compressed' in started[name]
    for topic in ('pose_node/{}overlay', 'orientation_node/{}markers', '{}poses', '{}camera_info'):
        assert f' {topic.format("")}:={topic.format("front/")} ' in started['show_in_rviz']


@needs_launch
@pytest.mark.parametrize(('cameras', 'topic'), [('camera:=front', 'pose'), ('cameras:=front,down', 'fused/pose')])
def test_the_best_pose_goes_where_a_docking_server_reads_it(installed, cameras, topic):
    path = installed / 'launch/custom_pose.launch.py'
    started = run_launch(path, cameras, 'pose:=/detected_dock_pose')
    assert f' {topic}:=/detected_dock_pose ' in started['orientation_node']
    assert 'pose:=' not in run_launch(path, cameras)['orientation_node']


@needs_launch
@pytest.mark.parametrize(('argument', 'given'), [('autostart:=false', False), ('autostart:=true', True), ('', None)])
def test_autostart_is_left_to_the_parameter_file_unless_it_is_given(installed, argument, given):
    started = run_launch(installed / 'launch/custom_pose.launch.py', *([argument] if argument else []))
    for name in ('pose_node', 'orientation_node'):
        assert parameters_given(started[name]).get('autostart') is given


@needs_launch
def test_launch_brings_a_managed_node_up(installed, monkeypatch):
    """The pattern of the launch_ros examples, with the real node: configure when it has started, then activate."""
    pytest.importorskip('custom_pose_ros.nodes.ros.conversions', reason='rclpy is missing: run `make test`')
    from launch import LaunchDescription, LaunchService
    from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler, Shutdown
    from launch.event_handlers import OnProcessStart
    from launch.events import matches_action
    from launch_ros.actions import LifecycleNode
    from launch_ros.event_handlers import OnStateTransition
    from launch_ros.events.lifecycle import ChangeState
    from lifecycle_msgs.msg import Transition

    executable = installed.parents[1] / 'lib/custom_pose_ros/orientation_node'
    executable.write_text(
        f'#!/bin/sh\nexec {sys.executable} -m custom_pose_ros.nodes.orientation.orientation_node "$@"\n',
        encoding='utf-8',
    )
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}:{os.environ.get("PYTHONPATH", "")}')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    node = LifecycleNode(
        package='custom_pose_ros', executable='orientation_node', name='orientation_node', namespace='',
        parameters=[{'autostart': False}],
    )  # fmt: skip
    seen = []

    def ask(transition: int) -> EmitEvent:
        event = ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
        return EmitEvent(event=event)

    def on(goal: str, action: object) -> RegisterEventHandler:
        note = OpaqueFunction(function=lambda _: seen.append(goal))
        handler = OnStateTransition(target_lifecycle_node=node, goal_state=goal, entities=[note, action])
        return RegisterEventHandler(handler)

    started = OnProcessStart(target_action=node, on_start=[ask(Transition.TRANSITION_CONFIGURE)])
    service = LaunchService(noninteractive=True)
    service.include_launch_description(
        LaunchDescription([
            RegisterEventHandler(started),
            on('inactive', ask(Transition.TRANSITION_ACTIVATE)),
            on('active', Shutdown(reason='it is up')),
            node,
        ])
    )
    assert service.run() == 0
    assert seen == ['inactive', 'active']


@needs_launch
def test_an_argument_that_is_not_given_leaves_the_parameter_file_alone(installed, monkeypatch):
    from launch import LaunchContext

    module = load(installed / 'launch/custom_pose.launch.py')
    context = LaunchContext()
    for argument in module.declare_arguments():
        argument.execute(context)
    given = {**context.launch_configurations, 'object': '42'}
    chosen = module.chosen_parameters(given, module.NODES['pose_node'])
    assert {name: value.evaluate(context) for name, value in chosen.items()} == {'object': '42'}  # a text, no number


@needs_launch
@pytest.mark.parametrize(
    ('variable', 'value', 'profile'),
    [('FASTDDS_DEFAULT_PROFILES_FILE', '/etc/mine.xml', '/etc/mine.xml'), ('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4', '')],
)
def test_dds_settings_of_the_user_are_kept(installed, monkeypatch, variable, value, profile):
    monkeypatch.setenv(variable, value)
    started = run_launch(installed / 'launch/custom_pose.launch.py')
    assert [line.partition(' profile=')[2] for line in started.values()] == [profile, profile]


@needs_launch
def test_rviz_starts_on_demand(installed):
    started = run_launch(installed / 'launch/custom_pose.launch.py', 'rviz:=true', 'fixed_frame:=map', 'camera:=front')
    assert f'--display-config {installed / "config/custom_pose.rviz"} --fixed-frame map' in started['show_in_rviz']
    assert '__ns:=/front' in started['show_in_rviz']


@needs_launch
def test_replay_plays_the_bag_on_its_own_clock(installed):
    """The player ends at once here, and the launch ends with it."""
    started = run_launch(
        installed / 'launch/replay.launch.py', 'bag:=dive_3', 'rate:=2.0', 'object:=face', 'loop:=true'
    )
    assert (
        f'bag play dive_3 --clock --rate 2.0 --delay 5.0 --loop profile={installed}/config/fastdds.xml'
        in started['ros2']
    )


@needs_launch
@pytest.mark.parametrize(('distro', 'old'), [('jazzy', True), ('kilted', False), ('rolling', False)])
def test_each_distribution_gets_the_variable_it_knows(installed, monkeypatch, distro, old):
    """Kilted warns about the old name, also where the new one is set."""
    monkeypatch.setenv('ROS_DISTRO', distro)
    (action,) = load(installed / 'launch/custom_pose.launch.py').give_room_for_images()
    (name,) = action.name
    assert name.text == ('FASTRTPS' if old else 'FASTDDS') + '_DEFAULT_PROFILES_FILE'


@needs_launch
@pytest.mark.parametrize(('status', 'expected'), [(0, 0), (3, 1)])
def test_replay_ends_as_the_player_ended(installed, tmp_path, status, expected):
    player = tmp_path / 'bin/ros2'
    player.write_text(f'#!/bin/sh\nexit {status}\n')
    assert launch_status(installed / 'launch/replay.launch.py', 'bag:=dive_3') == expected


@needs_launch
def test_replay_needs_a_bag(installed):
    from launch import LaunchContext

    missing = [
        action.name
        for action in load(installed / 'launch/replay.launch.py').generate_launch_description().get_launch_arguments()
        if action.default_value is None
    ]
    assert missing == ['bag']
    assert LaunchContext().launch_configurations == {}


def load(path: Path):
    """Import a launch file as a module."""
    spec = importlib.util.spec_from_file_location(path.name.split('.')[0], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
