"""From a name, a precision and a path to candidates: what is considered, and every refusal."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.object_file import installed_objects
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import KINDS, choice, hardware, load_network
from custom_pose_ros.inference.backends.choice import Candidate, Kind, find_candidates
from custom_pose_ros.inference.backends.model_files import file_beside

SHIPPED = installed_objects()['submarine'] / 'model.onnx'


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Set what machine this seems to be, a plain processor at first; returns the function that does so."""

    def pretend(gpu: bool = False, int8: bool = False, distributions: dict[str, str] | None = None) -> None:
        monkeypatch.setattr(hardware, 'has_nvidia_gpu', lambda: gpu)
        monkeypatch.setattr(hardware, 'has_fast_int8', lambda: int8)
        monkeypatch.setattr(choice, '_version', lambda name: (distributions or {}).get(name, ''))

    pretend()
    return pretend


@pytest.fixture
def everything_installed(monkeypatch):
    monkeypatch.setattr(Kind, 'missing', property(lambda self: []))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with one file of every kind."""
    for name in ('model.onnx', 'model_int8.onnx', 'model.pth', 'net_trt.pth', 'best.onnx', 'best_int8.onnx'):
        (tmp_path / name).write_bytes(b'')
    return tmp_path


def texts(path: Path, *arguments: str) -> list[str]:
    return [f'{c} {c.path.name}' for c in find_candidates(path, *arguments)]


def test_a_folder_stands_for_everything_that_was_checked(everything_installed, folder):
    """bf16, and f16 of an ONNX file, lose accuracy that nobody has looked at: they must be asked for."""
    assert texts(folder) == [
        'openvino f32 model.onnx',
        'openvino int8 model_int8.onnx',
        'onnxruntime f32 model.onnx',
        'onnxruntime int8 model_int8.onnx',
        'torch f32 model.pth',
        'tensorrt f16 net_trt.pth',
    ]
    assert texts(folder, 'auto', 'f32') == [
        'openvino f32 model.onnx',
        'onnxruntime f32 model.onnx',
        'torch f32 model.pth',
    ]
    assert texts(folder, 'auto', 'bf16') == ['openvino bf16 model.onnx']
    assert texts(folder, 'auto', 'f16') == ['onnxruntime f16 model.onnx', 'tensorrt f16 net_trt.pth']
    assert texts(folder, 'openvino') == ['openvino f32 model.onnx', 'openvino int8 model_int8.onnx']


def test_a_file_stands_for_itself_and_an_onnx_file_for_what_was_made_from_it(everything_installed, folder):
    assert texts(folder / 'best.onnx') == [
        'openvino f32 best.onnx',
        'openvino int8 best_int8.onnx',
        'onnxruntime f32 best.onnx',
        'onnxruntime int8 best_int8.onnx',
        'tensorrt f16 net_trt.pth',
    ]
    assert {c.origin for c in find_candidates(folder / 'best.onnx')} == {None, folder / 'best.onnx'}
    assert texts(folder / 'model.pth') == ['torch f32 model.pth']
    assert texts(folder / 'net_trt.pth') == ['tensorrt f16 net_trt.pth']
    assert texts(folder / 'best_int8.onnx') == ['openvino int8 best_int8.onnx', 'onnxruntime int8 best_int8.onnx']


def test_onnxruntime_comes_first_for_several_threads(everything_installed, folder):
    assert find_candidates(folder, parallel=True)[0].name == 'onnxruntime'


def test_the_file_that_is_named_runs_also_where_the_backend_is_named(everything_installed, folder, machine):
    machine(int8=False)
    assert texts(folder / 'model_int8.onnx', 'openvino') == ['openvino int8 model_int8.onnx']
    assert [str(c) for c in find_candidates(folder / 'model_int8.onnx', 'openvino', parallel=True)] == ['openvino int8']


def test_several_threads_get_f32_first_on_every_processor(everything_installed, folder, machine):
    """evaluate_bag's numbers do not depend on the processor."""
    machine(int8=True)
    assert str(find_candidates(folder, parallel=True)[0]) == 'onnxruntime f32'


def test_int8_comes_first_where_the_processor_is_fast_in_it(everything_installed, folder, machine):
    machine(int8=True)
    assert texts(folder)[:4] == [
        'openvino int8 model_int8.onnx',
        'openvino f32 model.onnx',
        'onnxruntime int8 model_int8.onnx',
        'onnxruntime f32 model.onnx',
    ]


@pytest.mark.parametrize(
    ('distributions', 'first'),
    [
        ({'torch': '2.11.0'}, ['tensorrt f16', 'torch f32', 'openvino f32']),
        ({'torch': '2.11.0+cpu'}, ['tensorrt f16', 'openvino f32']),
        ({'torch': '2.11.0', 'onnxruntime-gpu': '1.23'}, ['tensorrt f16', 'onnxruntime f32', 'onnxruntime int8']),
    ],
)
def test_a_gpu_comes_first_for_what_was_built_for_it(everything_installed, folder, machine, distributions, first):
    machine(gpu=True, distributions=distributions)
    assert [str(candidate) for candidate in find_candidates(folder)][: len(first)] == first


@pytest.fixture
def loads(monkeypatch):
    """Let candidates load without their libraries; what is in the set that is returned is refused."""
    refused: set[str] = set()

    class Loaded:
        metadata: ClassVar[dict[str, str]] = {}

        def __init__(self, name, path, precision, threads):
            if f'{name} {precision}' in refused:
                raise ModelError(f'{path.name}: refused by {name}')
            self.name, self.precision, self.device = name, precision, 'CPU'

    monkeypatch.setattr(Candidate, '_factory', lambda self: functools.partial(Loaded, self.name))
    return refused


def test_the_first_that_loads_is_taken_and_the_others_are_named(everything_installed, loads, caplog):
    assert str(load_network(SHIPPED)) == 'openvino f32 on CPU (the first of openvino f32, onnxruntime f32)'
    assert str(load_network(SHIPPED, 'onnxruntime')) == 'onnxruntime f32 on CPU (nothing to choose from)'
    assert caplog.text == ''
    loads.add('openvino f32')
    assert load_network(SHIPPED).backend.name == 'onnxruntime'
    assert 'openvino f32 is left out: model.onnx: refused by openvino' in caplog.text


def test_where_none_loads_the_reason_of_the_first_is_given_once(everything_installed, loads, caplog):
    loads.update({'openvino f32', 'onnxruntime f32'})
    with pytest.raises(ModelError, match='refused by openvino'):
        load_network(SHIPPED)
    assert caplog.text == ''


def test_a_reduced_precision_comes_with_the_exact_network(everything_installed, loads, folder):
    network = load_network(SHIPPED, precision='bf16')
    assert (network.backend.precision, network.exact.precision) == ('bf16', 'f32')
    assert load_network(SHIPPED, precision='f32').exact is None


def test_a_backend_that_is_named_finds_its_file_beside(everything_installed, folder):
    assert texts(folder / 'model.onnx', 'torch') == ['torch f32 model.pth']
    assert texts(folder / 'model.pth', 'onnxruntime', 'f32') == ['onnxruntime f32 model.onnx']
    assert file_beside(folder / 'net_trt.pth', '.onnx') == folder / 'model.onnx'


def test_every_kind_can_be_found_by_its_name():
    """The table is right: modules exist, and only what is not installed keeps them from being imported."""
    for name, kind in KINDS.items():
        assert importlib.util.find_spec(f'custom_pose_ros.inference.backends.{name}_backend'), name
        assert set(kind.checked) <= set(kind.files)


def test_a_file_made_from_another_model_is_refused(folder):
    shutil.copy(SHIPPED, folder / 'model_int8.onnx')  # it says nothing about where it comes from
    with pytest.raises(
        ModelError, match=r'model_int8\.onnx: was not made from the model\.onnx beside it; write it aga'
    ):
        load_network(folder, 'onnxruntime', precision='int8')
    (folder / 'model.onnx').unlink()  # nothing to compare with
    network = load_network(folder, 'onnxruntime', precision='int8')
    assert (network.backend.precision, network.exact) == ('int8', None)


@pytest.mark.parametrize('name', ['model.onnx', 'net.pth'])
def test_a_sparse_file_is_refused_before_a_library_reads_it(name, tmp_path):
    pytest.importorskip('torch' if name.endswith('.pth') else 'onnxruntime')
    with (tmp_path / name).open('wb') as file:
        file.truncate(12 << 30)
    with pytest.raises(ModelError, match=f'{name}: cannot be read .it has 12884901888 bytes; at most'):
        load_network(tmp_path / name, model=ObjectModel.load('submarine'))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r'gone/model\.onnx: no such file; train one and write it with'):
        load_network(tmp_path / 'gone' / 'model.onnx')


@pytest.mark.parametrize('name', ['notes.md', 'gone'])
def test_a_file_of_another_kind_is_named(tmp_path, name):
    with pytest.raises(ModelError, match=rf'{name}: wanted a model \(\.onnx or \.pth\) or a folder with one'):
        load_network(tmp_path / name)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), r'no model\.onnx in this folder; train one and write it with'),
        (('onnxruntime',), r"no model\.onnx in this folder, which backend 'onnxruntime' needs; train one"),
        (
            ('auto', 'int8'),
            r'no model_int8\.onnx in this folder, which precision int8 needs; write it with training/quan',
        ),
    ],
)
def test_a_folder_without_model_is_named(tmp_path, arguments, message):
    with pytest.raises(ModelError, match=message):
        find_candidates(tmp_path, *arguments)


def test_unknown_names_are_refused_with_the_list(tmp_path):
    with pytest.raises(
        ConfigError, match="backend 'caffe' is unknown, wanted one of auto, onnxruntime, openvino, torch, tensorrt$"
    ):
        load_network(SHIPPED, 'caffe')
    with pytest.raises(ConfigError, match="precision 'f8' is unknown, wanted one of auto, f32, f16, bf16, int8$"):
        load_network(SHIPPED, precision='f8')


def test_a_precision_that_a_backend_lacks_is_refused():
    with pytest.raises(
        ConfigError, match="backend 'onnxruntime' has no precision bf16, only f32, int8, f16; bf16 has op"
    ):
        load_network(SHIPPED, 'onnxruntime', precision='bf16')


@pytest.mark.parametrize(
    ('name', 'package'),
    [
        ('onnxruntime', 'pip install onnxruntime'),
        ('openvino', 'pip install openvino'),
        ('torch', 'pip install torch'),
        ('tensorrt', 'apt install python3-libnvinfer'),
    ],
)
def test_a_backend_that_is_not_installed_names_the_package(monkeypatch, name, package):
    monkeypatch.setattr('importlib.util.find_spec', lambda module: None)
    missing = ', '.join(KINDS[name].libraries)
    with pytest.raises(ConfigError) as caught:
        find_candidates(SHIPPED, name)
    assert str(caught.value).startswith(f"backend '{name}' is not installed ({missing} missing): {package}")


def test_auto_without_any_library_names_the_packages(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda module: None)
    with pytest.raises(
        ConfigError, match=r'no backend for .*model\.onnx is installed: pip install onnxruntime.*; or pip'
    ):
        find_candidates(SHIPPED)


def test_threads_must_be_positive():
    with pytest.raises(ConfigError, match='threads: wanted at least 1, got 0'):
        load_network(SHIPPED, threads=0)


def test_loading_onnx_does_not_import_other_libraries():
    code = (
        'import sys; from custom_pose_ros.inference.backends import load_network; '
        f'load_network({str(SHIPPED)!r}, "onnxruntime"); print({{"torch", "openvino"}} & set(sys.modules))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == 'set()'
