"""A few sharp frames of a recording that differ from each other: of a video, or of a bag's image topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.pictures import evenly
from training.pose_training.labels.film import Film, FilmFrame, open_films

LOOKED_AT = 240  # frames of a recording, evenly spread
THUMBNAIL = (16, 12)
BLURRED = 0.4  # of the median sharpness: what is below it is not taken
SAME = 4.0  # grey levels between the thumbnails of pictures that show the same


def sharp_frames(source: Path, count: int, topic: str | None = None) -> list[np.ndarray]:
    """
    Return at most `count` frames (H, W, 3) uint8 BGR of a recording.

    Args:
        source: a video, or a bag (rosbag2 or ROS 1).
        count: of the frames.
        topic: of the images of a bag; None for the only one.

    Raises:
        DatasetError: there is no frame in it.
        UsageError: the bag has several cameras, or none; or a topic is given, and it is a video.
    """
    (film,) = open_films([source], topic)
    looks = list(map(look_at, spread_frames(film)))
    chosen = {looks[i].number for i in unlike(looks, count)}
    return [frame.image for frame in film.frames(chosen)]  # again: all at once are gigabytes


class Look(NamedTuple):
    """
    What a frame looks like.

    Attributes:
        number: Of the frame.
        sharpness: Of its details; larger is sharper.
        thumbnail: (H W,) grey levels of a small copy.
    """

    number: int
    sharpness: float
    thumbnail: np.ndarray


def look_at(frame: FilmFrame) -> Look:
    """Return what a frame looks like."""
    small = cv2.cvtColor(cv2.resize(frame.image, (320, 240), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    thumbnail = cv2.resize(small, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    return Look(frame.number, float(cv2.Laplacian(small, cv2.CV_32F).var()), thumbnail)


def spread_frames(film: Film) -> Iterator[FilmFrame]:
    """
    Yield frames that are spread evenly over a film.

    Raises:
        DatasetError: There is no frame in it.
    """
    frame = None
    for frame in film.frames(set(evenly(film.count, LOOKED_AT))):
        yield frame
    if frame is None:
        raise DatasetError(f'{film.source}: no picture in it can be read')


def unlike(looks: Sequence[Look], count: int, worth: np.ndarray | None = None, same: float = SAME) -> list[int]:
    """
    Return indices of sharp frames in their order: the best one, and always the one that differs most from those taken.

    Args:
        looks: Of the frames.
        count: Of those to take, at most: what looks the same as another one is not taken.
        worth: (N,) how much each frame is wanted beside others, from 0 on; None: all alike, and the sharpest one first.
        same: Grey levels between the thumbnails of what looks the same.
    """
    sharpness = np.array([look.sharpness for look in looks])
    thumbnails = np.array([look.thumbnail for look in looks])
    sharp = sharpness >= BLURRED * np.median(sharpness)
    wanted = np.ones(len(looks)) if worth is None else 1 + worth
    chosen = [int((sharpness if worth is None else wanted * sharp).argmax())]
    distance = np.abs(thumbnails - thumbnails[chosen[0]]).mean(1)
    while len(chosen) < count:
        farthest = int(np.where(sharp & (distance >= same), distance * wanted, -1).argmax())
        if not sharp[farthest] or distance[farthest] < same or farthest in chosen:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, np.abs(thumbnails - thumbnails[farthest]).mean(1))
    return sorted(chosen)
