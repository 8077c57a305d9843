"""Tests of loading beside the executor: what loads for ever stops neither a signal, nor a switch, nor the service."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from custom_pose_ros.nodes.ros.conversions import SwitchObject
from custom_pose_ros.nodes.ros.loading import start_loading

MODULE = 'custom_pose_ros.nodes.pose.pose_node'


@pytest.fixture
def endless(tiny, tmp_path) -> Path:
    folder = tiny.write_tiny_object(tmp_path / 'endless')
    tiny.make_endless(folder / 'model.onnx')
    return folder


def parameters(graph, folder: Path | str, backend: str) -> list[str]:
    return ['--ros-args', '-p', f'object:={folder}', '-p', f'backend:={backend}', '-r', f'__ns:={graph.namespace}']


def cpu_seconds(process: subprocess.Popen) -> float:
    fields = Path(f'/proc/{process.pid}/stat').read_text(encoding='ascii').rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_whose_network_loads_for_ever(graph, start_process, endless, number, backend) -> None:
    pytest.importorskip(backend)
    process = start_process(MODULE, *parameters(graph, endless, backend))
    name, names = ('pose_node', graph.namespace), graph.tester.get_node_names_and_namespaces
    graph.wait(lambda: name in names() or process.poll() is not None, 'the node')
    used = cpu_seconds(process)
    graph.wait(lambda: process.poll() is not None or cpu_seconds(process) > used + 1, 'the network to run')
    process.send_signal(number)
    assert process.wait(20) == 0, process.communicate()[1]  # 2 s on a machine that is not busy


def test_a_signal_ends_a_node_that_switches_for_ever(graph, start_process, tiny_object, endless) -> None:
    process = start_process(MODULE, *parameters(graph, tiny_object, 'openvino'))
    client = graph.tester.create_client(SwitchObject, 'pose_node/switch_object')
    graph.wait(client.service_is_ready, 'the service')
    answer = client.call_async(SwitchObject.Request(object=str(endless)))
    other = client.call_async(SwitchObject.Request(object=str(tiny_object)))
    graph.wait(other.done, 'the refusal of a second one')
    assert 'wait for its answer' in other.result().message
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0, process.communicate()[1]
    assert not answer.done()


@pytest.mark.parametrize('error', [None, ValueError('no')])
def test_the_outcome_of_a_load_arrives(error) -> None:
    def load() -> int:
        if error:
            raise error
        return 7

    future = start_loading(load)
    assert (future.exception(60), None if error else future.result()) == (error, None if error else 7)
