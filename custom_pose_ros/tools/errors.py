"""Errors of the command lines, beyond those of the core: one line each, for the person at the keyboard."""

from custom_pose_ros.core.errors import CustomPoseError


class UsageError(CustomPoseError):
    """Options contradict each other or the inputs; the text says what to give instead."""


class MediaError(CustomPoseError):
    """A picture cannot be read; the text names the file or camera and what is wrong with it."""


class OutputError(CustomPoseError):
    """A result cannot be written; the text names the file and the reason."""
