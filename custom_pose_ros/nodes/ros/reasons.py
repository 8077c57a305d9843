"""What peers on the network may read about an error: never the text of a file."""

from __future__ import annotations

import re
import traceback

from rclpy.exceptions import ParameterException

from custom_pose_ros.core.command_line import say
from custom_pose_ros.core.errors import CustomPoseError, ModelFileError, ObjectFileError, one_line


def is_expected(error: BaseException) -> bool:
    """Return whether the text of an error is written for people."""
    return isinstance(error, (CustomPoseError, ParameterException))


def reason_for_peers(error: BaseException) -> str:
    """
    Return the reason of an error in one line, as service answers, /rosout and /diagnostics may show it to everybody.

    Whoever may call a service can name any file that the node can read. What might quote it goes to stderr only.
    """
    text = one_line(error)
    if isinstance(error, ObjectFileError):
        say(f'error: {text}')
        return 'the object.yaml cannot be used; the terminal of the node says why, since the reason may quote the file'
    if isinstance(error, ModelFileError):
        say(f'error: {text}')
        return re.sub(r' \(.*\)', '', text)
    if is_expected(error):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f'a file cannot be read ({error.strerror})'
    say(''.join(traceback.format_exception(type(error), error, error.__traceback__)))
    return f'{type(error).__name__}; the terminal of the node has the details'
