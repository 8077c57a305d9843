"""Labels of a film from a few clicked frames: which frames these are, and what is proposed for the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.geometry.camera import CameraIntrinsics
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, UNKNOWN
from training.pose_training.footage.clicked_body import FEWEST_KEYPOINTS, FEWEST_PICTURES
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.footage.keypoint_paths import follow_keypoints
from training.pose_training.footage.rigid_propagation import REACH, Proposals, RigidPropagation
from training.pose_training.labels.checking import CheckedImage
from training.pose_training.labels.dataset_writer import load_pixels
from training.pose_training.labels.film import Film
from training.pose_training.labels.sharp_frames import Look, look_at

_SMALL = (64, 48)
_SHORTLIST = 15  # frames that are compared with a clicked picture in full
_KEPT_BYTES = 1 << 29  # of grey copies of all frames: the rest of a longer film is read again where it is needed
_ALIKE = 1.0  # grey levels that the small copies of these may differ more from it than the nearest one
_SAME = 4.0  # grey levels between a frame and a picture of it, compressed once more
_LEAST_ERROR_PX = 1.5  # allowed at any size
_ERROR_SHARE = 0.01  # of the object's size: expected error of a proposed keypoint, at most
_HIDDEN_FACTOR = 2.0  # by which a hidden one may be less exact: it is clicked less exactly, and weighs less in training
_OFF_SHARE = 0.03  # of the object's size, off the rigid body: such a click is worth a look
_OFF_PX = 4.0
_MOST_OFF = 0.2  # of the clicks: with more the object is not rigid
_ASKED = 3  # frames that are worth a click, at most


@dataclass
class ClickedFilm:
    """
    What became of one film.

    Attributes:
        film: The film.
        clicks: By frame: (K, 3) x, y [px of the film] and state, as a person labelled them.
        handed_on: Frames of these whose labels were proposed before and handed in as they were.
        points: By frame: the same, of the frames in which every keypoint is known.
        errors: By frame: (K,) expected errors of these [px].
        doubtful: By frame: the same as `points`, without a label where it is in doubt.
        contradictions: By frame: of clicks that no rigid object explains together with the others, by keypoint, how
            far off they are [px of the film].
        looks: Of all frames within reach.
        size: Width and height of the film [px].
        count: Number of frames of the film.
        notes: What a person should know.
        asked: Frames that are worth a click.
    """

    film: Film
    clicks: dict[int, np.ndarray] = field(default_factory=dict)
    handed_on: set[int] = field(default_factory=set)
    points: dict[int, np.ndarray] = field(default_factory=dict)
    errors: dict[int, np.ndarray] = field(default_factory=dict)
    doubtful: dict[int, np.ndarray] = field(default_factory=dict)
    contradictions: dict[int, dict[int, float]] = field(default_factory=dict)
    looks: dict[int, Look] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    count: int = 0
    notes: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)


def propagate(
    film: Film,
    pictures: Sequence[CheckedImage],
    keypoint_names: Sequence[str],
    camera_for: Callable[[int, int], CameraIntrinsics | None],
    rigid: bool,
) -> ClickedFilm:
    """
    Propose labels for the frames of a film around the clicked ones.

    Args:
        film: The film.
        pictures: Labelled pictures, of this film or of others.
        keypoint_names: K names, for the notes.
        camera_for: Returns the camera of pictures with a width and height [px], None where nobody knows.
        rigid: False for an object that bends.

    Raises:
        DatasetError: A frame is labelled twice, in two ways, or shows several objects.
    """
    result = ClickedFilm(film)
    numbers, small, camera, greys = _copies(result, camera_for)
    clicked = [match for picture in pictures if (match := _shortlist(picture, numbers, small, camera)) is not None]
    if not clicked:
        return result
    wanted = _within(numbers, {number for match in clicked for number in match.numbers})
    if missing := wanted - set(greys):
        for frame in film.frames(missing):
            greys[frame.number] = camera.copy(frame.image)
            result.looks[frame.number] = look_at(frame)
    greys = {number: grey for number, grey in greys.items() if number in wanted}
    for match in clicked:
        _match(result, match, greys, camera)
    if len(result.clicks) < 2:
        return result
    reach = _within(numbers, set(result.clicks))
    greys = {number: grey for number, grey in greys.items() if number in reach}
    proposals = _proposals(result, greys, camera, rigid)
    _sort_out(result, proposals, keypoint_names, len(reach))
    return result


def _copies(
    result: ClickedFilm, camera_for: Callable[[int, int], CameraIntrinsics | None]
) -> tuple[np.ndarray, np.ndarray, FilmCamera, dict[int, np.ndarray]]:
    """
    Read a film once, and say of the result how long and large it is, and what its frames look like.

    Returns:
        Numbers (F,) and small grey copies (F, h w) of all frames, the camera, and the copies in which points are
        followed, by number, of as many frames as memory is allowed for.
    """
    film, camera = result.film, None
    numbers, small, greys = [], [], {}
    for frame in film.frames():
        size = frame.image.shape[1::-1]
        if camera is None:
            camera, result.size = FilmCamera(*size, camera_for(*size)), size
        elif size != result.size:
            shown = ', '.join(f'{width} x {height}' for width, height in sorted((result.size, size)))
            raise DatasetError(f'{film.source}: holds pictures of several sizes ({shown}), so that it is not one film')
        numbers.append(frame.number)
        small.append(_small(frame.image))
        grey = camera.copy(frame.image)
        if len(greys) * grey.size < _KEPT_BYTES:
            greys[frame.number] = grey
            result.looks[frame.number] = look_at(frame)
    if camera is None:
        raise DatasetError(f'{film.source}: no picture in it can be read')
    result.count = len(numbers)
    return np.array(numbers), np.array(small), camera, greys


def _small(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(image, _SMALL, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).ravel()


class _Shortlist(NamedTuple):
    """
    A labelled picture that may be a frame of the film.

    Attributes:
        picture: With its labels.
        grey: Its copy, of the size of those of the frames.
        numbers: Of the frames that it may be, one at least.
    """

    picture: CheckedImage
    grey: np.ndarray
    numbers: list[int]


def _shortlist(picture: CheckedImage, numbers: np.ndarray, small: np.ndarray, camera: FilmCamera) -> _Shortlist | None:
    """Return the frames that a labelled picture may be, None where it can be none."""
    width, height = camera.width, camera.height
    if not picture.instances or abs(picture.width * height - picture.height * width) > max(
        width, height, picture.width
    ):
        return None
    pixels = load_pixels(picture)
    distances = np.abs(small.astype(np.int16) - _small(pixels)).mean(1)
    order = distances.argsort(kind='stable')[:_SHORTLIST]
    found = numbers[order[distances[order] <= min(distances.min() + _ALIKE, 1.5 * _SAME)]].tolist()
    if not found:
        return None
    grey = camera.copy(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
    return _Shortlist(picture, grey, found)


def _within(numbers: np.ndarray, chosen: set[int]) -> set[int]:
    """Return the numbers within reach of chosen ones."""
    marks = np.array(sorted(chosen))
    at = np.searchsorted(marks, numbers)
    before = np.abs(numbers - marks[np.clip(at - 1, 0, None)])
    after = np.abs(numbers - marks[np.clip(at, None, len(marks) - 1)])
    return set(numbers[np.minimum(before, after) <= REACH].tolist())


def _match(result: ClickedFilm, shortlist: _Shortlist, greys: dict[int, np.ndarray], camera: FilmCamera) -> None:
    """Add the labels of a picture to the clicks, where a frame of the shortlist is what it shows."""
    picture = shortlist.picture
    distances = [float(cv2.absdiff(shortlist.grey, greys[number]).mean()) for number in shortlist.numbers]
    best = int(np.argmin(distances))
    if distances[best] > _SAME:
        return
    if len(picture.instances) > 1:
        raise DatasetError(
            f'{picture.name}: shows {len(picture.instances)} objects; one is followed through a film: '
            'leave the labels of the others out'
        )
    points = picture.instances[0].copy()
    factors = np.array([camera.width / picture.width, camera.height / picture.height])
    points[:, :2] = (points[:, :2] + 0.5) * factors - 0.5
    number = shortlist.numbers[best]
    known = result.clicks.get(number)
    if known is not None and not np.allclose(known, points, atol=1.0):
        raise DatasetError(f'{picture.name}: shows the same frame of {result.film.source} as another picture')
    result.clicks[number] = points
    if picture.proposed:
        result.handed_on.add(number)


def _proposals(result: ClickedFilm, greys: dict[int, np.ndarray], camera: FilmCamera, rigid: bool) -> Proposals:
    """Return what the rigid body proposes, or for an object that is none its keypoints one by one."""
    states = np.array([points[:, 2] for points in result.clicks.values()])
    if rigid and len(states) >= FEWEST_PICTURES and ((states > 0).sum(0) >= 2).sum() >= FEWEST_KEYPOINTS:
        most = max(_OFF_PX, _OFF_SHARE * _size(result.clicks)) * camera.scale
        propagation = RigidPropagation(result.clicks, camera, most_off_px=most)
        off, count = propagation.contradicting.sum(), np.isfinite(propagation.click_errors).sum()
        if off <= _MOST_OFF * count:
            proposals = propagation.propose(greys)
            for c, k in np.argwhere(propagation.contradicting).tolist():
                found = result.contradictions.setdefault(propagation.clicked[c], {})
                found[k] = float(propagation.click_errors[c, k] / camera.scale)
            return proposals
        result.notes.append(f'{off} of {count} clicks are off any rigid object: each keypoint is followed on its own')
    elif rigid:
        result.notes.append(
            f'each keypoint is followed on its own: a rigid object takes {FEWEST_PICTURES} clicked frames and '
            f'{FEWEST_KEYPOINTS} keypoints that are clicked twice'
        )
    return follow_keypoints(result.clicks, greys, camera)


def _size(clicks: dict[int, np.ndarray]) -> float:
    """Return the median of the longer side of the clicked keypoints [px]."""
    return float(np.median([np.ptp(points[points[:, 2] > 0, :2], axis=0).max() for points in clicks.values()]))


def _sort_out(result: ClickedFilm, proposals: Proposals, keypoint_names: Sequence[str], in_reach: int) -> None:
    """Keep frames in which every keypoint is known, apart from those with one in doubt; say what is unknown."""
    most = max(_LEAST_ERROR_PX, _ERROR_SHARE * _size(result.clicks))
    doubts = np.zeros(len(keypoint_names), int)
    runs: list[int] = []
    for number, points, errors in zip(proposals.numbers.tolist(), proposals.points, proposals.sigmas):
        if number in result.clicks:
            continue
        near = errors <= np.where(points[:, 2] == HIDDEN, _HIDDEN_FACTOR * most, most)
        points[near & ~_inside(points, result), 2] = ABSENT
        labelled = points[:, 2] != ABSENT
        unknown = (points[:, 2] == UNKNOWN) | (labelled & ~near)
        kept = np.where((unknown | ~labelled)[:, None], 0.0, points)
        if not unknown.any():
            result.points[number], result.errors[number] = kept, errors
            continue
        doubts += unknown
        runs.append(number)
        if 2 * (kept[:, 2] > 0).sum() >= labelled.sum():
            result.doubtful[number], result.errors[number] = kept, errors
    result.asked = _middles(runs)
    if runs:
        names = ', '.join(f'{keypoint_names[k]} in {doubts[k]}' for k in np.argsort(-doubts) if doubts[k])
        result.notes.append(f'in doubt in {len(runs)} frames: {names}')
    if lost := in_reach - len(proposals.numbers):
        result.notes.append(f'{lost} frames are not reached: the object is lost on the way')
    if far := result.count - in_reach:
        result.notes.append(f'{far} frames are more than {REACH} frames from any clicked one')


def _inside(points: np.ndarray, result: ClickedFilm) -> np.ndarray:
    """Return (K,) whether places lie in the picture."""
    return (points[:, :2] >= 0).all(1) & (points[:, :2] <= np.array(result.size) - 1).all(1)


def _middles(numbers: Sequence[int]) -> list[int]:
    """Return the middles of the longest runs of numbers, in their order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    longest = sorted(runs, key=len, reverse=True)[:_ASKED]
    return sorted(run[len(run) // 2] for run in longest)
