"""The charts of the reports, as SVG for a page; in colours that everybody can tell apart (Okabe and Ito 2008)."""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from custom_pose_ros.evaluation.scoring.summary import holes

BLUE, ORANGE, GREEN, RED = '#0072B2', '#E69F00', '#009E73', '#D55E00'
SKY, GREY = '#56B4E9', '#6B6B6B'
_WIDE, _HALF = (9.6, 2.6), (4.7, 3.0)
_SIDES = {_WIDE[0]: (0.07, 0.995), _HALF[0]: (0.13, 0.88)}  # left and right edge of the axes, by width of the chart
_BELOW_IN, _ABOVE_IN = 0.5, 0.28  # room for ticks and label, and for the legend
_DIFFERENCES_FRAME_IN = 0.8
_MAX_VECTOR_POINTS = 1500  # more are drawn into a picture inside the SVG, which stays small
_MAX_LINE_POINTS = 2000
_PARTS_OF_A_TURN_FROM_DEG = 60.0  # axes that span more have ticks every 15, 30, 45, 60 or 90 degrees
_ABOVE = {'loc': 'lower right', 'bbox_to_anchor': (1.0, 1.0), 'borderaxespad': 0.0}
_STYLE = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'custom_pose_ros',
    'font.family': 'sans-serif',
    'font.size': 9,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'grid.color': '#dddddd',
    'grid.linewidth': 0.6,
    'axes.axisbelow': True,
    'legend.frameon': False,
    'figure.dpi': 100,
}
_OBSERVABILITY_PANELS = (
    ('rotation_with_wrong_choice_deg', 'rotation error [deg]\nwrong choices included', 1.0, True),
    ('position_mm', 'position error [mm]', 1.0, True),
    ('ambiguous', 'ambiguous views [%]', 100.0, False),
)
_CURVE_COLOURS, _CURVE_DASHES = (BLUE, GREEN, ORANGE), ('-', '--', ':', '-.')
_MOST_IN_A_ROW = 3  # names under the chart
_PNG_STYLE = {'font.size': 9, 'axes.grid': True, 'grid.color': '#dddddd', 'axes.spines.top': False}
Columns = Mapping[str, np.ndarray]


def _drawn(size: tuple[float, float], draw: Callable[[Axes], None]) -> str:
    """Return the SVG element of one chart."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        left, right = _SIDES[size[0]]
        figure.subplots_adjust(left=left, right=right, bottom=_BELOW_IN / size[1], top=1.0 - _ABOVE_IN / size[1])
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format='svg', dpi=110, metadata=dict.fromkeys(('Date', 'Creator', 'Format', 'Type')))
    text = file.getvalue()
    text = text[text.index('<svg') :]
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r'\1 width="100%"', text, count=1).replace(
        '<svg', '<svg role="img"', 1
    )


def _chart(size: tuple[float, float]) -> Callable[[Callable[..., None]], Callable[..., str]]:
    """Make a function that draws what it is given on axes, its first argument, return an SVG element of that."""

    def decorated(draw: Callable[..., None]) -> Callable[..., str]:
        return functools.wraps(draw)(lambda *given: _drawn(size, lambda axes: draw(axes, *given)))

    return decorated


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str, size: float) -> None:
    as_picture = len(x) > _MAX_VECTOR_POINTS
    axes.plot(x, y, 'o', ms=math.sqrt(size), mew=0, alpha=0.55, color=colour, label=label, rasterized=as_picture)


def _mark_beyond(axes: Axes, x: np.ndarray, y: np.ndarray, top: float, right: float = math.inf) -> None:
    """Draw what lies beyond the axes as triangles on their edge, and tell in the legend how many these are."""
    beyond = np.isfinite(x) & np.isfinite(y) & ((x > right) | (y > top))
    if beyond.any():
        label = f'{np.count_nonzero(beyond)} {"above" if math.isinf(right) else "beyond"}'
        style = {'ms': 5, 'mew': 0, 'color': RED, 'clip_on': False, 'label': label}
        as_picture = np.count_nonzero(beyond) > _MAX_VECTOR_POINTS
        axes.plot(np.minimum(x[beyond], right), np.minimum(y[beyond], top), '^', rasterized=as_picture, **style)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most _MAX_LINE_POINTS points that keep the largest value of each stretch."""
    if len(x) <= _MAX_LINE_POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), _MAX_LINE_POINTS)
    peaks = np.array([s[np.nanargmax(y[s])] if np.isfinite(y[s]).any() else s[0] for s in stretches])
    return x[peaks], y[peaks]


@_chart(_WIDE)
def error_over_time(axes: Axes, columns: Columns, column: str, label: str, gaps: np.ndarray) -> None:
    """Draw an error against the time in the bag; grey bands where the object was not found."""
    x, y = _thinned(columns['bag_time_s'], columns[column])
    _shade(axes, columns['bag_time_s'], gaps)
    axes.plot(*_broken(x, y, holes(x) + 1), '-', lw=0.7, color=BLUE)
    top = _upper(y)
    axes.set(xlabel='time in the bag [s]', ylabel=label, ylim=(0, top), xlim=_limits(columns['bag_time_s']))
    _mark_beyond(axes, columns['bag_time_s'], columns[column], top)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**_ABOVE, ncol=2)


def _shade(axes: Axes, time: np.ndarray, missing: np.ndarray) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], missing.astype(int), [0]])))
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    for n, (start, stop) in enumerate(zip(edges[::2][:300], edges[1::2][:300])):
        label = 'not found' if n == 0 else ''
        axes.axvspan(time[start] - step / 2, time[stop - 1] + step / 2, color='#bbbbbb', alpha=0.5, lw=0, label=label)


@_chart(_WIDE)
def angle_over_time(axes: Axes, columns: Columns, name: str) -> None:
    """Draw roll, pitch or yaw against the time in the bag, and the truth where there is one."""
    time = columns['bag_time_s']
    estimate, true = columns[f'{name}_deg'], columns[f'true_{name}_deg']
    middle = _circular_mean(true if np.isfinite(true).any() else estimate)
    if np.isfinite(true).any():
        axes.plot(*_continuous(time, _wrapped(true, middle)), '-', lw=2.4, color=ORANGE, label='truth')
    if len(time) > _MAX_LINE_POINTS:
        _points(axes, time, _wrapped(estimate, middle), BLUE, 'estimate', 3)
    else:
        line = _continuous(time, _wrapped(estimate, middle))
        axes.plot(*line, '-', lw=0.9, marker='.', ms=2.5, color=BLUE, label='estimate')
    axes.set(xlabel='time in the bag [s]', ylabel=f'{name} [deg]', xlim=_limits(time))
    if np.ptp(axes.get_ylim()) > _PARTS_OF_A_TURN_FROM_DEG:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 1.5, 3, 4.5, 6, 9, 10]))
    axes.yaxis.set_major_formatter(lambda angle, _: f'{_wrapped(np.array(angle), 0.0):g}')
    axes.legend(**_ABOVE, ncol=2)


def _circular_mean(angles_deg: np.ndarray) -> float:
    finite = np.deg2rad(angles_deg[np.isfinite(angles_deg)])
    return float(np.rad2deg(np.arctan2(np.sin(finite).sum(), np.cos(finite).sum())))


def _wrapped(angles_deg: np.ndarray, middle_deg: float) -> np.ndarray:
    """Return the angles in the turn around a middle, so that a motion about 180 degrees is not torn apart."""
    return middle_deg + (angles_deg - middle_deg + 180.0) % 360.0 - 180.0


def _continuous(time: np.ndarray, angles_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the line of an angle with breaks where frames are missing and where it jumps by more than half a turn."""
    jumps = np.flatnonzero(np.abs(np.diff(angles_deg)) > 180.0)
    return _broken(time, angles_deg, np.union1d(holes(time), jumps) + 1)


def _broken(x: np.ndarray, y: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the line with breaks before these of its points."""
    return np.insert(x, before, np.nan), np.insert(y, before, np.nan)


@_chart(_HALF)
def error_against(axes: Axes, columns: Columns, column: str, label: str, bins: Sequence[Mapping[str, Any]]) -> None:
    """Draw the rotation error against distance or view angle: every frame, median and 90 % of each bin."""
    x, y = columns[column], columns['rotation_error_deg']
    good = np.isfinite(x) & np.isfinite(y)
    _points(axes, x[good], y[good], SKY, 'frames', 4)
    middle = [(b['from'] + (b['to'] if b['to'] is not None else float(x[good].max()))) / 2 for b in bins]
    axes.plot(middle, [b['median'] for b in bins], 'o-', color=BLUE, ms=4, lw=1.5, label='median')
    axes.plot(middle, [b['p90'] for b in bins], 's--', color=RED, ms=4, lw=1.5, label='90 %')
    top = max(1.5 * max([b['p90'] for b in bins], default=1.0), 1e-3)
    _mark_beyond(axes, x, y, top)
    axes.set(xlabel=label, ylabel='rotation error [deg]', ylim=(0, top))
    axes.legend(**_ABOVE, ncol=4, fontsize=8, columnspacing=1.0, handletextpad=0.4)


@_chart(_HALF)
def histogram(axes: Axes, values: np.ndarray, label: str) -> None:
    """Draw how often each size of an error occurs, with the share of frames below it."""
    finite = values[np.isfinite(values)]
    top = _upper(finite)
    axes.hist(np.minimum(finite, top), bins=40, range=(0, top), color=SKY, edgecolor='white', lw=0.4)
    axes.set(xlabel=f'{label} (last bar: and more)', ylabel='frames', xlim=(0, top))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    share = axes.twinx()
    share.plot(np.sort(finite), np.linspace(0, 100, len(finite)), color=BLUE, lw=1.4)
    share.set(ylim=(0, 101), ylabel='share of frames below [%]')
    share.grid(False)


@_chart(_HALF)
def consistency(axes: Axes, nees: Mapping[str, np.ndarray]) -> None:
    """Draw the share of truths inside the region of each probability; on the diagonal the covariance is honest."""
    axes.plot([0, 100], [0, 100], color=GREY, lw=1, ls=':', label='honest')
    for (name, values), colour, style in zip(nees.items(), (BLUE, RED), ('-', '--')):
        finite = values[np.isfinite(values)]
        if len(finite):
            claimed = 100.0 * chi2_probability_3(np.sort(finite))
            axes.plot(claimed, np.linspace(0, 100, len(finite)), color=colour, ls=style, lw=1.5, label=name)
    axes.set(
        xlabel='probability claimed by the covariance [%]', ylabel='truths inside [%]', xlim=(0, 100), ylim=(0, 100)
    )
    axes.legend(loc='upper left')
    axes.text(97, 4, 'below the diagonal: too sure', ha='right', color=GREY, fontsize=8)


def chi2_probability_3(values: np.ndarray) -> np.ndarray:
    """Return the distribution function of chi-square with 3 degrees of freedom."""
    roots = np.sqrt(values)
    erf = np.array([math.erf(r / math.sqrt(2.0)) for r in roots])
    return erf - math.sqrt(2.0 / math.pi) * roots * np.exp(-values / 2.0)


def differences(rows: Sequence[tuple[str, float, float, float, str | None]], unit: str) -> str:
    """Draw differences b - a of several statistics with their intervals; filled where zero is outside."""

    def draw(axes: Axes) -> None:
        for y, (_, value, low, high, better) in enumerate(rows):
            colour = GREY if better is None else (GREEN if better == 'b' else RED)
            axes.plot([low, high], [y, y], color=colour, lw=2)
            axes.plot(value, y, 'o', color=colour, mfc='white' if better is None else colour, ms=6)
        axes.axvline(0, color='black', lw=0.8)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set(xlabel=f'B minus A [{unit}]', ylim=(len(rows) - 0.5, -0.5))

    return _drawn((_HALF[0], _DIFFERENCES_FRAME_IN + 0.35 * len(rows)), draw)


@_chart(_HALF)
def paired(axes: Axes, a: np.ndarray, b: np.ndarray, label: str) -> None:
    """Draw the error of each common frame in both runs; below the diagonal B is better."""
    good = np.isfinite(a) & np.isfinite(b)
    top = _upper(np.concatenate([a[good], b[good]]))
    inside = good & (np.fmax(a, b) <= top)
    _points(axes, a[inside], b[inside], BLUE, '', 5)
    axes.plot([0, top], [0, top], color=GREY, lw=1, ls=':')
    axes.set(xlabel=f'A: {label}', ylabel=f'B: {label}', xlim=(0, top), ylim=(0, top))
    _mark_beyond(axes, a, b, top, top)
    if not (inside == good).all():
        axes.legend(**_ABOVE)


@_chart(_WIDE)
def two_errors_over_time(axes: Axes, time: np.ndarray, a: np.ndarray, b: np.ndarray, label: str) -> None:
    """Draw the error of both runs against the time in the bag."""
    top = _upper(np.concatenate([a, b]))
    for errors, name, style, colour in ((a, 'A', '-', ORANGE), (b, 'B', '--', BLUE)):
        x, y = _thinned(time, errors)
        axes.plot(*_broken(x, y, holes(x) + 1), style, lw=0.9, color=colour, label=name)
    axes.set(xlabel='time in the bag [s]', ylabel=label, ylim=(0, top), xlim=_limits(time))
    _mark_beyond(axes, np.concatenate([time, time]), np.concatenate([a, b]), top)
    axes.legend(**_ABOVE, ncol=3)


def _upper(values: np.ndarray) -> float:
    """Return an axis limit that shows nearly everything but is not ruled by a single wild value."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 1.0
    return max(float(min(finite.max() * 1.05, np.percentile(finite, 99) * 2.0)), 1e-6)


def _limits(time: np.ndarray) -> tuple[float, float]:
    return (float(time[0]), float(time[-1])) if len(time) > 1 and time[-1] > time[0] else (0.0, 1.0)


def draw_observability(
    path: Path, title: str, distances: np.ndarray, curves: Mapping[str, Sequence[Mapping[str, float | None]]]
) -> None:
    """
    Write the PNG of analyze_object: errors and ambiguous views over the distance.

    Args:
        path: Where to.
        title: Above the panels.
        distances: (D,) m.
        curves: By name, what is said at each distance; None where nothing is known.
    """
    with matplotlib.rc_context(_PNG_STYLE):
        figure = Figure(figsize=(10.5, 3.9), dpi=110)
        FigureCanvasAgg(figure)
        for i, (key, label, factor, logarithmic) in enumerate(_OBSERVABILITY_PANELS):
            axes = figure.add_subplot(1, 3, i + 1)
            for j, (name, rows) in enumerate(curves.items()):
                colour, dashes = _CURVE_COLOURS[j % len(_CURVE_COLOURS)], _CURVE_DASHES[j % len(_CURVE_DASHES)]
                values = [np.nan if row[key] is None else factor * row[key] for row in rows]
                axes.plot(distances, values, dashes, marker='o', ms=3.5, lw=1.8, color=colour, label=name)
            if logarithmic:
                axes.set_yscale('log')
                axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))  # numbers within one decade, too
                axes.yaxis.set_major_formatter(FormatStrFormatter('%g'))
                axes.yaxis.set_minor_formatter(NullFormatter())
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
