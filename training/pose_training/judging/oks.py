"""Average precision and recall by object keypoint similarity, computed by pycocotools for any object."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.raw_labels import ABSENT, HIDDEN
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import instance_size
from training.pose_training.labels.coco import LabelledImage

_NAMES = ('AP', 'AP50', 'AP75', 'AR', 'AR50', 'AR75')
_STATISTICS = (0, 1, 2, 5, 6, 7)  # of COCOeval, without its ranges of sizes


def average_precision(
    images: Sequence[LabelledImage], detections: Sequence[Sequence[KeypointPose]], model: ObjectModel
) -> dict[str, float]:
    """
    Return AP, AP50, AP75, AR, AR50 and AR75 over OKS 0.50 to 0.95, with the sigmas of the object.

    Images are numbered anew, so that any ids and file names will do. A keypoint that is absent but was found counts in
    the OKS as one that was found far away; COCO leaves it out, so that inventing keypoints would cost nothing.
    """
    truth = COCO()
    truth.dataset = {
        'info': {},
        'images': [{'id': i, 'width': im.width, 'height': im.height} for i, im in enumerate(images, 1)],
        'categories': [{'id': 1, 'name': model.name, 'keypoints': list(model.keypoint_names), 'skeleton': []}],
        'annotations': [a for i, image in enumerate(images, 1) for a in _annotations(i, image)],
    }
    for number, annotation in enumerate(truth.dataset['annotations'], 1):
        annotation['id'] = number  # 0 would count as 'not matched' in COCOeval
    results = [_result(i, pose) for i, poses in enumerate(detections, 1) for pose in poses]
    if not results:
        return dict.fromkeys(_NAMES, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = _Evaluation(truth, truth.loadRes(results), 'keypoints')
        evaluation.params.kpt_oks_sigmas = np.asarray(model.sigmas, float)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: max(float(evaluation.stats[i]), 0.0) for name, i in zip(_NAMES, _STATISTICS)}


class _Evaluation(COCOeval):
    """COCO's evaluation, in whose OKS an absent keypoint that was found is a wrong one."""

    def computeOks(self, imgId: int, catId: int) -> np.ndarray:
        similarities = super().computeOks(imgId, catId)
        if not len(similarities):
            return similarities
        found = sorted(self._dts[imgId, catId], key=lambda d: -d['score'])[: len(similarities)]  # in COCO's order
        visible = np.array([d['keypoints'][2::3] for d in found]) > 0
        absent = np.array([g['absent'] for g in self._gts[imgId, catId]])
        wanted = np.array([max(g['num_keypoints'], 1) for g in self._gts[imgId, catId]])
        return similarities * wanted / (wanted + visible.astype(int) @ absent.T.astype(int))


def instance_area(points: np.ndarray, box: np.ndarray, labels: LabelledImage) -> float:
    """Return the area [px^2] that OKS is relative to: the box, but at least a quarter of the square of the length."""
    width, height = box[2] - box[0], box[3] - box[1]
    return float(max(width * height, 0.25 * instance_size(points, labels) ** 2))


def _annotations(image_id: int, image: LabelledImage) -> list[dict]:
    annotations = []
    for points, states, box in zip(image.keypoints, image.states, image.boxes):
        labelled = states >= HIDDEN
        annotations.append({
            'image_id': image_id,
            'category_id': 1,
            'iscrowd': 0,
            'keypoints': np.column_stack([np.where(labelled[:, None], points, 0), labelled * 2]).ravel().tolist(),
            'num_keypoints': int(labelled.sum()),
            'absent': states == ABSENT,
            'bbox': [*box[:2], *(box[2:] - box[:2])],
            'area': instance_area(points[labelled], box, image),
        })
    for left, top, right, bottom in image.crowds:
        annotations.append({
            'image_id': image_id,
            'category_id': 1,
            'iscrowd': 1,
            'keypoints': [0] * 3 * image.keypoints.shape[1],
            'num_keypoints': 0,
            'absent': np.zeros(image.keypoints.shape[1], bool),
            'bbox': [left, top, right - left, bottom - top],
            'area': (right - left) * (bottom - top),
        })
    return annotations


def _result(image_id: int, pose: KeypointPose) -> dict:
    # OKS is taken over the labelled keypoints: what was not found must lie far away, not at the image's corner.
    points = np.where(pose.visible[:, None], pose.keypoints, -1e6)
    return {
        'image_id': image_id,
        'category_id': 1,
        'keypoints': np.column_stack([points, pose.visible * 2]).ravel().tolist(),
        'score': float(pose.score),
    }
