"""A ROS domain that nobody uses, so that a benchmark and a robot do not hear each other."""

from __future__ import annotations

import os
from pathlib import Path

from custom_pose_ros.tools.children import free_domain

ROOT = Path(__file__).resolve().parents[3]


def environment() -> dict[str, str]:
    """Return the variables of this process for a free domain, with the transport that the launch files set."""
    profile = 'FASTRTPS_DEFAULT_PROFILES_FILE'
    if os.environ.get('ROS_DISTRO', 'kilted') >= 'kilted':
        profile = 'FASTDDS_DEFAULT_PROFILES_FILE'
    paths = (str(ROOT), str(ROOT / 'test/benchmarks'), os.environ.get('PYTHONPATH'))
    return {
        **os.environ,
        'ROS_DOMAIN_ID': str(free_domain()),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        profile: str(ROOT / 'config/fastdds.xml'),
        'PYTHONPATH': os.pathsep.join(filter(None, paths)),
    }
