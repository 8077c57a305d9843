"""Rewrites of exported graphs: the same numbers from other operations, and graphs without the pattern left alone."""

from __future__ import annotations

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


def rewritten(model: onnx.ModelProto, rewrite) -> set[str]:
    """Rewrite the model; return the kinds of operations it has then. Its outputs must be those of before."""
    before = run(model)
    rewrite(model.graph)
    for got, want in zip(run(model), before, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
    return {node.op_type for node in model.graph.node}


def assert_unchanged(model: onnx.ModelProto, rewrite) -> None:
    before = model.SerializeToString(deterministic=True)
    rewrite(model.graph)
    assert model.SerializeToString(deterministic=True) == before


def padded_convolution() -> onnx.ModelProto:
    pad = helper.make_node('Pad', ['image', 'pads'], ['x'], 'pad')
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1])  # behind only, as before a convolution with stride 2
    weights_of = {'c__w': weights(4, 3, 3, 3), 'c__b': weights(4)}
    return model_of([pad, convolution('x', 'c')], ['c'], pads=pads, **weights_of)


def test_padding_moves_into_the_convolution():
    assert 'Pad' not in rewritten(padded_convolution(), onnx_graph.merge_padding)


@pytest.mark.parametrize('divisor', [weights(1, 3, 1, 1), np.float32([2.5])], ids=['channels', 'one'])
def test_a_division_moves_into_the_weights_also_where_the_convolution_pads(divisor):
    nodes = [helper.make_node('Div', ['image', 'd'], ['x'], 'div'), convolution('x', 'c', pad=1)]
    model = model_of(nodes, ['c'], d=divisor, c__w=weights(4, 3, 3, 3), c__b=weights(4))
    assert 'Div' not in rewritten(model, onnx_graph.fold_division)
    assert 'd' not in {tensor.name for tensor in model.graph.initializer}  # nothing is left over


def test_a_division_that_two_read_stays():
    nodes = [helper.make_node('Div', ['image', 'd'], ['x'], 'div'), convolution('x', 'c', pad=1), convolution('x', 'e')]
    constants = {'c__w': weights(4, 3, 3, 3), 'c__b': weights(4), 'e__w': weights(2, 3, 1, 1), 'e__b': weights(2)}
    assert_unchanged(model_of(nodes, ['c', 'e'], d=np.float32([2]), **constants), onnx_graph.fold_division)


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
    model = joined_maps(1)
    assert 'Concat' not in rewritten(model, onnx_graph.convolve_before_upsampling)
    (upsampling,) = (node for node in model.graph.node if node.op_type == 'Resize')
    assert 's' not in upsampling.input  # but the 5 channels that were made of its 6


def test_a_larger_kernel_sees_neighbours_and_stays_behind_the_upsampling():
    assert_unchanged(joined_maps(3), onnx_graph.convolve_before_upsampling)


def heads(source_of_second: str) -> onnx.ModelProto:
    nodes = [convolution('image', 'm', pad=1), convolution('m', 'h'), convolution(source_of_second, 'p')]
    second = {'p__w': weights(4, 3 if source_of_second == 'image' else 6, 1, 1), 'p__b': weights(4)}
    first = {'h__w': weights(5, 6, 1, 1), 'h__b': weights(5)}
    return model_of(nodes, ['h', 'p'], m__w=weights(6, 3, 3, 3), m__b=weights(6), **first, **second)


def test_heads_of_the_same_maps_are_one_convolution():
    assert 'Split' in rewritten(heads('m'), onnx_graph.merge_heads)


def test_heads_of_different_maps_stay_apart():
    assert_unchanged(heads('image'), onnx_graph.merge_heads)


@pytest.mark.parametrize(
    ('model', 'rewrite'),
    [(joined_maps(1), onnx_graph.convolve_before_upsampling), (heads('m'), onnx_graph.merge_heads)],
    ids=['divided', 'joined'],
)
def test_the_kernels_of_divided_and_joined_convolutions_come_back(model, rewrite):
    wanted = {name: (kernel, bias) for name, kernel, bias in onnx_graph.layer_convolutions(model.graph)}
    rewrite(model.graph)
    got = {name: (kernel, bias) for name, kernel, bias in onnx_graph.layer_convolutions(model.graph)}
    assert set(got) == set(wanted) != set()
    for name, pair in wanted.items():
        for mine, want in zip(got[name], pair):
            np.testing.assert_array_equal(mine, want)
