"""
Let a trained model propose labels for new images: correcting is faster than labelling.

    python training/prelabel.py build/train/my_object/best.pth new_photos/ --out proposed.json
    python training/prelabel.py config/submarine new_photos/ --format label-studio --out tasks.json

coco: import it in coco-annotator (dataset, import COCO) or CVAT (upload annotations, COCO Keypoints 1.0).
label-studio: import the tasks into a project with the interface of prepare_dataset.py --label-studio-config. It shows
images of a local folder when it was started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=<the folder above>, and the project has a local storage of the folder itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import DONE, PARTLY, command, command_parser, say

# The import above comes first, so that Ctrl-C during all others ends without a traceback.
# isort: split
import numpy as np

from custom_pose_ros.core.errors import DatasetError, MediaError
from custom_pose_ros.core.files import write_json
from custom_pose_ros.core.keypoints.poses import KeypointPose
from custom_pose_ros.core.labels.coco_file import OWN_CONTRIBUTOR
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.orientation.estimate import AMBIGUOUS
from custom_pose_ros.core.pictures import read_sound_picture
from custom_pose_ros.core.progress import progress_bar
from custom_pose_ros.inference.copies import CopiesEstimator
from custom_pose_ros.inference.network_options import add_copies_option
from training.pose_training.labels.image_files import find_images
from training.pose_training.networks.trained import load_trained

_BOX_MARGIN = 0.1  # of its longer side: keypoints lie inside of the object, its box around it
_POINT_WIDTH_PERCENT = 0.5  # how large Label Studio draws a keypoint


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = command_parser(__doc__)
    parser.add_argument('model', help='checkpoint (.pth), model.onnx, folder with one, or installed object')
    parser.add_argument('images', type=Path, help='folder with new images')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--format', choices=('coco', 'label-studio'), default='coco', help='default: coco')
    parser.add_argument(
        '--prefix',
        help='label-studio: what comes before the file names (default: /data/local-files/?d= and the name of the '
        'folder, for a local storage of that folder)',
    )  # fmt: skip
    add_copies_option(parser)
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class FoundImage:
    """
    What a model found in one image.

    Attributes:
        name: File name as the labelling tool knows it.
        width: Of the image [px].
        height: Of the image [px].
        poses: The instances found.
    """

    name: str
    width: int
    height: int
    poses: list[KeypointPose]


def coco_prelabels(images: Sequence[FoundImage], model: ObjectModel) -> dict[str, Any]:
    """Return COCO keypoints as coco-annotator and CVAT ('COCO Keypoints 1.0') import them."""
    annotations = []
    for image_id, image in enumerate(images, 1):
        for pose in image.poses:
            left, top, right, bottom = pose_box(pose, image)
            points = np.where(pose.visible[:, None], pose.keypoints, 0.0).round(2)
            annotations.append({
                'id': len(annotations) + 1,
                'image_id': image_id,
                'category_id': 1,
                'iscrowd': 0,
                'segmentation': [],  # CVAT would make a polygon of it, which a skeleton's label does not allow
                'bbox': [left, top, round(right - left, 2), round(bottom - top, 2)],
                'area': round((right - left) * (bottom - top), 2),
                'keypoints': np.column_stack([points, pose.visible * 2]).ravel().tolist(),
                'num_keypoints': int(pose.visible.sum()),
                'score': round(float(pose.score), 4),
                'ambiguity': round(float(pose.ambiguity), 4),
            })
    return {
        'info': {
            'description': f'labels proposed by a model of {model.name}: correct them',
            'contributor': OWN_CONTRIBUTOR,
        },
        'licenses': [],
        'images': [
            {'id': i, 'file_name': im.name, 'width': im.width, 'height': im.height} for i, im in enumerate(images, 1)
        ],
        'annotations': annotations,
        'categories': [
            {
                'id': 1,
                'name': model.name,
                'supercategory': '',
                'keypoints': list(model.keypoint_names),
                'skeleton': [[a + 1, b + 1] for a, b in model.skeleton],
            }
        ],
    }


def label_studio_prelabels(images: Sequence[FoundImage], model: ObjectModel, prefix: str) -> list[dict[str, Any]]:
    """
    Return Label Studio tasks with predictions, for the interface of prepare_dataset.py --label-studio-config.

    Args:
        images: What was found.
        model: The object.
        prefix: Put before each quoted file name to make the address under which Label Studio finds the image.
    """
    tasks = []
    for number, image in enumerate(images):
        results = []
        for i, pose in enumerate(image.poses):
            box_id = f'object{number}_{i}'
            left, top, right, bottom = pose_box(pose, image)
            box = {'rectanglelabels': [model.name], **_percent(image, left, top)}
            box.update(width=100 * (right - left) / image.width, height=100 * (bottom - top) / image.height)
            results.append(_result(image, box_id, 'objects', 'rectanglelabels', box))
            for k in np.flatnonzero(pose.visible):
                value = {
                    'keypointlabels': [model.keypoint_names[k]],
                    'width': _POINT_WIDTH_PERCENT,
                    **_percent(image, *(pose.keypoints[k] + 0.5)),  # from the image's corner
                }
                point = _result(image, f'{box_id}_{k}', 'keypoints', 'keypointlabels', value)
                results.append({**point, 'parentID': box_id})
        score = max((float(pose.score) for pose in image.poses), default=0.0)
        prediction = {'model_version': model.name, 'score': score, 'result': results}
        tasks.append({'data': {'image': prefix + quote(image.name)}, 'predictions': [prediction]})
    return tasks


def pose_box(pose: KeypointPose, image: FoundImage) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom around the keypoints with a margin, inside of the image."""
    left, top, right, bottom = pose.box
    margin = _BOX_MARGIN * max(right - left, bottom - top)
    box = np.array([left - margin, top - margin, right + margin, bottom + margin])
    left, top, right, bottom = np.clip(box, 0, [image.width, image.height] * 2).round(2).tolist()
    return left, top, right, bottom


def _percent(image: FoundImage, x: float, y: float) -> dict[str, float]:
    return {'x': 100 * float(x) / image.width, 'y': 100 * float(y) / image.height}


def _result(image: FoundImage, result_id: str, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
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


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    estimator = load_trained(parsed.model)
    if parsed.copies > 1:
        estimator = CopiesEstimator(estimator, parsed.copies)
    found, unreadable, turned = [], [], []
    for path in progress_bar('find keypoints', None, 'image', find_images(parsed.images)):
        try:
            picture = read_sound_picture(path)
        except MediaError as error:
            unreadable.append(error)
            continue
        turned += [path] if picture.orientation != 1 else []
        pixels = picture.upright
        name = path.relative_to(parsed.images).as_posix()
        found.append(FoundImage(name, pixels.shape[1], pixels.shape[0], estimator(pixels)))
    if not found:
        raise DatasetError(f'{unreadable[0]}; nor can any other image there be read')
    if parsed.format == 'coco':
        write_json(parsed.out, coco_prelabels(found, estimator.model), indent=None)
    else:
        folder = quote(parsed.images.resolve().name)
        prefix = f'/data/local-files/?d={folder}/' if parsed.prefix is None else parsed.prefix
        write_json(parsed.out, label_studio_prelabels(found, estimator.model, prefix), indent=None)
    for error in unreadable:
        say(f'error: {error}; left out')
    if turned and parsed.format == 'coco':
        say(
            f'note: {len(turned)} images are turned by their EXIF orientation (first: {turned[0]}): the proposals lie '
            'on them as viewers and CVAT show them; coco-annotator shows them unturned, so turn the files first'
        )
    ambiguous = [image.name for image in found if any(pose.ambiguity > AMBIGUOUS for pose in image.poses)]
    if ambiguous:
        say(f'note: in {len(ambiguous)} images the object may be turned (first: {ambiguous[0]}): check these first')
    empty = sum(not image.poses for image in found)
    count = sum(len(image.poses) for image in found)
    print(f'{parsed.out}: {count} objects in {len(found)} images; nothing found in {empty}')
    return PARTLY if unreadable else DONE


if __name__ == '__main__':
    sys.exit(main())
