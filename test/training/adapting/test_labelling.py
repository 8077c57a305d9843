"""Labels from what a network finds in a film of a turning box: nearer to the truth, or refused with a reason."""

from __future__ import annotations

from dataclasses import replace

import moving_box
import numpy as np
import pytest
from moving_box import BOX

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN, SEEN
from training.pose_training.adapting.film_sights import FilmSights, Sight, chosen_frames
from training.pose_training.adapting.labelling import label_film
from training.pose_training.footage.film_camera import FilmCamera
from training.pose_training.labels.film import Film

COUNT = 48
NOISE_PX = 3.0
TWIN = [3, 2, 1, 0, 7, 6, 5, 4]  # keypoints of the box, turned by 180 degrees about its long axis


def sight_of(share: float, rng: np.random.Generator) -> Sight:
    """Return what a network with errors of 3 px finds, the same in most of its copies."""
    pose = moving_box.found_at(share, NOISE_PX, rng)
    return Sight(pose, np.where(pose.visible, 1.0, np.nan), 1.0, contradicted=False)


@pytest.fixture(scope='module')
def greys() -> dict[int, np.ndarray]:
    camera = FilmCamera(moving_box.WIDTH, moving_box.HEIGHT)
    return {n: camera.copy(moving_box.picture_at(n / (COUNT - 1))) for n in range(COUNT)}


@pytest.fixture
def seen(greys, tmp_path) -> FilmSights:
    rng = np.random.default_rng(1)
    sights = {n: [sight_of(n / (COUNT - 1), rng)] for n in range(COUNT)}
    return FilmSights(Film(tmp_path), FilmCamera(moving_box.WIDTH, moving_box.HEIGHT), sights, greys)


def errors_px(points: dict[int, np.ndarray]) -> np.ndarray:
    parts = []
    for number, own in points.items():
        truth = moving_box.labels_at(number / (COUNT - 1))
        parts.append(np.linalg.norm(own[:, :2] - truth[:, :2], axis=1)[own[:, 2] == SEEN])
    return np.concatenate(parts)


@pytest.mark.parametrize('with_points', [True, False])
def test_labels_are_nearer_than_what_was_found(seen, with_points):
    """Errors of 3 px in each direction, 3.8 px on average, are those of one frame: the body shares those of 16."""
    labels = label_film(seen, BOX if with_points else replace(BOX, model_points=None))
    assert labels.rigid and len(labels.points) > 0.8 * COUNT
    assert errors_px(labels.points).mean() < 2.0
    for number, points in labels.points.items():
        truth = moving_box.labels_at(number / (COUNT - 1))
        # What the box itself hides is never labelled as seen, and what it shows never as absent.
        assert not ((truth[:, 2] == 0) & (points[:, 2] == SEEN)).any()
        assert not ((truth[:, 2] > 0) & np.isin(points[:, 2], (ABSENT, HIDDEN))).any()


def test_an_empty_scene_is_refused(seen):
    seen.sights.update({n: [] for n in range(COUNT) if n % 5})
    with pytest.raises(DatasetError, match='finds the object in 10 of 48 frames: is it in there'):
        label_film(seen, BOX)


def test_copies_that_turn_the_object_are_refused(seen):
    for number in range(0, COUNT, 6):
        seen.sights[number] = [replace(seen.sights[number][0], contradicted=True)]
    with pytest.raises(DatasetError, match='cannot decide which way the object is turned: in 8 of 48 frames'):
        label_film(seen, BOX)


def test_frames_that_have_it_turned_surely_are_refused(seen):
    """Each frame alone fits the rigid box: only that both cannot be true tells."""
    for number in range(0, COUNT, 2):
        sight = seen.sights[number][0]
        pose = replace(
            sight.pose, keypoints=sight.pose.keypoints[TWIN], visible=sight.pose.visible[TWIN],
            covariances=sight.pose.covariances[TWIN], scores=sight.pose.scores[TWIN],
        )  # fmt: skip
        seen.sights[number] = [replace(sight, pose=pose, spread_px=sight.spread_px[TWIN])]
    with pytest.raises(DatasetError, match='which way the object is turned: what the network surely finds in 8 of 16'):
        label_film(seen, BOX)


def test_pictures_that_do_not_follow_one_another_are_refused(seen, greys):
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    seen.sights = {n: seen.sights[order[n]] for n in range(COUNT)}
    seen.greys = {n: np.random.default_rng(n).integers(0, 255, greys[0].shape, np.uint8) for n in range(COUNT)}
    with pytest.raises(DatasetError, match='not consecutive frames'):
        label_film(seen, BOX)


def test_the_object_file_of_another_object_is_refused(seen):
    stretched = replace(BOX, model_points=BOX.model_points[[0, 5, 2, 7, 4, 1, 6, 3]] * [1, 3, 0.3])
    with pytest.raises(DatasetError, match='off every pose of the model_points'):
        label_film(seen, stretched)


def test_a_network_whose_copies_disagree_is_refused(seen):
    seen.sights = {n: [replace(sights[0], share=0.5)] for n, sights in seen.sights.items()}
    with pytest.raises(DatasetError, match='in 0 of 48 frames the network finds one object, and the same when'):
        label_film(seen, BOX)


def test_long_films_are_looked_at_in_runs():
    numbers = chosen_frames(10_000, 240)
    assert len(numbers) == 240 and numbers[0] == 0 and numbers[-1] == 9_999
    assert np.diff(numbers).min() == 1 and (np.diff(numbers) > 1).sum() == 5
    assert chosen_frames(30, 240) == list(range(30))
