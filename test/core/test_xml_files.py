"""Tests of custom_pose_ros.core.xml_files: a document is read, or refused before a tree of it is built."""

from __future__ import annotations

import io

import pytest

from custom_pose_ros.core import xml_files
from custom_pose_ros.core.limits import MAX_XML_DEPTH, MAX_XML_TAG_BYTES
from custom_pose_ros.core.xml_files import first_elements, parse_xml

# Each entity is ten of the one before: 10^10 words of a file of 400 bytes.
ENTITIES = ''.join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(10))
LAUGHS = f'<!DOCTYPE a [<!ENTITY a "ha ">{ENTITIES}]><a>&k;</a>'


def test_a_document_is_read_in_the_encoding_that_it_states_or_that_is_given() -> None:
    root = parse_xml('<?xml version="1.0" encoding="latin-1"?><a x="1">ä<b/></a>'.encode('latin-1'))
    assert (root.tag, root.attrib, root.text, len(root)) == ('a', {'x': '1'}, 'ä', 1)
    assert parse_xml('<?xml version="1.0" encoding="utf-16"?><a>ä</a>'.encode(), 'utf-8').text == 'ä'


@pytest.mark.parametrize('before', [0, 130_000, 500_000])
def test_a_long_comment_is_no_mistake(before: int) -> None:
    """Newer versions of expat read a long tag when it has doubled: it then seemed longer than it is."""
    content = b'<a>' + b'<b/>' * (before // 4) + b'<!--' + b'x' * (MAX_XML_TAG_BYTES - 70_000) + b'--><c/></a>'
    assert parse_xml(content)[-1].tag == 'c'


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'', 'no element found'),
        (b'<a><b>', 'no element found'),
        (b'<a>&nothing;</a>', 'undefined entity'),
        (b'<a></b>', 'mismatched tag'),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', 'unknown encoding'),
        (b'<x:a/>', 'unbound prefix'),
        (b'<a>' * (MAX_XML_DEPTH + 1), 'nested more than 200 levels deep'),
        (b'<a ' + b' ' * (MAX_XML_TAG_BYTES + 70_000), 'a tag of more than 1048576 bytes'),
        (b'<a><!--' + b' ' * (MAX_XML_TAG_BYTES + 70_000), 'a tag of more than 1048576 bytes'),
    ],
)
def test_what_cannot_be_used_is_one_line(content: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text) as error:
        parse_xml(content)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'<a>' + b'<b/>' * 1000 + b'</a>', 'more than 1000 elements'),
        (b'<a>' + b'<b x="" y=""/>' * 501 + b'</a>', 'more than 1000 words and attributes'),
        (b'<a>' + b'1 ' * 1001 + b'</a>', 'more than 1000 words and attributes'),
        (LAUGHS.encode(), 'more than 1000 words|amplification'),
        (b'<a>' + b' ' * 10_000 + b'</a>', '10007 bytes; at most 10000 are read'),
    ],
)
def test_elements_and_words_are_counted_before_the_tree_is_built(monkeypatch, content: bytes, text: str) -> None:
    monkeypatch.setattr(xml_files, 'MAX_XML_ELEMENTS', 1000)
    monkeypatch.setattr(xml_files, 'MAX_XML_VALUES', 1000)
    monkeypatch.setattr(xml_files, 'MAX_XML_BYTES', 10_000)
    monkeypatch.setattr(xml_files.ElementTree, 'fromstring', None)  # which builds it
    with pytest.raises(ValueError, match=text):
        parse_xml(content)


def test_the_beginning_of_a_document_is_enough_for_its_first_elements() -> None:
    events = [(event, e.tag) for event, e in first_elements(io.BytesIO(b'<a><b>1</b>'))]
    assert events == [('start', 'a'), ('start', 'b'), ('end', 'b')]
    for content in (b'', b'<a></b>'):
        with pytest.raises(ValueError, match='line 1'):
            list(first_elements(io.BytesIO(content)))
