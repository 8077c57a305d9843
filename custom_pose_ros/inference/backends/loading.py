"""One call from a model file to a loaded network."""

from __future__ import annotations

from pathlib import Path

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.inference.backends.contract import AUTO, Backend
from custom_pose_ros.inference.backends.hardware import default_threads
from custom_pose_ros.inference.backends.registry import find_candidates

DEFAULT_SHAPE = (1, 256, 352)  # one 4:3 image of the default height


def load_backend(
    path: str | Path,
    name: str = AUTO,
    threads: int | None = None,
    precision: str = AUTO,
    input_shape: tuple[int, int, int] = DEFAULT_SHAPE,
    measure: bool = True,
) -> Backend:
    """
    Load a network.

    path : folder with model.onnx and what was made from it, or one file: .onnx, _int8.onnx, net_trt.pth, or a
        checkpoint of training/train.py. An .onnx file stands for what was made from it, too.
    name : 'onnxruntime', 'openvino', 'torch', 'tensorrt', or 'auto': the fastest that is installed and has its file.
    threads : of the backend; default: one per physical core that this process may use, at most 4.
    precision : 'f32', 'f16', 'bf16', 'int8', or 'auto': the fastest of f32 and of files that were compared with it
        when they were written (by training/quantize.py and training/export_tensorrt.py).
    input_shape : number, height and width [px] of the images that several candidates are measured with.
    measure : False takes the first candidate, in the order above and f32 first: the same on every machine.
    Raises ConfigError for an unknown or missing backend, ModelError for a missing or damaged model.
    """
    if threads is None:
        threads = default_threads()
    elif threads < 1:
        raise ConfigError(f'threads: wanted at least 1, got {threads}')
    candidates = find_candidates(Path(path), name, precision)
    chosen, reason = candidates[0], 'nothing to choose from' if len(candidates) == 1 else 'the first, not measured'
    if len(candidates) > 1 and measure:
        from custom_pose_ros.inference.backends.selection import fastest  # not needed at most starts

        chosen, reason = fastest(candidates, threads, input_shape)
    backend = chosen.load(threads)
    backend.exact = chosen.load_exact(threads)
    backend.choice = reason
    return backend
