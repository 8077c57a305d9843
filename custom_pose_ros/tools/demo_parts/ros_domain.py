"""A ROS domain of its own for processes that are to meet each other and nobody else."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

from custom_pose_ros.core.errors import ConfigError

_PORT_BASE, _DOMAIN_GAIN, _DOMAINS = 7400, 250, range(1, 101)  # DDSI-RTPS 9.6.1.1; above 101 the ports are ephemeral


def free_domain() -> int:
    """Return a ROS domain whose discovery ports nobody on this machine uses, chosen at random."""
    for domain in random.sample(_DOMAINS, len(_DOMAINS)):
        ports = [_PORT_BASE + _DOMAIN_GAIN * domain + offset for offset in (0, 10, 11)]
        if all(_is_free(port) for port in ports):
            return domain
    raise ConfigError(f'no free ROS_DOMAIN_ID from {_DOMAINS[0]} to {_DOMAINS[-1]}: their UDP ports are all in use')


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True


def ros_environment(domain: int) -> dict[str, str]:
    """Return the environment for processes that meet only each other; large images over shared memory and TCP."""
    package_root = str(Path(__file__).resolve().parents[3])
    environment = {
        **os.environ,
        'ROS_DOMAIN_ID': str(domain),
        'PYTHONUNBUFFERED': '1',
        'PYTHONPATH': os.pathsep.join(filter(None, (package_root, os.environ.get('PYTHONPATH')))),
    }
    environment.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')
    if os.environ.get('ROS_DISTRO') == 'humble':
        environment['ROS_LOCALHOST_ONLY'] = '1'
    else:
        environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        environment.pop('ROS_LOCALHOST_ONLY', None)
    return environment
