"""Thin command lines over the library."""

import custom_pose_ros.core.command_line  # noqa: F401  (first, so that Ctrl-C during all other imports is handled)
