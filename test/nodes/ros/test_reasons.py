"""Tests of what peers may read: whatever file a request names, no text of it comes back, is logged or diagnosed."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Log
from rclpy.parameter import Parameter

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews
from custom_pose_ros.nodes.orientation.orientation_node import OrientationNode
from custom_pose_ros.nodes.pose.pose_node import PoseNode
from custom_pose_ros.nodes.ros.conversions import SwitchObject
from custom_pose_ros.nodes.ros.reasons import reason_for_peers

SECRET = 'c2VjcmV0'
FILES = {
    'a key': f'-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----\n',
    'shadow': f'root:$6${SECRET}:19000:0:99999:7:::\nme:$6${SECRET}:19000:0:99999:7:::\n',
    'another YAML': f'password: {SECRET}\nname: a\n',
    'a name': f'name: {SECRET} {SECRET}\nkeypoints: [a, b]\nskeleton: [[a, b]]\n',
    'a keypoint': f'name: a\nkeypoints: [a, b]\nskeleton: [[a, {SECRET}]]\n',
    'a number': f'name: a\nkeypoints: [a, b]\nskeleton: [[a, b]]\ninput_height: {SECRET}\n',
    'a tab': f'{SECRET}:\t- x\n\t{SECRET}',
}


@pytest.mark.parametrize(('kind', 'name'), [(PoseNode, 'pose_node'), (OrientationNode, 'orientation_node')])
def test_no_text_of_a_file_reaches_a_peer(graph, tiny_object, tmp_path, capfd, kind, name) -> None:
    node = graph.start(kind, object=tiny_object)
    diagnostics = graph.listen('/diagnostics', DiagnosticArray)
    client = graph.tester.create_client(SwitchObject, f'{name}/switch_object')
    graph.wait(client.service_is_ready, 'the service')
    if kind is PoseNode:
        refuse_networks(graph, client, tiny_object, tmp_path)
    for number, text in enumerate(FILES.values()):
        file = tmp_path / f'file_{number}'
        file.write_text(text, encoding='utf-8')
        folder = tmp_path / f'folder_{number}'
        folder.mkdir()
        (folder / 'object.yaml').write_text(text, encoding='utf-8')
        for given in (file, folder):
            future = client.call_async(SwitchObject.Request(object=str(given)))
            graph.wait(future.done, 'the answer')
            response = future.result()
            assert (response.success, SECRET in response.message) == (False, False), response.message
            assert 'terminal' in response.message
    assert SECRET in capfd.readouterr().err  # whoever owns the file reads why
    refuse_to_configure(graph, node, name, tmp_path / 'file_1')
    message = diagnostics.wait(lambda m: any('terminal' in pair.value for pair in m.status[0].values))
    assert SECRET not in str(message)
    assert not any(SECRET in line for level in (Log.WARN, Log.ERROR) for line in graph.logs(level, name))


def test_no_text_of_an_outline_reaches_a_peer(tmp_path) -> None:
    names = ('points', 'normals', 'room', 'kinds', 'starts', 'directions', 'centre')
    np.savez(tmp_path / 'outline.npz', about=json.dumps({'format': SECRET}), **dict.fromkeys(names, np.zeros(1)))
    with pytest.raises(ModelError, match=SECRET) as error:
        OutlineViews.load(tmp_path / 'outline.npz')
    assert reason_for_peers(error.value).endswith('is of another version; make it again with training/outline.py')


def refuse_networks(graph, client, tiny_object: str, folder: Path) -> None:
    """Name files as the network which are none, or which hold an object that is none."""
    files = [folder / name for name in ('names.txt', 'names.pth', 'zip.txt', 'tensors.txt', 'object.onnx')]
    for file in files[:2]:
        file.write_text(f'c{SECRET}\n{SECRET}\n.', encoding='utf-8')  # begins as a pickle that asks for a class
    with zipfile.ZipFile(files[2], 'w') as archive:
        archive.writestr(SECRET, '')
    header = json.dumps({SECRET: {}}).encode()
    files[3].write_bytes(len(header).to_bytes(8, 'little') + header + b' ')
    network = onnx.load(Path(tiny_object) / 'model.onnx')
    entry = next(entry for entry in network.metadata_props if entry.key == 'object')
    entry.value = entry.value.replace('"front"', f'"{SECRET}"', 1)
    onnx.save(network, files[4])
    for file in files:
        future = client.call_async(SwitchObject.Request(object=tiny_object, model=str(file)))
        graph.wait(future.done, 'the answer')
        response = future.result()
        assert (response.success, SECRET in response.message) == (False, False), response.message


def refuse_to_configure(graph, node, name: str, file: Path) -> None:
    """Configure with a file that is no object, as any peer may."""
    client = graph.tester.create_client(ChangeState, f'{name}/change_state')
    graph.wait(client.service_is_ready, 'the service')
    for number in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE):
        if number == Transition.TRANSITION_CONFIGURE:
            assert node.set_parameters([Parameter('object', value=str(file))])[0].successful
        future = client.call_async(ChangeState.Request(transition=Transition(id=number)))
        graph.wait(future.done, 'the transition')
    assert not future.result().success
    assert SECRET not in node.problem
    graph.wait_for_log(Log.ERROR, name, 'stays unconfigured, not inactive: the object.yaml')
