"""What labels of the moving box say of its model points: whether these are right, and which corners count as seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import moving_box
import numpy as np
import pytest
from moving_box import BOX

from custom_pose_ros.core.geometry.rigid import Rigid
from custom_pose_ros.core.geometry.rotations import matrix_from_rotation_vector
from custom_pose_ros.core.labels.raw_labels import ABSENT, SEEN
from training.pose_training.adapting.known_body import HIDDEN_TO, SEEN_FROM, labelled_body
from training.pose_training.footage.body_tracks import Surface
from training.pose_training.labels.coco import LabelledImage

TURNS = np.linspace(0, 2 * np.pi, 60, endpoint=False).tolist()


def labelled_at(turn: float, edge: float) -> LabelledImage:
    """Return labels of somebody who labels the corners that face the camera by more than a cosine."""
    tilt = matrix_from_rotation_vector(np.array([1.0 * np.sin(2 * turn), 0, 0]))
    pose = Rigid(tilt @ matrix_from_rotation_vector(np.array([0, turn, 0])), np.array([0, 0, 0.6]))
    points = moving_box.CAMERA.project(pose.apply(moving_box.CORNERS))[None]
    states = np.where(Surface(moving_box.CORNERS).facing(pose) > edge, SEEN, ABSENT)[None]
    box = np.concatenate([points[0].min(0), points[0].max(0)])[None]
    return LabelledImage(Path('x.png'), moving_box.WIDTH, moving_box.HEIGHT, points, states, box, np.zeros((0, 4)))


@pytest.mark.parametrize('edge', [0.02, 0.1])
def test_labels_tell_what_edge_on_means(edge):
    """The limits are known to within the steps of the views, and 0.03 for poses of few labels."""
    body = labelled_body(BOX, [labelled_at(turn, edge) for turn in TURNS], lambda w, h: moving_box.CAMERA)
    assert body is not None
    told = (body.hidden_to > HIDDEN_TO) & (body.seen_from < SEEN_FROM)
    assert told.any()
    assert (body.hidden_to[told] == body.seen_from[told]).all()  # nothing is left open between labels on both sides
    assert abs(body.hidden_to[told] - edge).max() < 0.03
    assert (body.hidden_to[~told] < body.seen_from[~told]).all()


def test_labels_that_contradict_each_other_tell_nothing_of_edges():
    images = [labelled_at(turn, (0.0, 0.15)[i % 2]) for i, turn in enumerate(np.repeat(TURNS, 2).tolist())]
    body = labelled_body(BOX, images, lambda w, h: moving_box.CAMERA)
    assert (body.hidden_to == HIDDEN_TO).all() and (body.seen_from == SEEN_FROM).all()


def test_points_of_another_shape_or_few_labels_are_not_confirmed():
    images = [labelled_at(turn, 0.0) for turn in TURNS]
    stretched = replace(BOX, model_points=moving_box.CORNERS * [1.3, 1, 1])
    assert labelled_body(stretched, images, lambda w, h: moving_box.CAMERA) is None
    assert labelled_body(replace(BOX, model_points=None), images, lambda w, h: moving_box.CAMERA) is None
    assert labelled_body(BOX, images[:2], lambda w, h: moving_box.CAMERA) is None
