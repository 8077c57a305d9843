"""A ROS domain that nobody uses, so that a benchmark and a robot do not hear each other."""

from __future__ import annotations

import os
import socket
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PORT_BASE, DOMAIN_GAIN = 7400, 250  # RTPS 9.6.1.1: discovery port of a domain


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


def free_domain() -> int:
    """Return a domain whose discovery port nobody has bound."""
    for number in range(1 + os.getpid() % 90, 101):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', PORT_BASE + DOMAIN_GAIN * number))
            except OSError:
                continue
            return number
    raise RuntimeError('no ROS domain is free')
