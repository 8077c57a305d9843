"""Labels of a thing that bends, from a film of three textured patches that move apart and together again."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import SEEN, UNKNOWN
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.adapting.film_labels import UNKNOWN_PLACES
from training.pose_training.adapting.film_sights import FilmSights, Sight
from training.pose_training.adapting.labelling import label_film
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.labels.film import Film

COUNT, WIDTH, HEIGHT, PATCH, STEP = 45, 240, 180, 25, 3
NOISE_PX = 1.0
WORM = ObjectModel(
    name='worm', keypoint_names=('head', 'middle', 'tail', 'ghost'), skeleton=((0, 1), (1, 2), (2, 3)),
    sigmas=np.full(4, 0.05),
)  # fmt: skip


def places_at(number: int) -> np.ndarray:
    """Return (3, 2) the middles of the patches [px]: the outer ones swing against each other by half of its length."""
    swing = 30 * np.sin(number / 8)
    return np.array([[50 + swing, 60 + number], [120, 90 + swing / 2], [190 - swing, 110 - number / 2]])


def texture(seed: int, size: tuple[int, int]) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1] // 4 + 1, size[0] // 4 + 1), np.uint8)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)


def grey_at(number: int) -> np.ndarray:
    grey = texture(9, (WIDTH, HEIGHT)) // 3
    for patch, place in enumerate(places_at(number)):
        shift = np.array([[1, 0, place[0] - PATCH // 2], [0, 1, place[1] - PATCH // 2]])
        moved = cv2.warpAffine(texture(patch, (PATCH, PATCH)), shift, (WIDTH, HEIGHT))
        mask = cv2.warpAffine(np.full((PATCH, PATCH), 255, np.uint8), shift, (WIDTH, HEIGHT))
        grey[mask > 127] = moved[mask > 127]
    return grey


def sight_at(number: int, rng: np.random.Generator) -> Sight:
    """Return what a network finds in most copies: patches within 1 px, and a fourth keypoint that jumps about."""
    points = np.vstack([places_at(number) + rng.normal(0, NOISE_PX, (3, 2)), rng.uniform(20, 150, 2)])
    pose = KeypointPose(
        keypoints=points, covariances=np.tile(np.eye(2), (4, 1, 1)), scores=np.full(4, 0.9),
        visible=np.ones(4, bool), score=0.9,
    )  # fmt: skip
    return Sight(pose, np.full(4, 1.0), 1.0, contradicted=False)


@pytest.fixture(scope='module')
def greys() -> dict[int, np.ndarray]:
    return {number: grey_at(number) for number in range(COUNT)}


@pytest.fixture
def seen(greys, tmp_path) -> FilmSights:
    """Return a film of which the network looked at every third frame, as at longer ones."""
    rng = np.random.default_rng(0)
    sights = {number: [sight_at(number, rng)] for number in range(0, COUNT, STEP)}
    return FilmSights(Film(tmp_path), FilmCamera(WIDTH, HEIGHT), sights, dict(greys), STEP)


def test_what_moves_as_the_pictures_do_is_learned_and_what_jumps_is_not(seen):
    labels = label_film(seen, WORM)
    assert not labels.rigid and len(labels.points) == COUNT // STEP
    states = np.array([points[:, 2] for points in labels.points.values()])
    assert (states[:, :3] == SEEN).mean() > 0.9
    assert (states[:, 3] == UNKNOWN).all()
    for number, points in labels.points.items():
        assert np.abs(points[:3, :2] - places_at(number)).max() < 4 * NOISE_PX  # those of the network itself


def test_frames_whose_keypoints_do_not_follow_are_left_out(seen):
    for number in (9, 24):
        sight = seen.sights[number][0]
        sight.pose.keypoints[:3] += 25.0
    labels = label_film(seen, WORM)
    assert {9, 24}.isdisjoint(labels.points) and labels.rejected[UNKNOWN_PLACES] == 2


def test_pictures_in_disorder_are_refused(seen, greys):
    order = np.random.default_rng(1).permutation(COUNT).tolist()
    seen.greys = {number: texture(order[number], (WIDTH, HEIGHT)) for number in range(COUNT)}
    with pytest.raises(DatasetError, match='0 of .* keypoints are found where the motion .* not consecutive frames'):
        label_film(seen, WORM)
