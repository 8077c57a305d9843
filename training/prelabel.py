"""
Let a trained model propose labels for new images: correcting is faster than labelling.

    python training/prelabel.py build/train/my_object/best.pth new_photos/ --out proposed.json
    python training/prelabel.py config/submarine new_photos/ --format label-studio --out tasks.json

coco: import it in coco-annotator (dataset, import COCO) or CVAT (upload annotations, COCO Keypoints 1.0).
label-studio: import the tasks into a project with the interface of prepare_dataset.py --label-studio-config.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.errors import CustomPoseError, DatasetError
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.inference.backends import load_backend
from custom_pose_ros.inference.estimator import PoseEstimator
from training.pose_training.coco import write_json
from training.pose_training.pictures import read_picture
from training.pose_training.prelabels import FoundImage, coco_prelabels, label_studio_prelabels
from training.pose_training.prepare import IMAGE_SUFFIXES


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder, at any depth. Raises DatasetError when there is none."""
    images = [path for path in sorted(folder.rglob('*')) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DatasetError(f'{folder}: no images found; give a folder with {", ".join(sorted(IMAGE_SUFFIXES))} files')
    return images


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint (.pth), model.onnx, or object folder')
    parser.add_argument('images', type=Path, help='folder with new images')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--format', choices=('coco', 'label-studio'), default='coco', help='default: coco')
    parser.add_argument(
        '--prefix', default='/data/local-files/?d=',
        help='label-studio: what comes before the file names (default: %(default)s, for local file storage)',
    )  # fmt: skip
    parsed = parser.parse_args(arguments)
    try:
        backend = load_backend(parsed.model, measure=False)
        model = ObjectModel.from_dict(json.loads(backend.metadata.get('object', '{}')), f'object in {parsed.model}')
        estimator = PoseEstimator(model, backend)
        found = []
        for path in tqdm(find_images(parsed.images), unit='image', leave=False, disable=None):
            pixels = read_picture(path)
            if pixels is None:
                raise DatasetError(f'{path}: cannot be read as an image; remove it and start again')
            name = path.relative_to(parsed.images).as_posix()
            found.append(FoundImage(name, pixels.shape[1], pixels.shape[0], estimator(pixels)))
        if parsed.format == 'coco':
            write_json(parsed.out, coco_prelabels(found, model))
        else:
            write_json(parsed.out, label_studio_prelabels(found, model, parsed.prefix))
    except CustomPoseError as error:
        print(f'prelabel: {error}', file=sys.stderr)
        return 1
    empty = [image.name for image in found if not image.poses]
    count = sum(len(image.poses) for image in found)
    print(f'{parsed.out}: {count} objects in {len(found)} images; nothing found in {len(empty)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
