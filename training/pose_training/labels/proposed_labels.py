"""Proposed labels as the labelling tools import them: COCO keypoints, tasks of Label Studio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from custom_pose_ros.core.files import write_json
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.coco_file import CONTRADICTIONS, OWN_CONTRIBUTOR, PROPOSED, coco_category, coco_points
from custom_pose_ros.core.labels.raw_labels import SEEN

_BOX_MARGIN = 0.1  # of its longer side: keypoints lie inside of the object, its box around it
_POINT_WIDTH_PERCENT = 0.5  # how large Label Studio draws a keypoint


class ObjectNames(NamedTuple):
    """
    What is labelled.

    Attributes:
        name: Of the object.
        keypoint_names: K names.
        skeleton: Pairs of keypoint indices.
    """

    name: str
    keypoint_names: Sequence[str]
    skeleton: Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class ProposedObject:
    """
    One object in a picture.

    Attributes:
        points: (K, 3) x, y [px] and state: 0 without a label, 1 hidden, 2 seen.
        score: How sure it is, in [0, 1]; None for what is handed in as the label of a person.
        ambiguity: As in KeypointPose.
        contradictions: By keypoint: how far a person's label is from where the rigid object has it [px], where
            it contradicts the other labels.
        handed_on: It was proposed before, and handed in as it was.
    """

    points: np.ndarray
    score: float | None = None
    ambiguity: float = 0.0
    contradictions: Mapping[int, float] = field(default_factory=dict)
    handed_on: bool = False

    @classmethod
    def of_pose(cls, pose: KeypointPose) -> ProposedObject:
        """Return what a network found."""
        places = np.where(pose.visible[:, None], pose.keypoints, 0.0)
        return cls(np.column_stack([places, pose.visible * SEEN]), float(pose.score), float(pose.ambiguity))

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, right, bottom around the keypoints with a margin, inside of the picture."""
        places = self.points[self.points[:, 2] > 0, :2]
        first, last = places.min(0), places.max(0)
        margin = _BOX_MARGIN * float((last - first).max())
        box = np.concatenate([first - margin, last + margin])
        left, top, right, bottom = np.clip(box, 0, [width, height] * 2).round(2).tolist()
        return left, top, right, bottom


@dataclass(frozen=True)
class ProposedImage:
    """
    The objects in one picture.

    Attributes:
        name: File name as the labelling tool knows it.
        width: Of the picture [px].
        height: Of the picture [px].
        objects: Those in it, each with a keypoint at least.
    """

    name: str
    width: int
    height: int
    objects: list[ProposedObject] = field(default_factory=list)


def off_text(off_px: float) -> str:
    """Say that a label contradicts the others."""
    return f'{off_px:.0f} px from where a rigid object has it by the other labels'


def coco_proposals(images: Sequence[ProposedImage], names: ObjectNames) -> dict[str, Any]:
    """Return COCO keypoints as coco-annotator and CVAT ('COCO Keypoints 1.0') import them."""
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for found in image.objects:
            left, top, right, bottom = found.box(image.width, image.height)
            labelled = found.points[:, 2:] > 0
            annotations.append({
                'id': len(annotations) + 1,
                'image_id': image_id,
                'category_id': 1,
                'iscrowd': 0,
                'segmentation': [],  # CVAT would make a polygon of it, which a skeleton's label does not allow
                'bbox': [left, top, round(right - left, 2), round(bottom - top, 2)],
                'area': round((right - left) * (bottom - top), 2),
                'keypoints': coco_points(np.where(labelled, found.points.round(2), 0.0)),
                'num_keypoints': int(labelled.sum()),
            })
            if found.score is not None:
                annotations[-1].update(score=round(found.score, 4), ambiguity=round(found.ambiguity, 4))
            if found.score is not None or found.handed_on:
                annotations[-1][PROPOSED] = True
            if found.contradictions:
                said = {names.keypoint_names[k]: off_text(off_px) for k, off_px in found.contradictions.items()}
                annotations[-1][CONTRADICTIONS] = said
    return {
        'info': {'description': f'labels proposed for {names.name}: correct them', 'contributor': OWN_CONTRIBUTOR},
        'licenses': [],
        'images': [
            {'id': i, 'file_name': im.name, 'width': im.width, 'height': im.height} for i, im in enumerate(images, 1)
        ],
        'annotations': annotations,
        'categories': [coco_category(names.name, names.keypoint_names, names.skeleton)],
    }


def label_studio_proposals(images: Sequence[ProposedImage], names: ObjectNames, prefix: str) -> list[dict[str, Any]]:
    """
    Return Label Studio tasks for the interface of prepare_dataset.py --label-studio-config.

    What a person labelled is an annotation, anything else a prediction. Hidden points become points like others.

    Args:
        images: What is proposed.
        names: Of the object.
        prefix: Put before each quoted file name to make the address under which Label Studio finds the image.
    """
    tasks = []
    for number, image in enumerate(images):
        results: list[dict[str, Any]] = []
        for i, found in enumerate(image.objects):
            box_id = f'object{number}_{i}'
            left, top, right, bottom = found.box(image.width, image.height)
            box = {'rectanglelabels': [names.name], **_percent(image, left, top)}
            box.update(width=100 * (right - left) / image.width, height=100 * (bottom - top) / image.height)
            results.append(_result(image, box_id, 'objects', 'rectanglelabels', box))
            for k in np.flatnonzero(found.points[:, 2] > 0):
                value = {
                    'keypointlabels': [names.keypoint_names[k]],
                    'width': _POINT_WIDTH_PERCENT,
                    **_percent(image, *(found.points[k, :2] + 0.5)),  # from the image's corner
                }
                point = _result(image, f'{box_id}_{k}', 'keypoints', 'keypointlabels', value)
                if found.handed_on:
                    point['origin'] = 'prediction'  # as Label Studio has it where a person submits it unchanged
                if k in found.contradictions:
                    point['meta'] = {'text': [off_text(found.contradictions[k])]}  # shown with the region
                results.append({**point, 'parentID': box_id})
        scores = [found.score for found in image.objects if found.score is not None]
        task: dict[str, Any] = {'data': {'image': prefix + quote(image.name)}}
        if results and not scores:
            task['annotations'] = [{'result': results}]
        else:
            task['predictions'] = [{'model_version': names.name, 'score': max(scores, default=0.0), 'result': results}]
        tasks.append(task)
    return tasks


def write_proposals(
    path: Path, images: Sequence[ProposedImage], names: ObjectNames, tool: str, folder: Path, prefix: str | None
) -> None:
    """
    Write proposals as a labelling tool imports them.

    Args:
        path: Where to.
        images: What is proposed.
        names: Of the object.
        tool: 'coco' or 'label-studio'.
        folder: Of the pictures.
        prefix: See `label_studio_proposals`; None for a local storage of the folder.
    """
    if tool == 'coco':
        write_json(path, coco_proposals(images, names), indent=None)
    else:
        local = f'/data/local-files/?d={quote(folder.resolve().name)}/'
        write_json(path, label_studio_proposals(images, names, local if prefix is None else prefix), indent=None)


def _percent(image: ProposedImage, x: float, y: float) -> dict[str, float]:
    return {'x': 100 * float(x) / image.width, 'y': 100 * float(y) / image.height}


def _result(image: ProposedImage, result_id: str, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        'id': result_id,
        'type': kind,
        'from_name': control,
        'to_name': 'image',
        'original_width': image.width,
        'original_height': image.height,
        'image_rotation': 0,
        'value': value,
    }
