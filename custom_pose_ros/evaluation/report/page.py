"""Pieces of the self-contained report page: template, tables, figures; everything a user wrote is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from custom_pose_ros.evaluation.scoring.conditions import Verdict

_TEMPLATE = Path(__file__).with_name('report_template.html')
_JPEG_QUALITY = 82


def page(title: str, subtitle: str, verdict: Verdict, summary: str, body: Iterable[str]) -> str:
    """Return the whole page; `summary` is the sentence of the verdict box."""
    if not verdict.results:
        kind, word = '', ''
    else:
        kind, word = ('failed', 'FAILED') if verdict.failed else ('passed', 'PASSED')
    return Template(_TEMPLATE.read_text(encoding='utf-8')).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        verdict_class=kind,
        verdict_word=word,
        verdict_text=escape(summary),
        body='\n'.join(part for part in body if part),
    )


def section(heading: str, *parts: str) -> str:
    """Return a section; nothing when it would be empty."""
    content = '\n'.join(part for part in parts if part)
    return f'<section><h2>{escape(heading)}</h2>\n{content}\n</section>' if content else ''


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], number_columns: Sequence[int] = (), kind: str = ''
) -> str:
    """Return a table of cells that are HTML already; of kind `stacked` its cells move below each other on a phone."""
    kinds = dict.fromkeys(number_columns, ' class="number"')
    names = ''.join(f'<th{kinds.get(i, "")}>{escape(name)}</th>' for i, name in enumerate(header))
    head = f'<thead><tr>{names}</tr></thead>' if any(header) else ''
    body = ''.join(
        '<tr>' + ''.join(f'<td{kinds.get(i, "")}>{cell}</td>' for i, cell in enumerate(row)) + '</tr>' for row in rows
    )
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}</tbody></table></div>'


def limit_marks(verdict: Verdict, name: str) -> str:
    """Return the cell that says whether a number passes."""
    marks = [
        f'<span class="{"failed" if holds else "passed"}-mark">'
        f'{"&#10007; fails" if holds else "&#10003; passes"}</span> '
        f'(fails if&nbsp;{escape(c.comparison)}&nbsp;{c.limit:g})'
        for c, _, holds in verdict.results
        if c.name == name
    ]
    return '<br>'.join(marks)


def key(name: str) -> str:
    """Return the name of a number of metrics.json, which may be broken behind its dots and underscores."""
    return '<code class="soft">' + re.sub(r'([._])', r'\1<wbr>', escape(name)) + '</code>'


def figure(svg: str, caption: str) -> str:
    """Return a chart with its caption."""
    return f'<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def halves(*figures: str) -> str:
    """Return figures side by side where there is room."""
    content = ''.join(figures)
    return f'<div class="halves">{content}</div>' if content else ''


def notes(lines: Sequence[str], kind: str = '') -> str:
    """Return remarks as a list."""
    items = ''.join(f'<li class="{kind}">{escape(line)}</li>' for line in lines)
    return f'<ul class="notes">{items}</ul>' if items else ''


def code_lines(lines: Sequence[str]) -> str:
    """Return lines in fixed width, as they were printed."""
    return '<p>' + '<br>'.join(f'<code>{escape(line)}</code>' for line in lines) + '</p>' if lines else ''


def picture(image: np.ndarray, caption_html: str, alt: str, anchor: str) -> str:
    """Return an image (H, W, 3) BGR as part of the page."""
    data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    source = 'data:image/jpeg;base64,' + base64.b64encode(data).decode('ascii')
    return (
        f'<figure id="{escape(anchor)}"><img src="{source}" alt="{escape(alt)}">'
        f'<figcaption>{caption_html}</figcaption></figure>'
    )


def number(value: float | None, unit: str = '', digits: int = 3) -> str:
    """Return a number with its unit; a dash where there is none."""
    return '–' if value is None else f'{value:.{digits}g}{" " + unit if unit else ""}'


def percent(value: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return '–' if value is None else f'{100 * value:.1f} %'
