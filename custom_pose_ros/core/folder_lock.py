"""One process at a time writes into a folder: a lock that ends with the process."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from pathlib import Path
from typing import IO

from custom_pose_ros.core.errors import ConfigError, OutputError

LOCK = '.lock'  # in the folder; stays there, which means nothing
_LONGEST_NUMBER = 20  # of a process
_log = logging.getLogger(__name__)


def own_folder(folder: Path) -> IO[str]:
    """
    Make this process the only one that writes into a folder, which is made; return what must be kept meanwhile.

    The lock is one of the process, on a hidden file in the folder, and ends with the process, however that ends.

    Raises:
        ConfigError: Another process owns the folder; the text has its number.
        OutputError: The folder cannot be written to.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not blocking, and no link: what lies there may be anything.
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644), 'r+')
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, 'it is no file')
    except OSError as error:
        raise OutputError(f'{path}: cannot be written ({error.strerror or error})') from error
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, processes that are forked do not hold it
    except BlockingIOError as error:
        owner = file.read(_LONGEST_NUMBER).strip()
        file.close()
        raise ConfigError(
            f'{folder}: process {owner if owner.isdecimal() else "of another computer"} writes into it: wait until it '
            'ends, or give another --out'
        ) from error
    except OSError as error:
        _log.warning('%s: cannot be locked (%s): let one process at a time write into it', folder, error.strerror)
    file.truncate(0)
    file.write(f'{os.getpid()}\n')
    file.flush()
    return file
