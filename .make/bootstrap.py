"""
Set up what a target of the Makefile needs, once: virtual environment, pinned packages, ROS 2 messages. Then run it.

    python3 .make/bootstrap.py {demo,face,test,test-oldest,bench,soak,docs,lint} [--distro NAME] [-- PYTHON ARGUMENTS]

Standard library only, since this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from environment import Environment, choose_environment
from machine import SetupError, check_python, check_tools, check_wheels
from pins import ROOT
from steps import Step, carry_out

TARGETS = ('demo', 'face', 'test', 'test-oldest', 'bench', 'soak', 'docs', 'lint')
LOG = ROOT / 'build/setup.log'
INTERRUPTED = 130


def main() -> int:
    """Set up and, when arguments follow, become python with these arguments; return the exit status of the set-up."""
    split = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(
        description=__doc__.strip().split('\n')[0],
        epilog='What follows -- are arguments of the python that was set up.',
    )
    parser.add_argument('target', choices=TARGETS)
    parser.add_argument('--distro', help='ROS 2 distribution to take from PyPI, even where another one is sourced')
    args = parser.parse_args(sys.argv[1:split])
    try:
        check_python(args.target)
        environment = choose_environment(args.target, args.distro)
        with alone():
            set_up(args.target, environment)
        if sys.argv[split + 1 :]:
            environment.become_python(sys.argv[split + 1 :])
    except SetupError as error:
        print(f'make {args.target}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\ninterrupted; run make again to go on', file=sys.stderr)
        return INTERRUPTED
    return 0


def set_up(target: str, environment: Environment) -> None:
    """Do what is not done yet for a target."""
    steps = plan(target, environment)
    pending = [step for step in steps if not step.is_done(environment.stamps)]
    if not pending:
        return
    compiles = target in ('demo', 'test', 'bench', 'soak')
    check_tools(compiler=compiles, colcon=compiles and environment.system)
    if compiles and not environment.system:
        check_wheels()
    begin = time.monotonic()
    print(f'Setting up {environment} for `make {target}` (log: {LOG.relative_to(ROOT)})', flush=True)
    LOG.write_text('')
    carry_out(steps, environment.stamps, LOG)
    print(f'Set up in {time.monotonic() - begin:.0f} s', flush=True)


def plan(target: str, environment: Environment) -> list[Step]:
    """Return the steps of a target in order; targets share steps, and so what was done for one serves the other."""
    steps = [environment.creation()]
    without_ros = {'lint': 'lint', 'test-oldest': 'test', 'docs': 'docs'}
    if target in without_ros:
        return [*steps, environment.packages(target, (without_ros[target],))]
    if target == 'face':
        return [*steps, environment.packages('face', ('openvino',)), environment.face_networks()]
    steps += [
        environment.packages('runtime', ('bags',), with_ros=True),
        environment.checkout(),
        environment.interfaces('custom_pose_msgs'),
    ]
    if target == 'bench':
        steps.append(environment.packages('bench', ('openvino', 'report')))
    if target == 'test':
        extras = ('docs', 'openvino', 'quantization', 'report', 'sleap', 'synthetic', 'test', 'training')
        steps += [environment.packages('test', extras), environment.face_networks()]
        if not environment.system:  # a distribution has tf2_msgs
            steps.append(environment.interfaces('test/interfaces/tf2_msgs'))
    return steps


@contextmanager
def alone() -> Iterator[None]:
    """Hold back a second set-up in this folder until the first one is through."""
    LOG.parent.mkdir(exist_ok=True)
    with (LOG.parent / 'setup.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('waiting for another set-up in this folder ...', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == '__main__':
    sys.exit(main())
