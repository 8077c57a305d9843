"""Labels of the frames of a film, and why other frames have none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from training.pose_training.adapting.film_sights import FilmSights

NOT_ALONE = 'several objects, or none'
UNSURE = 'copies do not agree'
LOST = 'not followed to it'
INEXACT = 'place too uncertain'
UNKNOWN_PLACES = 'too few sure keypoints'


@dataclass(eq=False)
class FilmLabels:
    """
    Labels of one film.

    Attributes:
        seen: The film as the network sees it.
        points: By frame: (K, 3) x, y [px] and state, UNKNOWN, ABSENT, HIDDEN or SEEN.
        rejected: How many frames have no labels, by reason.
        rigid: They are those of one rigid body that was followed; else each keypoint is confirmed by the flow alone.
    """

    seen: FilmSights
    points: dict[int, np.ndarray] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    rigid: bool = True
