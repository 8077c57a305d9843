"""The backends that read ONNX files, each on the shipped model: the same maps, the same refusals."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.object_file import installed_objects
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import load_network

SHIPPED = installed_objects()['submarine'] / 'model.onnx'
NETWORK = SHIPPED.read_bytes()
READERS = [name for name in ('onnxruntime', 'openvino') if importlib.util.find_spec(name)]


@pytest.fixture(scope='module', params=READERS)
def backend(request):
    return load_network(SHIPPED, request.param, threads=1, precision='f32').backend


def test_the_shipped_model_gives_maps_at_stride_8(backend, images):
    heatmaps, pafs = backend(images)
    assert backend.precision == 'f32'
    assert backend.device in ('CPU', 'CUDA', 'TensorRT')
    model = ObjectModel.load('submarine')
    assert heatmaps.shape == (2, model.keypoint_count + 1, 8, 12)
    assert pafs.shape == (2, 2 * model.limb_count, 8, 12)
    assert (heatmaps.dtype, pafs.dtype) == (np.float32, np.float32)


def test_all_give_the_same_numbers(backend, images):
    for got, want in zip(backend(images), load_network(SHIPPED, 'onnxruntime', threads=1).backend(images)):
        np.testing.assert_allclose(got, want, atol=1e-4)  # another order of float32 sums


def test_images_of_a_batch_do_not_influence_each_other(backend, images):
    together = backend(images)
    for i in range(2):
        alone = backend(images[i : i + 1])
        for one, both in zip(alone, together):
            np.testing.assert_allclose(one[0], both[i], atol=1e-5)


def test_the_model_carries_its_object(backend):
    assert json.loads(backend.metadata['object'])['name'] == 'submarine'
    assert backend.metadata['stride'] == '8'


def test_strided_views_are_taken(backend, images):
    mirrored = images[:, :, ::-1]
    np.testing.assert_array_equal(backend(mirrored)[0], backend(mirrored.copy())[0])


def test_a_result_outlives_the_next_call(backend, images):
    first = backend(images[:1])[0]
    kept = first.copy()
    backend(images[1:])
    np.testing.assert_array_equal(first, kept)


def test_several_threads_may_call_it(backend):
    random = np.random.default_rng(1)
    batches = [random.integers(0, 256, (1, 64, 64 + 32 * (i % 3), 3), np.uint8) for i in range(24)]
    wanted = [backend(batch)[0] for batch in batches]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda batch: backend(batch)[0], batches), wanted):
            np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
    'wrong',
    [
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 64, 64, 4), np.uint8),
        np.zeros((1, 64, 72, 3), np.uint8),
        np.zeros((0, 64, 64, 3), np.uint8),
        np.zeros((1, 0, 64, 3), np.uint8),
    ],
)
def test_wrong_images_are_refused(backend, wrong):
    with pytest.raises(ValueError, match=r'images must be uint8 of shape \(N, H, W, 3\) .* multiples of 32, got'):
        backend(wrong)


@pytest.mark.parametrize('content', [b'', NETWORK[:100], NETWORK[: len(NETWORK) // 2], b'[[[', b'\x08[\xff'])
@pytest.mark.parametrize('name', READERS)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, name, content, capfd):
    damaged = tmp_path / os.fsdecode(b'mod\xe8le') / 'model.onnx'  # a name that is no UTF-8
    damaged.parent.mkdir()
    damaged.write_bytes(content)
    with pytest.raises(ModelError, match=r'model\.onnx: is (empty|damaged or not an ONNX model; export it)') as caught:
        load_network(damaged, name)
    assert '\n' not in str(caught.value)
    assert len(str(caught.value)) < len(str(damaged)) + 230  # without the C++ signatures of the library
    assert capfd.readouterr() == ('', '')  # nor lines of its own


@pytest.mark.parametrize('name', READERS)
def test_a_foreign_onnx_file_is_refused(tmp_path, name):
    onnx = pytest.importorskip('onnx')
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('Identity', ['data'], ['result'])],
        'foreign',
        [info('data', onnx.TensorProto.FLOAT, [1])],
        [info('result', onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, str(tmp_path / 'model.onnx'))
    with pytest.raises(ModelError, match='wanted input image and outputs heatmaps, pafs, got data and result'):
        load_network(tmp_path, name)


def openvino_has_bf16() -> bool:
    openvino = pytest.importorskip('openvino')
    return 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


def test_bf16_is_close_to_f32_or_refused(images):
    if not openvino_has_bf16():
        with pytest.raises(ConfigError, match=r'precision bf16: .* does not compute in bf16; take precision f32'):
            load_network(SHIPPED, 'openvino', precision='bf16')
        return
    network = load_network(SHIPPED, 'openvino', 1, 'bf16')
    assert (network.backend.precision, network.exact.precision) == ('bf16', 'f32')
    difference = np.abs(network.backend(images)[0] - network.exact(images)[0])
    assert 0 < difference.max() < 0.05  # of heatmaps from 0 to 1: other numbers, 8 bits of mantissa


def test_openvino_sends_its_maker_nothing(tmp_path, root):
    pytest.importorskip('openvino')
    code = (
        'import sys, custom_pose_ros.inference.backends.openvino_backend, openvino.tools.ovc as ovc\n'
        'assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]\n'
        'assert type(ovc.telemetry).__module__ == "openvino.tools.ovc.telemetry_stub"\n'
    )
    environment = {**os.environ, 'HOME': str(tmp_path), 'CI': ''}
    subprocess.run([sys.executable, '-c', code], cwd=root, env=environment, check=True, timeout=120)
    assert not list(tmp_path.iterdir())  # no id is kept


def test_bf16_without_such_a_processor_says_what_to_take(monkeypatch):
    openvino = pytest.importorskip('openvino')
    from custom_pose_ros.inference.backends import openvino_backend

    class Core:
        def get_property(self, device, name):
            return {'OPTIMIZATION_CAPABILITIES': ['FP32', 'INT8'], 'FULL_DEVICE_NAME': 'Old CPU'}[name]

    monkeypatch.setattr(openvino_backend.openvino, 'Core', Core)
    assert openvino_backend.openvino is openvino
    with pytest.raises(ConfigError, match='precision bf16: Old CPU does not compute in bf16; take precision f32, or'):
        load_network(SHIPPED, 'openvino', precision='bf16')


class Session:
    """Records what ONNX Runtime is asked for, with the providers that `loaded` says."""

    loaded: tuple[str, ...] = ()
    asked: list = []  # noqa: RUF012

    def __init__(self, path_or_bytes, sess_options=None, providers=None, provider_options=None):
        Session.asked = providers
        self._names = ['image'], ['heatmaps', 'pafs']

    def get_providers(self):
        return list(self.loaded)

    def get_inputs(self):
        return [type('Node', (), {'name': name}) for name in self._names[0]]

    def get_outputs(self):
        return [type('Node', (), {'name': name}) for name in self._names[1]]

    def get_modelmeta(self):
        return type('Meta', (), {'custom_metadata_map': {}})


@pytest.mark.parametrize(
    ('available', 'device'),
    [
        (['AzureExecutionProvider', 'CPUExecutionProvider'], 'CPU'),
        (['CPUExecutionProvider', 'CUDAExecutionProvider'], 'CUDA'),
        (['CPUExecutionProvider', 'CUDAExecutionProvider', 'TensorrtExecutionProvider'], 'TensorRT'),
    ],
)
def test_the_best_execution_provider_comes_first(monkeypatch, tmp_path, available, device):
    """TensorRT before CUDA before CPU; no GPU is needed to see what is asked for."""
    from custom_pose_ros.inference.backends import onnxruntime_backend

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(onnxruntime_backend.onnxruntime, 'get_available_providers', lambda: available)
    monkeypatch.setattr(onnxruntime_backend.onnxruntime, 'InferenceSession', Session)
    order = ('TensorrtExecutionProvider', 'CUDAExecutionProvider', 'CPUExecutionProvider')
    Session.loaded = tuple(name for name in order if name in available)
    backend = load_network(SHIPPED, 'onnxruntime').backend
    assert [p if isinstance(p, str) else p[0] for p in Session.asked] == list(Session.loaded)
    assert backend.device == device
    if device != 'TensorRT':
        with pytest.raises(ConfigError, match=rf'precision f16 of onnxruntime needs its TensorRT .*got {device}'):
            load_network(SHIPPED, 'onnxruntime', precision='f16')
        return
    options = dict(Session.asked[0][1])
    assert options.pop('trt_engine_cache_path') == str(tmp_path / 'custom_pose_ros/tensorrt')
    assert options == {'trt_fp16_enable': False, 'trt_int8_enable': False, 'trt_engine_cache_enable': True}
    load_network(SHIPPED, 'onnxruntime', precision='f16')
    assert Session.asked[0][1]['trt_fp16_enable']


def test_a_model_is_read_from_a_path_with_spaces(tmp_path, images):
    folder = Path(tmp_path, 'my robot')
    folder.mkdir()
    shutil.copy(SHIPPED, folder / 'model.onnx')
    for name in READERS:
        assert load_network(folder, name, threads=1).backend(images[:1])[0].shape[0] == 1
