"""
Mutations of inputs, seeded: bytes flipped, cut, moved; values of a tree removed, doubled, exchanged, made extreme.

What reads the results, and what they may be, stands in mutated_inputs.py.
"""

from __future__ import annotations

import copy
import math
import random
from typing import Any

EXTREMES = (
    0, -1, 1, 2, -0.0, 0.5, 0.87, 1e-300, 1e300, -1e300, 1e9, -1e9, 2**31, 2**63, 2**64, -(2**63), 10**30, 1.0000001,
    math.nan, math.inf, -math.inf, True, False, None, '', ' ', '0', '1', '-1', 'nan', 'inf', '1e999', '0x10', '1_000',
    '\u00b2', '\u0663', '\u202e', '\x1b[2J', '\x00', '\ud800', 'a\nb', '../../etc/passwd', '/dev/zero', '~', '%s%n',
    'x' * 5000, [], {}, [[]], [None], {'': ''}, [1, 2, 3], [math.nan] * 3, [[[[[[[[1]]]]]]]],
)  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return the kind of a mutation and what it makes of a content."""
    kinds = ('flip', 'flip', 'flips', 'cut', 'cut', 'remove', 'double', 'zero', 'insert', 'move', 'number')
    kind = rng.choice(kinds)
    size = len(data)
    if not size:
        return 'insert', rng.randbytes(rng.randint(1, 20))
    at, length = rng.randrange(size), min(size, int(2 ** rng.uniform(0, 12)))
    before, piece, after = data[:at], data[at : at + length], data[at + length :]
    if kind in ('flip', 'flips'):
        changed = bytearray(data)
        for _ in range(1 if kind == 'flip' else rng.randint(2, 20)):
            changed[rng.randrange(size)] ^= 1 << rng.randrange(8)
        return kind, bytes(changed)
    made = {
        'cut': before,
        'remove': before + after,
        'double': before + piece + piece + after,
        'zero': before + bytes(len(piece)) + after,
        'insert': before + rng.randbytes(length) + data[at:],
        'move': before + after[: size // 7] + piece + after[size // 7 :],
    }
    if kind == 'number':  # a length, a count, an offset
        value = rng.choice([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
        width = rng.choice([1, 2, 4, 8])
        return kind, before + (value & ((1 << 8 * width) - 1)).to_bytes(width, 'little') + data[at + width :]
    return kind, made[kind]


def mutate_tree(tree: Any, rng: random.Random) -> tuple[str, Any]:
    """Return the kind of a mutation and a copy of nested lists and dictionaries with one or a few places changed."""
    changed = [copy.deepcopy(tree)]
    kinds = [_mutate_place(changed, rng) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
    return ', '.join(kinds), changed[0]


def _mutate_place(tree: list[Any], rng: random.Random) -> str:
    places = list(_places(tree))
    holder, key = rng.choice(places)
    kind = rng.choice((
        'extreme',
        'extreme',
        'extreme',
        'scale',
        'remove',
        'double',
        'exchange',
        'kind',
        'rename',
        'add',
    ))
    value = holder[key]
    if kind == 'remove' and holder is not tree:
        del holder[key]
    elif kind == 'double' and isinstance(holder, list) and holder is not tree:
        holder.insert(key, copy.deepcopy(value))
    elif kind == 'exchange':
        other, place = rng.choice(places)
        holder[key], other[place] = copy.deepcopy(other[place]), copy.deepcopy(value)
    elif kind == 'kind':
        holder[key] = rng.choice([str(value), [value], {'value': value}, repr(value).encode().hex(), len(str(value))])
    elif kind == 'scale' and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = value * rng.choice([-1, 0, 0.1, 1e-3, 1.01, 10, 1000, 1e6, 1e12])
    elif kind == 'nudge' and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = value + rng.choice([-1, 1, -0.5, 0.25, 1e-6, 10])
    elif kind == 'rename' and isinstance(holder, dict):
        holder[rng.choice([f'{key}s', str(key).upper(), '', str(key)[:-1]])] = holder.pop(key)
    elif kind == 'add':
        if isinstance(value, dict):
            value[rng.choice(['x', 'data', 'id', 'name'])] = copy.deepcopy(rng.choice(EXTREMES))
        elif isinstance(value, list):
            value.append(copy.deepcopy(rng.choice(EXTREMES)))
    else:
        kind = 'extreme'
        holder[key] = copy.deepcopy(rng.choice(EXTREMES))
    return kind


def _places(tree: Any) -> Any:
    """Yield each dictionary or list with a key of it."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def mutate_table(text: str, rng: random.Random, separator: str = ',') -> tuple[str, str]:
    """Return the kind of a mutation and a table with cells, rows or columns changed."""
    kind, rows = mutate_tree([line.split(separator) for line in text.splitlines()], rng)
    if not isinstance(rows, list):
        rows = [[str(rows)]]
    lines = [separator.join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]
    return kind, '\n'.join(lines) + '\n'
