"""Rewrites of exported graphs: the same numbers from other operations, and graphs without the pattern left alone."""

from __future__ import annotations

import collections

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from training.pose_training.networks import onnx_graph

RANDOM = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def convolution(source: str, name: str, pad: int = 0) -> onnx.NodeProto:
    return helper.make_node('Conv', [source, f'{name}.w', f'{name}.b'], [name], name, pads=[pad] * 4)


def resize(source: str, name: str) -> onnx.NodeProto:
    return helper.make_node('Resize', [source, '', 'scales'], [name], name, mode='linear')


def model_of(nodes: list[onnx.NodeProto], outputs: list[str], **constants: np.ndarray) -> onnx.ModelProto:
    """Return a model from `image` (1, 3, 8, 12) to the outputs; '__' is a dot in the names of its constants."""
    constants['scales'] = np.array([1, 1, 2, 2], np.float32)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        'test',
        [helper.make_tensor_value_info('image', onnx.TensorProto.FLOAT, [1, 3, 8, 12])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, None, None]) for name in outputs],
        [
            numpy_helper.from_array(value, name.replace('__', '.'))
            for name, value in constants.items()
            if name.replace('__', '.') in used
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'image': np.random.default_rng(1).normal(size=(1, 3, 8, 12)).astype(np.float32)})


def rewritten(model: onnx.ModelProto, rewrite) -> tuple[onnx.ModelProto, collections.Counter]:
    """Return the model rewritten, and how many operations it has of each kind; its outputs must be those of before."""
    before = run(model)
    rewrite(model.graph)
    for got, want in zip(run(model), before, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    return model, collections.Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize('divisor', [weights(1, 3, 1, 1), np.float32([2.5])], ids=['channels', 'one'])
def test_a_division_moves_into_the_weights_also_where_the_convolution_pads(divisor):
    nodes = [helper.make_node('Div', ['image', 'd'], ['x'], 'div'), convolution('x', 'c', pad=1)]
    model, count = rewritten(
        model_of(nodes, ['c'], d=divisor, c__w=weights(4, 3, 3, 3), c__b=weights(4)), onnx_graph.fold_division
    )
    assert count == {'Conv': 1}
    assert {tensor.name for tensor in model.graph.initializer} == {'c.folded_1', 'c.b'}


def test_a_division_that_two_read_stays():
    nodes = [helper.make_node('Div', ['image', 'd'], ['x'], 'div'), convolution('x', 'c', pad=1), convolution('x', 'e')]
    constants = {'c__w': weights(4, 3, 3, 3), 'c__b': weights(4), 'e__w': weights(2, 3, 1, 1), 'e__b': weights(2)}
    _, count = rewritten(model_of(nodes, ['c', 'e'], d=np.float32([2]), **constants), onnx_graph.fold_division)
    assert count == {'Div': 1, 'Conv': 2}


def joined_maps(kernel: int) -> onnx.ModelProto:
    small = helper.make_node('Conv', ['image', 's.w'], ['s'], 's', strides=[2, 2], pads=[0, 0, 1, 1])
    nodes = [
        small,
        resize('s', 'up'),
        convolution('image', 'l', pad=1),
        helper.make_node('Concat', ['l', 'up'], ['x'], 'join', axis=1),
        convolution('x', 'c', pad=kernel // 2),
    ]
    constants = {'s__w': weights(6, 3, 3, 3), 'l__w': weights(4, 3, 3, 3), 'l__b': weights(4)}
    return model_of(nodes, ['c'], **constants, c__w=weights(5, 10, kernel, kernel), c__b=weights(5))


def test_a_convolution_of_upsampled_maps_runs_before_they_grow():
    model, count = rewritten(joined_maps(1), onnx_graph.convolve_before_upsampling)
    assert count == {'Conv': 4, 'Resize': 1, 'Add': 1}
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert (shapes['c:small.weight'], shapes['c:large.weight']) == ([5, 6, 1, 1], [5, 4, 1, 1])


def test_a_larger_kernel_sees_neighbours_and_stays_behind_the_upsampling():
    _, count = rewritten(joined_maps(3), onnx_graph.convolve_before_upsampling)
    assert count == {'Conv': 3, 'Resize': 1, 'Concat': 1}


def heads(source_of_second: str) -> onnx.ModelProto:
    nodes = [convolution('image', 'm', pad=1), convolution('m', 'h'), convolution(source_of_second, 'p')]
    second = {'p__w': weights(4, 3 if source_of_second == 'image' else 6, 1, 1), 'p__b': weights(4)}
    first = {'h__w': weights(5, 6, 1, 1), 'h__b': weights(5)}
    return model_of(nodes, ['h', 'p'], m__w=weights(6, 3, 3, 3), m__b=weights(6), **first, **second)


def test_heads_of_the_same_maps_are_one_convolution():
    _, count = rewritten(heads('m'), onnx_graph.merge_heads)
    assert count == {'Conv': 2, 'Split': 1}


def test_heads_of_different_maps_stay_apart():
    _, count = rewritten(heads('image'), onnx_graph.merge_heads)
    assert count == {'Conv': 3}


def test_the_kernels_of_divided_and_joined_convolutions_come_back():
    for model, rewrite in (
        (joined_maps(1), onnx_graph.convolve_before_upsampling),
        (heads('m'), onnx_graph.merge_heads),
    ):
        wanted = {name: (kernel, bias) for name, kernel, bias in onnx_graph.layer_convolutions(model.graph)}
        rewrite(model.graph)
        got = {name: (kernel, bias) for name, kernel, bias in onnx_graph.layer_convolutions(model.graph)}
        assert set(got) == set(wanted) != set()
        for name, pair in wanted.items():
            for mine, want in zip(got[name], pair):
                np.testing.assert_array_equal(mine, want)
