"""What predict finds in pictures, and what it prints and saves of it: a table, a JSON line, COCO keypoints."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.geometry.rigid import BODY_OPTICAL, IDENTITY, Rigid
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.keypoints.tracking import PoseTracker
from custom_pose_ros.core.labels.coco_file import PROPOSED, coco_category
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS, CAMERA_OPTICAL, OrientationEstimate
from custom_pose_ros.core.orientation.orientation_estimator import OrientationEstimator
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews
from custom_pose_ros.inference.estimator import Estimator

_DESCRIPTION = 'detections of custom_pose_ros predict'
REFERENCE_FRAMES = {CAMERA_OPTICAL: IDENTITY, 'camera_body': BODY_OPTICAL}


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureResult:
    """
    What was found in one picture.

    Attributes:
        source: File or webcam it came from.
        frame: Number of the video frame, None for an image file.
        stamp_s: Time since the first frame [s], 0 for an image file.
        width: Width of the picture [px].
        height: Height of the picture [px].
        poses: Instances, best first; each has a track id.
        orientations: Estimate for each track id that could be solved, in the camera optical frame; its angles are about
            the axes of the reference frame.
        refusals: Reason for each track id that could not.
        reference_frame: In which position, quaternion and angles are told, one of REFERENCE_FRAMES.
        assumed_fov_deg: Horizontal field of view of a camera without a calibration, on which all positions depend.
    """

    source: str
    frame: int | None
    stamp_s: float
    width: int
    height: int
    poses: Sequence[KeypointPose]
    orientations: dict[int | None, OrientationEstimate] = field(default_factory=dict)
    refusals: dict[int | None, str] = field(default_factory=dict)
    reference_frame: str = CAMERA_OPTICAL
    assumed_fov_deg: float | None = None

    def orientation(self, track_id: int | None) -> OrientationEstimate | None:
        """Return the estimate of a track in the reference frame, None when it could not be solved."""
        estimate = self.orientations.get(track_id)
        return estimate and estimate.in_frame(self.reference_frame, REFERENCE_FRAMES[self.reference_frame])


class PictureSequence:
    """
    Pictures of one scene in the order of time: a video, or a single image.

    Attributes:
        camera: Camera of the pictures, or None when no orientation is wanted or possible.
    """

    def __init__(
        self,
        estimator: Estimator,
        camera: CameraIntrinsics | None,
        reference_frame: str,
        outline: OutlineViews | None = None,
        assumed_fov_deg: float | None = None,
    ):
        self._estimator = estimator
        self._tracker = PoseTracker(estimator.model)
        self.camera, self._reference_frame, self._assumed_fov_deg = camera, reference_frame, assumed_fov_deg
        self._orienter = camera and OrientationEstimator(
            estimator.model, camera, reference_frame=reference_frame, outline=outline
        )

    def analyse(self, image: np.ndarray, source: str, frame: int | None = None, stamp_s: float = 0.0) -> PictureResult:
        """Find the object in the next (H, W, 3) uint8 BGR picture, taken at `stamp_s` [s]."""
        poses = self._tracker.update(self._estimator(image, None if frame is None else source), stamp_s)
        at_s = None if frame is None else stamp_s  # an image file has no track: it is judged on its own
        estimates = self._orienter.update(poses, at_s, image) if self._orienter else []
        return PictureResult(
            source=source,
            frame=frame,
            stamp_s=stamp_s,
            width=image.shape[1],
            height=image.shape[0],
            poses=poses,
            orientations={estimate.track_id: estimate for estimate in estimates if not estimate.coasting},
            refusals=dict(self._orienter.refusals) if self._orienter else {},
            reference_frame=self._reference_frame,
            assumed_fov_deg=self._assumed_fov_deg,
        )


def format_table(result: PictureResult, model: ObjectModel) -> str:
    """Return the lines a person reads: each instance with its keypoints and its orientation."""
    place = result.source if result.frame is None else f'{result.source} frame {result.frame} ({result.stamp_s:.2f} s)'
    lines = [f'{place}: {result.width}x{result.height} px, {len(result.poses)} x {model.name}']
    name_width = max(len(name) for name in model.keypoint_names)
    for pose in result.poses:
        turned = f'  or turned: {pose.ambiguity:.2f}' if pose.ambiguity > AMBIGUOUS else ''
        lines.append(f'  {model.name} {pose.track_id}  score {pose.score:.2f}{turned}')
        for k, name in enumerate(model.keypoint_names):
            if pose.visible[k]:
                x, y = pose.keypoints[k]
                lines.append(f'    {name:<{name_width}}  {x:8.1f} {y:8.1f} px  score {pose.scores[k]:.2f}')
            else:
                lines.append(f'    {name:<{name_width}}  not found')
        if (estimate := result.orientation(pose.track_id)) is not None:
            lines += _format_orientation(estimate)
        elif pose.track_id in result.refusals:
            lines.append(f'    no orientation: {result.refusals[pose.track_id]}')
    return '\n'.join(lines)


def _format_orientation(estimate: OrientationEstimate) -> list[str]:
    roll, pitch, yaw = np.rad2deg(estimate.roll_pitch_yaw)
    x, y, z = estimate.pose.translation
    distance = np.linalg.norm(estimate.pose.translation)
    warning = '  one keypoint is probably wrong' if estimate.outlier_suspected else ''
    if math.isfinite(estimate.outline_agreement):
        warning += f'  outline agrees {100.0 * estimate.outline_agreement:.0f} %'
    lines = [
        f'    roll {roll:7.1f}  pitch {pitch:6.1f}  yaw {yaw:7.1f} deg   ambiguity {estimate.ambiguity:.2f}',
        f'    x {x:10.3f}  y {y:10.3f}  z {z:9.3f} m   distance {distance:.3f} m   '
        f'reprojection {estimate.reprojection_error_px:.1f} px{warning}',
    ]
    if estimate.outline_remark:
        lines.append(f'    outline: {estimate.outline_remark}')
    if estimate.alternative is not None and estimate.ambiguity > AMBIGUOUS:
        roll, pitch, yaw = np.rad2deg(_alternative(estimate, estimate.alternative).roll_pitch_yaw)
        lines.append(
            f'    or: {roll:7.1f}        {pitch:6.1f}      {yaw:7.1f} deg   {estimate.ambiguity:.2f} times as likely'
        )
    return lines


def _alternative(estimate: OrientationEstimate, pose: Rigid) -> OrientationEstimate:
    """Return the second solution of an estimate as one of its own."""
    return replace(estimate, pose=pose, alternative=None)


def format_json(result: PictureResult, model: ObjectModel) -> str:
    """Return one line of JSON; a number that is not known is null."""
    poses = [_pose_dict(pose, result, model) for pose in result.poses]
    return json.dumps(
        {
            'source': result.source,
            'frame': result.frame,
            'stamp_s': round(result.stamp_s, 6),
            'width': result.width,
            'height': result.height,
            'object': model.name,
            'reference_frame': result.reference_frame,
            'assumed_fov_deg': result.assumed_fov_deg,
            'poses': poses,
        },
        allow_nan=False,
    )


def _pose_dict(pose: KeypointPose, result: PictureResult, model: ObjectModel) -> dict[str, Any]:
    estimate = result.orientation(pose.track_id)
    other = pose.alternative
    return {
        'track_id': pose.track_id,
        'score': _number(pose.score, 4),
        'box_px': [_number(edge, 3) for edge in pose.box],
        'keypoints': _keypoint_dicts(pose, model),
        'ambiguity': _number(pose.ambiguity, 4),
        'alternative': other and {'score': _number(other.score, 4), 'keypoints': _keypoint_dicts(other, model)},
        'orientation': None if estimate is None else _orientation_dict(estimate),
        'no_orientation_because': result.refusals.get(pose.track_id),
    }


def _keypoint_dicts(pose: KeypointPose, model: ObjectModel) -> list[dict[str, Any]]:
    return [
        {
            'name': name,
            'x_px': _number(pose.keypoints[k, 0], 3),
            'y_px': _number(pose.keypoints[k, 1], 3),
            'covariance_px2': [_number(pose.covariances[k][i], 4) for i in ((0, 0), (0, 1), (1, 1))],
            'score': _number(pose.scores[k], 4),
            'visible': bool(pose.visible[k]),
        }
        for k, name in enumerate(model.keypoint_names)
    ]


def _orientation_dict(estimate: OrientationEstimate) -> dict[str, Any]:
    other = estimate.alternative
    return {
        **_attitude_dict(estimate),
        'reprojection_error_px': _number(estimate.reprojection_error_px, 3),
        'ambiguity': _number(estimate.ambiguity, 4),
        'alternative': None if other is None else _attitude_dict(_alternative(estimate, other)),
        'keypoints_used': int(estimate.keypoints_used),
        'outlier_suspected': bool(estimate.outlier_suspected),
        'outline_agreement': _number(estimate.outline_agreement, 4),
    }


def _attitude_dict(estimate: OrientationEstimate) -> dict[str, Any]:
    roll, pitch, yaw = np.rad2deg(estimate.roll_pitch_yaw)
    return {
        'roll_deg': _number(roll, 4),
        'pitch_deg': _number(pitch, 4),
        'yaw_deg': _number(yaw, 4),
        'quaternion_xyzw': [_number(value, 7) for value in estimate.quaternion],
        'position_m': [_number(value, 5) for value in estimate.pose.translation],
    }


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


class CocoKeypoints:
    """
    Detections in COCO keypoint format: images, annotations with scores, one category.

    pycocotools.COCO loads the file; its `annotations` are also what COCO.loadRes takes. File names are relative to
    `image_root` of the `info` block, the folder that all image files have in common. A video frame is listed as
    `clip.mp4#000012`. Pixels as everywhere in this package: (0, 0) is the centre of the top-left pixel.
    """

    def __init__(self, model: ObjectModel, image_files: Sequence[Path]):
        folders = [str(path.resolve().parent) for path in image_files]
        self._model = model
        self._root = os.path.commonpath(folders) if folders else ''
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, result: PictureResult) -> None:
        """Append one picture, also when nothing was found in it."""
        image = {
            'id': len(self._images) + 1,
            'file_name': self._file_name(result),
            'width': result.width,
            'height': result.height,
        }
        if result.frame is not None:
            image |= {'frame': result.frame, 'stamp_s': round(result.stamp_s, 6)}
        self._images.append(image)
        for pose in result.poses:
            self._annotations.append({
                'id': len(self._annotations) + 1,
                'image_id': image['id'],
                'category_id': 1,
                **_annotation(pose),
            })

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file."""
        model = self._model
        category = coco_category(model.name, model.keypoint_names, model.skeleton)
        info = {'description': _DESCRIPTION, 'image_root': self._root}
        return {'info': info, 'images': self._images, 'annotations': self._annotations, 'categories': [category]}

    @staticmethod
    def wrote(content: Any) -> bool:
        """Return whether the content of a JSON file is what `to_dict` gave."""
        info = content.get('info') if isinstance(content, dict) else None
        return isinstance(info, dict) and info.get('description') == _DESCRIPTION

    def _file_name(self, result: PictureResult) -> str:
        if result.frame is None:
            return Path(os.path.relpath(Path(result.source).resolve(), self._root)).as_posix()
        return f'{Path(result.source).name}#{result.frame:06d}'


def _annotation(pose: KeypointPose) -> dict[str, Any]:
    left, top, right, bottom = (_number(edge, 3) or 0.0 for edge in pose.box)
    keypoints: list[float] = []
    for (x, y), visible in zip(pose.keypoints, pose.visible):
        keypoints += [round(float(x), 3), round(float(y), 3), 2] if visible else [0, 0, 0]
    return {
        'keypoints': keypoints,
        'num_keypoints': int(pose.visible.sum()),
        'keypoint_scores': [_number(score, 4) for score in pose.scores],
        'score': _number(pose.score, 4),
        'ambiguity': _number(pose.ambiguity, 4),
        PROPOSED: True,
        'bbox': [left, top, round(right - left, 3), round(bottom - top, 3)],
        'area': round((right - left) * (bottom - top), 3),
        'iscrowd': 0,
    }
