"""How labels lie on their picture: as viewers show it or as the file holds it, at which size, and what is outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from custom_pose_ros.core.errors import DatasetError
from custom_pose_ros.core.labels.raw_labels import ABSENT, REFUSED, REPAIRED, STORED, TURNED, TURNED_WITH_SIZE
from custom_pose_ros.core.pictures import Picture

_GUESS_TOLERANCE = 0.1  # a point so little outside is where somebody guessed that it must be
_BORDER_TOLERANCE = 0.01  # of the image's size: a point so little outside was meant to be on the border

Size = tuple[int, int]  # width, height [px]


class Placement(NamedTuple):
    """
    How the labels of an image lie on its pixels.

    Attributes:
        width: Of the picture that was labelled [px].
        height: Of the picture that was labelled [px].
        factors: From label to pixel, for x and y.
        upright: Whether the picture that was labelled is turned as its EXIF orientation says.
        repair: What was found and done about it, '' when nothing.
    """

    width: int
    height: int
    factors: tuple[float, float]
    upright: bool
    repair: str


def place(picture: Picture, stated: Size, exif: str, relative: bool = False) -> Placement:
    """
    Return how labels lie on a picture.

    Args:
        picture: The file.
        stated: Size that the label file states, with a 0 where it states none.
        exif: See `RawLabels.exif`.
        relative: Coordinates are shares of the image's size.

    Raises:
        DatasetError: That is not certain; the text says what to do, without the file's name.
    """
    turned, stored = (pixels.shape[1::-1] for pixels in (picture.upright, picture.stored))
    upright, repair = True, ''
    if picture.orientation != 1:
        upright = _is_on_turned(picture.orientation, turned, stored, stated, exif)
        is_unturned = same_shape(stated, stored) and not same_shape(stated, turned)
        if upright and is_unturned:
            stated = stated[::-1]  # Label Studio states the size of the file beside labels on the turned picture
            repair = 'labelled on the picture as its EXIF orientation turns it, though its size is stated unturned'
        elif not upright:
            repair = 'labelled without its EXIF orientation: written as it was labelled'
    width, height = turned if upright else stored
    if relative and (0 in stated or same_shape(stated, (width, height))):
        return Placement(width, height, (width, height), upright, repair)
    if 0 in stated or stated == (width, height):
        return Placement(width, height, (1.0, 1.0), upright, repair)
    if relative or not same_shape(stated, (width, height)):
        raise DatasetError(f'labels are for {stated[0]} x {stated[1]} px, the file has {width} x {height}')
    scaled = f'labelled at {stated[0]} x {stated[1]}, is {width} x {height}: labels scaled'
    return Placement(
        width, height, (width / stated[0], height / stated[1]), upright, '; '.join(filter(None, (repair, scaled)))
    )


def _is_on_turned(orientation: int, turned: Size, stored: Size, stated: Size, exif: str) -> bool:
    """Return whether labels lie on the picture as its EXIF orientation turns it; DatasetError where that is unknown."""
    sizes_tell = 0 not in stated and same_shape(stated, turned) != same_shape(stated, stored)
    by_size = '' if not sizes_tell else TURNED if same_shape(stated, turned) else STORED
    # A tool that states the turned size has obeyed EXIF. The unturned size says nothing: most programs that read it
    # from the file do not turn it, whatever the person who labelled saw.
    certain = {TURNED: True, TURNED_WITH_SIZE: by_size != STORED, STORED: by_size != TURNED, '': by_size == TURNED}
    if not certain[exif]:
        raise DatasetError(
            f'has EXIF orientation {orientation}, and the label file does not tell whether its labels lie on the '
            'picture as viewers show it (--exif turned) or as the file holds it (--exif stored)'
        )
    return exif != STORED


def same_shape(stated: Size, size: Size) -> bool:
    """Return whether sizes have the same shape, up to rounding."""
    return abs(stated[0] * size[1] - stated[1] * size[0]) <= max(*stated, *size)


def bring_inside(points: np.ndarray, width: int, height: int, names: Sequence[str]) -> list[tuple[str, str]]:
    """
    Move labelled points just outside of an image onto its border, and take those a little farther as not labelled.

    Args:
        points: (K, 3) x, y, visibility in pixels; changed in place.
        width: Of the image [px].
        height: Of the image [px].
        names: K names, for the texts.

    Returns:
        REPAIRED and what was done, or REFUSED and a text for each point that lies too far outside.
    """
    last, side = np.array([width, height]) - 1, max(width, height)
    labelled = points[:, 2] > 0
    outside = np.where(labelled, np.maximum(-points[:, :2], points[:, :2] - last).max(1), 0.0)
    at_border = (outside > 0) & (outside <= max(1.0, _BORDER_TOLERANCE * side))
    points[at_border, :2] = np.clip(points[at_border, :2], 0, last)
    beyond = np.flatnonzero((outside > 0) & ~at_border)
    texts = [
        f'{names[k]} at ({points[k, 0]:.0f}, {points[k, 1]:.0f}) lies outside of the image of {width} x {height} px'
        for k in beyond
    ]
    if outside.max(initial=0) > _GUESS_TOLERANCE * side or len(beyond) == labelled.sum() > 0:
        return [(REFUSED, text) for text in texts]
    points[beyond, 2] = ABSENT
    said = [(REPAIRED, f'{text}: taken as not labelled') for text in texts]
    # Half a pixel is the difference between corners and centres of pixels, no fault.
    if moved := int((at_border & (outside > 0.5)).sum()):
        said.append((REPAIRED, f'{moved} points just outside moved onto the border'))
    return said
