"""compare.html: two runs side by side, frame by frame; one file."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from custom_pose_ros.evaluation.report import charts, page
from custom_pose_ros.evaluation.report.page import number, percent
from custom_pose_ros.evaluation.scoring.compare import CONFIDENCE, FinishedRun, Pairing
from custom_pose_ros.evaluation.scoring.conditions import Verdict

_UNITS = {
    'rotation_error_deg': ('Rotation error', 'deg'),
    'translation_error_m': ('Position error', 'm'),
    'keypoint_error_px': ('Keypoint error', 'px'),
    'reprojection_error_px': ('Reprojection error', 'px'),
}
_WORST = 15
_INTERVAL_NOTE = (
    f'<p class="soft">B minus A over the frames in which both have a value, with the {100 * CONFIDENCE:.0f} % interval '
    'of a paired bootstrap over whole seconds. Zero inside the interval: the difference may be chance.</p>'
)


def write(a: FinishedRun, b: FinishedRun, pairing: Pairing, comparison: Mapping[str, Any], verdict: Verdict) -> str:
    """Return the page of a comparison."""
    return page.page(
        title=f'{a.name} (A) against {b.name} (B)',
        subtitle=f'{comparison["frames"]["common"]} common frames of {a.metrics["bag"]["name"]}',
        verdict=verdict,
        summary=summary(comparison, verdict),
        body=[
            page.section(
                'Differences',
                page.notes(verdict.lines()),
                _table(comparison),
                _INTERVAL_NOTE,
                page.halves(*_interval_charts(comparison)),
            ),
            page.section('Frame by frame', *_frame_charts(a, b, pairing), _frame_table(a, b, pairing)),
            page.section('Both runs', _both(a, b)),
        ],
    )


def summary(comparison: Mapping[str, Any], verdict: Verdict) -> str:
    """Return which run is better in what, in a sentence or two."""
    parts = verdict.sentence()
    for key, (label, unit) in {'detection_rate': ('Detection rate', ''), **_UNITS}.items():
        entry = comparison['difference'].get(key)
        if entry is None:
            continue
        name = 'mean' if key == 'detection_rate' else 'median'
        better = entry[name]['better']
        if better:
            value = f'{_signed(entry[name]["value"])} {unit}'.rstrip()
            parts.append(f'{better.upper()} is better in {label.lower()} ({name} {value}).')
    if not any('is better' in part for part in parts):
        parts.append('No difference beyond chance.')
    return ' '.join(parts)


def _signed(value: float) -> str:
    return f'{value:+.3g}'


def _table(comparison: Mapping[str, Any]) -> str:
    rows = []
    for key, entry in comparison['difference'].items():
        label, unit = _UNITS.get(key, ('Detection rate', ''))
        for name in ('mean', 'median', 'p90'):
            if name not in entry:
                continue
            item = entry[name]
            show = percent if key == 'detection_rate' else (lambda v, u=unit: number(v, u))
            better = {'a': 'A', 'b': 'B', None: 'no difference'}[item['better']]
            rows.append((
                f'{label}, {name}', show(item['a']), show(item['b']), _signed(item['value']),
                f'{_signed(item["low"])} to {_signed(item["high"])}', f'<b>{better}</b>',
            ))  # fmt: skip
    return page.table(('', 'A', 'B', 'B − A', 'interval', 'better'), rows, (1, 2, 3, 4))


def _interval_charts(comparison: Mapping[str, Any]) -> list[str]:
    figures = []
    for key, (label, unit) in _UNITS.items():
        entry = comparison['difference'].get(key)
        if entry is not None:
            rows = [
                (name, *(entry[name][part] for part in ('value', 'low', 'high')), entry[name]['better'])
                for name in ('mean', 'median', 'p90')
            ]
            figures.append(page.figure(charts.differences(rows, unit), f'{label}: left of zero B is better'))
    return figures


def _frame_charts(a: FinishedRun, b: FinishedRun, pairing: Pairing) -> list[str]:
    figures, pairs = [], []
    time = a.frames['bag_time_s'][pairing.a]
    for key, (label, unit) in _UNITS.items():
        values_a, values_b = a.frames[key][pairing.a], b.frames[key][pairing.b]
        if key == 'reprojection_error_px' and figures:
            break  # only where there is no truth
        if (np.isfinite(values_a) & np.isfinite(values_b)).any():
            text = f'{label.lower()} [{unit}]'
            figures.append(
                page.figure(charts.two_errors_over_time(time, values_a, values_b, text), f'{label} over time')
            )
            pairs.append(page.figure(charts.paired(values_a, values_b, text), 'Below the dotted line B is better'))
    return [*figures, page.halves(*pairs)]


def _frame_table(a: FinishedRun, b: FinishedRun, pairing: Pairing) -> str:
    """Return the frames whose rotation error (without truth: reprojection error) differs most."""
    for key in ('rotation_error_deg', 'keypoint_error_px', 'reprojection_error_px'):
        values_a, values_b = a.frames[key][pairing.a], b.frames[key][pairing.b]
        if (np.isfinite(values_a) & np.isfinite(values_b)).any():
            break
    else:
        return ''
    difference = np.nan_to_num(values_b - values_a)
    order = np.argsort(-np.abs(difference), kind='stable')[:_WORST]
    rows = [
        (str(int(a.frames['frame'][pairing.a[i]])), f'{a.frames["bag_time_s"][pairing.a[i]]:.3f}',
         f'{values_a[i]:.3g}', f'{values_b[i]:.3g}', _signed(float(difference[i])))
        for i in order.tolist() if difference[i]
    ]  # fmt: skip
    unit = _UNITS[key][1]
    header = ('frame', 'time in the bag [s]', f'A [{unit}]', f'B [{unit}]', f'B − A [{unit}]')
    title = f'<p>Frames that differ most ({_UNITS[key][0].lower()}):</p>'
    return title + page.table(header, rows, (0, 1, 2, 3, 4)) if rows else ''


def _both(a: FinishedRun, b: FinishedRun) -> str:
    """Return the configuration of both runs; rows that differ are bold."""
    keys = dict.fromkeys([*a.metrics['configuration'], *b.metrics['configuration']])
    rows = []
    for key in keys:
        cells = [escape(str(run.metrics['configuration'].get(key, '–'))) for run in (a, b)]
        if cells[0] != cells[1]:
            cells = [f'<b>{cell}</b>' for cell in cells]
        rows.append((escape(key.replace('_', ' ')), *(f'<code>{cell}</code>' for cell in cells)))
    return page.table(('', 'A', 'B'), rows)
