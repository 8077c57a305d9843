"""The choice of 'auto': measured once, remembered under everything it depends on, and never in the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from custom_pose_ros.core.object_model import installed_objects
from custom_pose_ros.inference.backends import load_backend, selection, user_cache
from custom_pose_ros.inference.backends.measuring import Measurement
from custom_pose_ros.inference.backends.registry import Candidate, Kind
from custom_pose_ros.inference.backends.selection import fastest

SHIPPED = installed_objects()['submarine'] / 'model.onnx'
SHAPE = (1, 64, 96)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def candidates(tmp_path) -> list[Candidate]:
    path = Path(shutil.copy(SHIPPED, tmp_path / 'model.onnx'))
    return [Candidate('onnxruntime', 'f32', path), Candidate('openvino', 'f32', path)]


class Measure:
    """Stands in for the measurement itself, which test_measuring.py runs for real."""

    def __init__(self, first: float = 0.008, second: float = 0.004):
        self.answer = Measurement({'onnxruntime f32': first, 'openvino f32': second}, {}, {})
        self.calls = 0

    def __call__(self, candidates, threads, input_shape):
        self.calls += 1
        return self.answer


@pytest.fixture
def measure(monkeypatch) -> Measure:
    stand_in = Measure()
    monkeypatch.setattr(selection, 'measure_candidates', stand_in)
    return stand_in


def test_the_fastest_is_chosen_once_and_remembered(candidates, measure):
    for _ in range(3):
        chosen, reason = fastest(candidates, 2, SHAPE)
        assert chosen.name == 'openvino'
        assert reason == 'measured: onnxruntime f32 8.0 ms, openvino f32 4.0 ms'
    assert measure.calls == 1


def test_a_small_gain_does_not_displace_the_preferred_one(candidates, monkeypatch):
    """Within a tenth, the one that everybody has installed is taken: the rest is noise, and memory counts as well."""
    monkeypatch.setattr(selection, 'measure_candidates', Measure(0.0080, 0.0075))
    assert fastest(candidates, 2, SHAPE)[0].name == 'onnxruntime'


@pytest.mark.parametrize('what', ['model', 'size', 'threads', 'hardware', 'library'])
def test_whatever_it_depends_on_asks_for_a_new_measurement(candidates, measure, monkeypatch, what):
    fastest(candidates, 2, SHAPE)
    threads, shape = 2, SHAPE
    if what == 'model':
        content = bytearray(candidates[0].path.read_bytes())
        content[-1] ^= 1
        candidates[0].path.write_bytes(content)
    elif what == 'size':
        shape = (2, 64, 96)
    elif what == 'threads':
        threads = 1
    elif what == 'hardware':
        monkeypatch.setattr(selection.hardware, 'description', lambda: 'another computer')
    else:
        monkeypatch.setattr(selection, '_versions', lambda: {'openvino': '1.0'})
    fastest(candidates, threads, shape)
    assert measure.calls == 2


@pytest.mark.parametrize(
    'value',
    [
        None,
        [],
        {'seconds': {}, 'refused': {}},
        {'seconds': {'onnxruntime f32': 0.01}, 'refused': {}},  # one is missing
        {'seconds': {'onnxruntime f32': 0.01, 'openvino f32': -1.0}, 'refused': {}},
        {'seconds': {'onnxruntime f32': 0.01, 'openvino f32': 'fast'}, 'refused': {}},
        {'seconds': {'onnxruntime f32': 0.01, 'openvino f32': float('nan')}, 'refused': {}},
        {'seconds': [1, 2], 'refused': {}},
    ],
)
def test_a_nonsensical_record_is_measured_again(candidates, measure, value):
    user_cache.write_record(selection._key(candidates, 2, SHAPE), value)
    assert fastest(candidates, 2, SHAPE)[0].name == 'openvino'
    assert measure.calls == 1
    fastest(candidates, 2, SHAPE)
    assert measure.calls == 1  # and the record is mended


def test_an_unwritable_cache_is_only_a_warning(candidates, measure, cache, caplog):
    cache.write_text('a file where the folder should be')
    assert fastest(candidates, 2, SHAPE)[0].name == 'openvino'
    assert 'cannot be written' in caplog.text


def test_what_is_refused_is_remembered_and_said_at_every_start(candidates, measure, caplog):
    measure.answer = Measurement({'onnxruntime f32': 0.008}, {'openvino f32': 'no bf16'}, {})
    for _ in range(2):
        caplog.clear()
        assert fastest(candidates, 2, SHAPE)[0].name == 'onnxruntime'
        assert 'openvino f32 is left out: no bf16' in caplog.text
    assert measure.calls == 1


def test_what_crashed_is_tried_again_at_the_next_start(candidates, measure, caplog):
    measure.answer = Measurement({'onnxruntime f32': 0.008}, {}, {'openvino f32': 'exit status -9'})
    for _ in range(2):
        assert fastest(candidates, 2, SHAPE)[0].name == 'onnxruntime'
    assert measure.calls == 2
    assert 'openvino f32 is left out: exit status -9' in caplog.text


def test_where_nothing_can_be_measured_the_first_is_taken_without_warnings(candidates, measure, caplog):
    measure.answer = Measurement({}, {}, {'onnxruntime f32': 'crashed', 'openvino f32': 'crashed'})
    assert fastest(candidates, 2, SHAPE) == (candidates[0], 'the first, since none could be measured (crashed)')
    assert caplog.text == ''  # a damaged model is refused in one line, not in one for each backend


def test_where_no_process_can_be_started_the_first_is_taken(candidates, monkeypatch):
    def refuse(*arguments, **options):
        raise BlockingIOError(11, 'Resource temporarily unavailable')

    monkeypatch.setattr('subprocess.Popen', refuse)
    chosen, figures = fastest(candidates, 2, SHAPE)
    assert chosen is candidates[0]
    assert 'Resource temporarily unavailable' in figures


def test_one_candidate_is_not_measured(tmp_path, measure, monkeypatch):
    shutil.copy(SHIPPED, tmp_path / 'model.onnx')
    backend = load_backend(tmp_path, 'onnxruntime')
    assert (backend.name, backend.choice) == ('onnxruntime', 'nothing to choose from')
    monkeypatch.setattr(Kind, 'missing', property(lambda self: [] if self.libraries == ('onnxruntime',) else ['it']))
    assert load_backend(tmp_path).choice == 'nothing to choose from'
    assert measure.calls == 0


def test_without_measuring_the_first_is_taken(candidates, measure, monkeypatch):
    monkeypatch.setattr(Kind, 'missing', property(lambda self: []))
    backend = load_backend(candidates[0].path, measure=False)
    assert (backend.name, backend.precision, backend.choice) == ('onnxruntime', 'f32', 'the first, not measured')
    assert measure.calls == 0


def test_the_real_thing(tmp_path, cache):
    """Nothing replaced: two libraries, two processes, one record."""
    pytest.importorskip('openvino')
    shutil.copy(SHIPPED, tmp_path / 'model.onnx')
    backend = load_backend(tmp_path, threads=1, input_shape=SHAPE)
    assert backend.choice.startswith('measured: onnxruntime f32 ')
    assert backend.choice.endswith(' ms')
    assert len(list(cache.rglob('*.json'))) == 1
    again = load_backend(tmp_path, threads=1, input_shape=SHAPE)
    assert (again.name, again.choice) == (backend.name, backend.choice)  # the same figures: nothing was measured
