"""FootageFolder: the frames of films that are to be labelled, with what is proposed for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from custom_pose_ros.core.drawing.contact_sheet import MOST_TILES, draw_tile, write_contact_sheet
from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.files import write_image
from custom_pose_ros.core.pictures import evenly, read_image
from training.pose_training.labels.film import Film, FilmFrame
from training.pose_training.labels.proposed_labels import ObjectNames, ProposedImage, ProposedObject, write_proposals


class FootageFolder:
    """What is written of footage: pictures, labels, and a contact sheet to look at."""

    def __init__(self, folder: Path, names: ObjectNames | None, tool: str, prefix: str | None):
        """
        Look at the folder.

        Args:
            folder: Where to write.
            names: Of the object; None where nobody has said what will be labelled.
            tool: See `write_proposals`.
            prefix: See `write_proposals`.

        Raises:
            DatasetError: It holds labels already, which may be corrected ones.
        """
        self._folder, self._names, self._tool, self._prefix = folder, names, tool, prefix
        self.labels = folder / ('labels.json' if tool == 'coco' else 'tasks.json')
        if (folder / 'images').exists() or self.labels.exists():
            raise DatasetError(f'{folder}: holds labels already; give another --out or remove it')
        self.images: list[ProposedImage] = []
        self._tiles: list[np.ndarray] = []
        self._sizes: dict[str, tuple[int, int]] = {}

    def write_picture(self, film: Film, frame: FilmFrame) -> None:
        """Write a frame of a film; `add` says then what is proposed for it."""
        name = film.name(frame.number)
        if name in self._sizes:
            raise DatasetError(f'{film.source}: has the name of another film: rename one of them')
        self._sizes[name] = frame.image.shape[1::-1]
        write_image(self._folder / 'images' / name, frame.image)

    def add(self, film: Film, objects: dict[int, list[ProposedObject]], titles: dict[int, str]) -> None:
        """Add what is proposed for frames that were written; titles: for the contact sheet, by frame."""
        numbers = [number for number in sorted(objects) if film.name(number) in self._sizes]
        shown = evenly(len(numbers), MOST_TILES)
        for i, number in enumerate(numbers):
            name = film.name(number)
            self.images.append(ProposedImage(name, *self._sizes[name], objects[number]))
            if i in shown or any(found.contradictions for found in objects[number]):
                title = f'{Path(name).stem} {titles.get(number, "")}'
                points = [found.points for found in objects[number]]
                skeleton = self._names.skeleton if self._names else ()
                picture = read_image(self._folder / 'images' / name)
                self._tiles.append(draw_tile(picture, points, title=title, skeleton=skeleton))

    def close(self) -> None:
        """Write labels and contact sheet."""
        if self._names is not None:
            write_proposals(self.labels, self.images, self._names, self._tool, self._folder / 'images', self._prefix)
        names = self._names.keypoint_names if self._names else []
        rings = 'proposed' if any(image.objects for image in self.images) else ''
        write_contact_sheet(self._folder / 'contact_sheet.png', self._tiles, names, rings)
        print(f'look at {self._folder / "contact_sheet.png"}')
