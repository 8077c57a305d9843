"""OnDemand: the services ~/enable (answer every image or none) and ~/detect (answer one image now)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import SetBool, Trigger

from custom_pose_ros.core.errors import ConfigError, MessageError
from custom_pose_ros.nodes.pose.pose_camera import PoseCamera
from custom_pose_ros.nodes.pose.pose_parameters import PoseNodeParameters
from custom_pose_ros.nodes.ros.managed_node import ACTIVE, ManagedNode
from custom_pose_ros.nodes.ros.parameters import NodeParameters
from custom_pose_ros.nodes.ros.reasons import reason_for_peers
from custom_pose_ros.nodes.ros.waiting import finished

DETECT_TIMEOUT_S = 5.0  # for the next image to come and be answered


class OnDemand:
    """Answers one image for each call of ~/detect, while the parameter `enabled` is false; ~/enable sets it."""

    def __init__(
        self, node: ManagedNode, settings: NodeParameters[PoseNodeParameters], cameras: Mapping[str, PoseCamera]
    ):
        """Advertise the services of a node with these cameras, by name."""
        self._node, self._settings, self._cameras = node, settings, cameras
        node.create_service(SetBool, '~/enable', self._enable)
        # A group of its own: an answer that is waited for holds up the rest of its group.
        node.create_service(Trigger, '~/detect', self._detect, callback_group=ReentrantCallbackGroup())

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._settings.set(enabled=request.data)
        response.success, response.message = True, 'every image' if request.data else 'only on demand, by ~/detect'
        return response

    async def _detect(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Answer the next image of each camera; it is a success where an instance is in any of them."""
        try:
            found = await self._next_answers()
        except Exception as error:
            response.message = reason_for_peers(error)
            return response
        response.success = any(found.values())
        response.message = ', '.join(f'{name}: {count} found'.removeprefix(': ') for name, count in found.items())
        return response

    async def _next_answers(self) -> dict[str, int]:
        """Return the number of instances in the next image of each camera."""
        if self._node.state != ACTIVE:
            raise ConfigError(f'the node is {self._node.state}: activate it first')
        if self._settings.values.enabled:
            raise ConfigError('every image is answered: set the parameter enabled to false for one answer per call')
        asked: dict[str, Future[int]] = {name: camera.demand.ask() for name, camera in self._cameras.items()}
        if not await finished(asked.values(), DETECT_TIMEOUT_S):
            late = [self._cameras[name].inputs for name, future in asked.items() if not future.done()]
            for future in asked.values():
                future.cancel()  # nobody waits for it any more
            why = '; '.join(inputs[0].silence() for inputs in late if inputs)
            raise MessageError(f'no answer within {DETECT_TIMEOUT_S:g} s: {why or "the node was deactivated"}')
        return {name: future.result() for name, future in asked.items()}
