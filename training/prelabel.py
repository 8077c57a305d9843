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
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere

from custom_pose_ros.core.errors import CustomPoseError, DatasetError
from custom_pose_ros.core.optional import optional_packages

with optional_packages('prelabel', ['training']):
    from tqdm import tqdm

    from training.pose_training.labels.coco import write_json
    from training.pose_training.labels.image_index import IMAGE_SUFFIXES
    from training.pose_training.labels.pictures import read_picture
    from training.pose_training.labels.prelabels import FoundImage, coco_prelabels, label_studio_prelabels
    from training.pose_training.networks.trained import load_trained


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder, at any depth. Raises DatasetError when there is none."""
    images = [path for path in sorted(folder.rglob('*')) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DatasetError(f'{folder}: no images found; give a folder with {", ".join(sorted(IMAGE_SUFFIXES))} files')
    return images


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
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
    parsed = parser.parse_args(arguments)
    try:
        estimator = load_trained(parsed.model)
        model = estimator.model
        found, unreadable = [], []
        for path in tqdm(find_images(parsed.images), unit='image', leave=False, disable=None):
            pixels = read_picture(path)
            if pixels is None:
                unreadable.append(path)
                continue
            name = path.relative_to(parsed.images).as_posix()
            found.append(FoundImage(name, pixels.shape[1], pixels.shape[0], estimator(pixels)))
        if not found:
            raise DatasetError(f'{unreadable[0]}: cannot be read as an image, nor can any other there')
        parsed.out.parent.mkdir(parents=True, exist_ok=True)
        if parsed.format == 'coco':
            write_json(parsed.out, coco_prelabels(found, model))
        else:
            folder = quote(parsed.images.resolve().name)
            prefix = f'/data/local-files/?d={folder}/' if parsed.prefix is None else parsed.prefix
            write_json(parsed.out, label_studio_prelabels(found, model, prefix))
    except (CustomPoseError, OSError) as error:
        print(f'prelabel: {error}', file=sys.stderr)
        return 1
    for path in unreadable:
        print(f'prelabel: {path}: cannot be read as an image, left out', file=sys.stderr)
    empty = [image.name for image in found if not image.poses]
    count = sum(len(image.poses) for image in found)
    print(f'{parsed.out}: {count} objects in {len(found)} images; nothing found in {len(empty)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
