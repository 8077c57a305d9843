"""Export of a trained network to ONNX, with the object inside and the numbers checked against PyTorch."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from custom_pose_ros.core.errors import ModelError
from custom_pose_ros.core.files import replacing
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends.contract import metadata_of
from custom_pose_ros.inference.network import DeploymentNetwork, PoseNetwork
from training.pose_training.networks import onnx_graph

OPSET = 17
TOLERANCE = 1e-4
_CHECK_SIZES = ((1, 64, 96), (2, 128, 160))


@dataclass(frozen=True)
class ExportReport:
    """
    What was written.

    Attributes:
        size_bytes: Of the file.
        node_count: Number of graph nodes.
        largest_difference: From PyTorch, over all values of the maps.
    """

    size_bytes: int
    node_count: int
    largest_difference: float


def export_onnx(network: PoseNetwork, model: ObjectModel, path: Path) -> ExportReport:
    """
    Write the network as ONNX: `image` (N, H, W, 3) uint8 BGR -> `heatmaps`, `pafs` float32, all sizes dynamic.

    Batch norms are folded into the convolutions. The file is written only when ONNX Runtime and PyTorch agree within
    TOLERANCE on random images of two sizes.

    Raises:
        ModelError: They do not agree.
        OutputError: The file cannot be written.
    """
    deployed = DeploymentNetwork(network).eval()
    with tempfile.TemporaryDirectory() as folder:
        graph = _simplified(_torch_export(deployed, Path(folder) / 'exported.onnx'))
    facts = {**metadata_of(model, network.architecture), 'producer': 'custom_pose_ros'}
    onnx.helper.set_model_props(graph, facts)
    onnx.checker.check_model(graph)
    serialised = graph.SerializeToString()
    difference = largest_difference(deployed, serialised)
    if not difference <= TOLERANCE:
        raise ModelError(
            f'{path}: not written: ONNX and PyTorch differ by {difference:.2g}, wanted at most {TOLERANCE:g}'
        )
    with replacing(path) as temporary:
        temporary.write_bytes(serialised)
    return ExportReport(len(serialised), len(graph.graph.node), difference)


def _torch_export(deployed: DeploymentNetwork, path: Path) -> Path:
    # The TorchScript exporter folds batch norms and writes one node per layer; the newer one keeps shape arithmetic.
    maps = {0: 'batch', 2: 'map_height', 3: 'map_width'}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            deployed,
            (torch.zeros(1, 64, 96, 3, dtype=torch.uint8),),
            str(path),
            input_names=['image'],
            output_names=['heatmaps', 'pafs'],
            dynamic_axes={'image': {0: 'batch', 1: 'height', 2: 'width'}, 'heatmaps': maps, 'pafs': maps},
            opset_version=OPSET,
            dynamo=False,
        )
    return path


def _simplified(path: Path) -> onnx.ModelProto:
    """Fold constants with ONNX Runtime's hardware-independent passes, then rewrite what it leaves."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path.with_name('simplified.onnx'))
    onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    model = onnx.load(options.optimized_model_filepath)
    standard = [opset for opset in model.opset_import if not opset.domain]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    onnx_graph.merge_padding(model.graph)
    onnx_graph.fold_division(model.graph)
    onnx_graph.convolve_before_upsampling(model.graph)
    onnx_graph.merge_heads(model.graph)
    return model


def largest_difference(deployed: DeploymentNetwork, serialised: bytes) -> float:
    """Return the largest absolute difference between ONNX Runtime and PyTorch on random images."""
    session = onnxruntime.InferenceSession(serialised, providers=['CPUExecutionProvider'])
    random = np.random.default_rng(0)
    worst = 0.0
    for count, height, width in _CHECK_SIZES:
        image = random.integers(0, 256, (count, height, width, 3), np.uint8)
        with torch.inference_mode():
            wanted = deployed(torch.from_numpy(image))
        for got, want in zip(session.run(['heatmaps', 'pafs'], {'image': image}), wanted):
            worst = float(np.maximum(worst, np.abs(got - want.numpy()).max()))  # keeps NaN, unlike max()
    return worst
