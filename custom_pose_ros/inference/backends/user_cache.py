"""The cache folder of this user: small JSON records by key, written beside and renamed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder, which need not exist: $XDG_CACHE_HOME/custom_pose_ros, or the same in ~/.cache."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser('~'), '.cache')
    return home / 'custom_pose_ros'


def record_path(key: Mapping[str, Any]) -> Path:
    """Return the file of a record: one for each key, so that two processes never overwrite each other's records."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder() / 'backends' / f'{digest[:32]}.json'


def read_record(key: Mapping[str, Any]) -> Any:
    """Return what was remembered under a key; None where nothing was, or where the file cannot be read."""
    try:
        content = json.loads(record_path(key).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return content.get('value') if isinstance(content, dict) and content.get('key') == dict(key) else None


def write_record(key: Mapping[str, Any], value: Any) -> None:
    """Remember a value; where the folder cannot be written, say so and go on."""
    path = record_path(key)
    text = json.dumps({'key': dict(key), 'value': value}, indent=2)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix='.tmp')
        try:
            with open(handle, 'w', encoding='utf-8') as file:
                file.write(text)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        _log.warning('%s cannot be written (%s): the backends will be measured at every start', path.parent, error)
