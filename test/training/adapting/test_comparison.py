"""What speaks against a network that was trained on; figures of a real one on frames that it should know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.pose_training.adapting.comparison import Figures, reasons_against

BEFORE = Figures(0.02, 3.0, 0.98, 2, 1, 0.9, 1.0, 0.1, 0.01, [])
BETTER = replace(BEFORE, score=0.01, error_px=1.5)


def test_a_better_network_is_taken():
    assert reasons_against(BEFORE, BETTER, True) == []
    assert reasons_against(replace(BEFORE, label_score=np.nan), replace(BETTER, label_score=np.nan), True) == []


@pytest.mark.parametrize(
    ('worse', 'reason'),
    [
        ({'score': 0.0195}, 'error on held-out footage is 1.95% of the size of the object, and was 2.00%'),
        ({'score': np.nan}, 'error on held-out footage is nan%'),
        ({'label_score': 0.011}, 'error on labels is 1.10%, and was 1.00%'),
        ({'found': 0.9}, 'finds 90.0% of the keypoints, and found 98.0%'),
        ({'surplus': 2}, 'finds 2 surplus objects, and found 1'),
        ({'invented': 3}, 'finds 3 invented keypoints, and found 2'),
        ({'agreed': 0.8}, 'copies agree in 80% of the frames, and did in 90%'),
        ({'spread_percent': 1.2}, 'copies spread by 1.20 %, and did by 1.00 %'),
        ({'ambiguity': 0.2}, 'margin against the turned object is 0.80, and was 0.90'),
    ],
)
def test_one_worse_figure_is_enough_against_it(worse, reason):
    (text,) = reasons_against(BEFORE, replace(BETTER, **worse), True)
    assert reason in text


def test_the_same_network_is_not_better():
    assert len(reasons_against(BEFORE, BEFORE, True)) == 1


def test_less_scatter_counts_where_a_rigid_body_gives_the_places():
    """For an object that bends the places are what the network found: copies that agree more say nothing then."""
    steadier = replace(BEFORE, spread_percent=0.75)
    assert reasons_against(BEFORE, steadier, rigid=True) == []
    assert len(reasons_against(BEFORE, steadier, rigid=False)) == 1
    assert len(reasons_against(BEFORE, replace(steadier, score=0.0201), rigid=True)) == 1
