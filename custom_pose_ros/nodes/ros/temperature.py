"""How hot the computer is, from /sys/class/thermal of Linux: a hot one slows down, and frames are dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

THERMAL = Path('/sys/class/thermal')
MARGIN = 5.0  # [degC] below the first trip point where it is told
_SLOWING = ('passive', 'hot', 'critical')  # kinds of trip points; active ones only start a fan
_PLAUSIBLE = (-40.0, 150.0)


@dataclass(frozen=True)
class Temperature:
    """
    The zone that is nearest to its limit.

    celsius, limit : now and where the computer slows down or ends, [degC]; limit is None where it tells none.
    """

    zone: str
    celsius: float
    limit: float | None

    @property
    def is_high(self) -> bool:
        return self.limit is not None and self.celsius > self.limit - MARGIN


def read_temperature(folder: Path = THERMAL) -> Temperature | None:
    """Return the temperature of the zone nearest to its limit, or None where there is no sensor."""
    zones = [_read_zone(zone) for zone in sorted(folder.glob('thermal_zone*'))]
    known = [zone for zone in zones if zone is not None]
    return max(known, key=lambda zone: zone.celsius - (zone.limit or _PLAUSIBLE[1]), default=None)


def _read_zone(zone: Path) -> Temperature | None:
    celsius = _degrees(zone / 'temp')
    if celsius is None or not _PLAUSIBLE[0] < celsius < _PLAUSIBLE[1]:
        return None
    limits = [
        _degrees(kind.with_name(kind.name.replace('_type', '_temp')))
        for kind in zone.glob('trip_point_*_type')
        if _text(kind) in _SLOWING
    ]
    plausible = [limit for limit in limits if limit is not None and 0.0 < limit < _PLAUSIBLE[1]]
    return Temperature(_text(zone / 'type') or zone.name, celsius, min(plausible, default=None))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='ascii', errors='replace').strip()
    except OSError:  # a sensor that is asleep cannot be read
        return ''


def _degrees(path: Path) -> float | None:
    try:
        return int(_text(path)) / 1000
    except ValueError:
        return None
