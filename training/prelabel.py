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
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.command_line import DONE, PARTLY, command, say
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import write_json
from training.pose_training.labels.image_files import decode_image, find_images
from training.pose_training.labels.prelabels import FoundImage, coco_prelabels, label_studio_prelabels
from training.pose_training.networks.trained import load_trained


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint (.pth), model.onnx, folder with one, or installed object')
    parser.add_argument('images', type=Path, help='folder with new images')
    parser.add_argument('--out', type=Path, required=True, help='file to write')
    parser.add_argument('--format', choices=('coco', 'label-studio'), default='coco', help='default: coco')
    parser.add_argument(
        '--prefix',
        help='label-studio: what comes before the file names (default: /data/local-files/?d= and the name of the '
        'folder, for a local storage of that folder)',
    )  # fmt: skip
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parse_arguments(arguments)
    estimator = load_trained(parsed.model)
    found, unreadable = [], []
    for path in tqdm(find_images(parsed.images), unit='image', leave=False, disable=None):
        pixels = decode_image(path)
        if pixels is None:
            unreadable.append(path)
            continue
        name = path.relative_to(parsed.images).as_posix()
        found.append(FoundImage(name, pixels.shape[1], pixels.shape[0], estimator(pixels)))
    if not found:
        raise DatasetError(f'{unreadable[0]}: cannot be read as an image, nor can any other there')
    if parsed.format == 'coco':
        write_json(parsed.out, coco_prelabels(found, estimator.model), indent=None)
    else:
        folder = quote(parsed.images.resolve().name)
        prefix = f'/data/local-files/?d={folder}/' if parsed.prefix is None else parsed.prefix
        write_json(parsed.out, label_studio_prelabels(found, estimator.model, prefix), indent=None)
    for path in unreadable:
        say(f'error: {path}: cannot be read as an image, left out')
    empty = sum(not image.poses for image in found)
    count = sum(len(image.poses) for image in found)
    print(f'{parsed.out}: {count} objects in {len(found)} images; nothing found in {empty}')
    return PARTLY if unreadable else DONE


if __name__ == '__main__':
    sys.exit(main())
