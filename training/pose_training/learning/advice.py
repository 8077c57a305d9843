"""What to do next, from how a network errs on the images that it learned from and on others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.judging.accuracy import Accuracy
from training.pose_training.labels.coco import LabelledImage

FEW_STEPS = 300  # from ImageNet weights, a thousand are a good number
_ENOUGH_STEPS = 1000
_ENOUGH_IMAGES = 10  # to validate on; fewer do not tell one error from another
_MUCH_WORSE = 1.4  # on other images than on those learned from
_FINE_PX = 1.0  # of the network's input, an eighth of a cell: what is left is in the pixels, not in the training
_UPRIGHT_DEG = 30.0


def advice(
    learned: Accuracy, other: Accuracy | None, images: Sequence[LabelledImage], steps: int, input_height: int
) -> list[str]:
    """
    Return the lines that name both errors and say what would lower them.

    Args:
        learned: On some of the images that were trained on, without augmentation.
        other: On the images to validate on, if there are any.
        images: Those that `learned` was measured on.
        steps: Steps of the run.
        input_height: Of the network [px].
    """
    own = learned.summary()['mean_px']
    text = f'mean error on {len(images)} images that it learned from: {own:.2f} px'
    if not np.isfinite(own):
        return ['nothing is found on the images that it learned from: train longer (--minutes, --steps)']
    judged = other is not None and len(set(other.image_of.tolist())) >= _ENOUGH_IMAGES
    if other is not None:
        other_px = other.summary()['mean_px']
        text += f'; on those to validate on: {f"{other_px:.2f} px" if np.isfinite(other_px) else "nothing is found"}'
    if judged and other.score > _MUCH_WORSE * learned.score:
        return [text, 'it knows its own images better: more and more varied pictures help most']
    input_px = own * input_height / float(np.median([image.height for image in images]))
    if steps < _ENOUGH_STEPS or input_px > _FINE_PX:
        way = 'training longer helps most (--minutes, --steps)'
    else:
        way = (
            f'this is {input_px:.2f} px of its input of {input_height} px: a larger one helps most '
            '(evaluate.py --heights shows by how much; --input-height trains for it)'
        )
    return [text, way if judged else f'{way}; more images to validate on would tell more']


def turn_note(sources: Sequence[Sequence[LabelledImage]], model: ObjectModel, rotation_deg: float) -> str | None:
    """Return a line where the objects stand much more upright than they are trained to be found; None elsewhere."""
    turns = turns_deg([image for source in sources for image in source], model)
    if rotation_deg <= 3 * _UPRIGHT_DEG or len(turns) < _ENOUGH_IMAGES or abs(turns).max() > _UPRIGHT_DEG:
        return None
    return (
        f'the objects are turned by at most {abs(turns).max():.0f} deg in these pictures, and trained for any turn. '
        'If camera and object stay upright in use, --rotation 45 is more exact'
    )


def turns_deg(images: Sequence[LabelledImage], model: ObjectModel) -> np.ndarray:
    """Return how far each object with a labelled limb is turned in its picture from the mean of all, (A,) degrees."""
    pairs = np.array(model.skeleton, int).reshape(-1, 2)
    points = np.concatenate([image.keypoints for image in images])
    labelled = np.concatenate([image.labelled for image in images])
    limbs = points[:, pairs[:, 1]] - points[:, pairs[:, 0]]
    lengths = np.hypot(limbs[..., 0], limbs[..., 1])
    known = labelled[:, pairs].all(2) & (lengths > 0)
    directions = np.where(known, limbs[..., 0] + 1j * limbs[..., 1], 0) / np.where(known, lengths, 1)
    mean = directions.sum(0)
    turned = (directions * mean.conj() / np.maximum(abs(mean), 1e-9)).sum(1)
    return np.degrees(np.angle(turned[known.any(1)]))
