"""What every backend promises: uint8 images in, heatmaps and part affinity fields out, facts about itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE

AUTO = 'auto'
PRECISIONS = ('f32', 'f16', 'bf16', 'int8')
# How far a precision may move the heights of peaks and the scores of limbs: images with a decision closer than that are
# given to the exact network. For bf16 half of it left no difference on 800 renderings; training/quantize.py
# measures both.
MARGINS = {'bf16': 0.02, 'int8': 0.04}


class Backend(Protocol):
    """
    A loaded network; it may be called from several threads.

    name : name of the backend as the user gives it.
    precision : one of PRECISIONS; int8 means that most layers are quantised.
    device : what computes, such as CPU or CUDA.
    metadata : text that came with the model: 'object' (JSON of the object file), 'stride', 'architecture'; of a file
        that a script made from a model.onnx also 'made_from' (SHA-256 of that file).
    choice : how it came to be used, for the log and the diagnostics.
    exact : the same network in f32, where the precision is one of MARGINS and the file is there; else None.
    """

    name: str
    precision: str
    device: str
    metadata: dict[str, str]
    choice: str
    exact: Backend | None

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Return heatmaps (N, K + 1, H/8, W/8) and pafs (N, 2L, H/8, W/8), both float32.

        images : (N, H, W, 3) uint8 BGR, H and W multiples of 32; ValueError otherwise.
        """
        ...


def check_images(images: np.ndarray) -> None:
    """Raise ValueError unless the array is (N, H, W, 3) uint8 with H and W multiples of 32."""
    good = images.ndim == 4 and images.shape[3] == 3 and images.dtype == np.uint8 and images.shape[0] > 0
    if not good or any(size == 0 or size % SIZE_MULTIPLE for size in images.shape[1:3]):
        raise ValueError(
            f'images must be uint8 of shape (N, H, W, 3) with H and W multiples of {SIZE_MULTIPLE}, '
            f'got {images.dtype} {images.shape}'
        )
