"""ObjectChoice: whose poses a message holds - the object that serves, or the one that is to follow it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.pnp import known_points


class ObjectChoice:
    """
    Keeps the object that serves until the first message about its successor.

    No message is lost then while pose_node and orientation_node change to another object one after the other.

    Attributes:
        serving: the object that serves.
    """

    def __init__(self, model: ObjectModel):
        self.serving = model
        self._next: tuple[ObjectModel, Callable[[], None]] | None = None

    def follow(self, model: ObjectModel, on_change: Callable[[], None]) -> None:
        """
        Prepare another object; it serves at once where it has the same keypoints.

        Args:
            model: the object.
            on_change: called when it begins to serve.
        """
        self._next = model, on_change
        self.of(self.serving.keypoint_names)

    def of(self, keypoint_names: Sequence[str]) -> ObjectModel:
        """Return the object that has these keypoints; the one that serves when neither has them."""
        if self._next is not None and tuple(keypoint_names) == self._next[0].keypoint_names:
            (self.serving, on_change), self._next = self._next, None
            on_change()
        return self.serving


def load_solvable(source: str) -> ObjectModel:
    """
    Load an object.

    Raises:
        ConfigError: it is damaged, or its keypoints do not give an orientation.
    """
    model = ObjectModel.load(source)
    known_points(model)
    return model
