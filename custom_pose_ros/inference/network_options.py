"""Options of the commands that run a network: what runs it, at which size, and on how many copies of each picture."""

from __future__ import annotations

import argparse

from custom_pose_ros.inference.backends import AUTO, KINDS
from custom_pose_ros.inference.copies import COPY_COUNTS


def add_network_options(parser: argparse._ActionsContainer) -> None:
    """Add --backend, --precision and --input-height."""
    parser.add_argument(
        '--backend', default=AUTO, choices=(AUTO, *KINDS), metavar='NAME',
        help=f'what runs the network: {", ".join(KINDS)} or auto, the first that is there (default: auto)',
    )  # fmt: skip
    parser.add_argument(
        '--precision', default='auto',
        help='f32, f16, bf16 or int8 (default: auto, f32 or what was checked against it)',
    )  # fmt: skip
    parser.add_argument(
        '--input-height', type=int, metavar='PX', help="height of the network input (default: the object file's)"
    )


def add_copies_option(parser: argparse._ActionsContainer) -> None:
    """Add --copies."""
    parser.add_argument(
        '--copies', type=int, choices=COPY_COUNTS, default=1,
        help='average over so many turned and enlarged copies of each picture: sharper, for as many times the time',
    )  # fmt: skip
