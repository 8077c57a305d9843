"""The chart of analyze_object: errors and ambiguous views over the distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from custom_pose_ros.evaluation.report.charts import BLUE, GREEN, ORANGE

_PANELS = (
    ('rotation_with_wrong_choice_deg', 'rotation error [deg]\nwrong choices included', 1.0, True),
    ('position_mm', 'position error [mm]', 1.0, True),
    ('ambiguous', 'ambiguous views [%]', 100.0, False),
)
_COLOURS, _DASHES = (BLUE, GREEN, ORANGE), ('-', '--', ':', '-.')
_MOST_IN_A_ROW = 3  # names under the chart
_STYLE = {'font.size': 9, 'axes.grid': True, 'grid.color': '#dddddd', 'axes.spines.top': False}


def draw_chart(
    path: Path, title: str, distances: np.ndarray, curves: Mapping[str, Sequence[Mapping[str, float | None]]]
) -> None:
    """Write a PNG; curves: by name, what is said at each of the distances (D,) [m]; None where nothing is known."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 3.9), dpi=110)
        FigureCanvasAgg(figure)
        for i, (key, label, factor, logarithmic) in enumerate(_PANELS):
            axes = figure.add_subplot(1, 3, i + 1)
            for j, (name, rows) in enumerate(curves.items()):
                colour, dashes = _COLOURS[j % len(_COLOURS)], _DASHES[j % len(_DASHES)]
                values = [np.nan if row[key] is None else factor * row[key] for row in rows]
                axes.plot(distances, values, dashes, marker='o', ms=3.5, lw=1.8, color=colour, label=name)
            if logarithmic:
                axes.set_yscale('log')
                axes.yaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter('%g'))
                axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
            else:
                axes.set_ylim(-2.0, 102.0)
            axes.set_xlabel('distance [m]')
            axes.set_title(label, fontsize=9)
            axes.spines['right'].set_visible(False)
        handles, names = axes.get_legend_handles_labels()
        figure.suptitle(title, fontsize=9)
        figure.legend(handles, names, loc='lower center', ncol=min(len(names), _MOST_IN_A_ROW), frameon=False)
        rows = -(-len(names) // _MOST_IN_A_ROW)
        figure.subplots_adjust(left=0.06, right=0.985, top=0.8, bottom=0.18 + 0.05 * rows, wspace=0.24)
        figure.savefig(path, format='png')
