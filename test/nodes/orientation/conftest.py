"""The object of these tests."""

from __future__ import annotations

import pytest

from custom_pose_ros.core.object_model import ObjectModel


@pytest.fixture(scope='session')
def model(tiny_object: str) -> ObjectModel:
    return ObjectModel.load(tiny_object)
