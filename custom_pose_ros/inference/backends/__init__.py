"""
What runs a network, behind one call: onnxruntime, openvino, torch, tensorrt; libraries are imported only when used.

    network = load_network('config/submarine')          # the first of those that are installed
    heatmaps, pafs = network.backend(images)            # (N, H, W, 3) uint8 BGR

contract.py says what a backend is, choice.py which there are and in which order they are tried.
"""

from custom_pose_ros.inference.backends.choice import KINDS, add_network_options, input_height, load_network
from custom_pose_ros.inference.backends.contract import AUTO, MARGINS, PRECISIONS, Backend, LoadedNetwork, check_images
from custom_pose_ros.inference.backends.hardware import default_threads

__all__ = [
    'AUTO', 'KINDS', 'MARGINS', 'PRECISIONS', 'Backend', 'LoadedNetwork', 'add_network_options', 'check_images',
    'default_threads', 'input_height', 'load_network',
]  # fmt: skip
