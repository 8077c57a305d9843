"""Shared by the tests of the evaluation: the tiny object with a real network, and small bags with known truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bag_maker import Truth, tiny_bag
from tiny_model import write_tiny_object

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.evaluation_settings import Settings
from custom_pose_ros.evaluation.evaluator import Evaluation, Evaluator


@pytest.fixture(scope='session')
def tiny_folder(tmp_path_factory) -> Path:
    """Folder with object.yaml and model.onnx of the tiny object."""
    return write_tiny_object(tmp_path_factory.mktemp('object') / 'tiny')


@pytest.fixture(scope='session')
def tiny_model(tiny_folder) -> ObjectModel:
    return ObjectModel.load(tiny_folder)


@pytest.fixture(scope='session')
def dive(tmp_path_factory) -> tuple[Path, list[Truth]]:
    """A bag of 40 frames with truth, camera_info and raw images; nobody may change it."""
    return tiny_bag(tmp_path_factory.mktemp('bags') / 'dive', 40)


@pytest.fixture(scope='session')
def evaluate(tiny_folder) -> Iterator[Callable[..., Evaluation]]:
    """Evaluate bags with the tiny object; options are fields of Settings. The bags stay open."""
    with contextlib.ExitStack() as stack:

        def run(*bags: Path, **options: object) -> Evaluation:
            evaluator = Evaluator(Settings(tuple(bags), object=str(tiny_folder), **options))
            return evaluator.evaluate(stack.enter_context(Bag(bags)))

        yield run
