"""Shared by the tests of the evaluation: small bags of the tiny object with known truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

with contextlib.suppress(ModuleNotFoundError):  # without rosbags no test of this folder is collected
    from bag_maker import Truth, tiny_bag

    from custom_pose_ros.evaluation.bags.reader import Bag
    from custom_pose_ros.evaluation.evaluation_settings import Settings
    from custom_pose_ros.evaluation.evaluator import Evaluation, Evaluator


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
