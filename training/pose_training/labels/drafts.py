"""Drafts for a person to finish: object.yaml from labels, and the labelling interface of Label Studio."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from xml.sax.saxutils import quoteattr

import numpy as np

from custom_pose_ros.core.drawing.contact_sheet import keypoint_colours
from custom_pose_ros.core.keypoint_names import find_sides
from custom_pose_ros.core.keypoints.preprocessing import SIZE_MULTIPLE
from custom_pose_ros.core.labels.raw_labels import NOTE, RawLabels, safe_name
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.labels.checking import CheckedImage

_GOOD_SIZE_PX = 110  # of an object in the network's input: larger ones cost time, smaller ones accuracy
_HIGHEST_INPUT = 512


def object_yaml(labels: RawLabels, images: Sequence[CheckedImage], model_points: Sequence[str] = ()) -> str:
    """
    Return an object.yaml that loads, with comments on what to check.

    The skeleton is that of the labels; where it leaves keypoints apart, the shortest limbs in the pictures join them.
    Pairs of left and right are those of the labels, or else taken from the names.

    Args:
        labels: Names and skeleton; what is worth knowing about the draft is added to their problems.
        images: Where the keypoints lie.
        model_points: Lines with the positions of the keypoints, where they are known.
    """
    names = [safe_name(name) for name in labels.keypoint_names]
    skeleton = joined_limbs(labels.skeleton, images, len(names))
    added = ', '.join(f'{names[a]}-{names[b]}' for a, b in skeleton if (a, b) not in labels.skeleton)
    if labels.skeleton and added:
        labels.add(NOTE, '', '', f'the skeleton leaves keypoints apart; the draft joins {added}')
    sides = find_sides(names)
    pairs, likely = (sides.pairs, sides.likely) if labels.swaps is None else (labels.swaps, [])
    source = 'by their names' if labels.swaps is None else 'as the labels say'
    lines = [
        '# Draft made from labels: check names, skeleton and swaps'
        + ('.' if model_points else ', then add model_points for an orientation.'),
        f'name: {quoted(safe_name(labels.category))}',
        f'keypoints: [{", ".join(map(quoted, names))}]',
        '',
        '# Limbs between keypoints; any graph will do, a tree is enough.',
        'skeleton:' if skeleton else 'skeleton: []',
        *(f'  - [{quoted(names[a])}, {quoted(names[b])}]' for a, b in skeleton),
        '',
        f'# Keypoints that change places when the image is mirrored (training only); here {source}.',
        'swaps:' if pairs else 'swaps: []',
        *(f'  - [{quoted(names[a])}, {quoted(names[b])}]' for a, b in pairs),
        *(f'#  - [{quoted(names[a])}, {quoted(names[b])}]   # left and right?' for a, b in likely),
        '',
        '# Whether training mirrors images: yes; no where the mirrored object does not exist, as one with print on it;',
        '# auto: where swaps names every left and right.',
        'mirror: auto',
        '',
        '# A keypoint that is labelled as hidden: known, to be found at its place; or absent, not to be found.',
        '# One without a label: absent; unknown; or auto, absent where other objects have it labelled.',
        'hidden: known',
        'unlabelled: auto',
        '',
        '# Height [px] that images are scaled to before the network; chosen by the size of the labelled objects.',
        '# Smaller is faster and less exact, a multiple of 32.',
        f'input_height: {input_height(images)}',
        '',
    ]
    lines += model_points or [
        '# Positions [m] in the object frame, x forward, y left, z up; needed for the orientation:',
        '# model_points:',
        *(f'#   {quoted(name)}: [0.0, 0.0, 0.0]' for name in names),
    ]
    return '\n'.join(lines) + '\n'


def input_height(images: Sequence[CheckedImage]) -> int:
    """Return the input height at which the median object has a good size, at least the usual one."""
    usual = ObjectModel.input_height
    sizes = [size for image in images for size in image.object_sizes if size > 0]
    if not sizes:
        return usual
    native = max(image.height for image in images) // SIZE_MULTIPLE * SIZE_MULTIPLE
    wanted = round(_GOOD_SIZE_PX / float(np.median(sizes)) / SIZE_MULTIPLE) * SIZE_MULTIPLE
    return max(usual, min(wanted, native, _HIGHEST_INPUT))


def quoted(name: str) -> str:
    """Return a name as YAML writes it."""
    return name if re.fullmatch(r'[A-Za-z][A-Za-z_]*', name) and name.lower() not in _YAML_WORDS else f"'{name}'"


_YAML_WORDS = {'yes', 'no', 'on', 'off', 'true', 'false', 'null', 'y', 'n'}


def joined_limbs(limbs: Sequence[tuple[int, int]], images: Sequence[CheckedImage], count: int) -> list[tuple[int, int]]:
    """
    Return limbs that join all keypoints: the given ones, and the shortest between the parts that these leave.

    Lengths are means over the labelled pictures, relative to the object's size (Kruskal's algorithm).
    """
    total, times = np.zeros((count, count)), np.zeros((count, count))
    for points in (points for image in images for points in image.instances):
        seen = points[:, 2] > 0
        distance = np.linalg.norm(points[:, None, :2] - points[None, :, :2], axis=-1)
        both = np.outer(seen, seen)
        total += np.where(both, distance, 0) / max(distance[both].max(initial=0), 1e-9)
        times += both
    # Never seen together: only when nothing else is left.
    length = np.where(times > 0, total / np.maximum(times, 1), 10.0)
    shortest = sorted(combinations(range(count), 2), key=lambda pair: length[pair])
    stated = {frozenset(limb): limb for limb in reversed(limbs) if limb[0] != limb[1]}
    part, joined = np.arange(count), list(reversed(stated.values()))
    for a, b in (*joined, *shortest):
        if part[a] != part[b]:
            part[part == part[b]] = part[a]
            joined += [] if (a, b) in joined else [(a, b)]
    return joined


def label_studio_config(model: ObjectModel) -> str:
    """
    Return the labelling interface for an object: Label Studio, project settings, Labeling Interface, Code.

    Without model_index, Label Studio refuses to export COCO.
    """
    lines = [
        '<View>',
        '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>',
        f'  <Header value={quoteattr(f"{model.name}: a box around each object, then its keypoints inside")}/>',
        '  <RectangleLabels name="objects" toName="image">',
        f'    <Label value={quoteattr(model.name)} background="#888888"/>',
        '  </RectangleLabels>',
        '  <KeyPointLabels name="keypoints" toName="image" opacity="0.9">',
    ]
    for i, (name, (blue, green, red)) in enumerate(zip(model.keypoint_names, keypoint_colours(model.keypoint_count))):
        key = f' hotkey="{i + 1}"' if i < 9 else ''
        shade = f'#{red:02x}{green:02x}{blue:02x}'
        lines.append(f'    <Label value={quoteattr(name)} background="{shade}" model_index="{i}"{key}/>')
    return '\n'.join([*lines, '  </KeyPointLabels>', '</View>']) + '\n'
