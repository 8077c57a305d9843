"""Splits without leaks: recordings and versions of one photo by name, near-duplicates by content."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.pose_training.labels.recordings import frames_of
from training.pose_training.labels.splitting import split_images, split_table, thumbnail_of


def split_names(names, share=0.1, seed=0, thumbnails=None):
    """Return the names set aside, and the split."""
    files = [Path('/d') / name for name in names]
    split = split_images(files, thumbnails or [None] * len(files), share, seed)
    return {names[i] for i in split.aside}, split


def scene(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


def recordings(counts):
    return [f'r{r}/frame{i:03d}.jpg' for r, count in enumerate(counts) for i in range(count)]


def test_whole_recordings_are_set_aside():
    names = recordings([10] * 10)
    aside, split = split_names(names, 0.2, seed=3)
    assert (len(aside), split.recordings) == (20, 10)
    assert not {name.split('/')[0] for name in aside} & {name.split('/')[0] for name in set(names) - aside}


def test_of_one_recording_consecutive_frames_are_set_aside_and_it_is_said():
    names = recordings([50])
    aside, split = split_names(names, 0.1, seed=3)
    numbers = sorted(int(name[-7:-4]) for name in aside)
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert split_names(names, 0.1, seed=3)[0] == aside
    assert split_table(split, [Path(name) for name in names]) == [
        '  both   50 images: one recording by name, divided: validating on 5 of them flatters if it is a video '
        '(frame000.jpg ... frame049.jpg)'
    ]


def test_frames_beside_those_set_aside_that_look_like_them_are_on_neither_side():
    """A camera that pans: frames are like those up to two before and after them."""
    wide = cv2.resize(np.random.default_rng(0).integers(0, 256, (12, 26), np.uint8), (520, 240))
    small = [thumbnail_of(np.dstack([wide[:, 2 * i : 2 * i + 320]] * 3)) for i in range(100)]
    names = [f'dive_{i:06d}.png' for i in range(100)]
    aside, split = split_names(names, 0.1, thumbnails=small)
    first, last = min(split.aside), max(split.aside)
    assert len(aside) == last - first + 1 == 10
    like = [i for i in range(100) if i not in split.aside and i in split.unused]
    assert like and min(like) < first and max(like) > last
    assert set(range(min(like), max(like) + 1)) == split.aside | split.unused
    correlation = lambda a, b: np.corrcoef(small[a].ravel(), small[b].ravel())[0, 1]  # noqa: E731
    assert correlation(first, min(like)) > 0.9 > correlation(first, min(like) - 1)


def test_neighbours_that_look_different_are_trained_on():
    small = [thumbnail_of(scene(i)) for i in range(20)]
    assert split_names(recordings([20]), 0.2, thumbnails=small)[1].unused == set()


@pytest.mark.parametrize('counts', [[30, 30, 30], [4, 4], [100, 100, 100, 3]])
def test_large_or_few_recordings_still_leave_something_to_validate_on(counts):
    aside, _ = split_names(recordings(counts), 0.1)
    assert 0.5 <= len(aside) / (0.1 * sum(counts)) <= 1.5


@pytest.mark.parametrize('share', [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize('count', [0, 1, 2, 3, 7])
def test_a_few_images_are_split_by_share_and_never_all_set_aside(count, share):
    names = [f'{i}.jpg' for i in range(count)]
    aside, _ = split_names(names, share)
    assert len(aside) < max(count, 1)
    assert bool(aside) == (round(share * count) >= 1 and count > 1)


@pytest.mark.parametrize(
    'versions',
    [
        ['bench_{:02d}_jpg.rf.cfcd208495d565ef66e7dff9f98764da.jpg', 'bench_{:02d}_jpg.rf.c4ca4238a0b923820dcc.jpg'],
        ['clip_mp4-{}_jpg.rf.AbC123xyz.jpg', 'clip_mp4-{}_jpg.rf.Zz9.jpg'],
        ['img{}.png', 'img{}_aug1.png', 'img{}_aug_23.png', 'img{}_flip.png', 'img{}-hflip.png', 'img{}_rot90.png'],
        ['img{}.png', 'img{} copy.png', 'img{}_aug_1_flip.png', 'img{}.jpg'],
        ['left_{:06d}.png', 'right_{:06d}.png'],
        ['{:06d}_cam0.png', '{:06d}_cam1.png'],
        ['room_{}_L.png', 'room_{}_R.png'],
        ['left/{}.png', 'right/{}.png'],
        ['seq/image_2/{:06d}.png', 'seq/image_3/{:06d}.png'],
        ['2024-05-01T10-00-{:02d}.033Z_left.png', '2024-05-01T10-00-{:02d}.033Z_right.png'],
        ['a1b2c3d4-photo_{}.png', 'photo_{}.jpg'],
    ],
)
def test_versions_of_one_photo_are_on_one_side(versions):
    names = [version.format(i) for i in range(20) for version in versions]
    for seed in range(5):
        aside, _ = split_names(names, 0.1, seed)
        assert len(aside) == 2 * len(versions)
        assert all(len({version.format(i) in aside for version in versions}) == 1 for i in range(20))


@pytest.mark.parametrize(
    'recording',
    [
        'run{r}_2024-05-01T10-00-{i:02d}.033Z.png',
        '2024-05-01T1{r}-00-{i:02d}.5Z.png',  # an hour between them
        '2024-05-01 1{r}:00:{i:02d}+02:00.png',
        '1700{r}00000.{i:03d}.png',
        '1700{r}000{i:02d}123456789.png',
        'run{r}-1700000{i:03d}.25.png',
        'run{r}_12-30-{i:02d}.125Z.png',
        'WhatsApp Image 2024-05-0{r} at 10.00.{i:02d}.jpeg',
        'frame_{i:06d}_run{r}.png',
        'run{r}/IMG_{i:04d}.JPG',
        'run{r}_{i}_jpg.rf.0a1b2c3d4e5f.jpg',
        'run{r}_{i:05d}_left.png',
        'VID_2024051{r}_100000_frame{i:05d}.jpg',  # the time is that of the start
        'IMG_2024051{r}_100000_BURST{i:03d}.jpg',
        'frame{i:06d}_1700{r}00000.{i:03d}.png',
    ],
)
def test_frames_of_one_recording_are_on_one_side(recording):
    names = [recording.format(r=r, i=i) for r in range(8) for i in range(9)]
    for seed in range(3):
        aside, split = split_names(names, 0.25, seed)
        assert split.recordings == 8
        assert len(aside) == 18
        assert all(len({recording.format(r=r, i=i) in aside for i in range(9)}) == 1 for r in range(8))


def test_names_without_a_meaning_join_nothing():
    frames = frames_of([Path(f'/d/dog_aug_{i}.png') for i in range(30)])
    assert len({frame.photo for frame in frames}) == 30  # "dog" is a class, no photo
    names = [
        'left', 'right', '20240101-1', '20240102-1', 'upright_3', 'copyright_3', 'scene_dark_0001',
        'scene_dark_0002',
    ]  # fmt: skip
    assert len({frame.photo for frame in frames_of([Path(f'/d/{name}.png') for name in names])}) == len(names)


CHANGES = {
    'the same': lambda image: image,
    'brighter': lambda image: cv2.convertScaleAbs(image, alpha=1.3, beta=10),
    'blurred': lambda image: cv2.GaussianBlur(image, (0, 0), 2),
    'noisy': lambda image: cv2.add(image, np.random.default_rng(1).integers(0, 40, image.shape, np.uint8)),
    'mirrored': lambda image: image[:, ::-1],
    'upside down': lambda image: image[::-1, ::-1],
    'turned': lambda image: np.rot90(image),
    'cut': lambda image: image[3:-3, 4:-4],
    'half the size': lambda image: cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA),
    'grey': lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
}


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize('count', [3, 12])
def test_near_duplicates_are_found_by_content(change, count):
    images = [scene(i) for i in range(count)]
    images += [np.ascontiguousarray(change(image)) for image in images]
    names = [f'{chr(97 + i)}.png' for i in range(2 * count)]  # which say nothing
    aside, split = split_names(names, 1 / 3, thumbnails=[thumbnail_of(image) for image in images])
    assert split.recordings == count
    assert len(aside) == 2 * count // 3
    assert all((names[i] in aside) == (names[i + count] in aside) for i in range(count))


def test_frames_of_a_fixed_camera_are_no_duplicates():
    background, images = scene(99), []
    for i in range(12):
        images.append(background.copy())
        cv2.circle(images[-1], (30 + 70 * (i % 4), 40 + 70 * (i // 4)), 25, (255, 255, 255), -1)
    names = [f'{chr(97 + i)}.png' for i in range(12)]
    assert split_names(names, thumbnails=[thumbnail_of(image) for image in images])[1].recordings == 12


def test_pictures_that_all_look_alike_are_divided_and_it_is_said():
    names = [f'img_{i}.png' for i in range(7)]
    aside, split = split_names(names, 0.3, thumbnails=[thumbnail_of(scene(0))] * 7)
    assert len(aside) == 2
    assert [(group.why, group.side) for group in split.kept] == [('look alike', 'both')]


def test_the_table_names_what_was_kept_together():
    names = [f'{c}_jpg.rf.{h}.jpg' for c in 'abcdefghij' for h in ('111', '222', '333')]
    aside, split = split_names(names)
    assert len(aside) == 3
    files = [Path(name) for name in names]
    first = names[next(group.images[0] for group in split.kept if group.side == 'val')]
    line = f'  val    3 images: versions of one photo by name ({first} ... {first[0]}_jpg.rf.333.jpg)'
    assert line in split_table(split, files)
    table = split_table(split, files, limit=9)
    assert len(table) == 10 and table[-1] == '  ... and 1 more'
