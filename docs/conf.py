"""Settings of Sphinx; `make docs` runs it."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

_metadata = configparser.ConfigParser()
_metadata.read(ROOT / 'setup.cfg', encoding='utf-8')

project = 'custom_pose_ros'
author = copyright = 'the custom_pose_ros maintainers'
release = version = _metadata['metadata']['version']

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}
html_theme = 'furo'
html_title = f'{project} {release}'
html_static_path = ['_static']
html_css_files = ['wide_tables.css']
html_copy_source = False

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_preserve_defaults = True
napoleon_use_ivar = True
html_math_renderer = 'mathml'


def _inline_math(writer, node) -> None:
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _math_block(writer, node) -> None:
    writer.body.append(f'<div class="equation">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _replace_colons(app, what, name, obj, options, lines: list[str]) -> None:
    """Keep napoleon from taking what stands before a colon in the first line of a property for its type."""
    if what == 'property':
        lines[0] = lines[0].replace(': ', ' - ')


def setup(app) -> None:
    """Write formulas as MathML, which browsers draw by themselves: the pages need no script from elsewhere."""
    app.connect('autodoc-process-docstring', _replace_colons, priority=400)  # before napoleon
    app.add_html_math_renderer('mathml', (_inline_math, None), (_math_block, None))
