"""Reader of CVAT's own XML, 'CVAT for images' and 'CVAT for video': skeletons, or single points in boxes and groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.categories import CategoryChoice, object_name
from custom_pose_ros.core.labels.raw_labels import (
    ABSENT,
    HIDDEN,
    NOTE,
    REFUSED,
    SEEN,
    Point,
    RawImage,
    RawInstance,
    RawLabels,
)
from training.pose_training.labels.readers.loose_points import LooseBox, LoosePicture, LoosePoint, join_points
from training.pose_training.labels.readers.video_frames import VideoFrames

_SHAPES = ('box', 'points', 'polygon', 'polyline', 'cuboid', 'ellipse', 'mask', 'skeleton')


class _Picture(NamedTuple):
    image: RawImage
    shapes: list[ElementTree.Element]


def read_cvat(path: Path, root: ElementTree.Element, choice: CategoryChoice, frames: VideoFrames) -> RawLabels:
    """
    Read the XML of CVAT. A point outside is not labelled, an occluded one is hidden.

    Args:
        path: The file, for messages.
        root: Its element 'annotations'.
        choice: Which categories to read: labels of skeletons, or of boxes around single points.
        frames: Where the pictures and videos are; frames of videos are written there.

    Raises:
        DatasetError: The file as a whole cannot be used.
    """
    pictures = [_Picture(_image(path, element), list(element)) for element in root.iter('image')]
    tracks, problem = _tracked_pictures(path, root, frames)
    pictures += tracks
    if any(shape.tag == 'skeleton' for picture in pictures for shape in picture.shapes):
        labels = _read_skeletons(path, root, pictures, choice)
    else:
        way = 'draw a box around each, group its points, or label skeletons'
        labels = join_points(path, 'CVAT', [_loose(path, picture) for picture in pictures], choice, way)
    if problem:
        labels.add(*problem)
    kinds = {shape.tag for picture in pictures for shape in picture.shapes} & set(_SHAPES)
    ignored = kinds - ({'skeleton'} if 'skeleton' in kinds else {'points', 'box'})
    for kind in sorted(ignored):
        labels.add(NOTE, '', '', f'{kind} is not read, left out')
    return labels


def _image(path: Path, element: ElementTree.Element) -> RawImage:
    name = element.get('name')
    if not name:
        raise DatasetError(f'{path}: image {element.get("id")!r} has no name; export it again')
    return RawImage(name, _size(element.get('width')), _size(element.get('height')))


def _size(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else 0


# Tracks --------------------------------------------------------------------------------------------------------------


def _tracked_pictures(
    path: Path, root: ElementTree.Element, frames: VideoFrames
) -> tuple[list[_Picture], tuple[str, str, str, str] | None]:
    """Return the frames with shapes of tracks, and what is wrong with the pictures as a whole."""
    shapes: dict[int, list[ElementTree.Element]] = {}
    between = 0
    for track in root.iter('track'):
        for shape in track:
            number = shape.get('frame', '')
            if shape.tag not in _SHAPES or not (number.isascii() and number.isdigit() and len(number) < 9):
                continue
            shape.attrib.setdefault('label', track.get('label', ''))
            shape.attrib.setdefault('group_id', track.get('group_id', ''))
            shapes.setdefault(int(number), [])
            if not _is_outside(shape):
                shapes[int(number)].append(shape)
                between += shape.get('keyframe') == '0'
    if not shapes:
        return [], None
    size = root.find('.//original_size')
    sizes = [0, 0] if size is None else [_size(size.findtext('width')), _size(size.findtext('height'))]
    source = root.findtext('.//meta//source') or ''
    names = _frame_names(root, source, sorted(shapes), frames)
    pictures = [_Picture(RawImage(names[n], sizes[0], sizes[1]), found) for n, found in shapes.items() if n in names]
    if not names:
        text = f'the frames are neither in {frames} as frame_000000.png and so on, nor is there the video {source!r}'
        raise DatasetError(f'{path}: {text}: export the images too, or give the folder with --images')
    if lost := len(shapes) - len(pictures):
        return pictures, (REFUSED, '', '', f'{lost} labelled frames are not in {frames}: export the images too')
    if between:
        text = f'{between} objects were interpolated between the frames that somebody labelled'
        return pictures, (NOTE, '', '', f'{text}: look at them')
    return pictures, None


def _is_outside(shape: ElementTree.Element) -> bool:
    """Return whether the object has left the image: CVAT says so of a skeleton by each of its points."""
    points = shape.findall('points')
    return shape.get('outside') == '1' or (bool(points) and all(point.get('outside') == '1' for point in points))


def _frame_names(root: ElementTree.Element, source: str, numbers: list[int], frames: VideoFrames) -> dict[int, str]:
    """Return number -> name of the picture of the frames of a video, of those that are there."""
    stems = frames.find_stems('frame_*')
    if names := {n: stems[f'frame_{n:06d}'] for n in numbers if f'frame_{n:06d}' in stems}:
        return names
    video = frames.find(source) if source else None
    if video is None:
        return {}
    start = _size(root.findtext('.//meta//start_frame'))
    step = re.search(r'step\s*=\s*(\d{1,6})', root.findtext('.//meta//frame_filter') or '')
    in_video = {n: start + n * max(1, int(step[1]) if step else 1) for n in numbers}
    extracted = frames.extract(video, set(in_video.values()))
    return {n: extracted[there] for n, there in in_video.items() if there in extracted}


# Skeletons -----------------------------------------------------------------------------------------------------------


def _read_skeletons(
    path: Path, root: ElementTree.Element, pictures: list[_Picture], choice: CategoryChoice
) -> RawLabels:
    keypoints, edges = _definitions(root)
    used: list[str] = []
    for skeleton in (shape for picture in pictures for shape in picture.shapes if shape.tag == 'skeleton'):
        used.append(skeleton.get('label', ''))
        names = keypoints.setdefault(used[-1], [])
        names += [name for point in skeleton.iter('points') if (name := point.get('label', '')) not in names]
    chosen = choice.of(path, keypoints, used)
    labels = RawLabels(object_name(chosen), keypoints[chosen[0]], edges.get(chosen[0], []), [])
    for image, shapes in pictures:
        labels.images.append(image)
        for number, shape in enumerate((s for s in shapes if s.tag == 'skeleton'), 1):
            label = shape.get('label', '')
            if label in chosen:
                image.instances.append(_skeleton(labels, image, shape, f'{label} {number}'))
            else:
                labels.add(NOTE, image.name, f'{label} {number}', 'belongs to another category, left out')
    return labels


def _skeleton(labels: RawLabels, image: RawImage, shape: ElementTree.Element, annotation: str) -> RawInstance:
    by_name: dict[str, Point] = {}
    for point in shape.iter('points'):
        name, places = point.get('label', ''), _places(point)
        if point.get('outside') == '1':
            continue
        if len(places) != 1 or name in by_name:
            text = f'{name} is labelled twice' if name in by_name else f'{name} is no pair of numbers'
            labels.add(REFUSED, image.name, annotation, text)
            continue
        by_name[name] = (*places[0], _visibility(point))
    return RawInstance(annotation, [by_name.get(name, (0.0, 0.0, ABSENT)) for name in labels.keypoint_names])


def _definitions(root: ElementTree.Element) -> tuple[dict[str, list[str]], dict[str, list[tuple[int, int]]]]:
    """Return the keypoint names and the edges of every skeleton in the project's list of labels."""
    keypoints: dict[str, list[str]] = {}
    edges: dict[str, list[tuple[int, int]]] = {}
    entries = [label for meta in root.iter('meta') for label in meta.iter('label')]
    for label in entries:
        if parent := label.findtext('parent'):
            keypoints.setdefault(parent, []).append(label.findtext('name') or '')
    for label in entries:
        name = label.findtext('name') or ''
        if name in keypoints:
            edges[name] = list(_edges(label.findtext('svg') or '', keypoints[name]))
    return keypoints, edges


def _edges(svg: str, names: list[str]) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices: the drawing joins nodes by their number, and names each."""
    nodes: dict[str, str] = {}
    for tag in re.findall('<circle[^>]*>', svg):
        number, name = (re.search(rf'data-{key}="([^"]*)"', tag) for key in ('node-id', 'label-name'))
        if number and name:
            nodes[number[1]] = name[1]
    for tag in re.findall('<line[^>]*>', svg):
        ends = [re.search(rf'data-node-{key}="([^"]*)"', tag) for key in ('from', 'to')]
        joined = [nodes.get(end[1]) for end in ends if end]
        if len(joined) == 2 and all(name in names for name in joined) and joined[0] != joined[1]:
            yield names.index(str(joined[0])), names.index(str(joined[1]))


# Single points -------------------------------------------------------------------------------------------------------


def _loose(path: Path, picture: _Picture) -> LoosePicture:
    """Return the points and boxes of a picture; CVAT writes group 0 for none."""
    found = LoosePicture(picture.image)
    for shape in picture.shapes:
        label, group = shape.get('label', ''), shape.get('group_id', '').strip('0 ') and shape.get('group_id', '')
        where = f'{path}: image {picture.image.name}: {shape.tag} {label!r}'
        if shape.tag == 'points':
            places = _places(shape)
            if len(places) != 1:
                way = 'points of one shape have no names: label a skeleton'
                raise DatasetError(f'{where}: {way if places else "its place is no pair of numbers"}')
            found.points.append(LoosePoint(label, *places[0], group, _visibility(shape)))
        elif shape.tag == 'box':
            corners = _numbers([shape.get(key) for key in ('xtl', 'ytl', 'xbr', 'ybr')])
            if corners is None:
                raise DatasetError(f'{where}: its corners are not numbers; export it again')
            left, top, right, bottom = corners
            found.boxes.append(LooseBox(label, (left, top, right - left, bottom - top), group))
    return found


def _visibility(point: ElementTree.Element) -> int:
    return HIDDEN if point.get('occluded') == '1' else SEEN


def _places(point: ElementTree.Element) -> list[tuple[float, float]]:
    """Return the pairs of numbers of an element, none where it holds anything else."""
    pairs = [_numbers(pair.split(',')) for pair in point.get('points', '').split(';')]
    good = [(pair[0], pair[1]) for pair in pairs if pair is not None and len(pair) == 2]
    return good if len(good) == len(pairs) else []


def _numbers(texts: Sequence[str | None]) -> list[float] | None:
    try:
        return [float(text or '') for text in texts]
    except ValueError:
        return None
