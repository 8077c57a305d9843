"""Training samples: pictures, maps and masks fit each other and depend on the ticket only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from label_files import edit

from training.pose_training.data.augmentation import Augmentation
from training.pose_training.data.training_set import Ticket, TrainingSet
from training.pose_training.labels.coco import read_dataset
from training.pose_training.learning.losses import HEATMAP_PEAK_WEIGHT

PLAIN = Augmentation.named('none')


def plain_set(folder, model, **arguments):
    return TrainingSet([read_dataset(folder, model)], model, 64, 64, arguments.pop('augmentation', PLAIN), **arguments)


def test_a_sample_shows_the_object_where_its_maps_say(dots_folder, dots):
    sample = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    assert (sample.image.shape, sample.image.dtype) == ((64, 64, 3), np.uint8)
    assert (sample.heatmaps.shape, sample.pafs.shape) == ((4, 8, 8), (4, 8, 8))
    for k, channel in ((0, 1), (1, 2), (2, 0)):  # the discs are green, red and blue
        row, column = np.unravel_index(sample.heatmaps[k].argmax(), (8, 8))
        cell = sample.image[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].reshape(-1, 3).mean(0)
        assert cell.argmax() == channel
    assert sample.heatmap_mask.min() == sample.paf_mask.min() == 1


def test_mirrored_samples_exchange_left_and_right(dots_folder, dots):
    mirror = dataclasses.replace(PLAIN, p_flip=1.0)
    sample = plain_set(dots_folder, dots, augmentation=mirror)[Ticket(0, 0, 0)]
    columns = [sample.heatmaps[k].max(0).argmax() for k in range(3)]
    assert columns[1] < columns[0] < columns[2]  # in the mirrored picture, too, left is on the picture's left
    row, column = np.unravel_index(sample.heatmaps[1].argmax(), (8, 8))
    cell = sample.image[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].reshape(-1, 3).mean(0)
    assert cell.argmax() == 0  # where the blue disc, the former right, now is


def test_an_object_without_a_mirror_image_is_never_mirrored(dots_folder, dots):
    always = dataclasses.replace(PLAIN, p_flip=1.0)
    plain = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    for chiral in (dataclasses.replace(dots, mirror='no'), dataclasses.replace(dots, swaps=())):
        sample = plain_set(dots_folder, chiral, augmentation=always)[Ticket(0, 0, 0)]
        np.testing.assert_array_equal(sample.image, plain.image)
        np.testing.assert_array_equal(sample.heatmaps, plain.heatmaps)


def test_a_sample_depends_on_its_ticket_only(dots_folder, dots):
    strong = Augmentation()
    one = plain_set(dots_folder, dots, augmentation=strong, seed=3)
    two = plain_set(dots_folder, dots, augmentation=strong, seed=3, cache_bytes=0)
    tickets = [Ticket(0, i % 8, i) for i in range(20)]
    first = [one[t] for t in tickets]
    second = [two[t] for t in reversed(tickets)][::-1]
    for a, b in zip(first, second):
        for part_a, part_b in zip(a, b):
            np.testing.assert_array_equal(part_a, part_b)
    assert (one[tickets[0]].image != one[tickets[0]._replace(number=99)].image).any()


def label_right_as(visibility):
    def change(content):
        content['annotations'][0]['keypoints'][8] = visibility
        content['annotations'][0]['bbox'] = [0, 0, 96, 72]

    return change


def test_absent_keypoints_are_learned_as_absent(dots_folder, dots):
    edit(dots_folder, label_right_as(0))  # the other images label it
    sample = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    assert sample.heatmaps[2].max() == sample.pafs[2:].max() == 0
    assert sample.heatmap_mask.min() == sample.paf_mask.min() == 1


def test_an_absent_keypoint_counts_as_much_as_a_seen_one_in_the_box_of_its_instance(dots_folder, dots):
    def hide(content):
        label_right_as(0)(content)
        content['annotations'][0]['bbox'] = [20, 10, 56, 52]

    edit(dots_folder, hide)
    absent = plain_set(dots_folder, dots)[Ticket(0, 0, 0)].heatmap_mask
    assert absent[2].max() == 1 + HEATMAP_PEAK_WEIGHT  # so that both being as likely is answered by 0.5
    assert absent[2].min() == 1  # outside the box
    assert (absent[[0, 1, 3]] == 1).all()


def test_hidden_keypoints_are_learned_at_their_place_with_less_weight(dots_folder, dots):
    edit(dots_folder, label_right_as(1))
    sample = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    assert sample.heatmaps[2].max() > 0.7  # the highest cell of a peak between four
    peak = np.unravel_index(sample.heatmaps[2].argmax(), (8, 8))
    assert sample.heatmap_mask[2][peak] == pytest.approx(1 - 0.8 * sample.heatmaps[2].max())
    assert sample.heatmap_mask[[0, 1, 3]].min() == sample.paf_mask.min() == 1
    silent = plain_set(dots_folder, dataclasses.replace(dots, hidden='absent'))[Ticket(0, 0, 0)]
    assert silent.heatmaps[2].max() == 0 and silent.heatmap_mask.min() == 1


def test_unknown_keypoints_are_masked_around_their_instance(dots_folder, dots):
    edit(dots_folder, label_right_as(0))
    dots = dataclasses.replace(dots, unlabelled='unknown')
    sample = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    assert sample.heatmaps[2].max() == 0
    assert (sample.heatmap_mask[[0, 1]] == 1).all()
    assert (sample.heatmap_mask[[2, 3]] == 0).all()  # the keypoint's map and the background
    assert (sample.paf_mask[:2] == 1).all()
    assert (sample.paf_mask[2:] == 0).all()  # nose-right


def test_crowds_are_masked_in_all_maps(dots_folder, dots):
    def crowd(content):
        content['annotations'][0].update(iscrowd=1, bbox=[-500, -500, 1000, 1000])

    edit(dots_folder, crowd)
    sample = plain_set(dots_folder, dots)[Ticket(0, 0, 0)]
    assert sample.heatmap_mask.max() == sample.paf_mask.max() == 0
