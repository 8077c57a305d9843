"""The pictures of the demo: the annotated video and one still that shows what came out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.files import VideoFile, write_image
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.tools.demo_results import FrameRecord, GroundTruth, Recording, frame_errors
from custom_pose_ros.tools.media import VideoReader
from custom_pose_ros.tools.progress import Progress


def draw_video(
    clip: Path, out: Path, model: ObjectModel, camera: CameraIntrinsics, recording: Recording, truth: GroundTruth
) -> None:
    """Write annotated.mp4 with what was recorded for every frame of the clip, and the best frame as overlay.png."""
    still = representative_frame(recording, truth)
    with (
        VideoReader(clip) as reader,
        VideoFile(out / 'annotated.mp4', reader.fps) as video,
        Progress('drawing', reader.length) as bar,
    ):
        for frame in reader:
            record = recording.frames.get(frame.index)
            video.write(_draw(frame.image, record, model, camera))
            if frame.index == still:
                write_image(out / 'overlay.png', _draw(frame.image, record, model, camera, names=True))
            bar.advance()


def _draw(
    image: np.ndarray, record: FrameRecord | None, model: ObjectModel, camera: CameraIntrinsics, names: bool = False
) -> np.ndarray:
    if record is None:
        return image
    return draw_poses(image, record.poses or [], model, record.orientations or [], camera, names=names)


def representative_frame(recording: Recording, truth: GroundTruth) -> int | None:
    """
    Return the frame to show: among the more exact half with all keypoints found, the largest, most oblique, surest one.

    In a view along one axis of the object, another axis hides the third; the view is best when all three lean towards
    the line of sight alike. None when no frame has an orientation.
    """
    candidates = []
    for number, record in recording.frames.items():
        errors = frame_errors(record, truth, number)
        best = record.poses[0] if record.poses else None
        if errors and best and errors.rotation_deg is not None and best.visible.all():
            left, top, right, bottom = best.box
            sight = truth.t[number] / np.linalg.norm(truth.t[number])
            obliqueness = float(np.abs(sight @ truth.R[number]).min())
            merit = (right - left) * (bottom - top) * obliqueness * (1 - errors.ambiguity)
            candidates.append((errors.rotation_deg, merit, number))
    candidates.sort()
    better_half = candidates[: (len(candidates) + 1) // 2]
    return max(better_half, key=lambda candidate: candidate[1])[2] if better_half else None
