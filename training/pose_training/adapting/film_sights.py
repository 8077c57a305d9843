"""What a network finds in the frames of a film, and how far turned and enlarged copies of each frame agree on it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import SEEN
from custom_pose_ros.inference.copies import CopiesEstimator, averaged
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.labels.film import Film

COPIES = 4
_MOST_APART = 3  # frames from one that the network looks at to the next one; the flow goes through those between
_FEWEST_LOOKS = 40  # of a film, if it has so many frames
_RUN = 40  # consecutive frames of a film that is too long to be looked at as a whole
_UNDECIDED = 0.5  # ambiguity of a copy, from which on it does not tell which way the object is turned
SURE_SHARE = 0.03  # of the object's size: spread over the copies, and steps against the flow, of a keypoint to use
_FEWEST_COPIES = 0.75  # of all, in which an instance has to be found


@dataclass(frozen=True, eq=False)
class Sight:
    """
    One instance in one frame.

    Attributes:
        pose: Averaged over the copies.
        spread_px: (K,) distances of the copies' keypoints from these (root of the mean square); NaN where not found.
        share: Of the copies, in which it is found.
        contradicted: Some copy has the object turned the other way, or leaves that open.
    """

    pose: KeypointPose
    spread_px: np.ndarray
    share: float
    contradicted: bool

    @classmethod
    def of_copies(cls, copies: list[KeypointPose | None]) -> Sight:
        """Return an instance of what each copy shows of it, as `CopiesEstimator.in_copies` gives it."""
        found = [pose for pose in copies if pose is not None]
        pose = averaged(found, len(copies))
        squares = np.array([((own.keypoints - pose.keypoints) ** 2).sum(1) for own in found])
        known = np.isfinite(squares)
        spread = np.sqrt(np.where(known, squares, 0).sum(0) / np.maximum(known.sum(0), 1))
        contradicted = any(own.ambiguity >= _UNDECIDED for own in found)
        return cls(pose, np.where(pose.visible, spread, np.nan), len(found) / len(copies), contradicted)

    @property
    def agreed(self) -> bool:
        """Whether most copies show it, and all of those the same way round."""
        return self.share >= _FEWEST_COPIES and not self.contradicted and bool(self.pose.visible.any())

    @property
    def size_px(self) -> float:
        """Longer side of its keypoints' box."""
        left, top, right, bottom = self.pose.box
        return max(right - left, bottom - top, 1.0)

    def sure_points(self) -> np.ndarray:
        """Return (K, 3) x, y [px] and SEEN, or 0 where the copies do not agree on a keypoint."""
        sure = self.pose.visible & (np.nan_to_num(self.spread_px, nan=np.inf) <= SURE_SHARE * self.size_px)
        return np.column_stack([np.where(sure[:, None], self.pose.keypoints, 0.0), np.where(sure, SEEN, 0)])


@dataclass(eq=False)
class FilmSights:
    """
    A film as a network sees it.

    Attributes:
        film: The film.
        camera: Of the film.
        sights: By frame that the network looked at: the instances.
        greys: By frame: the copy in which points are followed.
        step: From one of these frames to the next one that the network looked at.
    """

    film: Film
    camera: FilmCamera
    sights: dict[int, list[Sight]] = field(default_factory=dict)
    greys: dict[int, np.ndarray] = field(default_factory=dict)
    step: int = 1


def chosen_frames(count: int, most: int) -> list[int]:
    """Return the frames to look at, of so many: all, or runs of consecutive ones that are spread evenly."""
    if count <= most:
        return list(range(count))
    length = min(_RUN, most)
    starts = np.linspace(0, count - length, max(1, most // length)).round().astype(int)
    return sorted({number for start in starts.tolist() for number in range(start, start + length)})


def look_at_film(film: Film, numbers: list[int], estimator: CopiesEstimator, camera: FilmCamera) -> FilmSights:
    """
    Return what is found in some of the frames of a film, and copies of all of them.

    Raises:
        DatasetError: No picture in it can be read, or their sizes differ.
    """
    step = min(_MOST_APART, max(1, len(numbers) // _FEWEST_LOOKS))
    looked_at = set(numbers[::step])
    result = FilmSights(film, camera, step=step)
    with progress_bar(f'find keypoints in {film.source.name}', len(looked_at), 'frame') as bar:
        for frame in film.frames(set(numbers)):
            height, width = frame.image.shape[:2]
            if (width, height) != (camera.width, camera.height):
                raise DatasetError(
                    f'{film.source}: frame {frame.number} has {width} x {height} pixels, those before it '
                    f'{camera.width} x {camera.height}, so that it is not one film'
                )
            result.greys[frame.number] = camera.copy(frame.image)
            if frame.number in looked_at:
                result.sights[frame.number] = [Sight.of_copies(copies) for copies in estimator.in_copies(frame.image)]
                bar.update()
    if not result.sights:
        raise DatasetError(f'{film.source}: no picture in it can be read')
    return result
