"""ObjectSwitch: the service ~/switch_object loads an object beside the one that serves, and changes over at success."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from custom_pose_ros.core.errors import ConfigError, CustomPoseError
from custom_pose_ros.nodes.ros.conversions import SwitchObject

_POLL_S = 0.005  # how long other callbacks may have to wait while something is loaded

Loaded = TypeVar('Loaded')


class ObjectSwitch(Generic[Loaded]):
    """
    Answers requests for another object, one at a time, within `accepting`.

    Attributes:
        last: the outcome of the last request, for diagnostics.
    """

    def __init__(self, node: Node, load: Callable[[str, str], Loaded], install: Callable[[str, str, Loaded], str]):
        """
        Advertise the service.

        Args:
            node: offers it.
            load: makes what object and model name ask for, in a thread of its own; raises what refuses them.
            install: lets it serve, in the executor's thread; returns what serves now.
        """
        self._node, self._load, self._install = node, load, install
        self._accepted: tuple[Callable[[], tuple[str, str]], ThreadPoolExecutor] | None = None
        self._loading = ''
        self.last = 'none'
        # A group of its own: an answer that is waited for holds up the rest of its group.
        group = ReentrantCallbackGroup()
        node.create_service(SwitchObject, '~/switch_object', self._answer, callback_group=group)

    @contextlib.contextmanager
    def accepting(self, serving: Callable[[], tuple[str, str]]) -> Iterator[None]:
        """Accept requests; `serving` names object and model that serve. What is still loading at the end is dropped."""
        with ThreadPoolExecutor(1, thread_name_prefix='object_loader') as loader:
            self._accepted = serving, loader
            try:
                yield
            finally:
                self._accepted = None

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
        accepted = self._accepted
        if accepted is None:
            raise ConfigError('nothing serves: set the parameter object and configure the node')
        if self._loading:
            raise ConfigError(f'{self._loading} is being loaded: wait for its answer')
        serving, loader = accepted
        if not source:
            source, serving_model = serving()
            model = model or serving_model
        self._loading, future = source, loader.submit(self._load, source, model)
        try:
            while not future.done():
                wait([future], _POLL_S)
                await _let_others_run()
            loaded = future.result()
        finally:
            self._loading = ''
        if self._accepted is not accepted:
            raise ConfigError(f'{source} is not needed any more: the node was cleaned up')
        return self._install(source, model, loaded)


@types.coroutine
def _let_others_run() -> Generator[None, None, None]:
    """Let the executor run other callbacks before this one goes on; rclpy has no sleep of its own."""
    yield
