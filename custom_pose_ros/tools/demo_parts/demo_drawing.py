"""The pictures of the demo: the annotated video and one still that shows what came out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.files import VideoFile, write_image
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.progress import progress_bar
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.tools.media import VideoReader


def draw_video(
    clip: Path, out: Path, model: ObjectModel, camera: CameraIntrinsics, scores: Mapping[int, FrameScore]
) -> None:
    """Write annotated.mp4 with what was recorded for every frame of the clip, and the best frame as overlay.png."""
    still = representative_frame(scores)
    with (
        VideoReader(clip) as reader,
        VideoFile(out / 'annotated.mp4', reader.fps) as video,
        progress_bar('drawing', reader.length, 'frame') as bar,
    ):
        for frame in reader:
            score = scores.get(frame.index)
            video.write(_draw(frame.image, score, model, camera))
            if frame.index == still:
                write_image(out / 'overlay.png', _draw(frame.image, score, model, camera, names=True))
            bar.update()


def _draw(
    image: np.ndarray, score: FrameScore | None, model: ObjectModel, camera: CameraIntrinsics, names: bool = False
) -> np.ndarray:
    if score is None:
        return image
    return draw_poses(image, score.result.poses(), model, score.result.estimates, camera, names=names)


def representative_frame(scores: Mapping[int, FrameScore]) -> int | None:
    """
    Return the frame to show: among the more exact half with all keypoints found, the largest, most oblique, surest one.

    In a view along one axis of the object, another axis hides the third; the view is best when all three lean towards
    the line of sight alike. None when no frame has an orientation.
    """
    candidates = []
    for number, score in scores.items():
        if score.estimate is None or score.truth is None or score.instance < 0:
            continue
        pose = score.result.poses()[score.instance]
        if pose.visible.all():
            left, top, right, bottom = pose.box
            sight = score.truth.translation / np.linalg.norm(score.truth.translation)
            obliqueness = float(np.abs(sight @ score.truth.rotation).min())
            merit = (right - left) * (bottom - top) * obliqueness * (1 - score.estimate.ambiguity)
            candidates.append((score.rotation_error_deg, merit, number))
    candidates.sort()
    better_half = candidates[: (len(candidates) + 1) // 2]
    return max(better_half, key=lambda candidate: candidate[1])[2] if better_half else None
