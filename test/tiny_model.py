"""A tiny real network with known answers: coloured discs joined by lines -> heatmaps and part affinity fields."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.object_model import ObjectModel

with contextlib.suppress(ModuleNotFoundError):  # its pictures can be drawn without
    import onnx
    from onnx import TensorProto, helper, numpy_helper

STRIDE = 8
INPUT_HEIGHT = 256
DISC_RADIUS_PX = 8.0  # in an image of INPUT_HEIGHT; scales with the image
LINE_WIDTH_PX = 12.0
COLOURS_BGR = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (0, 255, 255))  # keypoints: red, green, blue, yellow
TINY_OBJECT_YAML = """\
name: tiny
description: Four coloured discs, joined by lines whose colour is their direction.
keypoints: [front, left, right, top]
skeleton:
  - [front, left]
  - [front, right]
  - [front, top]
swaps:
  - [left, right]
model_points:
  front: [0.5, 0.0, 0.0]
  left: [0.0, 0.3, 0.0]
  right: [0.0, -0.3, 0.0]
  top: [0.0, 0.0, 0.3]
input_height: 256
"""
TINY_POINTS = np.array([[160.0, 60.0], [90.0, 180.0], [230.0, 170.0], [150.0, 200.0]])  # fits a 320x256 image
_LINE_RED, _LINE_GAIN = 128, 60  # line colour: blue = 128 + 60 vx, green = 128 + 60 vy, red = 128
_BLUR_PX, _KERNEL = 6.0, 40  # Gaussian that turns a disc into a peak, and its support


def write_tiny_object(folder: str | Path, name: str = 'tiny') -> Path:
    """
    Write object.yaml and model.onnx (28 kB, exact for pictures of draw_tiny_object) into `folder`; return it.

    The test that asks for it is skipped without onnx.
    """
    pytest.importorskip('onnx', reason='onnx is missing: run `make test`')
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'object.yaml').write_text(TINY_OBJECT_YAML.replace('name: tiny', f'name: {name}'), encoding='utf-8')
    onnx.save(_network(ObjectModel.load(folder)), str(folder / 'model.onnx'))
    return folder


def make_endless(model: Path) -> None:
    """Let a written network run for ever: its input goes round in a loop without an end."""
    network = onnx.load(str(model))
    same = [helper.make_node('Identity', [f'{name}_in'], [f'{name}_out']) for name in ('again', 'pixels')]
    kinds = {'again': TensorProto.BOOL, 'pixels': TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(f'{name}_in', kind, None) for name, kind in kinds.items()]
    outputs = [helper.make_tensor_value_info(f'{name}_out', kind, None) for name, kind in kinds.items()]
    body = helper.make_graph(
        same, 'body', [helper.make_tensor_value_info('round', TensorProto.INT64, []), *inputs], outputs
    )
    network.graph.initializer.append(helper.make_tensor('true', TensorProto.BOOL, [], [True]))
    loop = helper.make_node('Loop', ['', 'true', 'float_image'], ['looped'], body=body)
    nodes = network.graph.node
    nodes[1].input[0] = 'looped'  # nodes[0] makes float_image
    nodes.insert(1, loop)
    onnx.save(network, str(model))


def send_through(model: Path, output: str, operator: str, *constants: np.ndarray, **attributes) -> None:
    """Send an output of a written network through one more operator."""
    network = onnx.load(str(model))
    for node in network.graph.node:
        node.output[:] = [f'{name}_right' if name == output else name for name in node.output]
    names = [f'{output}_constant{i}' for i in range(len(constants))]
    network.graph.initializer.extend(map(numpy_helper.from_array, constants, names))
    network.graph.node.append(helper.make_node(operator, [f'{output}_right', *names], [output], **attributes))
    for value in network.graph.output:
        if value.name == output:
            value.type.tensor_type.elem_type = attributes.get('to', TensorProto.FLOAT)
            value.type.tensor_type.ClearField('shape')
    onnx.save(network, str(model))


def make_nan(model: Path) -> None:
    """Let a written network give nan, as after a training that diverged."""
    send_through(model, 'pafs', 'Mul', np.float32('nan').reshape(1))


def draw_tiny_object(
    points: np.ndarray, size: tuple[int, int] = (320, 256), image: np.ndarray | None = None
) -> np.ndarray:
    """
    Draw instances into a BGR image and return it.

    points : (4, 2) or (A, 4, 2) pixels, (0, 0) = centre of the top-left pixel; a NaN keypoint is not drawn.
    size : (width, height) of the new black image, unless `image` is given (drawn into a copy).
    """
    image = np.zeros((size[1], size[0], 3), np.uint8) if image is None else image.copy()
    scale = image.shape[0] / INPUT_HEIGHT
    for instance in np.atleast_3d(points).reshape(-1, 4, 2):
        for end in instance[1:]:
            if np.isfinite([instance[0], end]).all():
                direction = (end - instance[0]) / max(np.linalg.norm(end - instance[0]), 1e-9)
                blue, green = (128 + _LINE_GAIN * direction).tolist()
                width = max(1, round(LINE_WIDTH_PX * scale))
                cv2.line(image, _fixed(instance[0]), _fixed(end), (blue, green, _LINE_RED), width, cv2.LINE_8, 4)
        for point, colour in zip(instance, COLOURS_BGR):
            if np.isfinite(point).all():
                cv2.circle(image, _fixed(point), round(16 * DISC_RADIUS_PX * scale), colour, -1, cv2.LINE_AA, 4)
    return image


def _fixed(point: np.ndarray) -> tuple[int, int]:
    """Return the point in sixteenths of a pixel, as OpenCV draws with shift=4."""
    return round(16 * float(point[0])), round(16 * float(point[1]))


def _network(model: ObjectModel) -> onnx.ModelProto:
    """Build uint8 BGR (N, H, W, 3) -> heatmaps (N, 5, H/8, W/8), pafs (N, 6, H/8, W/8)."""
    colours = [[-1, -1, 1, 0], [-1, 1, -1, 0], [1, -1, -1, 0], [-1, 1, 1, -255]]  # B, G, R, constant
    disc = 1 - np.exp(-(DISC_RADIUS_PX**2) / (2 * _BLUR_PX**2))  # height of a blurred disc of height 1
    offsets = np.arange(_KERNEL) - (_KERNEL - 1) / 2
    profile = np.exp(-(offsets**2) / (2 * _BLUR_PX**2))
    kernel = np.outer(profile, profile) / profile.sum() ** 2
    constants = {
        'colour_weight': np.array([row[:3] for row in colours]).reshape(4, 3, 1, 1) / 255,
        'colour_bias': np.array([row[3] for row in colours]) / 255,
        'blur': np.tile(kernel * 0.95 / disc, (4, 1, 1, 1)),
        'direction_weight': np.array([[1, 0, 0], [0, 1, 0]]).reshape(2, 3, 1, 1) / _LINE_GAIN,
        'direction_bias': np.full(2, -128 / _LINE_GAIN),
        'line_red': np.array(float(_LINE_RED)),
        'red_range': np.array(40.0),
        'dark': np.array(48.0),
        'bright': np.array(16.0),
        'zero': np.array(0.0),
        'one': np.array(1.0),
        'small': np.array(0.1),
    }
    nodes = [
        helper.make_node('Cast', ['image'], ['float_image'], to=TensorProto.FLOAT),
        helper.make_node('Transpose', ['float_image'], ['bgr'], perm=[0, 3, 1, 2]),
        *_heatmap_nodes(),
        *_paf_nodes(model.limb_count),
    ]
    graph = helper.make_graph(
        nodes,
        'tiny',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, ['n', 'h', 'w', 3])],
        [
            helper.make_tensor_value_info('heatmaps', TensorProto.FLOAT, ['n', 5, 'hh', 'ww']),
            helper.make_tensor_value_info('pafs', TensorProto.FLOAT, ['n', 2 * model.limb_count, 'hh', 'ww']),
        ],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], producer_name='tiny_model')
    network.ir_version = 8
    helper.set_model_props(network, {'object': model.to_json(), 'stride': str(STRIDE)})
    onnx.checker.check_model(network)
    return network


def _heatmap_nodes() -> list[onnx.NodeProto]:
    """One blurred channel for each disc colour, then the background."""
    pad = (_KERNEL - STRIDE) // 2  # centres cell i on input pixel 8 i + 3.5
    return [
        helper.make_node('Conv', ['bgr', 'colour_weight', 'colour_bias'], ['colour_match']),
        helper.make_node('Relu', ['colour_match'], ['discs']),
        helper.make_node('Conv', ['discs', 'blur'], ['raw_peaks'], strides=[STRIDE] * 2, pads=[pad] * 4, group=4),
        helper.make_node('Clip', ['raw_peaks', 'zero', 'one'], ['peaks']),
        helper.make_node('ReduceMax', ['peaks'], ['highest'], axes=[1], keepdims=1),
        helper.make_node('Sub', ['one', 'highest'], ['background']),
        helper.make_node('Concat', ['peaks', 'background'], ['heatmaps'], axis=1),
    ]


def _paf_nodes(limbs: int) -> list[onnx.NodeProto]:
    """Unit vectors where a line colour is seen (red near 128, blue and green not dark), the same for all limbs."""
    return [
        helper.make_node('Split', ['bgr'], ['blue', 'green', 'red'], axis=1),
        helper.make_node('Sub', ['red', 'line_red'], ['red_error']),
        helper.make_node('Abs', ['red_error'], ['red_distance']),
        helper.make_node('Div', ['red_distance', 'red_range'], ['red_share']),
        helper.make_node('Sub', ['one', 'red_share'], ['red_match']),
        helper.make_node('Relu', ['red_match'], ['red_mask']),
        helper.make_node('Min', ['blue', 'green'], ['darkest']),
        helper.make_node('Sub', ['darkest', 'dark'], ['above_dark']),
        helper.make_node('Div', ['above_dark', 'bright'], ['brightness']),
        helper.make_node('Clip', ['brightness', 'zero', 'one'], ['bright_mask']),
        helper.make_node('Mul', ['red_mask', 'bright_mask'], ['line_mask']),
        helper.make_node('Conv', ['bgr', 'direction_weight', 'direction_bias'], ['directions']),
        helper.make_node('Mul', ['directions', 'line_mask'], ['line_directions']),
        helper.make_node('AveragePool', ['line_directions'], ['mean_direction'], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node('ReduceL2', ['mean_direction'], ['length'], axes=[1], keepdims=1),
        helper.make_node('Add', ['length', 'small'], ['divisor']),
        helper.make_node('Div', ['mean_direction', 'divisor'], ['direction']),
        helper.make_node('Concat', ['direction'] * limbs, ['pafs'], axis=1),
    ]
