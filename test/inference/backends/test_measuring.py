"""Measuring in processes of their own: times, refusals and crashes, all for real."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from custom_pose_ros.core.object_model import installed_objects
from custom_pose_ros.inference.backends import measuring
from custom_pose_ros.inference.backends.measuring import measure_candidates
from custom_pose_ros.inference.backends.registry import Candidate

SHIPPED = installed_objects()['submarine'] / 'model.onnx'
SHAPE = (1, 64, 96)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """Run from another folder, as ros2 run does."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_is_timed_one_refused(elsewhere):
    damaged = elsewhere / 'damaged.onnx'
    damaged.write_bytes(SHIPPED.read_bytes()[:1000])
    measurement = measure_candidates(
        [Candidate('onnxruntime', 'f32', SHIPPED), Candidate('onnxruntime', 'int8', damaged)], 1, SHAPE
    )
    assert list(measurement.seconds) == ['onnxruntime f32']
    assert 0 < measurement.seconds['onnxruntime f32'] < 10
    assert list(measurement.refused) == ['onnxruntime int8']
    assert 'damaged.onnx: is damaged or not an ONNX model' in measurement.refused['onnxruntime int8']
    assert measurement.crashed == {}


def test_a_file_from_another_model_is_refused(elsewhere):
    other = Path(shutil.copy(SHIPPED, elsewhere / 'model.onnx'))
    candidate = Candidate('onnxruntime', 'int8', SHIPPED, origin=other)
    refused = measure_candidates([candidate], 1, SHAPE).refused
    assert 'was not made from the model.onnx beside it' in refused['onnxruntime int8']


def test_a_crash_is_told_with_its_last_words(elsewhere, monkeypatch):
    candidate = Candidate('onnxruntime', 'no_such_precision', SHIPPED)
    library = elsewhere / 'onnxruntime.py'
    library.write_text('raise SystemError("illegal instruction")')
    monkeypatch.setenv('PYTHONPATH', str(elsewhere))
    measurement = measure_candidates([candidate], 1, SHAPE)
    assert measurement.crashed == {str(candidate): 'exit status 1, SystemError: illegal instruction'}


def test_one_that_hangs_is_given_up(elsewhere, monkeypatch):
    (elsewhere / 'onnxruntime.py').write_text('import time; time.sleep(600)')
    monkeypatch.setenv('PYTHONPATH', str(elsewhere))
    monkeypatch.setattr(measuring, 'DEADLINE_S', 1.0)
    begin = time.monotonic()
    measurement = measure_candidates([Candidate('onnxruntime', 'f32', SHIPPED)], 1, SHAPE)
    assert measurement.crashed == {'onnxruntime f32': 'gave no answer within 1 s'}
    assert time.monotonic() - begin < 300  # given up, not waited for


def test_what_start_up_files_print_is_not_an_answer(elsewhere, monkeypatch):
    (elsewhere / 'sitecustomize.py').write_text('print("welcome"); print(5)')
    monkeypatch.setenv('PYTHONPATH', str(elsewhere))
    measurement = measure_candidates([Candidate('onnxruntime', 'f32', SHIPPED)], 1, SHAPE)
    assert (list(measurement.seconds), measurement.crashed) == (['onnxruntime f32'], {})
