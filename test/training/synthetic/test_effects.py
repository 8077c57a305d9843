"""Backgrounds and effects: repeatable, in range, and not moving what is labelled."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from picture_files import picture

from custom_pose_ros.core.errors import DatasetError, MediaError
from training.synthetic.rendering.backgrounds import drawn_background, list_background_photos, photo_background
from training.synthetic.rendering.effects import _motion_kernel, apply_sensor, apply_water, surface_reflection
from training.synthetic.rendering.noise import fractal_noise
from training.synthetic.settings import load_settings

HEIGHT, WIDTH = 90, 120
SETTINGS = load_settings()
NO_KEYPOINTS = np.empty((0, 2))


def always(settings: SimpleNamespace) -> SimpleNamespace:
    """Return the settings with every effect switched on."""
    return SimpleNamespace(**{
        key: 1.0 if key.endswith('probability') else value for key, value in vars(settings).items()
    })


@pytest.mark.parametrize('seed', range(5))
def test_floors_repeat_and_stay_in_range(seed: int) -> None:
    settings = always(SETTINGS.background)
    first, again = (drawn_background(np.random.default_rng(seed), settings, HEIGHT, WIDTH) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (HEIGHT, WIDTH, 3) and first.dtype == np.float32
    assert 0 <= first.min() < first.max() <= 1


def test_photos_are_cropped_to_the_size_asked_for(tmp_path: Path) -> None:
    green = np.zeros((200, 300, 3), np.uint8)
    green[:] = (10, 200, 30)
    (tmp_path / 'pool').mkdir()
    cv2.imwrite(str(tmp_path / 'pool' / 'a.png'), green)
    (tmp_path / 'notes.txt').write_text('not a photo')
    photos = list_background_photos(tmp_path)
    assert [photo.name for photo in photos] == ['a.png']
    picture = photo_background(np.random.default_rng(0), photos, HEIGHT, WIDTH)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture == pytest.approx(np.broadcast_to(np.float32([10, 200, 30]) / 255, picture.shape), abs=1e-3)


def test_folders_without_photos_and_broken_photos_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match='no background photos in it'):
        list_background_photos(tmp_path)
    for content, text in ((b'no image', 'is damaged or not an image'), (picture('.jpg')[:-500], 'is cut off')):
        (tmp_path / 'broken.jpg').write_bytes(content)
        with pytest.raises(MediaError, match=f'broken.jpg: {text}'):
            photo_background(np.random.default_rng(0), list_background_photos(tmp_path), HEIGHT, WIDTH)


def test_noise_spreads_over_its_range() -> None:
    field = fractal_noise(np.random.default_rng(0), HEIGHT, WIDTH)
    assert (field.min(), field.max()) == pytest.approx(
        (0, 1), abs=0.1
    )  # half-size fields lose their extremes when enlarged


def test_reflections_have_sharp_edges() -> None:
    """Windows mirrored by water end abruptly: somewhere brightness jumps by a third within two pixels."""
    jumps = [
        np.abs(np.diff(surface_reflection(np.random.default_rng(s), 120, 160)[..., 1], 2, axis=1)).max()
        for s in range(6)
    ]
    assert np.median(jumps) > 0.33


def lights_around(place: np.ndarray, over: list[np.ndarray], reach: int = 10) -> list[np.ndarray]:
    """Return the brightness of forty reflections within `reach` px of a place."""
    x, y = place.astype(int)
    window = np.s_[y - reach : y + reach + 1, x - reach : x + reach + 1]
    return [surface_reflection(np.random.default_rng(s), 120, 160, over)[window].max(2) for s in range(40)]


def test_a_reflection_lies_over_each_keypoint_it_is_asked_for() -> None:
    """Light within 10 px of the places: nearly always where it is asked for, else where a window happens to be."""
    places = [np.array([50.0, 60.0]), np.array([110.0, 50.0])]
    for place in places:
        asked = np.mean([light.max() > 0.2 for light in lights_around(place, places)])
        by_chance = np.mean([light.max() > 0.2 for light in lights_around(place, [])])
        assert asked > 0.9 > by_chance


def test_some_reflections_hide_one_side_of_a_keypoint() -> None:
    """Between a fifth and four fifths of the disc around it are lit: the network has to complete the other part."""
    place = np.array([80.0, 60.0])
    lit = np.array([(light > 0.2).mean() for light in lights_around(place, [place])])
    assert ((lit > 0.2) & (lit < 0.8)).mean() > 0.3


def test_no_reflection_is_laid_over_a_picture_without_keypoints() -> None:
    settings = always(SETTINGS.water)
    settings.reflection_on_keypoint = 1.0
    grey, depth = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32), np.ones((HEIGHT, WIDTH), np.float32)
    image = apply_water(np.random.default_rng(2), settings, grey, depth, NO_KEYPOINTS)
    assert image.shape == grey.shape and np.isfinite(image).all()


def test_blur_and_noise_do_not_move_a_spot() -> None:
    """A bright spot keeps its centroid through blur, motion blur, noise and JPEG: labels stay true."""
    settings = always(SETTINGS.sensor)
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    spot = np.exp(-((columns - 61.3) ** 2 + (rows - 43.8) ** 2) / 18.0)
    errors = []
    settings.noise = (0.0, 0.5)
    settings.light_slope = settings.vignette = (0.0, 0.0)  # a slope of brightness moves a centroid, not the spot
    settings.exposure = settings.gamma = (1.0, 1.0)  # brightness moves nothing, but JPEG keeps less of a dark spot
    for seed in range(20):
        image = apply_sensor(
            np.random.default_rng(seed), settings, np.repeat(np.float32(0.05 + 0.5 * spot)[..., None], 3, 2)
        )
        weight = np.clip(image.astype(float).mean(2) - np.median(image) - 8, 0, None)
        errors.append(
            np.hypot((columns * weight).sum() / weight.sum() - 61.3, (rows * weight).sum() / weight.sum() - 43.8)
        )
    assert np.median(errors) < 0.05 and max(errors) < 0.25  # JPEG blocks of quality 35 shift a spot a little


@pytest.mark.parametrize('angle', [0.0, 0.7, 1.5, 2.9])
def test_motion_blur_is_symmetric(angle: float) -> None:
    kernel = _motion_kernel(7.3, angle)
    assert kernel.sum() == pytest.approx(1)
    assert np.array_equal(kernel, kernel[::-1, ::-1])


def test_haze_grows_with_depth() -> None:
    settings = always(SETTINGS.water)
    settings.caustics_probability = settings.reflection_probability = 0.0
    settings.bubbles, settings.haze = (0, 0), (0.3, 0.5)
    depth = np.full((HEIGHT, WIDTH), 1.0, np.float32)
    depth[:, WIDTH // 2 :] = 3.0
    black = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    image = apply_water(np.random.default_rng(1), settings, black, depth, NO_KEYPOINTS)
    assert image[:, WIDTH // 2 :].mean() > 1.2 * image[:, : WIDTH // 2].mean() > 0
