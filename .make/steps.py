"""Steps that are done once: a line with the time on the terminal, the output in a log, a stamp when done."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import SetupError

TAIL_LINES = 15


@dataclass(frozen=True)
class Step:
    """
    One piece of the set-up.

    name : file name of its stamp.
    title : what the person at the terminal reads.
    inputs : everything the result depends on; the step is done again when any of it changes.
    action : does it, by means of a Shell.
    way_out : what to try when it fails.
    """

    name: str
    title: str
    inputs: Sequence[str]
    action: Callable[[Shell], None]
    way_out: str

    @property
    def key(self) -> str:
        return hashlib.sha256('\0'.join(self.inputs).encode()).hexdigest()

    def is_done(self, stamps: Path) -> bool:
        stamp = stamps / self.name
        return stamp.is_file() and stamp.read_text() == self.key

    def mark_done(self, stamps: Path) -> None:
        stamps.mkdir(exist_ok=True)
        (stamps / self.name).write_text(self.key)


class CommandError(Exception):
    """A command of a step exited non-zero."""


class Shell:
    """Runs the commands of a step: output to the log, elapsed seconds to the terminal."""

    def __init__(self, title: str, log: Path):
        self._log = log
        self._title = title
        self._begin = time.monotonic()
        self._offset = log.stat().st_size if log.exists() else 0

    def run(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Run one command; raise CommandError when it exits non-zero."""
        words = [str(word) for word in command]
        with self._log.open('ab') as log:
            log.write(f'$ {" ".join(words)}\n'.encode())
            log.flush()
            with subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            ) as process:
                while process.poll() is None:
                    self._wait(process)
        if process.returncode:
            raise CommandError(f'{words[0]} exited with {process.returncode}')

    def _wait(self, process: subprocess.Popen) -> None:
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            if sys.stdout.isatty():
                print(f'\r  {self._title} ... {self.seconds:.0f} s', end='', flush=True)
        except KeyboardInterrupt:
            process.terminate()
            raise

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def tail(self) -> str:
        """Return the last lines this step has written to the log."""
        with self._log.open('rb') as log:
            log.seek(self._offset)
            lines = log.read().decode(errors='replace').splitlines()
        return '\n'.join(f'    {line}' for line in lines[-TAIL_LINES:])


def carry_out(steps: Sequence[Step], stamps: Path, log: Path) -> None:
    """Do the steps that are not done; SetupError with the end of the log and a way out when one fails."""
    for step in steps:
        if step.is_done(stamps):
            continue
        shell = Shell(step.title, log)
        print(f'  {step.title} ...', end='', flush=True)
        try:
            step.action(shell)
        except CommandError as error:
            print(f' failed after {shell.seconds:.0f} s', flush=True)
            where = os.path.relpath(log)
            raise SetupError(f'{error}. The end of {where}:\n{shell.tail()}\n{step.way_out}') from error
        step.mark_done(stamps)
        start = '\r' if sys.stdout.isatty() else ''
        print(f'{start}  {step.title} ... {shell.seconds:.0f} s' if start else f' {shell.seconds:.0f} s', flush=True)
