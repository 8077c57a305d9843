"""LensWatch: compares the calibration with the tracked object, in the background, as long as it moves."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.measuring.lens_check import LensCheck, LensVerdict
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import OrientationEstimate

FIRST_S = 60.0  # of motion, before the first answer; further ones after twice the time: chance has few tries


class LensWatch:
    """
    Checks one camera; starts anew with another object or calibration.

    Attributes:
        verdict: the last answer; None before the first one.
    """

    def __init__(self) -> None:
        self.verdict: LensVerdict | None = None
        self._model: ObjectModel | None = None
        self._check: LensCheck | None = None
        self._worker: threading.Thread | None = None

    def add(
        self,
        model: ObjectModel,
        camera: CameraIntrinsics,
        stamp_s: float,
        poses: Sequence[KeypointPose],
        estimates: Sequence[OrientationEstimate],
    ) -> None:
        """Use what was found in one image; an answer that is due is worked out in a thread of its own."""
        if self._worker is not None and self._worker.is_alive():
            return
        if self._check is None or self._model is not model or self._check.camera is not camera:
            self.verdict, self._model, self._check, self._due_s = None, model, LensCheck(model, camera), FIRST_S
        by_track = {pose.track_id: pose for pose in poses}
        for estimate in estimates:
            if (pose := by_track.get(estimate.track_id)) is not None:
                self._check.add(stamp_s, pose, estimate)
        if self._check.duration_s >= self._due_s:
            self._due_s *= 2.0
            self._worker = threading.Thread(target=self._answer, args=(self._check,), daemon=True)
            self._worker.start()

    def _answer(self, check: LensCheck) -> None:
        self.verdict = check.verdict()

    @property
    def row(self) -> str:
        """What diagnostics say."""
        return 'not known yet' if self.verdict is None else self.verdict.text

    @property
    def problems(self) -> list[str]:
        """The answer where the calibration does not fit."""
        return [self.verdict.text] if self.verdict is not None and self.verdict.fits is False else []
