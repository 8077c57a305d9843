"""From what a network finds in a film to labels that a rigid body or the flow confirms, or a reason why not."""

from __future__ import annotations

import math

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.object_model import ObjectModel
from training.pose_training.adapting.film_labels import FilmLabels
from training.pose_training.adapting.film_sights import FilmSights
from training.pose_training.adapting.flow_labels import flow_labels
from training.pose_training.adapting.known_body import LabelledBody, shape_known
from training.pose_training.adapting.rigid_labels import confirmed_body, rigid_labels

_FOUND = 0.3  # share of the frames, below which the object is not what the film shows
_AGREED = 0.15  # share of the frames, below which the copies do not agree often enough
_FEWEST = 12  # frames that agree
_TURNED = 0.1  # share of the frames with the object, above which nobody can say which way it is turned


def label_film(seen: FilmSights, model: ObjectModel, labelled: LabelledBody | None = None) -> FilmLabels:
    """
    Return labels of a film's frames.

    Args:
        seen: The film as the network sees it.
        model: The object; its model_points help where there are any.
        labelled: What labels say of them, where they are right, and more so than what the network has learned.

    Raises:
        DatasetError: The film does not show the object, the object file is not its own, or nobody can say which way the
            object is turned.
    """
    source, total = seen.film.source, len(seen.sights)
    found = {number: sights for number, sights in seen.sights.items() if sights}
    if len(found) < max(_FOUND * total, 1):
        raise DatasetError(f'{source}: the network finds the object in {len(found)} of {total} frames: is it in there?')
    turned = [number for number, sights in found.items() if any(sight.contradicted for sight in sights)]
    if len(turned) > _TURNED * len(found):
        raise DatasetError(
            f'{source}: cannot decide which way the object is turned: in {len(turned)} of {len(found)} frames with it '
            'the network takes it for turned differently when the picture is rotated or enlarged; if this is the '
            'object, label pictures that show which way it is turned, and train with them first'
        )
    agreed = {number: sights[0] for number, sights in found.items() if len(sights) == 1 and sights[0].agreed}
    if len(agreed) < (needed := max(_FEWEST, math.ceil(_AGREED * total))):
        raise DatasetError(
            f'{source}: in {len(agreed)} of {total} frames the network finds one object, and the same when the picture '
            f'is rotated or enlarged; at least {needed} such frames are needed: the film '
            'is too short, shows another object or several, or the network hardly knows it'
        )
    propagation = confirmed_body(seen, agreed, model, labelled is not None)
    labels = None if propagation is None else rigid_labels(seen, propagation, labelled)
    if labels is None and propagation is not None and shape_known(model):
        raise DatasetError(
            f'{source}: the object cannot be followed from frame to frame: the pictures are not consecutive frames of '
            'a film, or show too little on the object to be followed; nothing but the network itself would say where '
            'its keypoints are and which way it is turned'
        )
    return flow_labels(seen, agreed) if labels is None else labels
