"""The printed tables, as markdown: docs/benchmarks.md shows some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a markdown table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _times(times: Mapping[str, float]) -> str:
    """Median and spread in ms."""
    return f'{times["median_ms"]:.2f} ({times["p10_ms"]:.2f} to {times["p90_ms"]:.2f})'


def of(results: Mapping[str, Any]) -> str:
    """Return the tables of all parts that were measured, with their titles."""
    makers = {
        'networks': ('Backends: bare network and image -> keypoints [ms], median (10 to 90 %)', _networks),
        'stages': ('Stages of one 640x480 frame [ms], medians', _stages),
        'growth': ('Growth of a frame [ms], median (10 to 90 %)', _growth),
        'heights': ('Height of the network input', _heights),
        'live': ('pose_node over DDS', _live),
        'public': ('Beside the public Lightweight OpenPose demo loop', _public),
    }
    parts = [f'{title}\n\n{make(results[name])}' for name, (title, make) in makers.items() if name in results]
    return '\n\n'.join(parts)


def _networks(results: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            batch.removeprefix('batch '),
            _times(entry['network']),
            _times(entry['frames']),
            f'{entry["per_image_ms"]:.2f}',
            f'{entry["over_the_floor"]:.2f}',
        )
        for name, batches in results['ways'].items()
        for batch, entry in batches.items()
    ]
    times = {name: batches['batch 1']['per_image_ms'] for name, batches in results['ways'].items()}
    fastest = min(times, key=times.__getitem__)
    return (
        table(('backend', 'images', 'network alone', 'to keypoints', 'for each image', 'ratio'), rows)
        + f'\n\nThe fastest here is {fastest}; `auto` takes {results["auto"]}.'
    )


def _stages(results: Mapping[str, Any]) -> str:
    conditions = results['conditions']
    stages = list(dict.fromkeys(stage for c in conditions.values() for stage in c['stages']))
    rows = [
        (
            name,
            *(f'{c["stages"][stage]["median_ms"]:.2f}' if stage in c['stages'] else '' for stage in stages),
            _times(c['around the network']),
            f'{c["share around the network"]:.1%}',
        )
        for name, c in conditions.items()
    ]
    messages = ', '.join(f'{name} {times["median_ms"]:.2f}' for name, times in results['image message'].items())
    head = ('', *stages, 'all around the network', 'share of the frame')
    return f'{table(head, rows)}\n\nImage message to BGR: {messages}'


def _growth(results: Mapping[str, Any]) -> str:
    return table(
        ('what grows', 'ms'),
        [(what, ', '.join(f'{v}: {_times(t)}' for v, t in series.items())) for what, series in results.items()],
    )


def _heights(results: Mapping[str, Any]) -> str:
    rows = [
        (
            height + (' (default)' if int(height) == results['default'] else ''),
            _times(entry),
            *(
                f'{entry[s]["error_percent"]:.2f} % ({entry[s]["mean_px"]:.2f} px)'
                for s in ('clip', 'small', 'photos')
                if s in entry
            ),
        )
        for height, entry in results['heights'].items()
    ]
    head = ('height [px]', 'frame [ms]', 'error on the clip', '0.6 times as large', 'error on photos')
    return table(head[: len(rows[0])], rows)


def _live(results: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            f'{r["published_hz"]:.1f} of {r["offered_hz"]:g}',
            f'{r["latency_p50_ms"]:.1f} / {r["latency_p95_ms"]:.1f}',
            f'{r["network_p50_ms"]:.1f}',
            f'{r["around_network_p50_ms"]:.1f} / {r["around_network_p95_ms"]:.1f}',
            f'{r["cpu_ms_per_frame"]:.1f}',
            f'{r["memory_mb"]:.0f} ({r["memory_growth_mb"]:+.1f})',
            f'{r["ready_s"]:.1f}',
        )
        for name, r in results.items()
    ]
    head = (
        '', 'published [Hz]', 'stamp to publication p50 / p95 [ms]', 'network p50 [ms]', 'without it p50 / p95 [ms]',
        'CPU for a frame [ms]', 'memory (growth) [MB]', 'first result after [s]',
    )  # fmt: skip
    return table(head, rows)


def _public(results: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            _times(entry['times']),
            f'{entry["ratio"]["median"]:.1f} ({entry["ratio"]["p10"]:.1f} to {entry["ratio"]["p90"]:.1f})',
        )
        for name, entry in results.items()
    ]
    return table(('', 'frame [ms]', 'times faster'), rows)
