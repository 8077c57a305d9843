"""The object that orientation_node serves: loaded with its outline, and kept until the first message about the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.outlines.outline_views import OUTLINE_FILE, WRITTEN_BY, OutlineViews, find_outline
from custom_pose_ros.core.orientation.pnp import known_points
from custom_pose_ros.nodes.orientation.orientation_parameters import OUTLINE


class ServedObject(NamedTuple):
    """An object, and its outline where poses are refined by it."""

    model: ObjectModel
    outline: OutlineViews | None


class ObjectChoice:
    """
    Keeps the object that serves until the first message about its successor.

    No message is lost then while pose_node and orientation_node change to another object one after the other.

    Attributes:
        serving: the object that serves.
    """

    def __init__(self, served: ServedObject):
        self.serving = served
        self._next: tuple[ServedObject, Callable[[], None]] | None = None

    def follow(self, served: ServedObject, on_change: Callable[[], None]) -> None:
        """
        Prepare another object; it serves at once where it has the same keypoints.

        Args:
            served: the object.
            on_change: called when it begins to serve.
        """
        self._next = served, on_change
        self.of(self.serving.model.keypoint_names)

    def of(self, keypoint_names: Sequence[str]) -> ServedObject:
        """Return the object that has these keypoints; the one that serves when neither has them."""
        if self._next is not None and tuple(keypoint_names) == self._next[0].model.keypoint_names:
            (self.serving, on_change), self._next = self._next, None
            on_change()
        return self.serving


def load_served(source: str, refine: str, outline_file: str) -> ServedObject:
    """
    Load an object and, where poses are refined, its outline.

    Raises:
        ConfigError: it is damaged, or its keypoints do not give an orientation, or it has no outline.
        ModelError: the outline cannot be read, or was made for another object.
    """
    model = ObjectModel.load(source)
    known_points(model)
    outline = find_outline(model, outline_file or 'auto') if refine == OUTLINE else None
    if refine == OUTLINE and outline is None:
        raise ConfigError(
            f'parameter refine: outline wants {OUTLINE_FILE} beside {model.source}, got none: '
            f'make it with {WRITTEN_BY}, or name it by outline_file'
        )
    return ServedObject(model, outline)
