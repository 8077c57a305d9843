"""A camera matrix, the distortion of each lens model, and the text with which a calibration is refused."""

from __future__ import annotations

import pytest

from custom_pose_ros.core.errors import ConfigError

K = [[610.0, 0.0, 322.0], [0.0, 605.0, 238.0], [0.0, 0.0, 1.0]]
PLUMB_BOB = [-0.28, 0.09, 0.001, -0.0007, -0.012]
RATIONAL = [0.42, -0.31, 0.0008, -0.0004, 0.05, 0.71, -0.2, 0.03]
EQUIDISTANT = [-0.02, 0.008, -0.004, 0.0009]


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as error:
        call(*args, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)
