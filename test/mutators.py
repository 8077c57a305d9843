"""
Mutations of inputs, seeded: bytes flipped, cut, moved; values of a tree removed, doubled, exchanged, made extreme.

What reads the results, and what they may be, stands in mutated_inputs.py.
"""

from __future__ import annotations

import copy
import json
import math
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

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
        'extreme', 'extreme', 'extreme', 'scale', 'remove', 'double', 'exchange', 'kind', 'rename', 'add',
    ))  # fmt: skip
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


def mutate_xml(text: str, rng: random.Random) -> tuple[str, str]:
    """Return the kind of a mutation and an XML document with attributes, texts or elements changed."""
    root = ElementTree.fromstring(text)
    kinds = []
    for _ in range(rng.choice([1, 1, 2])):
        parent = rng.choice(list(root.iter()))
        element = rng.choice(list(parent)) if len(parent) else parent
        kind = rng.choice(('attribute', 'attribute', 'attribute', 'text', 'remove', 'double', 'exchange', 'rename'))
        if kind == 'remove' and element is not parent:
            parent.remove(element)
        elif kind == 'double' and element is not parent:
            parent.append(copy.deepcopy(element))
        elif kind == 'exchange':
            other = rng.choice(list(root.iter()))
            element.attrib, other.attrib = other.attrib, element.attrib
        elif kind == 'rename':
            element.tag += rng.choice(['', 's', 'X'])
        elif kind == 'text':
            element.text = _other_words(element.text or '', rng)
        elif element.attrib:
            name = rng.choice(sorted(element.attrib))
            element.attrib[name] = _other_words(element.attrib[name], rng)
        kinds.append(kind)
    return ', '.join(kinds), ElementTree.tostring(root, encoding='unicode')


def _other_words(text: str, rng: random.Random) -> str:
    """Return the text with one of its words removed, doubled, nudged or made extreme."""
    words = text.split(' ')
    at = rng.randrange(len(words))
    try:
        number = float(words[at])
    except ValueError:
        number = math.nan
    extreme = ''.join(c for c in str(rng.choice(EXTREMES)) if c.isprintable())  # XML has no control characters
    others = [[], [words[at]] * 2, [extreme], [str(number + 1)], [str(number * 1.5)], [str(-number)]]
    words[at : at + 1] = rng.choice(others if math.isfinite(number) else others[:3])
    return ' '.join(words)


def mutate_glb(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return the kind of a mutation and a binary glTF whose JSON is changed."""
    length = int.from_bytes(data[12:16], 'little')
    kind, tree = mutate_tree(json.loads(data[20 : 20 + length]), rng)
    text = json.dumps(tree).encode()
    text += b' ' * (-len(text) % 4)
    chunks = len(text).to_bytes(4, 'little') + data[16:20] + text + data[20 + length :]
    return kind, data[:8] + (12 + len(chunks)).to_bytes(4, 'little') + chunks


def mutate_file(path: Path, rng: random.Random, share_of_bytes: float = 0.25) -> str:
    """Change a file by what its suffix says of its content, or else its bytes; return the kind of the mutation."""
    data, suffix = path.read_bytes(), path.suffix
    known = suffix in ('.json', '.yaml', '.csv', '.txt', '.obj', '.xml', '.urdf', '.dae', '.glb')
    if not known or rng.random() < share_of_bytes:
        kind, changed = mutate_bytes(data, rng)
        path.write_bytes(changed)
        return kind
    if suffix == '.glb':
        kind, changed = mutate_glb(data, rng)
        path.write_bytes(changed)
        return kind
    text = data.decode()
    if suffix == '.json':
        kind, tree = mutate_tree(json.loads(text), rng)
        text = json.dumps(tree)  # lone halves of characters are written as \\ud800
    elif suffix == '.yaml':
        kind, tree = mutate_tree(yaml.safe_load(text), rng)
        text = yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5)
    elif suffix in ('.xml', '.urdf', '.dae'):
        kind, text = mutate_xml(text, rng)
    else:
        kind, text = mutate_table(text, rng, ',' if suffix == '.csv' else ' ')
    path.write_text(text, encoding='utf-8', errors='replace')
    return kind
