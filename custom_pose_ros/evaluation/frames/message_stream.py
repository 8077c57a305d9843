"""The messages of a bag in order, decoded, with what is found in each image; worked out ahead by several threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from custom_pose_ros.core.errors import MessageError
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.evaluation.bags.reader import Bag
from custom_pose_ros.evaluation.bags.stored import StoredMessage
from custom_pose_ros.evaluation.evaluation_settings import Selection
from custom_pose_ros.inference.image_messages import image_to_bgr

_LIGHT_BYTES = 1 << 16  # messages of other topics that are larger count as images do when memory is bounded
_IMAGES_AHEAD = 2  # besides those that are worked on
_MAX_WAITING = 256  # results that wait for the caller, light ones included
Item = TypeVar('Item')
Result = TypeVar('Result')


@dataclass(frozen=True, eq=False)
class DecodedMessage:
    """
    One message with everything that needs no other message.

    Attributes:
        raw: As it lies in the bag.
        content: The decoded message; None for topics that are only copied, and for damaged messages.
        image: (H, W, 3) uint8 BGR, where it is an image.
        poses: What was found in the image; None where nothing was looked for.
        problem: What is wrong with an image that cannot be used.
    """

    raw: StoredMessage
    content: Any = None
    image: np.ndarray | None = None
    poses: list[KeypointPose] | None = None
    problem: str = ''


def decoded_messages(
    bag: Bag,
    selection: Selection,
    names: Collection[str],
    find: Callable[[np.ndarray], list[KeypointPose]] | None = None,
    workers: int = 1,
    all_topics: bool = False,
) -> Iterator[DecodedMessage]:
    """
    Read the selected part of a bag once, in its order.

    Args:
        bag: Where to read.
        selection: The part of it, and which topic has the images.
        names: Topics to decode.
        find: Looks for the object in an image; is called by several threads at the same time.
        workers: Number of these threads.
        all_topics: Yield the messages of all other topics as well, not decoded.
    """
    start_ns, wanted = selection.start_ns, set(bag.topics) if all_topics else names
    earlier = () if start_ns is None else bag.static_transforms(wanted, start_ns)
    messages = itertools.chain(earlier, bag.messages(wanted, start_ns, selection.stop_ns))

    def decode(raw: StoredMessage) -> DecodedMessage:
        """Decode in this thread: what is odd about a message is noted in the order of the bag."""
        if raw.topic.name not in names:
            return DecodedMessage(raw)
        content = bag.decode(raw)
        return DecodedMessage(raw, content, problem='damaged' if content is None and is_image(raw) else '')

    def work(message: DecodedMessage) -> DecodedMessage:
        """Look at an image in one of several threads."""
        if message.content is None or not is_image(message.raw):
            return message
        try:
            image = image_to_bgr(message.content)
        except MessageError as error:
            return replace(message, problem=str(error))
        return replace(message, image=image, poses=find(image) if find else None)

    def is_image(raw: StoredMessage) -> bool:
        return raw.topic.name == selection.image

    def is_light(message: DecodedMessage) -> bool:
        return not is_image(message.raw) and len(message.raw.data) <= _LIGHT_BYTES

    return read_ahead(map(decode, messages), work, workers, workers + _IMAGES_AHEAD, is_light)


def read_ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    workers: int = 1,
    depth: int = 4,
    is_light: Callable[[Item], bool] = lambda item: False,
) -> Iterator[Result]:
    """
    Yield `work(item)` of every item, in order, worked out by `workers` threads at most `depth` items ahead.

    Those that `is_light` names do not count for the depth: they are small. An exception of `work` is raised in its
    place in the order. Closing the iterator ends the threads.
    """
    waiting: deque[tuple[Future[Result], int]] = deque()
    ahead = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix='read_ahead')
    try:
        for item in items:
            weight = 0 if is_light(item) else 1
            waiting.append((pool.submit(work, item), weight))
            ahead += weight
            while ahead > depth or len(waiting) > _MAX_WAITING:
                future, weight = waiting.popleft()
                ahead -= weight
                yield future.result()
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(cancel_futures=True)
