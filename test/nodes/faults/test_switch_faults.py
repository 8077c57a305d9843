"""Faults of the files of a switch: a model that is deleted or half written; what served goes on."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from spoilt_models import broken_object, empty_network, half_a_network, without_network
from tiny_model import make_nan

from custom_pose_ros.nodes.ros.conversions import SwitchObject


def ask(rig, folder: Path):
    client = rig.graph.tester.create_client(SwitchObject, 'pose_node/switch_object')
    rig.graph.wait(client.service_is_ready, 'the service')
    future = client.call_async(SwitchObject.Request(object=str(folder)))
    return future


def answer(rig, future) -> SwitchObject.Response:
    rig.graph.wait(future.done, 'the answer of the switch')
    return future.result()


def lose_numbers(folder: Path) -> None:
    make_nan(folder / 'model.onnx')


@pytest.mark.parametrize(
    ('spoil', 'text'),
    [
        (lose_numbers, 'are not finite (nan or inf)'),
        (without_network, 'no model.onnx in this folder'),
        (half_a_network, 'is damaged or not an ONNX model'),
        (empty_network, 'model.onnx: is empty'),
        (broken_object, 'the object.yaml cannot be used'),
    ],
    ids=['nan', 'deleted', 'half written', 'empty', 'broken object'],
)
def test_a_spoilt_model_is_refused_and_the_old_one_serves(rig, tiny_object: str, tmp_path: Path, spoil, text) -> None:
    folder = tmp_path / 'tiny'
    shutil.copytree(tiny_object, folder)
    spoil(folder)
    refused = answer(rig, ask(rig, folder))
    assert (refused.success, text in refused.message) == (False, True), refused.message
    rig.assert_answers(time.monotonic())
    shutil.copytree(tiny_object, folder, dirs_exist_ok=True)
    rig.assert_recovers(lambda: answer(rig, ask(rig, folder)))


def test_a_model_that_is_deleted_while_it_is_loaded_serves_or_is_refused(rig, tiny_object: str, tmp_path: Path) -> None:
    for number in range(10):
        folder = tmp_path / f'tiny{number}'
        shutil.copytree(tiny_object, folder)
        future = ask(rig, folder)
        time.sleep(0.002 * number)  # at another moment of the loading each time
        shutil.rmtree(folder)
        reply = answer(rig, future)
        assert reply.success or '\n' not in reply.message
        rig.note(time.monotonic())
