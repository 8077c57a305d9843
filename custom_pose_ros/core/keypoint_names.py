"""What the names of keypoints say: which are left and right of each other, which way front, left and top are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

# Left and right as a part of a name, wherever it stands.
_SIDES = (
    ('left', 'right'), ('port', 'starboard'), ('port', 'stbd'), ('near', 'off'), ('link', 'recht'),
    ('gauche', 'droite'), ('gauche', 'droit'), ('izquierda', 'derecha'), ('izquierdo', 'derecho'),
    ('sinistra', 'destra'), ('sinistro', 'destro'), ('esquerda', 'direita'), ('esquerdo', 'direito'),
    ('lewy', 'prawy'), ('lewa', 'prawa'),
)  # fmt: skip
# Short for left and right: only as a word of their own.
_SHORT_SIDES = (('l', 'r'), ('lt', 'rt'), ('lft', 'rgt'), ('lh', 'rh'), ('lhs', 'rhs'), ('sx', 'dx'), ('izq', 'der'))
_NO_SIDE = set('egijknopqsvwxyz')  # no word that goes with left and right begins so, as middle, top or front do
_DIRECTIONS = (
    ({'front', 'fore', 'forward', 'bow', 'nose', 'snout', 'head'}, {'back', 'rear', 'aft', 'stern', 'tail', 'hind'}),
    ({'left', 'port', 'l'}, {'right', 'starboard', 'r'}),
    ({'top', 'upper', 'up'}, {'bottom', 'lower', 'down'}),
)  # along x, y, z of REP 103, and against it
_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+')


class Sides(NamedTuple):
    """
    Left and right among K keypoints, by their names.

    Attributes:
        pairs: Indices of those that are certainly the left and the right one of a pair.
        likely: Indices of those that differ in an l and an r within a word, such as lear and rear.
        single: Indices of those with left or right in their name, and no partner.
    """

    pairs: list[tuple[int, int]]
    likely: list[tuple[int, int]]
    single: list[int]


def find_sides(names: Sequence[str]) -> Sides:
    """
    Find pairs of names that differ only in left and right, as a word (leftear, hand.R, L_Elbow, 2l) or in a letter.

    A letter within a word (lwing, rwing) counts where a second pair is named in the same way, or where the rest is
    a word of another name.
    """
    number = {name.lower(): i for i, name in enumerate(names)}
    certain: list[tuple[int, int]] = []
    letters: dict[tuple[int, int], tuple[str, str]] = {}
    for i, name in enumerate(names):
        certain += [_pair(i, number[twin]) for twin in _twins_by_word(name, number) if number.get(twin, i) != i]
        for twin, place, rest in _twins_by_letter(name):
            if twin in number:
                letters[_pair(i, number[twin])] = place, rest
    taken = {k for pair in certain for k in pair}
    letters = {pair: how for pair, how in letters.items() if not taken & set(pair)}
    places = Counter(place for place, _ in letters.values())
    words = Counter(word for name in names for word in set(_words(name)))
    sure = [pair for pair, (place, rest) in letters.items() if places[place] > 1 or words[rest]]
    pairs = _unambiguous([*certain, *sure])
    likely = [pair for pair in letters if pair not in pairs]
    paired = {k for pair in (*pairs, *likely) for k in pair}
    sided = re.compile('left|right|[lr]$' if pairs else 'left|right')
    single = [i for i, name in enumerate(names) if i not in paired and any(map(sided.match, _words(name)))]
    return Sides(sorted(pairs), sorted(likely), single)


def named_directions(names: Sequence[str], points: np.ndarray) -> list[np.ndarray | None]:
    """
    Return the directions (3,) that front, left and top have by the names of keypoints, unit vectors.

    Args:
        names: K names.
        points: (K, 3) [m], NaN where not known.

    Returns:
        From the middle of those called back, right and bottom to the middle of their opposites; of those alone that
        have an opposite, as top_left of bottom_left, where there are any. None where the names do not say.
    """
    known = np.isfinite(points).all(1)
    words = [_words(name) for name in names]
    directions: list[np.ndarray | None] = []
    for ahead, behind in _DIRECTIONS:
        ends = [
            [k for k in np.flatnonzero(known) if end & set(words[k]) and not other & set(words[k])]
            for end, other in ((ahead, behind), (behind, ahead))
        ]
        rest = {k: tuple(word for word in words[k] if word not in ahead | behind) for end in ends for k in end}
        both = {rest[k] for k in ends[0]} & {rest[k] for k in ends[1]}
        here, there = ([points[k] for k in end if not both or rest[k] in both] for end in ends)
        apart = np.mean(here, axis=0) - np.mean(there, axis=0) if here and there else np.zeros(3)
        length = float(np.linalg.norm(apart))
        directions.append(apart / length if length > 0 else None)
    return directions


def _pair(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _words(name: str) -> list[str]:
    """Return the words of a name in small letters: LEye -> l, eye; forelegL1 -> foreleg, l, 1."""
    return [word.lower() for word in _WORD.findall(name)]


def _twins_by_word(name: str, number: Mapping[str, int]) -> Iterator[str]:
    """Yield the name with left and right exchanged, for each language, and for all of them at once; small letters."""
    all_at_once = name.lower()
    for pair in (*_SIDES, *_SHORT_SIDES):
        short = pair in _SHORT_SIDES
        if not (short and _is_series(name, pair, number)):
            yield _exchanged(name, pair, short)
            all_at_once = _exchanged(all_at_once, pair, short)
    yield all_at_once


def _exchanged(name: str, pair: tuple[str, str], whole_words: bool) -> str:
    """Return the name in small letters, one word of a pair in the place of the other."""
    other = dict(zip(pair, reversed(pair)))
    pattern = _WORD.pattern if whole_words else '|'.join(pair)
    exchange = re.compile(pattern, 0 if whole_words else re.IGNORECASE)
    return exchange.sub(lambda match: other.get(match.group().lower(), match.group()), name).lower()


def _is_series(name: str, pair: tuple[str, str], number: Mapping[str, int]) -> bool:
    """Tell whether l and r are two letters of a series in which others stand in their place: p_k, p_l, p_m, ..."""
    lower = name.lower()
    for match in _WORD.finditer(name):
        if len(pair[0]) == 1 and match.group().lower() in pair:
            start, end = lower[: match.start()], lower[match.end() :]
            if any(start + letter + end in number for letter in _NO_SIDE):
                return True
    return False


def _twins_by_letter(name: str) -> Iterator[tuple[str, str, str]]:
    """Yield what the name becomes when one l within a word becomes r, where in the word it is, and the word's rest."""
    lower = name.lower()
    for match in _WORD.finditer(name):
        word = match.group().lower()
        for at in (at for at, letter in enumerate(word) if letter == 'l' and len(word) > 1):
            place = 'first' if at == 0 else 'last' if at == len(word) - 1 else str(at)
            start = match.start() + at
            yield lower[:start] + 'r' + lower[start + 1 :], place, word[:at] + word[at + 1 :]


def _unambiguous(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the pairs, each once, of keypoints that are in no other pair."""
    different = set(pairs)
    times = Counter(k for pair in different for k in pair)
    return [pair for pair in different if times[pair[0]] == times[pair[1]] == 1]
