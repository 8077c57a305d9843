"""
Print what a training sample costs: augmentation and target maps, in milliseconds of process CPU time, one process.

python test/benchmarks/data_pipeline.py photos/labels.json
python test/benchmarks/data_pipeline.py photos/labels.json --public CHECKOUT    # beside the public implementation
The object is the one of the labels. CHECKOUT is a copy of
github.com/Daniil-Osokin/lightweight-human-pose-estimation.pytorch: the transforms of its train.py run on the same
images in the same process, first with the labels of the data, then with made-up people, for which it was written.
It scales every object to 0.6 of the crop before it crops, so its time grows as the objects get smaller; it changes no
colours.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from custom_pose_ros.core.files import read_json  # noqa: E402
from custom_pose_ros.core.labels.raw_labels import SEEN  # noqa: E402
from custom_pose_ros.core.object_model import ObjectModel  # noqa: E402
from training.pose_training.data.augmentation import Augmentation  # noqa: E402
from training.pose_training.data.training_set import Ticket, TrainingSet  # noqa: E402
from training.pose_training.labels.coco import LabelledImage, find_labels, read_dataset  # noqa: E402

CROP = 256
ROUNDS = 3  # the fastest counts: the rest of the machine only ever slows a round down
# A standing person by COCO's 17 keypoints, in heights of the person from the top left corner of its box.
STANDING = np.array([
    (0.18, 0.06), (0.20, 0.04), (0.16, 0.04), (0.22, 0.05), (0.14, 0.05), (0.27, 0.19), (0.09, 0.19), (0.32, 0.34),
    (0.04, 0.34), (0.34, 0.48), (0.02, 0.48), (0.24, 0.51), (0.12, 0.51), (0.25, 0.74), (0.11, 0.74), (0.25, 0.96),
    (0.11, 0.96),
])  # fmt: skip
# Which of COCO's keypoints stand for those of another object in the public implementation: chains of its limbs first.
STAND_INS = [5, 7, 9, 6, 8, 10, 11, 13, 15, 12, 14, 16, 0, 1, 2, 3, 4]
# human18 by COCO's keypoints; the neck, second, lies halfway between the shoulders 5 and 6.
HUMAN18 = [0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]


def main() -> int:
    """Run the benchmark and print one line for each pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='COCO keypoint file with its images')
    parser.add_argument('--public', type=Path, metavar='CHECKOUT', help='the public implementation to compare with')
    parser.add_argument('--people', type=int, default=2, help='people in each image of the comparison (default 2)')
    parser.add_argument('--samples', type=int, default=300, help='samples in a round (default 300)')
    options = parser.parse_args()
    cv2.setNumThreads(1)
    model = labelled_object(options.data)
    images = read_dataset(options.data, model)
    decoding = [milliseconds(lambda i: images[i].read(), len(images), len(images)) for _ in range(2)]
    print(f'{len(images)} images; reading and decoding one: {min(decoding):.2f} ms, in none of the figures')
    for strength in ('strong', 'normal', 'none'):
        cost = own_cost(images, model, Augmentation.named(strength), options.samples)
        print(f'{model.name}, {model.keypoint_count} keypoints, {CROP} px, {strength}: {cost:.2f} ms')
    if options.public:
        labels = [public_label(image, stand_ins(image), image.boxes) for image in images if len(image.keypoints)]
        labelled = [image for image in images if len(image.keypoints)]
        compare(f'{model.name}, {CROP} px, strong', model, labelled, labels, options)
        persons = people(images, options.people)
        labels = [public_label(i, with_score(p), boxes_of(p)) for i, p in zip(images, persons)]
        peopled = [with_people(image, points) for image, points in zip(images, persons)]
        compare(f'{options.people} people, {CROP} px, strong', ObjectModel.load('human18'), peopled, labels, options)
    return 0


def labelled_object(data: Path) -> ObjectModel:
    """Return an object with the keypoints of the labels' first category, all joined to the first keypoint."""
    category = read_json(find_labels(data))['categories'][0]
    names = category['keypoints']
    return ObjectModel.from_dict(
        {'name': category['name'], 'keypoints': names, 'skeleton': [[names[0], name] for name in names[1:]],
         'input_height': CROP}, str(data),
    )  # fmt: skip


def milliseconds(work: Callable[[int], object], samples: int, images: int) -> float:
    """Return the CPU milliseconds of one call of work(image), over all images in turn."""
    start = time.process_time()
    for number in range(samples):
        work(number % images)
    return 1e3 * (time.process_time() - start) / samples


def own_cost(images: list[LabelledImage], model: ObjectModel, augmentation: Augmentation, samples: int) -> float:
    """Return the CPU milliseconds of one sample once the images are in memory: of the fastest round."""
    dataset = own_dataset(images, model, augmentation)
    return min(own_round(dataset, turn, samples, len(images)) for turn in range(ROUNDS))


def own_dataset(images: list[LabelledImage], model: ObjectModel, augmentation: Augmentation) -> TrainingSet:
    """Return the training set with all images decoded."""
    dataset = TrainingSet([images], model, CROP, CROP, augmentation, cache_bytes=2**31)
    for i in range(len(images)):
        dataset[Ticket(0, i, i)]
    return dataset


def own_round(dataset: TrainingSet, turn: int, samples: int, images: int) -> float:
    """Return the CPU milliseconds of one sample in a round with random changes of its own."""
    return milliseconds(lambda i: dataset[Ticket(0, i, i + 1000 * turn)], samples, images)


def people(images: list[LabelledImage], count: int) -> list[np.ndarray]:
    """Return (count, 17, 2) keypoints [px] of made-up people inside each image, from 0.4 to 0.9 of its height."""
    rng = np.random.default_rng(0)
    made = []
    for image in images:
        heights = rng.uniform(0.4, 0.9, count) * image.height
        corners = rng.uniform(0, 1, (count, 2)) * np.column_stack([
            image.width - 0.36 * heights,
            image.height - heights,
        ])
        made.append(STANDING * heights[:, None, None] + corners[:, None])
    return made


def compare(
    what: str,
    model: ObjectModel,
    images: list[LabelledImage],
    labels: list[dict[str, Any]],
    options: argparse.Namespace,
) -> None:
    """Print the cost of both pipelines on the same images, in turns; labels : the public implementation's."""
    own = own_dataset(images, model, Augmentation.named('strong'))
    with tempfile.TemporaryDirectory() as folder:
        public = public_dataset(options.public, Path(folder), labels)
        costs = np.array([
            (
                own_round(own, turn, options.samples, len(images)),
                milliseconds(lambda i: public[i], max(1, options.samples // 3), len(labels)),
            )
            for turn in range(ROUNDS)
        ])
    ours, theirs = costs.min(0)
    ratios = ', '.join(f'{ratio:.1f}' for ratio in costs[:, 1] / costs[:, 0])
    print(f'{what}: {ours:.2f} ms; public transforms {theirs:.2f} ms; ratio {theirs / ours:.1f} (rounds: {ratios})')


def with_people(image: LabelledImage, points: np.ndarray) -> LabelledImage:
    """Return the image with people (A, 17, 2) as its labels."""
    keypoints = points[:, HUMAN18]
    keypoints[:, 1] = (points[:, 5] + points[:, 6]) / 2
    states = np.full(keypoints.shape[:2], SEEN)
    return LabelledImage(
        image.path, image.width, image.height, keypoints, states, boxes_of(points),
        np.zeros((0, 4)),
    )  # fmt: skip


def boxes_of(points: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom (A, 4) around points (A, K, 2)."""
    return np.concatenate([points.min(1), points.max(1)], axis=1)


def with_score(points: np.ndarray) -> np.ndarray:
    """Return points (A, K, 2) as the public implementation has them: (A, K, 3), 1 is visible, 2 is absent."""
    return np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)


def stand_ins(image: LabelledImage) -> np.ndarray:
    """Return (A, 17, 3): an object's keypoints in the places of COCO's."""
    count = image.keypoints.shape[1]
    points = np.full((len(image.keypoints), 17, 3), (0.0, 0.0, 2.0))
    points[:, STAND_INS[:count], :2] = image.keypoints[:, : len(STAND_INS)]
    points[:, STAND_INS[:count], 2] = np.where(image.labelled[:, : len(STAND_INS)], 1, 2)
    return points


def public_dataset(checkout: Path, folder: Path, entries: list[dict[str, Any]]) -> Any:
    """Return the public implementation's training set, one entry for each image; its images are kept in memory."""
    importlib.import_module('pycocotools.mask')  # it is used there without being imported
    sys.path.insert(0, str(checkout))
    coco, transformations = (importlib.import_module(f'datasets.{name}') for name in ('coco', 'transformations'))
    steps = [
        transformations.ConvertKeypoints(),
        transformations.Scale(),
        transformations.Rotate(pad=(128, 128, 128)),
        transformations.CropPad(pad=(128, 128, 128), crop_x=CROP, crop_y=CROP),
        transformations.Flip(),
    ]

    def transform(sample: Any) -> Any:
        for step in steps:
            sample = step(sample)
        return sample

    labels = folder / 'labels.pkl'
    labels.write_bytes(pickle.dumps(entries))
    coco.cv2 = _WithoutDecoding({entry['img_paths']: cv2.imread(entry['img_paths']) for entry in entries})
    return coco.CocoTrainDataset(str(labels), '', 8, 7, 1, transform=transform)


class _WithoutDecoding:
    """OpenCV with images that are in memory already, so that both pipelines are measured without the decoder."""

    def __init__(self, decoded: dict[str, np.ndarray]):
        self._decoded = decoded

    def imread(self, path: str, _: int) -> np.ndarray:
        return self._decoded[path]

    def __getattr__(self, name: str) -> Any:
        return getattr(cv2, name)


def public_label(image: LabelledImage, points: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """Return one entry as its scripts/prepare_train_labels.py writes; points (A, 17, 3), boxes (A, 4)."""
    first, *others = [
        {
            'objpos': [(left + right) / 2, (top + bottom) / 2],
            'bbox': [left, top, right - left, bottom - top],
            'segment_area': (right - left) * (bottom - top),
            'scale_provided': (bottom - top) / CROP,
            'num_keypoints': 17,
            'keypoints': instance.tolist(),
        }
        for instance, (left, top, right, bottom) in zip(points, boxes.tolist())
    ]
    return {
        **first,
        'img_paths': str(image.path),
        'img_width': image.width,
        'img_height': image.height,
        'image_id': image.path.stem,
        'segmentations': [],
        'processed_other_annotations': others,
    }


if __name__ == '__main__':
    sys.exit(main())
