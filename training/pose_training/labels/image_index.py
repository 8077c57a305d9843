"""Search for the images that a label file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import IMAGE_SUFFIXES
from training.pose_training.labels.raw_labels import base_name

_UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-')  # Label Studio puts it before the name of every uploaded file


class ImageIndex:
    """
    Finds images by the end of the path that a label file gives: container paths are resolved by file name.

    Where no file has a name, the name is treated as that of an upload, which Label Studio changes.
    """

    def __init__(self, folders: Sequence[Path], exclude: Path | None = None):
        """
        List the images.

        Args:
            folders: Searched to any depth.
            exclude: A folder in them that is not searched, where copies may lie.

        Raises:
            DatasetError: A folder does not exist.
        """
        self._folders = folders
        self._files: dict[str, list[Path]] = {}
        self._uploads: dict[str, list[Path]] = {}
        for folder in folders:
            if not folder.is_dir():
                raise DatasetError(f'{folder}: no such folder with images')
            for file in sorted(folder.rglob('*')):
                if file.suffix.lower() in IMAGE_SUFFIXES and (exclude is None or exclude not in file.parents):
                    self._files.setdefault(file.name, []).append(file)
                    self._uploads.setdefault(_upload_name(file.name), []).append(file)

    def __str__(self) -> str:
        return ', '.join(str(folder) for folder in self._folders)

    def find(self, name: str) -> list[Path]:
        """Return the files that share the longest end of the path `name`; several when it is not clear which."""
        wanted = name.replace('\\', '/').split('/')
        last = base_name(name)
        candidates = self._files.get(last) or self._uploads.get(_UPLOAD_PREFIX.sub('', last), [])
        best = max((_common_end(wanted, file.parts) for file in candidates), default=0)
        return [file for file in candidates if _common_end(wanted, file.parts) == best]


def _upload_name(name: str) -> str:
    """Return what Label Studio makes of a file name: blanks become '_', brackets and the like go."""
    return re.sub(r'[^-\w.]', '', name.strip().replace(' ', '_'))


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for one, other in zip(reversed(a), reversed(b)):
        if one != other:
            break
        count += 1
    return count
