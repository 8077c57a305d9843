"""What a keypoint in a label file is: seen, hidden, not labelled, or not certain."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from label_files import texts

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import NOTE, REFUSED, REPAIRED, RawImage, RawInstance, RawLabels
from custom_pose_ros.core.labels.settling import settle

NAN = math.nan
FILE = Path('labels.json')


def labels_of(*instances, size=(640, 480), relative=False):
    """Return labels of images with one instance each; instances : triples of head and tail."""
    images = [
        RawImage(f'{i}.jpg', *size, [RawInstance(str(i), list(points), (0, 0, 30, 40))], relative)
        for i, points in enumerate(instances)
    ]
    return RawLabels('fish', ['head', 'tail'], [], images)


def settled(*instances, **options):
    labels = labels_of(*instances, **options)
    settle(FILE, labels)
    return labels


def points(labels, image=0):
    (instance,) = labels.images[image].instances
    return instance.keypoints


@pytest.mark.parametrize(
    ('given', 'wanted'),
    [
        ((10, 20, 2), (10, 20, 2)),
        ((10, 20, 1), (10, 20, 1)),
        ((10.5, 20.0, 2.0), (10.5, 20, 2)),
        ((10, 20, 0), (0, 0, 0)),
        ((10, 20, 0.0), (0, 0, 0)),
        (('10', ' 20.5 ', '2'), (10, 20.5, 2)),  # numbers written as text
        ((10, 20, True), (10, 20, 2)),
        ((0, 0, False), (0, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((0, 7, 2), (0, 7, 2)),  # on the border, not in the corner
        ((NAN, NAN, 0), (0, 0, 0)),
        ((None, None, 0), (0, 0, 0)),
        ((None, None, None), (0, 0, 0)),
        ((NAN, NAN, NAN), (0, 0, 0)),
        (('', '', ''), (0, 0, 0)),
        ((0, 0, None), (0, 0, 0)),
        ((-1, -1, 0), (0, 0, 0)),
        ((-1, -1, -1), (0, 0, 0)),
        ((NAN, 20, 0), None),
    ],
)
def test_what_is_certain_is_taken_without_a_word(given, wanted):
    labels = settled([(5, 5, 2), given])
    if wanted is None:
        assert texts(labels, REFUSED) == ['0.jpg 0 tail at (nan, 20) with visibility 0: one coordinate is missing']
        return
    assert points(labels)[1] == wanted
    assert labels.problems == []


@pytest.mark.parametrize(
    ('first', 'second', 'wanted'),
    [
        ((1, 1), (1, 0), [2, 2, 2, 0]),  # yes and no
        ((1, 1), (1, 2), [1, 1, 1, 2]),
    ],
)
def test_one_says_yes_where_nothing_is_two(first, second, wanted):
    labels = settled(*([(5 + v, 6, v) for v in flags] for flags in (first, second)))
    assert [v for image in (0, 1) for _, _, v in points(labels, image)] == wanted
    assert [p.kind for p in labels.problems] == [REPAIRED] * (2 in wanted and 1 not in wanted)


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ((0, 0, 2), '(0, 0) with visibility 2'),
        ((0.0, 0.0, 1), '(0, 0) with visibility 1'),
        ((-1, -1, 2), '(-1, -1) with visibility 2'),
        ((NAN, NAN, 2), '(nan, nan) with visibility 2'),
        ((None, None, 1), '(nothing, nothing) with visibility 1'),
        ((0, 0, True), '(0, 0) with visibility True'),
    ],
)
def test_a_label_without_a_place_is_none_and_that_is_said(given, said):
    labels = settled([(5, 5, 2), given])
    assert points(labels)[1] == (0, 0, 0)
    assert texts(labels, REPAIRED) == [f'0.jpg 0 tail at {said}: taken as not labelled']


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ((10, 20, 3), 'visibility 3: wanted 0 (not labelled), 1 (hidden) or 2 (seen)'),
        ((10, 20, 87), 'visibility 87: wanted 0'),
        ((10, 20, -1), 'visibility -1: wanted 0'),
        ((10, 20, None), 'visibility nothing: wanted 0'),
        ((10, 20, NAN), 'visibility nan: wanted 0'),
        ((10, 20, False), 'visibility False: wanted 0'),  # hidden, or not labelled?
        ((10, 20, 'visible'), 'visibility visible: wanted three numbers'),
        ((10, 20, [2]), 'visibility [2]: wanted three numbers'),
        ((10, 20, math.inf), 'visibility inf: wanted three numbers'),
        ((10, None, 2), 'one coordinate is missing'),
        (('10px', 20, 2), 'wanted three numbers'),
        (('1,5', 20, 2), 'wanted three numbers'),
        ((True, 20, 2), 'wanted three numbers'),
        ((math.inf, 20, 2), 'wanted three numbers'),
        ((1e300, 20, 2), 'wanted three numbers'),
        (({}, 20, 2), 'wanted three numbers'),
    ],
)
def test_what_is_not_certain_is_refused_with_its_values(given, said):
    labels = settled([(5, 5, 2), given], [(5, 5, 2), (9, 9, 2)])
    (text,) = texts(labels, REFUSED)
    assert text.startswith('0.jpg 0 tail at (') and said in text
    assert labels.images[0].instances == []
    assert points(labels, 1) == [(5, 5, 2), (9, 9, 2)]


@pytest.mark.parametrize('score', [0.87, 1.0, 1, 3.5, 12.25, '0.3'])
def test_scores_above_zero_are_seen_wherever_one_of_the_file_is_no_whole_number(score):
    """A 1.0 beside them is the best score, not a hidden point."""
    labels = settled([(5, 5, 0.4), (9, 9, 0.0)], [(5, 5, 2), (9, 9, score)])
    assert points(labels) == [(5, 5, 2), (0, 0, 0)]
    assert points(labels, 1) == [(5, 5, 2), (9, 9, 2)]
    assert texts(labels, REPAIRED) == ['visibilities are scores, not 0, 1 or 2: every one above 0 counts as seen']


def test_scores_below_zero_are_refused():
    assert 'visibility -0.5' in texts(settled([(5, 5, 0.4), (9, 9, -0.5)]), REFUSED)[0]


def test_an_instance_without_labels_is_a_region_to_ignore():
    labels = settled([(0, 0, 0), (0, 0, 0)], [(5, 5, 2), (9, 9, 2)])
    assert points(labels) is None
    assert texts(labels, NOTE) == [
        '0.jpg 0 no keypoint is labelled: its box will be ignored, neither object nor background'
    ]
    labels = labels_of([(0, 0, 0), (0, 0, 0)], [(5, 5, 2), (9, 9, 2)])
    labels.images[0].instances[0].box = None
    settle(FILE, labels)
    assert texts(labels, REFUSED) == ['0.jpg 0 has neither labelled keypoints nor a box']


def test_a_count_that_disagrees_is_corrected_and_said():
    labels = labels_of([(5, 5, 2), (9, 9, 0)], [(5, 5, 2), (0, 0, 2)])
    for image in labels.images:
        image.instances[0].stated_count = 2
    settle(FILE, labels)
    assert texts(labels, REPAIRED) == [
        '0.jpg 0 num_keypoints said 2, but 1 are labelled: corrected',
        '1.jpg 1 tail at (0, 0) with visibility 2: taken as not labelled',  # which explains the count
    ]


def test_places_without_any_visibility_are_refused():
    with pytest.raises(DatasetError, match=r'^labels.json: keypoints have places, but every visibility is 0'):
        settled([(5, 5, 0), (9, 9, 0)], [(5, 6, 0), (9, 9, 0)])


@pytest.mark.parametrize(
    'given', [[(0.2, 0.3, 2), (0.4, 0.9, 2)], [(0, 0.3, 2), (1, 1, 2)], [(0.2, 0.3, 2), (0, 0, 0)]]
)
def test_shares_of_the_image_in_place_of_pixels_are_refused(given):
    assert 'are these shares of the image size?' in texts(settled(given), REFUSED)[0]
    assert texts(settled(given, relative=True), REFUSED) == []  # where the format says so


def test_keypoints_beside_their_box_are_noted():
    labels = settled([(300, 200, 2), (310, 220, 2)], [(300, 200, 2), (10, 20, 2)], [(300, 200, 2), (0, 0, 0)])
    assert texts(labels, NOTE) == ['0.jpg 0 none of its keypoints lies in its box: look at it']


def test_keypoints_that_count_from_their_box_are_noted():
    labels = labels_of([(5, 5, 2), (25, 35, 2)])
    labels.keypoint_names += ['fin', 'gill']
    labels.images[0].instances[0].keypoints += [(15, 15, 2), (9, 20, 2)]
    labels.images[0].instances[0].box = (20, 20, 30, 40)
    settle(FILE, labels)
    assert texts(labels, NOTE) == ['0.jpg 0 only 1 of its 4 keypoints lies in its box: look at it']


def per_cents(count, reach=95):
    return [[(5 + i, 20, 2), (reach - i, 90, 2)] for i in range(count)]


def test_per_cents_in_place_of_pixels_are_refused():
    with pytest.raises(DatasetError, match='are these per cents of the image size'):
        settled(*per_cents(3))
    for may_be_pixels in (per_cents(1), per_cents(5, reach=40)):  # of small objects in the corner
        assert 'per cents' in texts(settled(*may_be_pixels), NOTE)[0]


@pytest.mark.parametrize(
    ('instances', 'options'),
    [
        (per_cents(5), {'size': (100, 90)}),  # small pictures
        (per_cents(5), {'size': (120, 110)}),
        ([*per_cents(5), [(300, 5, 2), (5, 5, 2)]], {}),
        (per_cents(5), {'size': (0, 0)}),
    ],
)
def test_small_pictures_and_objects_are_no_per_cents(instances, options):
    assert settled(*instances, **options).problems == []


def test_an_object_that_is_labelled_twice_is_kept_once():
    labels = labels_of([(5, 6, 2), (9, 8, 2)])
    again, other = (RawInstance(name, [(5, 6, 2), (9, y, 2)], None) for name, y in (('a', 8), ('b', 7)))
    labels.images[0].instances += [again, other]
    settle(FILE, labels)
    assert [instance.annotation_id for instance in labels.images[0].instances] == ['0', 'b']
    assert texts(labels, REPAIRED) == ['0.jpg a has the same keypoints as annotation 0: left out']


@pytest.mark.parametrize(
    ('box', 'noted'),
    [
        ((290, 190, 350, 300), True),  # left + right = 640, top + bottom = 490: corners
        ((290, 190, 350, 288), False),  # drawn to the edge
        ((290, 190, 60, 110), False),
        ((10, 10, 640, 490), False),  # drawn too large
    ],
)
def test_boxes_of_two_corners_are_noted(box, noted):
    labels = labels_of([(300, 200, 2), (340, 280, 2)])
    labels.images[0].instances[0].box = box
    settle(FILE, labels)
    assert ['left, top, right, bottom?' in text for text in texts(labels, NOTE)] == [True] * noted


def test_a_keypoint_in_the_corner_again_and_again_is_noted():
    cornered = [[(1, 1, 2), (300 + i, 200, 2)] for i in range(5)]
    said = 'head is at (1, 1) in 5 labels: is that "no place"? Then write 0, 0, 0'
    assert said in texts(settled(*cornered, [(50, 90, 2), (60, 200, 2)]), NOTE)
    still = [[(100, 100, 2), p] for _, p in cornered]  # the foot of a robot, before a camera that does not move
    for by_chance in (cornered[:4], still):
        assert not any('no place' in text for text in texts(settled(*by_chance), NOTE))
