"""ObjectSwitch: the service ~/switch_object - loads beside what serves, and changes over when that has succeeded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.nodes.ros.messages import SwitchObject

_TURN_S = 0.005  # how long other callbacks may have to wait while something is loaded

Loaded = TypeVar('Loaded')


class ObjectSwitch(Generic[Loaded]):
    """
    Answers requests for another object, one at a time, between `open` and `close`.

    last : the outcome of the last request, for diagnostics.
    """

    def __init__(self, node: Node, load: Callable[[str, str], Loaded], take: Callable[[str, str, Loaded], str]):
        """
        Advertise the service.

        load : makes what object and model name ask for, in a thread of its own; raises what refuses them.
        take : lets it serve, in the executor's thread; returns what serves now.
        """
        self._node, self._load, self._take = node, load, take
        self._serving: Callable[[], tuple[str, str]] | None = None
        self._loading: _Loading[Loaded] | None = None
        self.last = 'none'
        # A group of its own: an answer that is waited for holds up the rest of its group.
        group = ReentrantCallbackGroup()
        node.create_service(SwitchObject, '~/switch_object', self._answer, callback_group=group)

    def open(self, serving: Callable[[], tuple[str, str]]) -> None:
        """Accept requests; `serving` names object and model that serve."""
        self._serving = serving

    def close(self) -> None:
        """Refuse requests, and wait for the end of what is being loaded; it will not serve."""
        self._serving = None
        if self._loading is not None:
            self._loading.thread.join()

    async def _answer(self, request: SwitchObject.Request, response: SwitchObject.Response) -> SwitchObject.Response:
        try:
            response.message = await self._switch(request.object, request.model)
            response.success = True
        except Exception as error:  # whatever a file holds, what serves goes on
            text = ' '.join(str(error).split())
            response.message = text if isinstance(error, CustomPoseError) else f'{type(error).__name__}: {text}'
            self._node.get_logger().warning(f'switch refused: {response.message}')
        self.last = response.message if response.success else f'refused: {response.message}'
        return response

    async def _switch(self, source: str, model: str) -> str:
        serving = self._serving
        if serving is None:
            raise ConfigError('nothing serves: set the parameter object and configure the node')
        if self._loading is not None:
            raise ConfigError(f'{self._loading.name} is being loaded: wait for its answer')
        if not source:
            source, serving_model = serving()
            model = model or serving_model
        self._loading = _Loading(source, lambda: self._load(source, model))
        try:
            while not self._loading.done.wait(_TURN_S):
                await _OthersTurn()
            loaded = self._loading.result()
        finally:
            self._loading = None
        if self._serving is not serving:
            raise ConfigError(f'{source} is not needed any more: the node was cleaned up')
        return self._take(source, model, loaded)


class _Loading(Generic[Loaded]):
    """Something that is being made in a thread."""

    def __init__(self, name: str, make: Callable[[], Loaded]):
        self.name = name
        self.done = threading.Event()
        self._make = make
        self._made: list[Loaded] = []
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._run, name='object_loader', daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._made.append(self._make())
        except Exception as error:
            self._error = error
        self.done.set()

    def result(self) -> Loaded:
        """Return what was made, or raise why it could not be."""
        self.thread.join()
        if self._error is not None:
            raise self._error
        return self._made[0]


class _OthersTurn:
    """Awaited by a callback to let the executor run others before it goes on; rclpy has no sleep of its own."""

    def __await__(self) -> Generator[None, None, None]:
        yield
