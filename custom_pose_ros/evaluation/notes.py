"""Notes: remarks about a bag for the user, each once, counted where it may happen with every message."""

from __future__ import annotations

import re

from custom_pose_ros.core.errors import printable_line
from custom_pose_ros.core.limits import MAX_NOTES

_FURTHER = 'further remarks are left out'


class Notes:
    """
    Remarks collected while a bag is read, in the order of their first appearance.

    Damage means that a part of the bag could not be used; everything else is worth knowing.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[bool, str], int] = {}
        self._first: dict[tuple[bool, str], str] = {}

    def damage(self, text: str, counted: bool = False) -> None:
        """Remember that something could not be used; `counted` for what happens message by message."""
        self._add(True, text, counted)

    def info(self, text: str, counted: bool = False) -> None:
        """Remember a choice or a circumstance that the user should know of."""
        self._add(False, text, counted)

    def _add(self, damaged: bool, text: str, counted: bool) -> None:
        text = printable_line(text)  # it may name a file or topic
        topic, colon, remark = text.partition(': ')
        alike = damaged, topic + colon + re.sub(r'\d+', '0', remark)
        if counted:  # what differs only in numbers after the name of the topic is the same
            text = self._first.get(alike, text)
        if len(self._counts) >= MAX_NOTES and (damaged, text) not in self._counts:
            text = _FURTHER
        elif counted:
            self._first[alike] = text
        self._counts[damaged, text] = self._counts.get((damaged, text), 0) + 1 if counted else 1

    @property
    def damaged(self) -> bool:
        return any(damaged for damaged, _ in self._counts)

    def lines(self, damaged: bool | None = None) -> list[str]:
        """Return the remarks (all, only damage, or only the others), with `(N times)` after repeated ones."""
        return [
            text if count == 1 else f'{text} ({count} times)'
            for (kind, text), count in self._counts.items()
            if damaged is None or kind == damaged
        ]
