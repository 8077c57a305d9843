"""ObjectSwitch: the service ~/switch_object loads an object beside the one that serves, and changes over at success."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Generic, TypeVar

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from custom_pose_ros.core.errors import ConfigError
from custom_pose_ros.core.limits import MAX_SWITCH_S
from custom_pose_ros.nodes.ros.conversions import SwitchObject
from custom_pose_ros.nodes.ros.loading import start_loading
from custom_pose_ros.nodes.ros.reasons import reason_for_peers
from custom_pose_ros.nodes.ros.waiting import finished

_LOG_PERIOD_S = 1.0  # between refusals

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
        self._serving: Callable[[], tuple[str, str]] | None = None
        self._loading = ''
        self.last = 'none'
        # A group of its own: an answer that is waited for holds up the rest of its group.
        group = ReentrantCallbackGroup()
        node.create_service(SwitchObject, '~/switch_object', self._answer, callback_group=group)

    @contextlib.contextmanager
    def accepting(self, serving: Callable[[], tuple[str, str]]) -> Iterator[None]:
        """Accept requests; `serving` names object and model that serve. What is still loading at the end is dropped."""
        self._serving = serving
        try:
            yield
        finally:
            self._serving = None

    async def _answer(self, request: SwitchObject.Request, response: SwitchObject.Response) -> SwitchObject.Response:
        try:
            response.message = await self._switch(request.object, request.model)
            response.success = True
        except Exception as error:  # whatever a file holds, what serves goes on
            response.message = reason_for_peers(error)
            self._node.get_logger().warning(f'switch refused: {response.message}', throttle_duration_sec=_LOG_PERIOD_S)
        self.last = response.message if response.success else f'refused: {response.message}'
        return response

    async def _switch(self, source: str, model: str) -> str:
        serving = self._serving
        if serving is None:
            raise ConfigError('nothing serves: set the parameter object and configure the node')
        if self._loading:
            raise ConfigError(f'{self._loading} is being loaded: wait for its answer')
        if not source:
            source, serving_model = serving()
            model = model or serving_model
        loaded = await self._loaded(source, model)
        if self._serving is not serving:
            raise ConfigError(f'{source} is not needed any more: the node was cleaned up')
        return self._install(source, model, loaded)

    async def _loaded(self, source: str, model: str) -> Loaded:
        """Load while other callbacks run, for a limited time; nothing else is loaded until the thread has ended."""
        self._loading, future = source, start_loading(lambda: self._load(source, model))
        future.add_done_callback(self._on_loaded)
        if not await finished([future], MAX_SWITCH_S):
            raise ConfigError(f'{source} is not loaded after {MAX_SWITCH_S:g} s: what served goes on')
        return future.result()

    def _on_loaded(self, _: Future[Loaded]) -> None:
        self._loading = ''
