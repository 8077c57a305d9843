"""Reader of SLEAP projects (.slp, .pkg.slp), by sleap-io: what people labelled, with the frames of its videos."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError, reason_of
from custom_pose_ros.core.labels.categories import CategoryChoice, object_name
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    NOTE,
    REFUSED,
    SEEN,
    RawImage,
    RawInstance,
    RawLabels,
    base_name,
)
from training.pose_training.labels.readers.video_frames import VideoFrames


def read_sleap(path: Path, choice: CategoryChoice, frames: VideoFrames) -> RawLabels:
    """
    Read the labels of people; a point that is not visible has no certain place in SLEAP and counts as not labelled.

    A process of its own reads them: a damaged file can end the HDF5 library, and the process with it.

    Args:
        path: The .slp file.
        choice: Which skeletons to read.
        frames: Where its pictures and videos are; frames of videos, also of those in a package, are written there.

    Raises:
        DatasetError: sleap-io is missing or cannot read the file, or it is not clear which skeletons are meant.
    """
    if importlib.util.find_spec('sleap_io') is None:
        raise DatasetError(f'{path}: is a SLEAP file, which needs sleap-io: pip install sleap-io')
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), _silence) as pool:
        try:
            return pool.submit(_read, path, choice, frames).result()
        except BrokenProcessPool as error:
            raise DatasetError(f'{path}: is a damaged SLEAP file, which ends the library that reads it') from error


def _silence() -> None:
    """Let the libraries in this process write nothing: what is wrong is said in one line."""
    with open(os.devnull, 'wb') as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)


def _read(path: Path, choice: CategoryChoice, frames: VideoFrames) -> RawLabels:
    import sleap_io

    try:
        project = sleap_io.load_slp(str(path), open_videos=False)
        keypoints = {str(skeleton.name): list(skeleton.node_names) for skeleton in project.skeletons}
        labelled = [frame for frame in project.labeled_frames if frame.user_instances or frame.is_negative]
        used = [str(instance.skeleton.name) for frame in labelled for instance in frame.user_instances]
    except Exception as error:  # anything: the file is damaged in a place that sleap-io does not look after
        if 'truncated file' in str(error):  # so says the HDF5 library
            raise DatasetError(f'{path}: is cut off; copy it again') from error
        raise DatasetError(f'{path}: is no SLEAP file that sleap-io can read ({reason_of(error)})') from error
    if not used:
        raise DatasetError(f'{path}: nobody has labelled anything in this SLEAP file: it holds predictions only')
    chosen = choice.of(path, keypoints, used)
    skeleton = next(s for s in project.skeletons if str(s.name) == chosen[0])
    swaps = sorted(tuple(sorted(pair)) for pair in skeleton.symmetry_inds)
    labels = RawLabels(object_name(chosen), keypoints[chosen[0]], list(skeleton.edge_inds), [])
    labels.swaps = [(a, b) for a, b in swaps] or None  # none drawn: nobody says
    names = {id(video): _picture_names(labels, video, labelled, frames) for video in project.videos}
    for frame in labelled:
        if frame.frame_idx in names[id(frame.video)]:
            image = _image(labels, frame, names[id(frame.video)], chosen)
            labels.images.append(image)
    if left := len(project.labeled_frames) - len(labelled):
        labels.add(NOTE, '', '', f'{left} frames hold predictions only, left out')
    return labels


def _image(labels: RawLabels, frame: Any, names: Mapping[int, str], chosen: list[str]) -> RawImage:
    """Return a frame with its objects; predictions that nobody corrected are neither object nor background."""
    image = RawImage(names[frame.frame_idx], 0, 0)
    for number, instance in enumerate(frame.user_instances, 1):
        name = str(instance.skeleton.name)
        if name not in chosen:
            labels.add(NOTE, image.name, f'{name} {number}', 'belongs to another skeleton, left out')
            continue
        places = np.asarray(instance.numpy(), float)  # (K, 2), NaN where not visible
        points = [(float(x), float(y), SEEN) if np.isfinite([x, y]).all() else (0.0, 0.0, ABSENT) for x, y in places]
        image.instances.append(RawInstance(f'{name} {number}', points))
    for instance in frame.unused_predictions:
        places = np.asarray(instance.numpy(), float)
        places = places[np.isfinite(places).all(1)]
        if len(places):
            (left, top), (width, height) = places.min(0), np.ptp(places, axis=0)
            box = (float(left), float(top), float(width), float(height))
            image.instances.append(RawInstance('prediction', None, box))
            labels.add(NOTE, image.name, 'prediction', 'nobody corrected it: ignored, neither object nor background')
    return image


def _picture_names(labels: RawLabels, video: Any, labelled: list[Any], frames: VideoFrames) -> dict[int, str]:
    """Return number -> name of the picture of the labelled frames of a video, which are written where necessary."""
    numbers = [int(frame.frame_idx) for frame in labelled if frame.video is video]
    if isinstance(video.filename, (list, tuple)):
        return {number: str(video.filename[number]) for number in numbers if number < len(video.filename)}
    origin = video.source_video.filename if video.source_video is not None else video.filename
    name = base_name(str(origin[0] if isinstance(origin, (list, tuple)) else origin))
    try:
        if not video.exists() and (found := frames.find(str(video.filename))) is not None:
            video.replace_filename(str(found), open=False)
        if not video.exists():
            text = f'{len(numbers)} labelled frames: their video is not in {frames}: give its folder with --images'
            labels.add(REFUSED, name, '', f'{text}, or save the project as a package (.pkg.slp)')
            return {}
        video.open()
        return {number: frames.write(Path(name).stem, number, _bgr(video[number])) for number in numbers}
    except Exception as error:  # anything: the video or the package is damaged
        labels.add(REFUSED, name, '', f'its frames cannot be read ({reason_of(error)})')
        return {}


def _bgr(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) BGR of sleap-io's (H, W, 1) grey or (H, W, 3) RGB."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.shape[2] == 1 else cv2.COLOR_RGB2BGR)
