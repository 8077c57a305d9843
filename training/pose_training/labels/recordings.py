"""What the name of an image file says: of which recording it is a frame, and of which photo it is a version."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np

UPLOAD_PREFIX = re.compile(r'^(?!(?:19|20)\d{6})[0-9a-f]{8}-(?=.)')  # that Label Studio adds; not a date
_ROBOFLOW = re.compile(r'(?:_(?:jpe?g|png|bmp|tiff?|webp|avif|heic))?\.rf\.[0-9A-Za-z]+$', re.IGNORECASE)
_HASH = re.compile(r'(?<=.)[._-](?:[0-9a-f]{32,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$', re.IGNORECASE)
_CHANGED = re.compile(
    r'(?<=.)[ _.-]+(?:(?:augmentation|augmented|aug)[ _-]?\d*|(?:rotated|rotate|rotation|rot)[ _-]?\d{0,3}|'
    r'(?:[hv]_?flip|flip(?:ped)?|mirror(?:ed)?|crop(?:ped)?|blur(?:red)?|noisy|noise|bright(?:er|ness)?|dark(?:er)?|'
    r'contrast|gamma|hue|jitter|scaled?|zoom|shear|gr[ae]y|copy|edited|orig(?:inal)?)(?:_?(?:lr|ud|[hvxy]))?'
    r'[ _-]?\d{0,2})$',
    re.IGNORECASE,
)
_SIDE = re.compile(
    r'(?<![A-Za-z])(?:left|right|cam(?:era)?[ _-]?\d{1,2}(?!\d)|infra[12]|rgb|colou?r|mono|depth|thermal|nir)'
    r'(?![A-Za-z])|(?<![A-Za-z0-9])[lr](?![A-Za-z0-9])',
    re.IGNORECASE,
)
_SIDE_FOLDER = re.compile(r'left|right|(?:cam(?:era)?|image|infra)_?\d{1,2}|rgb|colou?r|depth', re.IGNORECASE)
_DATE = re.compile(
    r'(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[T _.-]*(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)(?:[.,_-]?(\d{1,9}))?'
    r'(?:Z|[+-]\d\d:?\d\d)?(?![A-Za-z0-9])'
)
_CLOCK = re.compile(r'(?<!\d)(\d\d)[-_.:h](\d\d)[-_.:m](\d\d)(?:[.,_-](\d{1,9}))?Z?(?![A-Za-z0-9])')
_SECONDS = re.compile(r'(?<!\d)(1\d{9})(?:[._-](\d{1,9})|(\d{9}|\d{6}|\d{3}))?(?!\d)')  # since 1970
_COUNTER = re.compile(r'(?<![A-Za-z])(?:frame|frm|img|image|idx|index)[ _-]?(\d+)', re.IGNORECASE)
_NUMBER = re.compile(r'\d+')
_LONG_NUMBER = re.compile(r'\d{3,}')  # counts frames where a time is beside it; a short one counts recordings
_PAUSE_S = 10.0  # between two recordings, at least
_PAUSE = 10.0  # times the usual time between two frames
_MOVING = 0.25  # of the steps: with fewer, the times are those of the starts of recordings
_MOST_VERSIONS = 10  # of a photo without a number in its name: more are photos of one class


class NamedFrame(NamedTuple):
    """
    Where an image belongs by its name.

    Attributes:
        recording: Same for the frames of one recording.
        position: Number, or time [s], in it.
        photo: Same for the versions of one photo: augmented copies, and pictures of several cameras at the same time.
    """

    recording: str
    position: float
    photo: str


def frames_of(files: Sequence[Path]) -> list[NamedFrame]:
    """Return where images belong by their names; a pause between the times in them is between two recordings."""
    named = [_parsed(file) for file in files]
    versions = Counter(frame.photo for frame in named)
    recordings: dict[str, list[int]] = defaultdict(list)
    for i, frame in enumerate(named):
        recordings[frame.recording].append(i)
        if versions[frame.photo] > _MOST_VERSIONS and not _NUMBER.search(Path(frame.photo).name):
            named[i] = frame._replace(photo=str(files[i]))
    for recording, members in recordings.items():
        if '*' in recording:
            members.sort(key=lambda i: named[i].position)
            steps = np.diff([named[i].position for i in members])
            moving = steps[steps > 0]
            usual = float(np.median(moving)) if len(moving) > _MOVING * len(steps) else 0.0
            pauses = np.cumsum(np.concatenate([[0], steps > max(_PAUSE_S, _PAUSE * usual)]))
            for i, pause in zip(members, pauses.tolist()):
                named[i] = named[i]._replace(recording=f'{recording} {pause}')
    return named


def _parsed(file: Path) -> NamedFrame:
    """Return what the name of one file says; `*` in the recording stands for a time, `#` for a number."""
    stem = _ROBOFLOW.sub('', UPLOAD_PREFIX.sub('', file.stem))
    while (shorter := _CHANGED.sub('', stem)) != stem:
        stem = shorter
    if _SIDE.search(stem):
        stem = re.sub(r'[ _.-]+', '_', _SIDE.sub('_', stem)).strip('_') or stem
    folder = '/'.join('side' if _SIDE_FOLDER.fullmatch(part) else part for part in file.parent.parts)
    photo, stem = f'{folder}/{stem}', _HASH.sub('', stem)
    for pattern, seconds_of in ((_DATE, _date_s), (_SECONDS, _since_1970_s), (_CLOCK, _clock_s)):
        if (found := pattern.search(stem)) and (position := seconds_of(found)) is not None:
            counted = _LONG_NUMBER.sub('#', stem[: found.start()]), _NUMBER.sub('#', stem[found.end() :])
            return NamedFrame(f'{folder}/{"*".join(counted)}', position, photo)
    start, end = next((match.span(1) for match in _COUNTER.finditer(stem)), (0, 0))
    for match in [] if end else _NUMBER.finditer(stem):
        start, end = match.span()  # the last one
    number = stem[start:end]
    return NamedFrame(f'{folder}/{stem[:start]}{"#" if number else ""}{stem[end:]}', float(number[-15:] or 0), photo)


def _date_s(found: re.Match[str]) -> float | None:
    """Return a date and time as seconds, None where it is no date."""
    year, month, day, hours, minutes, seconds = map(int, found.groups()[:6])
    try:
        days = date(year, month, day).toordinal()
    except ValueError:
        return None
    return days * 86400.0 + hours * 3600 + minutes * 60 + seconds + float(f'0.{found.group(7) or 0}')


def _since_1970_s(found: re.Match[str]) -> float:
    return float(f'{found.group(1)}.{found.group(2) or found.group(3) or 0}')


def _clock_s(found: re.Match[str]) -> float:
    hours, minutes, seconds = map(int, found.groups()[:3])
    return hours * 3600.0 + minutes * 60 + seconds + float(f'0.{found.group(4) or 0}')
