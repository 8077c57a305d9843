"""The parameters of pose_node: default, description, range, live or read-only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from custom_pose_ros.core.object_file import Thresholds
from custom_pose_ros.nodes.ros.parameters import (
    AUTOSTART,
    IMAGE_RELIABILITY,
    IMAGE_TRANSPORT,
    IMAGE_TRANSPORTS,
    RELIABILITIES,
    SWITCHED,
    parameter,
)


@dataclass(frozen=True)
class PoseNodeParameters:
    """Parameters of pose_node, besides `thresholds.*` (ThresholdParameters)."""

    object: str = parameter(
        'submarine',
        f'What to find: a folder with object.yaml, an object.yaml, or the name of an installed object. {SWITCHED}',
        live=True,
    )
    model: str = parameter('', f'Trained network; empty: model.onnx beside the object.yaml. {SWITCHED}', live=True)
    backend: str = parameter(
        'auto',
        'What runs the network: auto (the first that is installed, in the order of docs/backends.md), onnxruntime, '
        'openvino, torch, tensorrt.',
    )
    precision: str = parameter(
        'auto', 'Precision of the network: auto (f32, or what was checked against it), f32, f16, bf16, int8.',
    )  # fmt: skip
    threads: int = parameter(
        0, 'CPU threads of the backend and of OpenCV; 0: one per physical core, at most 4.', bounds=(0, 256)
    )
    input_height: int = parameter(
        0, 'Height [px] images are scaled to, a multiple of 32; 0: as in the object file.', bounds=(0, 1024)
    )
    cameras: tuple[str, ...] = parameter(
        (), 'Namespaces of several cameras: <camera>/image -> <camera>/poses; empty: image -> poses.'
    )
    image_transport: str = parameter('raw', IMAGE_TRANSPORT, choices=IMAGE_TRANSPORTS)
    image_reliability: str = parameter('best_effort', IMAGE_RELIABILITY, choices=RELIABILITIES)
    enabled: bool = parameter(
        True, 'Answer every image; false: one of each camera for each call of ~/detect. ~/enable sets it.', live=True
    )
    overlay: bool = parameter(True, 'Draw ~/overlay, and only while somebody subscribes to it.', live=True)
    tracking: bool = parameter(True, 'Give instances ids that stay the same over time.', live=True)
    track_max_gap: float = parameter(
        0.5,
        'How long [s] an instance may be out of sight and keep its id; through three missing images it always does.',
        bounds=(0.01, 60.0), live=True,
    )  # fmt: skip
    max_rate: float = parameter(
        0.0, 'Most images answered per second and camera; 0: as many as can be.', bounds=(0.0, 1000.0), live=True
    )
    autostart: bool = parameter(True, AUTOSTART)


@dataclass(frozen=True)
class ThresholdParameters:
    """Acceptance limits `thresholds.*` of pose_node; their defaults come from the object file (core Thresholds)."""

    keypoint_score: float = parameter(
        0.25, 'Lowest heatmap peak that counts as a keypoint.', bounds=(0.0, 1.0), live=True
    )
    limb_score: float = parameter(
        0.15, 'Lowest mean agreement of the part affinity field along a limb.', bounds=(0.0, 1.0), live=True
    )
    pose_score: float = parameter(0.25, 'Lowest score of a whole instance.', bounds=(0.0, 1.0), live=True)
    min_keypoints: int = parameter(
        2, 'Instances with fewer visible keypoints are not reported.', bounds=(1, 1000), live=True
    )
    max_instances: int = parameter(
        50, 'Largest number of instances reported for one image.', bounds=(1, 1000), live=True
    )

    @property
    def core(self) -> Thresholds:
        """The same values for the estimator of the core."""
        return Thresholds(**dataclasses.asdict(self))
