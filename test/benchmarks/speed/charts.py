"""Three PNG charts: where the time of a frame goes, how it grows, and what the height of the input buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from custom_pose_ros.evaluation.report.charts import BLUE, GREEN, GREY, ORANGE, RED, SKY

STAGES = {
    'pre-process': SKY, 'network': BLUE, 'decode': GREEN, 'grouping': ORANGE, 'rest': GREY,
    'orientation': '#CC79A7', 'publish': RED,
}  # fmt: skip
STYLE = {
    'font.size': 9, 'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
    'grid.color': '#dddddd', 'grid.linewidth': 0.6, 'axes.axisbelow': True, 'legend.frameon': False,
}  # fmt: skip
DPI = 130


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the charts of what was measured; return their paths."""
    charts: dict[str, tuple[int, tuple[float, float], Callable[..., None]]] = {
        'stages': (2, (10.0, 3.8), _stages),
        'growth': (3, (10.0, 3.2), _growth),
        'heights': (1, (6.4, 4.0), _heights),
    }
    drawn = []
    for name, (columns, size, fill) in charts.items():
        if name in results:
            with matplotlib.rc_context(STYLE):
                figure = Figure(figsize=size, layout='constrained')
                FigureCanvasAgg(figure)
                fill(results[name], *figure.subplots(1, columns, squeeze=False)[0])
                path = folder / f'{name}.png'
                figure.savefig(path, dpi=DPI)
            drawn.append(path)
    return drawn


def _stages(results: Mapping[str, Any], whole: Axes, around: Axes) -> None:
    """Bars of the medians: all stages, and without the network."""
    conditions = results['conditions']
    for axes, left_out in ((whole, ()), (around, ('network',))):
        for row, condition in enumerate(conditions.values()):
            start = 0.0
            for stage, colour in STAGES.items():
                if stage in condition['stages'] and stage not in left_out:
                    took = condition['stages'][stage]['median_ms']
                    axes.barh(row, took, left=start, color=colour, height=0.7, label=stage if row == 0 else None)
                    start += took
        axes.set_yticks(range(len(conditions)), list(conditions))
        axes.invert_yaxis()
        axes.grid(visible=False, axis='y')
        axes.set_xlabel('ms, medians')
    whole.set_title(f'one 640x480 frame, {results["backend"]}', fontsize=9)
    around.set_title('without the network', fontsize=9)
    around.set_yticklabels([])
    whole.figure.legend(*whole.get_legend_handles_labels(), loc='outside lower center', ncols=len(STAGES))


def _growth(results: Mapping[str, Any], instances: Axes, cameras: Axes, size: Axes) -> None:
    """Median and 10th to 90th percentile of a frame."""
    panels = {
        'instances of 4 keypoints': (instances, BLUE), 'instances of 18 keypoints': (instances, ORANGE),
        'cameras': (cameras, BLUE), 'image width [px]': (size, BLUE),
    }  # fmt: skip
    for what, (axes, colour) in panels.items():
        values = [int(value) for value in results[what]]
        columns = {key: [times[key] for times in results[what].values()] for key in ('median_ms', 'p10_ms', 'p90_ms')}
        axes.plot(values, columns['median_ms'], 'o-', color=colour, markersize=4, label=what.partition('of ')[2])
        axes.fill_between(values, columns['p10_ms'], columns['p90_ms'], color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel(what.partition(' of ')[0])
    for axes in (instances, cameras, size):
        axes.set_ylim(bottom=0)
    instances.set_ylabel('ms, median, 10 to 90 %')
    instances.legend(loc='upper left')
    instances.set_title('without the network', fontsize=9)
    cameras.set_title('with the network', fontsize=9)
    size.set_title('without the network', fontsize=9)
    cameras.set_xticks([int(value) for value in results['cameras']])
    size.set_xticks([int(value) for value in results['image width [px]']][1:])


def _heights(results: Mapping[str, Any], axes: Axes) -> None:
    """Error over time, one point for each height."""
    heights = results['heights']
    times = [entry['p10_ms'] for entry in heights.values()]
    for name, colour, label in (
        ('small', GREEN, 'the same, 0.6 times as large'),
        ('clip', BLUE, 'demo clip, rendered, not trained on'),
        ('photos', ORANGE, 'three photos, among those trained on'),
    ):
        if all(name in entry for entry in heights.values()):
            values = [entry[name]['error_percent'] for entry in heights.values()]
            axes.plot(times, values, 'o-', color=colour, markersize=4, label=label)
    for height, time_ms in zip(heights, times):
        bold = {'fontweight': 'bold'} if int(height) == results['default'] else {}
        axes.annotate(height, (time_ms, 0), (0, 4), textcoords='offset points', ha='center', **bold)
    axes.set_xlabel('undisturbed frame (10th percentile) [ms]')
    axes.set_ylabel("mean keypoint error, % of the object's size")
    axes.set_ylim(0, 8)
    axes.set_xlim(left=0)
    axes.set_title(f'height of the network input [px], {results["backend"]}; bold: the default', fontsize=9)
    axes.legend()
