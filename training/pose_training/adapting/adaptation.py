"""The images that a network is adapted on, those kept to judge it, and what is written of the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from custom_pose_ros.core.drawing.contact_sheet import draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import write_image, write_json, write_text
from custom_pose_ros.core.labels.raw_labels import HIDDEN
from custom_pose_ros.core.object_model import ObjectModel
from custom_pose_ros.core.pictures import evenly
from training.pose_training.adapting.comparison import Figures
from training.pose_training.adapting.film_labels import FilmLabels
from training.pose_training.labels.coco import LabelledImage

_HELD_OUT = 0.25  # of the labelled frames of each film, its end
_GAP = 5  # frames between those and the others
_FEWEST_HELD_OUT, _FEWEST_TRAINED = 5, 12
_SHOWN = 12  # held-out frames on the contact sheet
_BOX_MARGIN = 0.1  # of its longer side


@dataclass(eq=False)
class AdaptationImages:
    """
    What the films give.

    Attributes:
        trained: Frames to train on.
        held_out: Frames to judge by.
        films: By film: figures for the report.
    """

    trained: list[LabelledImage] = field(default_factory=list)
    held_out: list[LabelledImage] = field(default_factory=list)
    films: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rigid(self) -> bool:
        """Whether a rigid body confirms all places."""
        return all(film['rigid'] for film in self.films)

    def add(self, labels: FilmLabels, folder: Path) -> None:
        """
        Write the labelled frames of a film into a folder.

        Raises:
            DatasetError: There are too few.
        """
        film, camera = labels.seen.film, labels.seen.camera
        numbers = sorted(labels.points)
        first = numbers[round((1 - _HELD_OUT) * len(numbers))] if numbers else 0
        trained = {n for n in numbers if n < first - _GAP}
        held_out = {n for n in numbers if n >= first}
        rejected = Counter({reason: count for reason, count in labels.rejected.items() if count})
        if len(held_out) < _FEWEST_HELD_OUT or len(trained) < _FEWEST_TRAINED:
            reasons = '; '.join(f'{reason}: {count}' for reason, count in rejected.most_common()) or 'it is too short'
            raise DatasetError(
                f'{film.source}: {len(numbers)} of {len(labels.seen.greys)} frames can be used, too few to learn from '
                f'and to judge by ({reasons})'
            )
        for frame in film.frames(trained | held_out):
            path = folder / film.name(frame.number)
            if path.exists():
                raise DatasetError(f'{film.source}: has the name of another film: rename one of them')
            write_image(path, frame.image)
            image = _labelled_image(path, labels.points[frame.number], camera.width, camera.height)
            (self.held_out if frame.number >= first else self.trained).append(image)
        self.films.append({
            'film': str(film.source),
            'frames': len(labels.seen.greys),
            'frames_looked_at': len(labels.seen.sights),
            'frames_labelled': len(numbers),
            'rejected': dict(rejected.most_common()),
            'rigid': labels.rigid,
        })


def _labelled_image(path: Path, points: np.ndarray, width: int, height: int) -> LabelledImage:
    placed = points[points[:, 2] >= HIDDEN, :2]
    margin = _BOX_MARGIN * float(np.ptp(placed, axis=0).max())
    box = np.concatenate([placed.min(0) - margin, placed.max(0) + margin])
    states = points[None, :, 2].astype(int)
    return LabelledImage(path, width, height, points[None, :, :2], states, box[None], np.zeros((0, 4)))


def write_report(
    folder: Path,
    images: AdaptationImages,
    before: Figures,
    after: Figures,
    reasons: Sequence[str],
    labels: int,
    labels_learned: bool,
) -> str:
    """
    Write report.json and report.md; return the table of figures.

    Args:
        folder: Where they are written.
        images: What was learned from.
        before: Figures of the network that was given.
        after: Figures of the one that was trained on.
        reasons: Why this one is refused; empty when it is written.
        labels: Number of labelled pictures that both were measured on.
        labels_learned: The second one was trained on these, too.
    """
    rows = [
        f'| {name} | {was:.2f} | {now:.2f} |'
        for (name, was), now in zip(before.rows().items(), after.rows().values())
        if np.isfinite([was, now]).any()
    ]
    table = '\n'.join(['| | before | after |', '|---|---|---|', *rows])
    confirmed = (
        'The places in the footage are those of one rigid body, followed through the film.'
        if images.rigid
        else 'Nothing shows that the object is rigid: that its keypoints move as the pictures do, and that the network '
        'finds them alike in rotated and enlarged copies, says less about how right they are than a rigid body would.'
    )
    learned = ' that it learned from as well, which flatters' if labels_learned else ''
    verdict = f'not written: {"; ".join(reasons)}' if reasons else 'better: model.onnx is written'
    used = [
        f'- {film["film"]}: {film["frames_labelled"]} of {film["frames"]} frames labelled'
        + ''.join(f'; {reason}: {count}' for reason, count in film['rejected'].items())
        for film in images.films
    ]
    lines = [
        '# Adaptation', '', f'The adapted network is {verdict}.', '',
        f'Measured on {len(images.held_out)} frames of the footage that were not learned from'
        + (f', and on {labels} labelled pictures{learned}.' if labels else '.') + f' {confirmed}', '',
        table, '', '## Frames', '', f'{len(images.trained)} frames to learn from.', '', *used, '',
    ]  # fmt: skip
    write_text(folder / 'report.md', '\n'.join(lines))
    content = {
        'better': not reasons,
        'reasons_against': list(reasons),
        'rigid': images.rigid,
        'frames_trained': len(images.trained),
        'frames_held_out': len(images.held_out),
        'labelled_pictures': labels,
        'films': images.films,
        'before': before.to_dict(),
        'after': after.to_dict(),
    }
    write_json(folder / 'report.json', content)
    return table


def write_sheet(path: Path, images: AdaptationImages, before: Figures, after: Figures, model: ObjectModel) -> None:
    """Write held-out frames twice, before and after: rings are where the followed object has its keypoints."""
    tiles = []
    for i in evenly(len(images.held_out), _SHOWN):
        image = images.held_out[i]
        labelled = [np.column_stack([image.keypoints[0], np.maximum(image.states[0], 0)])]
        for title, figures in (('before', before), ('after', after)):
            found = [np.column_stack([np.nan_to_num(p.keypoints), p.visible]) for p in figures.poses[i]]
            tiles.append(draw_tile(image.read(), labelled, found, f'{title} {image.path.stem}'))
    write_contact_sheet(path, tiles, model.keypoint_names, 'the object as it was followed', 'found')
