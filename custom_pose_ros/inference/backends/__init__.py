"""
What runs a network, behind one call: onnxruntime, openvino, torch, tensorrt; libraries are imported only when used.

    backend = load_backend('config/submarine')          # the fastest that is installed
    heatmaps, pafs = backend(images)                    # (N, H, W, 3) uint8 BGR

contract.py says what a backend is, registry.py which there are, loading.py loads one, selection.py finds the fastest.
"""

from custom_pose_ros.inference.backends.contract import (
    AUTO,
    MARGINS,
    PRECISIONS,
    Backend,
    check_images,
)
from custom_pose_ros.inference.backends.hardware import default_threads, physical_cores
from custom_pose_ros.inference.backends.loading import load_backend
from custom_pose_ros.inference.backends.registry import KINDS

__all__ = [
    'AUTO',
    'KINDS',
    'MARGINS',
    'PRECISIONS',
    'Backend',
    'check_images',
    'default_threads',
    'load_backend',
    'physical_cores',
]
