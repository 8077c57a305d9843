"""A few clicked frames carried to the others of a film: places, what is in sight, and what stays in doubt."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import moving_box
import numpy as np
import pytest

from custom_pose_ros.core.errors import DatasetError
from training.pose_training.footage.clicked_film import ClickedFilm, propagate
from training.pose_training.labels.checking import CheckedImage
from training.pose_training.labels.film import Film

COUNT = 41
CLICKED = (0, 10, 20, 30, 40)


@pytest.fixture(scope='module')
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp('film') / 'box.mp4'
    moving_box.write_film(path, COUNT)
    return Film(path)


def click(film: Film, numbers, folder: Path, noise_px: float = 0.0) -> list[CheckedImage]:
    """Return labelled pictures of frames, as a person extracts them: names that tell nothing, compressed again."""
    rng, pictures = np.random.default_rng(0), []
    for frame in film.frames(numbers):
        name = f'photo_{len(pictures)}.jpg'
        cv2.imwrite(str(folder / name), frame.image)
        points = moving_box.labels_at(frame.number / (COUNT - 1))
        points[:, :2] += rng.normal(0, noise_px, (8, 2))
        points[points[:, 2] == 0] = 0
        picture = CheckedImage(folder / name, name, moving_box.WIDTH, moving_box.HEIGHT)
        picture.keypoints.append(points)
        picture.boxes.append((0.0, 0.0, 1.0, 1.0))
        pictures.append(picture)
    return pictures


def carry(film: Film, pictures: list[CheckedImage], rigid: bool = True) -> ClickedFilm:
    return propagate(film, pictures, moving_box.NAMES, lambda width, height: None, rigid)


def errors_of(result: ClickedFilm) -> np.ndarray:
    """Return distances [px] of all proposed keypoints from the true ones."""
    parts = []
    for number, points in result.points.items():
        truth = moving_box.labels_at(number / (COUNT - 1))
        parts.append(np.linalg.norm(points - truth, axis=1)[points[:, 2] > 0])
    return np.concatenate(parts)


@pytest.fixture(scope='module')
def carried(film: Film, tmp_path_factory: pytest.TempPathFactory) -> ClickedFilm:
    return carry(film, click(film, CLICKED, tmp_path_factory.mktemp('clicked'), 0.5))


def test_clicked_frames_are_found_by_what_they_show(carried: ClickedFilm) -> None:
    assert sorted(carried.clicks) == list(CLICKED)


def test_places_between_the_clicks_are_those_of_the_box(carried: ClickedFilm) -> None:
    errors = errors_of(carried)
    assert len(carried.points) >= 30  # of 36; a corner comes into sight on the way
    assert np.median(errors) < 0.7  # clicks of 0.5 px on each axis, and half a pixel of blur from the video
    assert np.percentile(errors, 95) < 1.5


def test_no_corner_is_proposed_as_in_sight_where_it_is_not(carried: ClickedFilm) -> None:
    proposed = np.array([points[:, 2] for points in carried.points.values()])
    truth = np.array([moving_box.labels_at(number / (COUNT - 1))[:, 2] for number in carried.points])
    assert not ((proposed == 2) & (truth == 0)).any()
    # It counts from the middle on between clicks without and with it: just in sight, it may be taken as not yet.
    assert ((proposed == 0) & (truth == 2)).sum() <= 5


def test_what_is_expected_of_errors_is_true(carried: ClickedFilm) -> None:
    expected = np.concatenate([carried.errors[n][p[:, 2] > 0] for n, p in carried.points.items()])
    assert 0.3 < np.sqrt((errors_of(carried) ** 2).mean() / 2 / (expected**2).mean()) < 1.5


def test_a_click_that_contradicts_the_body_is_told_and_spoils_no_other(film: Film, tmp_path: Path) -> None:
    pictures = click(film, CLICKED, tmp_path)
    k = int(np.flatnonzero(pictures[2].keypoints[0][:, 2])[0])
    pictures[2].keypoints[0][k, 0] += 100
    result = carry(film, pictures)
    (number, found), *others = result.contradictions.items()
    assert (number, list(found), others) == (20, [k], [])
    assert 90 < found[k] < 110
    np.testing.assert_array_equal(result.clicks[20], pictures[2].keypoints[0])  # it is the user's
    assert np.percentile(errors_of(result), 95) < 1.5  # as without it


def test_a_keypoint_with_one_click_left_is_in_doubt(film: Film, tmp_path: Path) -> None:
    pictures = click(film, CLICKED, tmp_path)
    k = int(np.flatnonzero(np.min([picture.keypoints[0][:, 2] for picture in pictures], axis=0))[0])
    for picture in pictures[2:]:
        picture.keypoints[0][k] = 0
    pictures[1].keypoints[0][k, :2] += 60
    result = carry(film, pictures)
    assert {k for found in result.contradictions.values() for k in found} == {k}
    assert all(points[k, 2] == 0 for points in (*result.points.values(), *result.doubtful.values()))


def test_a_flexible_object_is_followed_point_by_point(film: Film, tmp_path: Path) -> None:
    result = carry(film, click(film, (0, 4, 8), tmp_path), rigid=False)
    assert set(result.points) <= set(range(9)) and len(result.points) >= 3
    assert np.median(errors_of(result)) < 1.0


def test_pictures_of_another_film_are_no_clicks(film: Film, tmp_path: Path) -> None:
    pictures = click(film, (0, 40), tmp_path)
    for picture in pictures:
        cv2.imwrite(str(picture.source), np.full((240, 320, 3), 90, np.uint8))
    result = carry(film, pictures)
    assert (result.clicks, result.points) == ({}, {})


def test_two_objects_in_a_picture_are_refused(film: Film, tmp_path: Path) -> None:
    pictures = click(film, (0, 40), tmp_path)
    pictures[0].keypoints.append(pictures[0].keypoints[0])
    with pytest.raises(DatasetError, match='shows 2 objects'):
        carry(film, pictures)


def test_a_box_in_a_hand_is_labelled_from_five_clicks(shared: Path, tmp_path: Path) -> None:
    """Fifty frames of a real film; the hand moves with the box, the rest stands still."""
    first, clicked = 100, (0, 12, 25, 37, 50)
    labels = json.loads((shared / 'data/box/first_half.json').read_text())
    truth = {a['image_id'] - 1: np.array(a['keypoints']).reshape(-1, 3) for a in labels['annotations']}
    pictures = []
    for frame in Film(shared / 'data/box/box.mp4').frames(range(first, first + 51)):
        name = f'{frame.number - first:03d}.png'
        (tmp_path / 'film').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'film' / name), frame.image)
        if frame.number - first in clicked:
            picture = CheckedImage(tmp_path / 'film' / name, name, 640, 480)
            picture.keypoints.append(truth[frame.number])
            picture.boxes.append((0.0, 0.0, 1.0, 1.0))
            pictures.append(picture)
    names = labels['categories'][0]['keypoints']
    result = propagate(Film(tmp_path / 'film'), pictures, names, lambda width, height: None, True)
    errors = []
    for number, points in result.points.items():
        both = (points[:, 2] > 0) & (truth[first + number][:, 2] > 0)
        errors += np.linalg.norm(points - truth[first + number], axis=1)[both].tolist()
    assert len(result.points) >= 44  # of 46
    assert np.median(errors) < 1.5 and np.percentile(errors, 95) < 4  # the labels are exact to about 1 px
