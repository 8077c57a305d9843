"""Backends: the choice, the maps of the shipped model, and every refusal."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from custom_pose_ros.core.errors import ConfigError, ModelError
from custom_pose_ros.core.object_model import ObjectModel, installed_objects
from custom_pose_ros.inference import backends
from custom_pose_ros.inference.backends import default_threads, load_backend, physical_cores

SHIPPED = installed_objects()['submarine'] / 'model.onnx'


def test_the_shipped_model_gives_maps_at_stride_8(images):
    backend = load_backend(SHIPPED)
    heatmaps, pafs = backend(images)
    assert backend.name == 'onnxruntime'
    model = ObjectModel.load('submarine')
    assert heatmaps.shape == (2, model.keypoint_count + 1, 8, 12)
    assert pafs.shape == (2, 2 * model.limb_count, 8, 12)
    assert (heatmaps.dtype, pafs.dtype) == (np.float32, np.float32)


def test_images_of_a_batch_do_not_influence_each_other(images):
    backend = load_backend(SHIPPED)
    together = backend(images)
    for i in range(2):
        alone = backend(images[i : i + 1])
        for one, both in zip(alone, together):
            np.testing.assert_allclose(one[0], both[i], atol=1e-5)  # another order of float32 sums


def test_the_model_carries_its_object():
    metadata = load_backend(SHIPPED).metadata
    assert json.loads(metadata['object'])['name'] == 'submarine'
    assert metadata['stride'] == '8'


def test_strided_views_are_taken(images):
    backend = load_backend(SHIPPED)
    mirrored = images[:, :, ::-1]
    np.testing.assert_array_equal(backend(mirrored)[0], backend(mirrored.copy())[0])


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
def test_wrong_images_are_refused(wrong):
    with pytest.raises(ValueError, match=r'images must be uint8 of shape \(N, H, W, 3\) .* multiples of 32, got'):
        load_backend(SHIPPED)(wrong)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r'gone/model\.onnx: no such file; train one and write it with'):
        load_backend(tmp_path / 'gone' / 'model.onnx')


@pytest.mark.parametrize('name', ['notes.md', 'gone'])
def test_a_file_of_another_kind_is_named(tmp_path, name):
    with pytest.raises(ModelError, match=rf'{name}: wanted a model \(\.onnx or \.pth\) or a folder with one'):
        load_backend(tmp_path / name)


def test_a_folder_without_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r'no model\.onnx in this folder'):
        load_backend(tmp_path)


@pytest.mark.parametrize('keep', [0, 100, 0.5])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, keep):
    content = SHIPPED.read_bytes()
    damaged = tmp_path / 'model.onnx'
    damaged.write_bytes(content[: int(len(content) * keep) if keep < 1 else keep])
    with pytest.raises(ModelError, match=r'model\.onnx: is damaged or not an ONNX model; export it again') as caught:
        load_backend(damaged)
    assert '\n' not in str(caught.value)


def test_a_foreign_onnx_file_is_refused(tmp_path):
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
        load_backend(tmp_path)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ConfigError, match="backend 'caffe' is unknown, wanted one of auto, onnxruntime"):
        load_backend(SHIPPED, 'caffe')


def test_a_backend_that_is_not_installed_names_the_package(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        backends.importlib.util, 'find_spec', lambda name: None if name == 'onnxruntime' else find(name)
    )
    with pytest.raises(ConfigError, match="backend 'onnxruntime' is not installed: pip install onnxruntime"):
        load_backend(SHIPPED, 'onnxruntime')


def test_auto_without_any_library_names_the_package(tmp_path, monkeypatch):
    shutil.copy(SHIPPED, tmp_path / 'model.onnx')
    monkeypatch.setattr(backends.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match=r'no backend for .*model\.onnx is installed: pip install onnxruntime'):
        load_backend(tmp_path)


def test_threads_must_be_positive():
    with pytest.raises(ConfigError, match='threads: wanted at least 1, got 0'):
        load_backend(SHIPPED, threads=0)


def test_default_threads_are_the_physical_cores_up_to_four():
    assert 1 <= default_threads() <= min(4, physical_cores())


def test_loading_onnx_does_not_import_torch():
    code = (
        'import sys; from custom_pose_ros.inference.backends import load_backend; '
        f'load_backend({str(SHIPPED)!r}); print("torch" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == 'False'
