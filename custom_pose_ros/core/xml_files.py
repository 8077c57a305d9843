"""XML, read only after its extent is known: a small file of tags would become a tree of gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from custom_pose_ros.core.errors import reason_of
from custom_pose_ros.core.limits import (
    MAX_XML_BYTES,
    MAX_XML_DEPTH,
    MAX_XML_ELEMENTS,
    MAX_XML_TAG_BYTES,
    MAX_XML_VALUES,
)

_BLOCK_BYTES = 1 << 16


def parse_xml(content: bytes, encoding: str | None = None) -> ElementTree.Element:
    """
    Return the root of an XML document.

    Args:
        content: of the file.
        encoding: of it, whatever its declaration says; None trusts the declaration.

    Raises:
        ValueError: It is not XML, or more than it may be (core/limits.py); the text is one line.
    """
    try:
        _check_extent(content, encoding)
        return ElementTree.fromstring(content, ElementTree.XMLParser(encoding=encoding))
    except (expat.ExpatError, ElementTree.ParseError, LookupError) as error:
        raise ValueError(reason_of(error)) from error


def first_elements(file: BinaryIO) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield 'start' or 'end' and the element that does so, of the first MAX_XML_TAG_BYTES; ValueError as above."""
    parser: ElementTree.XMLPullParser = ElementTree.XMLPullParser(('start', 'end'))
    try:
        parser.feed(file.read(MAX_XML_TAG_BYTES) or b'?')  # which is no XML, as nothing is
        yield from parser.read_events()  # type: ignore[misc]
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(reason_of(error)) from error


def _check_extent(content: bytes, encoding: str | None) -> None:
    """Raise ValueError for more, deeper or longer elements than a tree is built of; without building it."""
    if len(content) > MAX_XML_BYTES:
        raise ValueError(f'it has {len(content)} bytes; at most {MAX_XML_BYTES} are read')
    elements = values = depth = 0

    def begin(name: str, attributes: list[str]) -> None:
        nonlocal elements, values, depth
        elements, values, depth = elements + 1, values + len(attributes) // 2, depth + 1
        check()

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def text(words: str) -> None:
        nonlocal values
        values += len(words.split())
        check()

    def check() -> None:
        if elements > MAX_XML_ELEMENTS:
            raise ValueError(f'it has more than {MAX_XML_ELEMENTS} elements')
        if values > MAX_XML_VALUES:
            raise ValueError(f'it has more than {MAX_XML_VALUES} words and attributes')
        if depth > MAX_XML_DEPTH:
            raise ValueError(f'its elements are nested more than {MAX_XML_DEPTH} levels deep')

    parser = expat.ParserCreate(encoding)
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    if hasattr(parser, 'SetReparseDeferralEnabled'):  # newer ones leave a long tag for later, which would count twice
        parser.SetReparseDeferralEnabled(False)
    parser.ordered_attributes, parser.buffer_text, parser.buffer_size = True, True, _BLOCK_BYTES
    for start in range(0, len(content), _BLOCK_BYTES):
        block = content[start : start + _BLOCK_BYTES]
        parser.Parse(block, False)
        if start + len(block) - parser.CurrentByteIndex > MAX_XML_TAG_BYTES:
            raise ValueError(f'it has a tag of more than {MAX_XML_TAG_BYTES} bytes')
    parser.Parse(b'', True)
