"""Errors that a user is meant to read: one line that says what was wrong, what was wanted, what to do."""

import re
from collections.abc import Collection

# Control characters but tab and line feed, marks that turn the direction of text, and bytes of names that are no UTF-8.
_UNPRINTABLE = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')

_LONGEST = 2000  # characters; a text that quotes an input may be as long as the input


class CustomPoseError(Exception):
    """Base of every error whose text is written for the person at the keyboard: one line without control characters."""

    def __str__(self) -> str:
        text = ' '.join(printable(super().__str__()).split('\n'))
        return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 500]} ... {text[-490:]}'


class ConfigError(CustomPoseError, ValueError):
    """An object file, parameter or calibration is wrong; the text names file, key, wanted and got."""


class ObjectFileError(ConfigError):
    """An object.yaml cannot be used; the text may quote the file, so it is for its owner and not for network peers."""


class ModelError(CustomPoseError, ValueError):
    """A trained model is missing, damaged, or does not fit the object file; the text names both."""


class ModelFileError(ModelError):
    """A model is damaged; what stands in parentheses may quote it, so it is for its owner and not for network peers."""


class DatasetError(CustomPoseError, ValueError):
    """Images or labels cannot be used; the text names the file and the image or annotation id."""


class TrainingError(CustomPoseError, RuntimeError):
    """Training cannot go on; the text says what was found and what to try."""


class MessageError(CustomPoseError, ValueError):
    """A received message cannot be used; the text says what is wrong with it and what was wanted."""


class UsageError(CustomPoseError):
    """Options contradict each other or the inputs; the text says what to give instead."""


class ChoiceError(ConfigError, UsageError):
    """A name, or names together, that can never be right, whatever files there are; the text lists those that can."""


class MediaError(CustomPoseError):
    """A picture cannot be read; the text names the file or camera and what is wrong with it."""


class OutputError(CustomPoseError):
    """A result cannot be written; the text names the file and the reason."""


def reason_of(error: BaseException) -> str:
    """Return the first line of what an error of a library says, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def one_line(error: BaseException) -> str:
    """Return all that an error says in one line, or its kind where it says nothing."""
    return ' '.join(str(error).split()) or type(error).__name__


def listed(items: Collection[str], most: int = 12) -> str:
    """Return items in one line: the first ones, and how many more there are."""
    return ', '.join(list(items)[:most]) + (f' and {len(items) - most} more' if len(items) > most else '')


def printable(text: str) -> str:
    r"""Return the text with what would steer a terminal or cannot be encoded written out, such as \x1b."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode('unicode_escape').decode('ascii'), text)


def printable_line(text: str) -> str:
    r"""Return the text, such as a file name, in one line: `printable`, and line ends and tabs as \n and \t."""
    return printable(text).replace('\n', r'\n').replace('\t', r'\t')
