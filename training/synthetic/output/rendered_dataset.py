"""Renders a folder of pictures and COCO labels in several processes, the same for any number of them; resumable."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from custom_pose_ros.core.command_line import progress_bar
from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import DatasetError, listed
from custom_pose_ros.core.files import holds_entries, read_json, write_image, write_json

JPEG_QUALITY = 93
is_recipe = holds_entries('seed', 'categories')  # of a file
IMAGES, RECORDS, LABELS, RECIPE, SHEET = 'images', '.records', 'labels.json', 'recipe.json', 'contact_sheet.png'
SHEET_PICTURES = 24
# By the place of a value in the recipe; any other one is a setting.
_GREY = 'settings.sensor.grey_probability'
_OPTIONS = {
    'seed': '--seed',
    'object': '--object',
    'categories': '--object',
    'mesh.path': '--mesh',
    'mesh.variation': '--object',
    'mesh.scale': '--mesh-scale',
    'mesh.axes': '--mesh-axes',
    'mesh.origin': '--mesh-origin',
    'size': '--size',
    'camera': '--camera',
    'backgrounds': '--backgrounds',
    'settings.pose.distance_m': '--distance',
    'settings.pose.seen_from': '--seen-from',
    _GREY: '--grey or --color',
}
_LOOK_AFTER_S = 0.5  # how often the progress of the processes is shown


@dataclass(frozen=True)
class Job:
    """
    What to make. All that changes a picture is in `recipe`, so that a resumed run can be compared with the first.

    Attributes:
        folder: where to write.
        count: number of pictures.
        seed: of the random numbers.
        recipe: plain values, with the COCO `categories`.
        make_generator: importable function; called with the recipe in each process, returns a SceneGenerator.
        block: pictures that one process makes in a row, and then records.
    """

    folder: Path
    count: int
    seed: int
    recipe: dict[str, Any]
    make_generator: Callable[[dict[str, Any]], Any]
    block: int = 25


def write_dataset(job: Job, processes: int) -> Path:
    """
    Make the missing pictures of the job, the labels of all and a contact sheet; return the path of the COCO file.

    Raises:
        DatasetError: when the folder holds the pictures of another recipe, or a process dies.
        OutputError: when the folder cannot be written to.
    """
    check_recipe(job)
    if not (path := job.folder / RECIPE).is_file():
        write_json(path, _whole_recipe(job), indent=None)
    missing = [start for start in range(0, job.count, job.block) if not _recorded(job, start)]
    with progress_bar('images', job.count, 'image') as bar:
        before = job.count - sum(_block_size(job, start) for start in missing)
        for made in _make_blocks(job, missing, processes):
            bar.update(before + made - bar.n)
            bar.refresh()  # also while nothing is made: time goes on
    return _merge(job)


def check_recipe(job: Job) -> None:
    """Raise DatasetError, which names the options that differ, when the folder holds pictures of another recipe."""
    path = job.folder / RECIPE
    if path.is_file() and (different := _differences(_whole_recipe(job), read_json(path))):
        raise DatasetError(
            f'{job.folder}: holds pictures made with another {listed(list(dict.fromkeys(different)), 3)}: '
            'give the same options, or an empty --out'
        )


def _whole_recipe(job: Job) -> dict[str, Any]:
    return {'seed': job.seed, **job.recipe}


def _differences(now: Any, before: Any, place: str = '') -> list[str]:
    """Return the options by which two recipes differ, and the values of each."""
    if now == before:
        return []
    if isinstance(now, dict) and isinstance(before, dict) and place not in _OPTIONS:
        inside = [
            _differences(now.get(key), before.get(key), f'{place}.{key}'.lstrip('.')) for key in {**now, **before}
        ]
        return [text for texts in inside for text in texts]
    option = _OPTIONS.get(place) or f'--settings or --scene, {place.removeprefix("settings.")}'
    if isinstance(now, dict) or isinstance(before, dict):
        return [option]
    said = _said_grey if place == _GREY else _said
    return [f'{option} ({said(before)} there, {said(now)} now)']


def _said_grey(value: Any) -> str:
    return f'{100 * value:g} % of the pictures grey'


def _said(value: Any) -> str:
    return ' '.join(map(str, value)) if isinstance(value, list) else 'none' if value is None else str(value)


def _record_path(job: Job, start: int) -> Path:
    return job.folder / RECORDS / f'{start:07d}.json'


def _block_size(job: Job, start: int) -> int:
    return min(job.block, job.count - start)


def _recorded(job: Job, start: int) -> bool:
    """Say whether a block is complete: a run with a smaller count may have ended within it."""
    path = _record_path(job, start)
    return path.is_file() and len(read_json(path)) >= _block_size(job, start)


def _make_blocks(job: Job, blocks: list[int], processes: int) -> Iterator[int]:
    """Make the blocks; yields the number of pictures made so far, now and then."""
    yield 0
    if processes <= 1 or len(blocks) <= 1:
        if blocks:
            _start_worker(job)
        pictures = (None for start in blocks for _ in _draw_block(start))
        yield from (made for made, _ in enumerate(pictures, 1))
        return
    context = multiprocessing.get_context('spawn')  # a forked OpenGL context is not usable
    made = context.Value('q')
    with ProcessPoolExecutor(min(processes, len(blocks)), context, _start_process, (job, made)) as pool:
        waiting = {pool.submit(_make_block, start) for start in blocks}
        try:
            while waiting:
                done, waiting = wait(waiting, _LOOK_AFTER_S, FIRST_COMPLETED)
                for future in done:
                    future.result()
                yield made.value
        except BrokenProcessPool as error:
            raise DatasetError(
                f'{job.folder}: a drawing process ended abruptly (out of memory?); run again to go on'
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # what one process keeps between blocks


def _start_process(job: Job, made: Synchronized[int]) -> None:
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    cv2.setNumThreads(1)  # one picture per process is quicker than many threads per picture
    _start_worker(job)
    _worker['made'] = made


def _end_with_the_parent() -> None:
    """End this process when the one that started it is gone, by whatever signal: nothing else would tell it."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _start_worker(job: Job) -> None:
    _worker.update(job=job, generator=job.make_generator(job.recipe))


def _make_block(start: int) -> None:
    """Draw one block in a process of its own, which counts the pictures for all."""
    for _ in _draw_block(start):
        with _worker['made'].get_lock():
            _worker['made'].value += 1


def _draw_block(start: int) -> Iterator[None]:
    """Draw one block and record its labels; yields after each picture."""
    job, generator = _worker['job'], _worker['generator']
    records = []
    for index in range(start, start + _block_size(job, start)):
        picture = generator.generate(job.seed, index)
        name = f'{index:07d}.jpg'
        write_image(job.folder / IMAGES / name, picture.image, JPEG_QUALITY)
        height, width = picture.image.shape[:2]
        records.append({'file_name': name, 'width': width, 'height': height, 'annotations': picture.annotations})
        if len(records) == _block_size(job, start):
            write_json(_record_path(job, start), records, indent=None)
        yield


def _merge(job: Job) -> Path:
    """Write the COCO file of all pictures; ids are counted from 1."""
    images, annotations = [], []
    for start in range(0, job.count, job.block):
        records = read_json(_record_path(job, start))
        for record in records[: job.count - start]:
            found = record.pop('annotations')
            images.append({'id': len(images) + 1, **record})
            for item in found:
                annotations.append({'id': len(annotations) + 1, 'image_id': len(images), **item})
    path = job.folder / LABELS
    content = {'images': images, 'annotations': annotations, 'categories': job.recipe['categories']}
    write_json(path, content, indent=None)
    _write_sheet(job.folder, content)
    return path


def _write_sheet(folder: Path, content: dict[str, Any]) -> None:
    """Draw pictures from all over the data set with their keypoints, skeleton and boxes."""
    names = content['categories'][0]['keypoints']
    skeleton = [(first - 1, second - 1) for first, second in content['categories'][0]['skeleton']]
    found = defaultdict(list)
    for item in content['annotations']:
        found[item['image_id']].append(item)
    tiles = []
    for record in content['images'][:: max(1, len(content['images']) // SHEET_PICTURES)][:SHEET_PICTURES]:
        items = found[record['id']]
        points = [np.reshape(item['keypoints'], (-1, 3)) for item in items]
        boxes = [(x, y, x + width, y + height) for x, y, width, height in (item['bbox'] for item in items)]
        image = cv2.imread(str(folder / IMAGES / record['file_name']))
        tiles.append(draw_tile(image, points, skeleton=skeleton, boxes=boxes))
    write_contact_sheet(folder / SHEET, tiles, names)
