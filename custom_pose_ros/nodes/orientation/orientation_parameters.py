"""The parameters of orientation_node: default, description, range, live or read-only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from custom_pose_ros.core.limits import MIN_FOV_DEG
from custom_pose_ros.core.orientation.filter_models import FilterParameters
from custom_pose_ros.nodes.ros.parameters import (
    AUTOSTART,
    IMAGE_RELIABILITY,
    IMAGE_TRANSPORT,
    IMAGE_TRANSPORTS,
    RELIABILITIES,
    SWITCHED,
    parameter,
)

OUTLINE = 'outline'


@dataclass(frozen=True)
class OrientationNodeParameters:
    """Parameters of orientation_node, besides `filter.*` (FilterNodeParameters)."""

    object: str = parameter(
        'submarine',
        f'Whose orientation: a folder with object.yaml, an object.yaml, or the name of an installed object. {SWITCHED}',
        live=True,
    )
    reference_frame: str = parameter(
        'camera_optical',
        'Frame of every published pose: camera_optical (frame of the image, z forward), camera_body (REP 103: '
        'x forward, y left, z up, named <image frame>_body), or the name of any TF frame (needs tf2_ros).',
    )
    tf_timeout: float = parameter(
        0.1, 'How long [s] to wait for the transform to a TF reference_frame.', bounds=(0.0, 5.0), live=True
    )
    cameras: tuple[str, ...] = parameter(
        (), 'Namespaces of several cameras: <camera>/poses and <camera>/camera_info -> <camera>/orientations and so on.'
    )
    camera_calibration: str = parameter(
        '',
        'camera_calibration YAML file that replaces camera_info; {camera} in it stands for each of several cameras; '
        'empty: camera_info is subscribed.',
    )
    fusion: bool = parameter(
        False,
        'One pose for each object from all cameras, on fused/orientations and so on; wants several cameras and a '
        'reference_frame of TF.',
    )
    image_rectified: bool = parameter(
        False,
        'Whether the keypoints come from rectified images, so that P of the calibration is used, without distortion; '
        'false: by the name of the image topic, such as image_rect.',
    )
    camera_info_timeout: float = parameter(
        5.0, 'How long [s] to wait for camera_info, from the first poses, before the fallback is used.',
        bounds=(0.0, 3600.0), live=True,
    )  # fmt: skip
    fallback_fov_deg: float = parameter(
        60.0,
        f'Horizontal field of view [deg] assumed without camera_info, at least {MIN_FOV_DEG}, with a warning; '
        '0: no fallback.',
        bounds=(0.0, 170.0), live=True,
    )  # fmt: skip
    smoothing: bool = parameter(True, 'Filter each track over time; false: what each image says on its own.', live=True)
    refine: str = parameter(
        'off',
        "outline: correct poses by the object's outline in their images, which are subscribed then (docs/outline.md).",
        choices=('off', OUTLINE),
    )
    outline_file: str = parameter(
        '', 'What training/outline.py has written; empty: outline.npz beside the object.yaml. Used by refine: outline.'
    )
    refine_wait: float = parameter(
        0.02,
        'How long [s] keypoints wait for their image where it has not come yet; then the pose goes out without it.',
        bounds=(0.0, 1.0), live=True,
    )  # fmt: skip
    camera_rate: bool = parameter(
        False,
        'Answer every image as it comes, followed by the outline, and take in keypoints when they come; wants refine: '
        'outline and smoothing. The network may then run at fewer images, see max_rate of pose_node.',
    )
    image_transport: str = parameter('raw', IMAGE_TRANSPORT, choices=IMAGE_TRANSPORTS)
    image_reliability: str = parameter('best_effort', IMAGE_RELIABILITY, choices=RELIABILITIES)
    track_id: int = parameter(
        -1,
        'Instance that pose, pose_with_covariance, quaternion and euler are about; -1: the one with the best score.',
        bounds=(-1, 2**31 - 1), live=True,
    )  # fmt: skip
    publish_tf: bool = parameter(True, 'Publish camera optical frame -> <object>_<track id> on /tf.', live=True)
    publish_markers: bool = parameter(True, 'Publish ~/markers, and only while somebody subscribes to it.', live=True)
    autostart: bool = parameter(True, AUTOSTART)


@dataclass(frozen=True)
class FilterNodeParameters:
    """What the object can do, `filter.*` of orientation_node; the defaults are those of core FilterParameters."""

    max_speed: float = parameter(
        FilterParameters.max_speed, 'Speed relative to the camera [m/s] that is rarely passed.', bounds=(1e-3, 100.0),
        live=True,
    )  # fmt: skip
    max_angular_speed: float = parameter(
        FilterParameters.max_angular_speed, 'Angular speed relative to the camera [rad/s] that is rarely passed.',
        bounds=(1e-3, 100.0), live=True,
    )  # fmt: skip
    max_acceleration: float = parameter(
        FilterParameters.max_acceleration,
        'Acceleration relative to the camera [m/s^2] that is rarely passed; less is smoother, more follows faster.',
        bounds=(1e-3, 1000.0), live=True,
    )  # fmt: skip
    max_angular_acceleration: float = parameter(
        FilterParameters.max_angular_acceleration,
        'Angular acceleration relative to the camera [rad/s^2] that is rarely passed.', bounds=(1e-3, 1000.0),
        live=True,
    )  # fmt: skip
    manoeuvre_time_s: float = parameter(
        FilterParameters.manoeuvre_time_s, 'How long [s] an acceleration lasts before it is another.',
        bounds=(1e-2, 100.0), live=True,
    )  # fmt: skip
    max_gap_s: float = parameter(
        FilterParameters.max_gap_s,
        'How long [s] an instance without usable keypoints is predicted, with growing covariance, before it is lost; '
        'through three missing images it always is.',
        bounds=(1e-2, 60.0), live=True,
    )  # fmt: skip
    switch_rate_hz: float = parameter(
        FilterParameters.switch_rate_hz,
        'How often per second the belief in one of two mirrored attitudes may be wrong; more recovers faster from a '
        'wrong choice and is undecided more often.',
        bounds=(1e-6, 10.0), live=True,
    )  # fmt: skip
    max_hypotheses: int = parameter(
        FilterParameters.max_hypotheses, 'Most attitudes kept for one instance.', bounds=(2, 50), live=True
    )

    @property
    def core(self) -> FilterParameters:
        """The same values for the filter of the core."""
        return FilterParameters(**dataclasses.asdict(self))
