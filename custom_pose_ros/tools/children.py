"""Child processes that never outlive their parent, and a ROS domain in which they meet each other and nobody else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from custom_pose_ros.core.errors import ConfigError, CustomPoseError, printable

_GRACE_S = 3.0  # between asking a child to end and killing it
_LOG_LINES = 12  # how much of a log is shown when its process died
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PORT_BASE, _DOMAIN_GAIN, _DOMAINS = 7400, 250, range(1, 101)  # DDSI-RTPS 9.6.1.1; above 101 the ports are ephemeral


class ChildError(CustomPoseError):
    """A child process died or did not answer; the text carries the last lines of its log, each on a line of its own."""

    def __str__(self) -> str:
        return printable(str(self.args[0]))


class Children:
    """
    Named child processes with a log file each. Use as a context manager: leaving it ends all of them.

    Args:
        log_folder: Where `<name>.log` with stderr (and stdout, unless it is read) of each process goes.
        environment: Environment variables of all processes.
    """

    def __init__(self, log_folder: Path, environment: Mapping[str, str]):
        self._log_folder = log_folder
        self._environment = dict(environment)
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def __enter__(self) -> Children:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], on_line: Callable[[str], None] | None = None) -> None:
        """
        Start `command` under `name`.

        Args:
            name: Name for `send`, `check` and the log.
            command: Program and arguments.
            on_line: Called in a thread of its own with each line of stdout; without it stdout goes to the log.
        """
        with open(self.log_of(name), 'w', encoding='utf-8') as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log if on_line is None else subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                start_new_session=True,  # Ctrl-C comes to the parent alone, which then ends the children in order
                preexec_fn=_die_with_parent if sys.platform.startswith('linux') else None,
            )
        self._processes[name] = process
        if on_line is not None:
            threading.Thread(target=_read_lines, args=(process, on_line), daemon=True).start()

    def log_of(self, name: str) -> Path:
        """Return the log file of a process."""
        return self._log_folder / f'{name}.log'

    def pid(self, name: str) -> int:
        """Return the process id of a child."""
        return self._processes[name].pid

    def send(self, name: str, line: str) -> None:
        """Write a line to the stdin of a process; a process that is gone is found by `check`."""
        stdin = self._processes[name].stdin
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line + '\n')
            stdin.flush()

    def check(self) -> None:
        """Raise ChildError, with the end of its log, when a process has ended."""
        for name, process in self._processes.items():
            status = process.poll()
            if status is not None:
                raise ChildError(f'{name} ended with exit status {status}{self.log_tail(name)}')

    def log_tail(self, name: str) -> str:
        """Return the last lines of a log, indented below a colon; or where to find nothing."""
        lines = self.log_of(name).read_text(encoding='utf-8', errors='replace').strip().splitlines()
        if not lines:
            return ' (it wrote nothing)'
        return ':\n' + '\n'.join(f'    {line}' for line in lines[-_LOG_LINES:])

    def stop(self) -> None:
        """End all processes: close stdin, ask, wait, kill."""
        processes = list(self._processes.values())
        for process in processes:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _GRACE_S
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def _read_lines(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    with process.stdout as lines:
        for line in lines:
            on_line(line)


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent is gone, even after SIGKILL (prctl(2)); survives exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


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
    package_root = str(Path(__file__).resolve().parents[2])
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
