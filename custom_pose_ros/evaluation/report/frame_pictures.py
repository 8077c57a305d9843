"""Pictures of frames: the annotated video, and the worst frames, fetched from the bag again, drawn with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.drawing.overlay import axis_points, draw_poses
from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import OutlineViews
from custom_pose_ros.core.video_file import VideoFile
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.frame_result import FrameResult
from custom_pose_ros.evaluation.frames.frame_sources import EvaluatedFrame
from custom_pose_ros.evaluation.scoring.frame_scores import FrameScore
from custom_pose_ros.evaluation.truth.tracks import stamp_ns
from custom_pose_ros.inference.image_messages import image_to_bgr

COUNT = 12
APART_S = 0.5  # neighbours of a bad frame are bad as well and show nothing new
MISSED = 1e6  # badness of an object that was there and not found
_WIDTH_PX = 480
_LEAST_CROP = 0.4  # of the image; a smaller part would not show where it is
_TRUTH_BGR, _OUTLINE_BGR = (255, 255, 255), (20, 20, 20)
_SEARCH_NS = 5_000_000_000  # recorded results lie behind their image in the bag by at most this


class AnnotatedVideo:
    """Draws frames into a video file; all in the size of the first one, as a video wants them."""

    def __init__(self, file: VideoFile, model: ObjectModel, outline: OutlineViews | None = None):
        self.file, self.model, self.outline = file, model, outline
        self._size: tuple[int, int] | None = None

    def add(self, frame: EvaluatedFrame) -> None:
        """Draw a frame and append it."""
        estimates = frame.result.estimates if frame.camera is not None else None
        drawing = draw_poses(frame.image, frame.poses, self.model, estimates, frame.camera, outline=self.outline)
        self._size = self._size or drawing.shape[1::-1]
        if drawing.shape[1::-1] != self._size:
            drawing = cv2.resize(drawing, self._size, interpolation=cv2.INTER_AREA)
        self.file.write(drawing)


def badness(score: FrameScore) -> float:
    """
    Return how much a frame deserves a look; the unit changes with what is known: missed, degrees, pixels.

    With truth: rotation error [deg], else keypoint error [px]. Without: an ambiguous or ill-fitting orientation.
    """
    if score.expected and not score.found:
        return MISSED
    if score.rotation_error_rad is not None:
        return score.rotation_error_deg
    if np.isfinite(score.keypoint_error_px):
        return score.keypoint_error_px
    if score.estimate is not None and score.truth is None:
        return float(np.nan_to_num(score.estimate.reprojection_error_px)) * (1.0 + score.estimate.ambiguity)
    return 0.0 if score.found or score.expected is not None else 0.5


def choose(scores: Sequence[FrameScore]) -> list[int]:
    """Return the indices of the worst frames, worst first, no two nearer than APART_S."""
    values = np.array([badness(score) for score in scores])
    chosen: list[int] = []
    for index in np.argsort(-values, kind='stable').tolist():
        if len(chosen) == COUNT or values[index] <= 0.0:
            break
        stamp = scores[index].result.stamp_ns
        if all(abs(stamp - scores[other].result.stamp_ns) >= APART_S * 1e9 for other in chosen):
            chosen.append(index)
    return chosen


def fetch_images(bag: Bag, topic: str, results: Sequence[FrameResult]) -> list[np.ndarray | None]:
    """
    Return the BGR image of each result, read from the bag again; None for those that are not there any more.

    A bag with an index is read around each result; one that is packed as a whole or damaged is read once.
    """
    images: list[np.ndarray | None] = [None] * len(results)
    groups = [[i] for i in range(len(results))] if bag.indexed else [list(range(len(results)))]
    for group in groups:
        missing, times = set(group), [results[i].time_ns for i in group]
        for message in bag.messages([topic], min(times, default=0) - _SEARCH_NS, max(times, default=0) + 1):
            for i in [i for i in missing if _may_show(message, results[i])]:
                image = _image_of(bag.decode(message), results[i])
                if image is not None:
                    images[i] = image
                    missing.discard(i)
            if not missing:
                break
    return images


def _may_show(message: StoredMessage, result: FrameResult) -> bool:
    """Whether the message can be the image of a result, by the time of recording alone."""
    if result.latency_ms is None:
        return message.time_ns == result.time_ns
    return result.time_ns - _SEARCH_NS <= message.time_ns <= result.time_ns


def _image_of(decoded: Any, result: FrameResult) -> np.ndarray | None:
    if decoded is None or stamp_ns(decoded.header) not in (result.stamp_ns, 0):
        return None
    try:
        return image_to_bgr(decoded)
    except MessageError:
        return None


def draw(
    image: np.ndarray,
    score: FrameScore,
    model: ObjectModel,
    camera: CameraIntrinsics | None,
    outline: OutlineViews | None = None,
) -> np.ndarray:
    """Return the part of the image around the object, with what was found and its axes, and the truth in white."""
    result = score.result
    poses = result.poses()
    estimates = [e for e in result.estimates if not e.coasting] if camera is not None else None
    points = [pose.keypoints[pose.visible] for pose in poses]
    drawn = image
    if score.truth is not None and camera is not None and model.model_points is not None:
        true_pixels = camera.project(score.truth.apply(model.model_points))
        drawn = _with_truth(image, true_pixels, camera.project(score.truth.apply(axis_points(model))), model)
        points.append(true_pixels[np.isfinite(true_pixels).all(1)])
    drawn = draw_poses(drawn, poses, model, estimates, camera, labels=False, outline=outline)
    drawn = _cropped(drawn, np.concatenate(points) if points else np.zeros((0, 2)))
    if drawn.shape[1] != _WIDTH_PX:
        height = round(drawn.shape[0] * _WIDTH_PX / drawn.shape[1])
        shrinks = drawn.shape[1] > _WIDTH_PX
        drawn = cv2.resize(drawn, (_WIDTH_PX, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return drawn


def _cropped(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the part of the image, in its shape, that shows the points and as much again around them."""
    size = np.array(image.shape[1::-1], float)
    points = points[((points >= 0) & (points < size)).all(1)]
    if not len(points):
        return image
    low, high = points.min(0), points.max(0)
    share = min(1.0, max(_LEAST_CROP, float(((high - low) / size).max()) * 2.0))
    wanted = np.floor(size * share)
    start = np.clip((low + high - wanted) / 2.0, 0, size - wanted).astype(int)
    stop = start + wanted.astype(int)
    return image[start[1] : stop[1], start[0] : stop[0]]


def _with_truth(image: np.ndarray, keypoints: np.ndarray, axes: np.ndarray, model: ObjectModel) -> np.ndarray:
    """Return a copy with the true skeleton and axes as white lines, and its keypoints as rings, to be drawn over."""
    image = image.copy()
    scale = max(image.shape[1] / (2 * _WIDTH_PX), 0.6)
    limit = 10 * max(image.shape)
    pixels = np.concatenate([keypoints, axes])
    near = np.isfinite(pixels).all(1) & (np.abs(np.nan_to_num(pixels)) < limit).all(1)
    points = [tuple(np.round(p).astype(int).tolist()) if good else None for p, good in zip(pixels, near)]
    origin = len(keypoints)
    lines = [*model.skeleton, *((origin, origin + i) for i in (1, 2, 3))]
    for colour, extra in ((_OUTLINE_BGR, 2), (_TRUTH_BGR, 0)):
        width = max(1, round(3 * scale)) + extra
        for a, b in lines:
            if points[a] is not None and points[b] is not None:
                cv2.line(image, points[a], points[b], colour, width, cv2.LINE_AA)
        for point in points[:origin]:
            if point is not None:
                cv2.circle(image, point, round(10 * scale), colour, width, cv2.LINE_AA)
    return image
