"""Whether the calibration of a bag fits, by the object that is seen in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custom_pose_ros.core.measuring.lens_check import LensCheck
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.camera_supply import CameraSupply


def calibration_metrics(
    results: Sequence[FrameResult], model: ObjectModel, cameras: CameraSupply
) -> dict[str, Any] | None:
    """
    Return what metrics.json says of the calibration, and note it; None where too little is seen of the object.

    Args:
        results: of all frames, in order; images of the size that most of them have are used.
        model: the object.
        cameras: the calibration.
    """
    if model.model_points is None:
        return None
    checks: dict[tuple[int, int], LensCheck] = {}
    for result in results:
        size = result.width, result.height
        if not all(size) or not result.estimates or (camera := cameras.for_size(*size)) is None:
            continue
        check = checks.setdefault(size, LensCheck(model, camera))
        for number, pose in enumerate(result.poses()):
            estimate = result.estimate_of(number)
            if estimate is not None and estimate.ambiguity <= AMBIGUOUS and not estimate.outlier_suspected:
                check.add(result.stamp_ns * 1e-9, pose.keypoints, pose.visible, estimate.pose)
    longest = max(checks.values(), key=lambda check: check.duration_s, default=None)
    verdict = None if longest is None else longest.verdict()
    if verdict is None:
        return None
    cameras.notes.info(f'{cameras.description}: {verdict.text}')
    focal, low, high = verdict.focal_px or (None, None, None)
    change, change_low, change_high = verdict.k1_change or (None, None, None)
    return {
        'given_focal_px': verdict.given_px,
        'focal_px': focal,
        'focal_low_px': low,
        'focal_high_px': high,
        'k1_change': change,
        'k1_change_low': change_low,
        'k1_change_high': change_high,
        'fits': verdict.fits,
    }
