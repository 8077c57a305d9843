"""
Rewrites of an exported ONNX graph that make it quicker and leave its numbers as they are, to rounding; the way back.

Each takes a graph and changes it; where it does not find what it looks for, nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

LARGE, SMALL, AND = ':large', ':small', '+'  # in the names of convolutions that were divided or joined


def layer_convolutions(graph: onnx.GraphProto) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, kernel and bias of each convolution as it was before it was divided or joined."""
    parts: dict[str, list[np.ndarray]] = {}
    for node in _nodes(graph, 'Conv'):
        kernel, *bias = (_constant(graph, name) for name in node.input[1:])
        if kernel is None or (bias and bias[0] is None):
            continue
        shift = bias[0] if bias else np.zeros(len(kernel), np.float32)
        name, _, part = node.name.partition(':')
        if part:
            parts.setdefault(name, []).append(kernel)
            if f':{part}' == LARGE:  # it comes last, and has the bias
                yield name, np.concatenate(parts[name][::-1], 1), shift
        elif AND in name:
            split = _only_consumer(graph, node, 'Split')
            ends = np.cumsum(_constant(graph, split.input[1]))[:-1] if split is not None else []
            yield from zip(name.split(AND), np.split(kernel, ends), np.split(shift, ends))
        else:
            yield name, kernel, shift


def merge_padding(graph: onnx.GraphProto) -> None:
    """Let convolutions pad with zeros themselves."""
    for pad in _nodes(graph, 'Pad'):
        convolution = _only_consumer(graph, pad, 'Conv')
        if convolution is None:
            continue
        before_and_after = _constant(graph, pad.input[1]).tolist()
        pads = next(a for a in convolution.attribute if a.name == 'pads')
        pads.ints[:] = before_and_after[2:4] + before_and_after[6:8]  # Pad lists N, C, H, W; Conv only H, W
        convolution.input[0] = pad.input[0]
        graph.node.remove(pad)
    _remove_unused(graph)


def fold_division(graph: onnx.GraphProto) -> None:
    """Divide the weights of the first convolution instead of the image; padding with zeros allows it."""
    for division in _nodes(graph, 'Div'):
        convolution = _only_consumer(graph, division, 'Conv')
        divisor = _constant(graph, division.input[1])
        if convolution is None or divisor is None:
            continue
        weights = _constant(graph, convolution.input[1])
        if divisor.size != 1 and divisor.shape[-3:] != (weights.shape[1], 1, 1):
            continue
        folded = np.ascontiguousarray(weights / divisor.reshape(1, -1, 1, 1), np.float32)
        tensor = numpy_helper.from_array(folded, f'{convolution.name}.folded_1')
        graph.initializer.append(tensor)
        convolution.input[0], convolution.input[1] = division.input[0], tensor.name
        graph.node.remove(division)
    _remove_unused(graph)


def convolve_before_upsampling(graph: onnx.GraphProto) -> None:
    """
    Turn a 1x1 convolution of joined maps, the second upsampled, into a sum, and convolve that one while it is small.

    Interpolation does the same to every channel, and a 1x1 convolution the same at every place: the order is free.
    """
    for join in _nodes(graph, 'Concat'):
        convolution = _only_consumer(graph, join, 'Conv')
        if convolution is None or len(join.input) != 2:
            continue
        weights, bias = (_constant(graph, name) for name in convolution.input[1:])
        resize = _producer(graph, join.input[1])
        if resize is None or resize.op_type != 'Resize' or weights.shape[2:] != (1, 1):
            continue
        small = _channels(graph, resize.input[0])
        if small is None or _only_consumer(graph, resize, 'Concat') is None:
            continue
        parts = weights.shape[1] - small
        on_small = _one_by_one(graph, convolution.name + SMALL, resize.input[0], weights[:, parts:], None)
        on_large = _one_by_one(graph, convolution.name + LARGE, join.input[0], weights[:, :parts], bias)
        resize.input[0] = on_small.output[0]
        total = onnx.helper.make_node(
            'Add', [on_large.output[0], resize.output[0]], list(convolution.output), convolution.name + ':sum'
        )
        _put_instead(graph, convolution, [on_large, total])
        _put_instead(graph, resize, [on_small, resize])
        graph.node.remove(join)
    _remove_unused(graph)


def merge_heads(graph: onnx.GraphProto) -> None:
    """Compute the outputs of several 1x1 convolutions of the same maps by one, and split them."""
    outputs = [output.name for output in graph.output]
    heads = [node for node in _nodes(graph, 'Conv') if node.output[0] in outputs]
    if len(heads) < 2 or len({head.input[0] for head in heads}) > 1:
        return
    weights = [_constant(graph, head.input[1]) for head in heads]
    if any(weight.shape[2:] != (1, 1) for weight in weights):
        return
    biases = [_constant(graph, head.input[2]) for head in heads]
    name = AND.join(head.name for head in heads)
    joined = _one_by_one(graph, name, heads[0].input[0], np.concatenate(weights), np.concatenate(biases))
    sizes = numpy_helper.from_array(np.array([len(weight) for weight in weights]), f'{name}.sizes')
    graph.initializer.append(sizes)
    split = onnx.helper.make_node(
        'Split', [joined.output[0], sizes.name], [head.output[0] for head in heads], f'{name}:split', axis=1
    )
    for head in heads:
        graph.node.remove(head)
    graph.node.extend([joined, split])
    _remove_unused(graph)


def _nodes(graph: onnx.GraphProto, operation: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == operation]


def _producer(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    return next((node for node in graph.node if name in node.output), None)


def _only_consumer(graph: onnx.GraphProto, node: onnx.NodeProto, operation: str) -> onnx.NodeProto | None:
    """Return the node that alone reads the output of another one, if it is of this operation."""
    consumers = [other for other in graph.node if node.output[0] in other.input]
    return consumers[0] if len(consumers) == 1 and consumers[0].op_type == operation else None


def _constant(graph: onnx.GraphProto, name: str) -> np.ndarray | None:
    return next((numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == name), None)


def _channels(graph: onnx.GraphProto, name: str) -> int | None:
    """Return how many channels a convolution, or the sum of one and its input, gives."""
    node = _producer(graph, name)
    while node is not None and node.op_type == 'Add':
        node = next((found for found in (_producer(graph, n) for n in node.input) if found is not None), None)
    return None if node is None or node.op_type != 'Conv' else len(_constant(graph, node.input[1]))


def _one_by_one(
    graph: onnx.GraphProto, name: str, source: str, weights: np.ndarray, bias: np.ndarray | None
) -> onnx.NodeProto:
    """Return a new 1x1 convolution; its weights (outputs, inputs, 1, 1) are added to the graph, itself it is not."""
    inputs = [source]
    for suffix, values in (('weight', weights), ('bias', bias)):
        if values is not None:
            tensor = numpy_helper.from_array(np.ascontiguousarray(values), f'{name}.{suffix}')
            graph.initializer.append(tensor)
            inputs.append(tensor.name)
    return onnx.helper.make_node(
        'Conv', inputs, [name], name, kernel_shape=[1, 1], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1
    )


def _put_instead(graph: onnx.GraphProto, node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
    """Put nodes in the place of one, among which it may be."""
    place = list(graph.node).index(node)
    graph.node.remove(node)
    for new in reversed(nodes):
        graph.node.insert(place, new)


def _remove_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
