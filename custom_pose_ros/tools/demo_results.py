"""The figures, the annotated video and the still picture of the demo, from the score of what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.drawing.overlay import draw_poses
from custom_pose_ros.core.files import write_image
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.evaluation.scoring.summary import distribution
from custom_pose_ros.tools.media import VideoReader


def summarise(scores: Sequence[FrameScore], frames_sent: int, frames_dropped: int) -> dict[str, Any]:
    """
    Return the figures of a run, as written to summary.json; a figure without any value is None.

    Frames dropped are those that pose_node skipped because a newer one had come; the rest of the frames sent and not
    processed was lost on the way. Latency runs from the stamp of an image to the reception of its orientations in
    another process.
    """
    processed = [score for score in scores if score.result.width]  # as pose_node tells it with its result
    keypoints_px = [e for score in scores if score.keypoint_errors_px is not None for e in score.keypoint_errors_px]
    measured = [score for score in scores if score.rotation_error_rad is not None]
    latency = _figures((score.result.latency_ms for score in scores if score.result.estimates), 'median', 'p95')
    times_ns = sorted(score.result.time_ns for score in processed)
    span_s = (times_ns[-1] - times_ns[0]) / 1e9 if times_ns else 0.0
    return {
        'frames_sent': frames_sent,
        'frames_processed': len(processed),
        'frames_dropped': frames_dropped,
        'detection_rate': round(sum(score.found for score in scores) / frames_sent, 4),
        'orientation_rate': round(len(measured) / frames_sent, 4),
        'keypoint_error_px': _figures(keypoints_px, 'mean', 'p95'),
        'rotation_error_deg': _figures((score.rotation_error_deg for score in measured), 'median', 'p90'),
        'translation_error_m': _figures((score.translation_error_m for score in measured), 'median'),
        'latency_ms': {'p50': latency['median'], 'p95': latency['p95']},
        'fps': round((len(processed) - 1) / span_s, 2) if span_s else None,
    }


def _figures(values: Iterable[float], *names: str) -> dict[str, float | None]:
    """Return these figures of the finite values; None where there are none."""
    figures = distribution(values)
    return {name: figures[name] and round(figures[name], 4) for name in names}


def format_summary(summary: Mapping[str, Any]) -> str:
    """Return the figures as the lines of a small table; a figure that is not known is '-'."""
    keypoints, rotation, latency = summary['keypoint_error_px'], summary['rotation_error_deg'], summary['latency_ms']
    lost = summary['frames_sent'] - summary['frames_processed'] - summary['frames_dropped']
    rows = [
        ('frames sent', f'{summary["frames_sent"]}, processed {summary["frames_processed"]}'),
        ('frames dropped for a newer one', f'{summary["frames_dropped"]}, lost on the way {lost}'),
        ('object found', _shares(summary, 'detection_rate')),
        ('orientation solved', _shares(summary, 'orientation_rate')),
        ('keypoint error', f'mean {_text(keypoints["mean"])} px, p95 {_text(keypoints["p95"])} px'),
        ('rotation error', f'median {_text(rotation["median"])} deg, p90 {_text(rotation["p90"])} deg'),
        ('position error', f'median {_text(summary["translation_error_m"]["median"], 1000, 1)} mm'),
        ('latency image to orientation', f'p50 {_text(latency["p50"], 1, 1)} ms, p95 {_text(latency["p95"], 1, 1)} ms'),
        ('rate', f'{_text(summary["fps"], 1, 1)} frames/s'),
    ]
    width = max(len(title) for title, _ in rows)
    return '\n'.join(f'  {title:<{width}}  {value}' for title, value in rows)


def _shares(summary: Mapping[str, Any], rate: str) -> str:
    """Return a rate of the frames sent as it is, and of those that were processed: a busy computer drops frames."""
    sent, processed = summary['frames_sent'], summary['frames_processed']
    of_processed = summary[rate] * sent / processed if processed else None
    return f'{_text(summary[rate], 100, 1)} % of the frames sent, {_text(of_processed, 100, 1)} % of those processed'


def _text(value: float | None, factor: float = 1.0, digits: int = 2) -> str:
    return '-' if value is None else f'{value * factor:.{digits}f}'


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
